"""Geometric multigrid on lattices in tensor operations; `pdekit.kernels` has the compiled twin."""

from pdekit.solvers.multigrid.hierarchy import Hierarchy

__all__ = ["Hierarchy"]

"""Where fields live: grids, boundary conditions, transforms."""

from pdekit.domain.boundary import Boundary, resolve_boundaries
from pdekit.domain.grid import AXES, SIDES, Grid

__all__ = ["AXES", "SIDES", "Boundary", "Grid", "resolve_boundaries"]

"""Placeholder until the multigrid preconditioner lands: the diagonal."""

from dataclasses import dataclass
from typing import Literal

from pdekit.solvers.operators.base import LinearOperator
from pdekit.solvers.preconditioners.base import Preconditioner
from pdekit.solvers.preconditioners.jacobi import Jacobi

__all__ = ["Multigrid"]


@dataclass(frozen=True)
class Multigrid(Preconditioner):
    """Geometric multigrid."""

    coarsening: Literal["auto", "averaged", "galerkin"] = "auto"
    use_kernels: bool | None = None

    def setup(self, A: LinearOperator) -> LinearOperator:
        """The diagonal, for now."""
        return Jacobi().setup(A)

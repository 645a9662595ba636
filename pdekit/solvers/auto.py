"""The choice of a method that an expert would make."""

from dataclasses import dataclass

from pdekit.solvers.direct.direct import Direct
from pdekit.solvers.direct.spectral import Spectral, obstacle
from pdekit.solvers.krylov.cg import CG
from pdekit.solvers.method import Method, Prepared
from pdekit.solvers.operators.base import LinearOperator, Tag
from pdekit.solvers.operators.csr import CSR
from pdekit.solvers.operators.stencil import Stencil
from pdekit.solvers.preconditioners.jacobi import Jacobi
from pdekit.solvers.preconditioners.multigrid import Multigrid

__all__ = ["Auto"]

_LARGE = 300_000
"""Unknowns above which the fill of a sparse factorisation outweighs the iterations of Jacobi-CG."""


@dataclass(frozen=True)
class Auto(Method):
    """Pick a method by the kind and size of the matrix alone; the solution says which.

    ======================================================  ==========================
    matrix                                                  method
    ======================================================  ==========================
    stencil on a line                                       :class:`Direct`
    stencil with constant coefficients, no Robin side       :class:`Spectral`
    stencil on a plane or in space                          :class:`CG` with :class:`Multigrid`
    symmetric sparse matrix of more than 300,000 unknowns   :class:`CG` with :class:`Jacobi`
    other sparse matrix, dense matrix                       :class:`Direct`
    operator without entries                                :class:`CG`
    ======================================================  ==========================

    Example:
        >>> from pdekit.domain import Grid
        >>> from pdekit.solvers import diffusion
        >>> Auto().select(diffusion(Grid((9, 9)), coefficient=1.0, source=1.0).operator)
        Spectral()
    """

    def select(self, A: LinearOperator) -> Method:
        """The method for this matrix."""
        if isinstance(A, Stencil):
            if len(A.lattice) == 1:
                return Direct()
            return Spectral() if obstacle(A) is None else CG(Multigrid())
        if isinstance(A, CSR) and A.shape[0] > _LARGE and Tag.SYMMETRIC in A.tags:
            return CG(Jacobi())
        if not A.values:
            return CG()
        return Direct()

    def prepare(self, A: LinearOperator) -> Prepared:
        return self.select(A).prepare(A)

"""Sparse and dense factorisation."""

from dataclasses import dataclass

import torch
from jaxtyping import Inexact
from torch import Tensor

from pdekit.core.errors import InputError
from pdekit.solvers.direct import tridiagonal
from pdekit.solvers.direct.superlu import SuperLU
from pdekit.solvers.method import Method, Outcome, Prepared
from pdekit.solvers.operators.base import LinearOperator
from pdekit.solvers.operators.dense import DenseMatrix
from pdekit.solvers.recycling.kept import KeptFactor
from pdekit.solvers.solution import Reason

__all__ = ["Direct"]


@dataclass(frozen=True)
class Direct(Method):
    """Factor each matrix once, then substitute for each right-hand side.

    Dense matrices get LAPACK's LU on the whole batch, one-dimensional stencils a tridiagonal factorisation on the whole
    batch, all else SciPy's SuperLU, a matrix at a time, with a symmetric ordering and pivots from the diagonal for
    matrices of symmetric pattern; those for which that was not accurate enough are factored again with full pivoting.
    A matrix with a known null space is factored with as many unknowns fixed.

    Args:
        kept: factors that go from one call to the next, so that a matrix met before is not factored again (those on a
            line are: that costs as much as comparing them); None keeps none.

    Example:
        >>> from pdekit.solvers import solve
        >>> solve(np.array([[0.0, 2.0], [1.0, 0.0]]), np.array([2.0, 3.0]), Direct()).x
        array([3., 1.])

    Source:
        Demmel, Eisenstat, Gilbert, Li, Liu, "A supernodal approach to sparse partial pivoting", 1999.
    """

    kept: KeptFactor | None = None

    def __post_init__(self):
        if self.kept is not None and not isinstance(self.kept, KeptFactor):
            raise InputError(f"Direct has kept={self.kept!r}; expected None or an object such as KeptFactor().")

    def prepare(self, A: LinearOperator) -> Prepared:
        if isinstance(A, DenseMatrix):
            return _DenseLU(A, kept=self.kept)
        if tridiagonal.fits(A):
            return tridiagonal.Tridiagonal(A)
        return SuperLU(A, kept=self.kept)


def _outcome(x: Tensor, reason: Tensor, name: str) -> Outcome:
    return Outcome(x, torch.zeros_like(reason), reason, None, None, name)


class _DenseLU(Prepared):
    def __init__(
        self,
        operator: DenseMatrix,
        factors: tuple[Tensor, Tensor, Tensor] | None = None,
        turned: bool = False,
        kept: KeptFactor | None = None,
    ):
        super().__init__(operator)
        self.dense, self.turned, self.name = operator, turned, "Direct, dense LU"
        if factors is None and kept is not None:
            factors = self._recall(kept)
        self.factors = torch.linalg.lu_factor_ex(operator.matrix.detach()) if factors is None else factors

    def _recall(self, kept: KeptFactor) -> tuple[Tensor, Tensor, Tensor]:
        matrix = self.dense.matrix.detach()
        parts, kind = (matrix.cpu().resolve_conj().numpy(),), f"dense LU on {matrix.device}"
        factors = kept.find(parts, kind)
        if factors is not None:
            self.name += ", factors kept"
            return factors
        factors = torch.linalg.lu_factor_ex(matrix)
        if not bool(factors[2].any()):
            kept.keep(parts, kind, factors)
        return factors

    def run(
        self, b: Inexact[Tensor, "*batch n"], x0: Inexact[Tensor, "*batch n"] | None, rtol: float, atol: float
    ) -> Outcome:
        lu, pivots, info = self.factors
        right = b if x0 is None else b - self.operator.matvec(x0)
        x = torch.linalg.lu_solve(lu, pivots, right.unsqueeze(-1), adjoint=self.turned).squeeze(-1)
        singular = info.ne(0).expand(b.shape[:-1])
        x = torch.where(singular.unsqueeze(-1), 0.0, x)
        reason = torch.where(singular, Reason.SINGULAR.code, Reason.CONVERGED.code)
        return _outcome(x if x0 is None else x0 + x, reason, self.name)

    def adjoint(self) -> Prepared:
        return _DenseLU(self.dense.adjoint(), self.factors, not self.turned)

"""Sparse and dense factorisation."""

from dataclasses import dataclass
from itertools import product

import numpy as np
import scipy.sparse.linalg
import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.core.errors import InputError
from pdekit.solvers.direct import tridiagonal
from pdekit.solvers.method import Method, Outcome, Prepared
from pdekit.solvers.operators.base import LinearOperator, Tag
from pdekit.solvers.operators.dense import DenseMatrix
from pdekit.solvers.operators.stencil import Stencil
from pdekit.solvers.solution import Reason

__all__ = ["Direct"]


@dataclass(frozen=True)
class Direct(Method):
    """Factor each matrix once, then substitute for each right-hand side.

    Dense matrices get LAPACK's LU on the whole batch, one-dimensional stencils a tridiagonal factorisation on the whole
    batch, all else SciPy's SuperLU, a matrix at a time, with a symmetric ordering for symmetric matrices. A stencil
    whose null space holds the constants is factored with one unknown fixed.

    Example:
        >>> from pdekit.solvers import solve
        >>> solve(np.array([[0.0, 2.0], [1.0, 0.0]]), np.array([2.0, 3.0]), Direct()).x
        array([3., 1.])

    Source:
        Demmel, Eisenstat, Gilbert, Li, Liu, "A supernodal approach to sparse partial pivoting", 1999.
    """

    def prepare(self, A: LinearOperator) -> Prepared:
        if isinstance(A, DenseMatrix):
            return _DenseLU(A)
        if tridiagonal.fits(A):
            return tridiagonal.Tridiagonal(A)
        return _SuperLU(A)


def _outcome(x: Tensor, reason: Tensor, name: str) -> Outcome:
    return Outcome(x, torch.zeros_like(reason), reason, None, None, name)


class _DenseLU(Prepared):
    def __init__(
        self, operator: DenseMatrix, factors: tuple[Tensor, Tensor, Tensor] | None = None, turned: bool = False
    ):
        super().__init__(operator)
        self.dense = operator
        self.factors = torch.linalg.lu_factor_ex(operator.matrix.detach()) if factors is None else factors
        self.turned = turned

    def run(
        self, b: Float[Tensor, "*batch n"], x0: Float[Tensor, "*batch n"] | None, rtol: float, atol: float
    ) -> Outcome:
        lu, pivots, info = self.factors
        right = b if x0 is None else b - self.operator.matvec(x0)
        x = torch.linalg.lu_solve(lu, pivots, right.unsqueeze(-1), adjoint=self.turned).squeeze(-1)
        singular = info.ne(0).expand(b.shape[:-1])
        x = torch.where(singular.unsqueeze(-1), 0.0, x)
        reason = torch.where(singular, Reason.SINGULAR.code, Reason.CONVERGED.code)
        return _outcome(x if x0 is None else x0 + x, reason, "Direct, dense LU")

    def adjoint(self) -> Prepared:
        return _DenseLU(self.dense.adjoint(), self.factors, not self.turned)


class _SuperLU(Prepared):
    def __init__(self, operator: LinearOperator, factors: dict | None = None, trans: str = "N"):
        super().__init__(operator)
        self.trans = trans
        self.symmetric = Tag.SYMMETRIC in operator.tags
        # With one unknown fixed at 0 a network without ground is definite; solve() then restores the mean.
        self.fixed = isinstance(operator, Stencil) and not operator.grounded
        self.factors = self._factor() if factors is None else factors

    def _factor(self) -> dict:
        factors = {}
        for index in product(*(range(size) for size in self.operator.batch_shape)):
            try:
                matrix = self.operator.to_scipy(index)
            except NotImplementedError as error:
                raise InputError(
                    f"Direct needs the entries of a matrix, but {self.operator.name} only multiplies. Use CG()."
                ) from error
            matrix = matrix[1:, 1:] if self.fixed else matrix
            options = {"SymmetricMode": True} if self.symmetric else {}
            ordering = "MMD_AT_PLUS_A" if self.symmetric else "COLAMD"
            pivoting = 0.001 if self.symmetric else None
            try:
                factors[index] = scipy.sparse.linalg.splu(
                    matrix.tocsc(), permc_spec=ordering, diag_pivot_thresh=pivoting, options=options
                )
            except RuntimeError as error:
                if "singular" not in str(error):
                    raise
                factors[index] = None
        return factors

    def run(
        self, b: Float[Tensor, "*batch n"], x0: Float[Tensor, "*batch n"] | None, rtol: float, atol: float
    ) -> Outcome:
        right = (b if x0 is None else b - self.operator.matvec(x0)).detach().cpu().numpy()
        x = np.zeros_like(right)
        batch = right.shape[:-1]
        reason = np.full(batch, Reason.CONVERGED.code, dtype=np.int64)
        missing = len(batch) - len(self.operator.batch_shape)
        for index, factor in self.factors.items():
            sizes = self.operator.batch_shape
            rows = (slice(None),) * missing + tuple(
                slice(None) if size == 1 else slice(i, i + 1) for i, size in zip(index, sizes, strict=True)
            )
            if factor is None:
                reason[rows] = Reason.SINGULAR.code
                continue
            columns = right[rows].reshape(-1, right.shape[-1])
            first = int(self.fixed)
            solved = np.zeros_like(columns)
            solved[:, first:] = factor.solve(np.ascontiguousarray(columns[:, first:].T), trans=self.trans).T
            x[rows] = solved.reshape(right[rows].shape)
        found = torch.from_numpy(x).to(b.device)
        name = "Direct, SuperLU" + (" with one unknown fixed" if self.fixed else "")
        return _outcome(found if x0 is None else x0 + found, torch.from_numpy(reason).to(b.device), name)

    def adjoint(self) -> Prepared:
        if self.operator.hermitian:
            return self
        return _SuperLU(self.operator.adjoint(), self.factors, "H" if self.trans == "N" else "N")

"""Sparse factorisation by SuperLU."""

import time
from itertools import product

import numpy as np
import scipy.linalg
import scipy.sparse.linalg
import torch
from jaxtyping import Inexact
from torch import Tensor

from pdekit.core.errors import InputError
from pdekit.kernels.threads import for_each_sample
from pdekit.solvers.method import Outcome, Prepared
from pdekit.solvers.operators.base import LinearOperator, Tag
from pdekit.solvers.operators.csr import CSR
from pdekit.solvers.recycling.kept import KeptFactor
from pdekit.solvers.solution import Reason

__all__ = ["SuperLU"]

_Index = tuple[int, ...]


class SuperLU(Prepared):
    """The factors of each matrix of a batch.

    A matrix of symmetric pattern is first factored with a symmetric ordering and pivots from the diagonal wherever they
    are not tiny, which is faster and enough for most. Where the residual shows that it was not, the
    fallback factors the matrix again with full partial pivoting.

    With a null space of k dimensions, k unknowns that tell its vectors apart are fixed at 0, which leaves a regular
    matrix; ``solve`` then takes the null space out of the solution.

    Args:
        operator: with entries, to be had by ``to_scipy``.
        pivoting: choose each pivot by size alone, whatever the pattern.
        lazy: factor a matrix when a right-hand side asks for it.
        kept: factors of matrices met before, and the place for those made here.
    """

    def __init__(
        self, operator: LinearOperator, pivoting: bool = False, lazy: bool = False, kept: KeptFactor | None = None
    ):
        super().__init__(operator)
        self.kept, self.recalled = kept, 0
        self.factored = operator
        self.pivoting = pivoting
        self.diagonal_pivots = not pivoting and _symmetric_pattern(operator)
        self.trans = "N"
        self.free = _free_unknowns(operator)
        self.factors: dict[_Index, scipy.sparse.linalg.SuperLU | None] = {}
        indices = list(product(*(range(size) for size in operator.batch_shape)))
        if indices and not lazy:
            self._factor(indices)

    def _factor(self, indices: list[_Index]) -> None:
        def factor(index: _Index) -> scipy.sparse.linalg.SuperLU | None:
            try:
                matrix = self.factored.to_scipy(index)
            except NotImplementedError as error:
                raise InputError(
                    f"Direct needs the entries of a matrix, but {self.factored.name} only multiplies. Use CG() where "
                    "it is symmetric positive definite, MINRES() where it is symmetric, GMRES() elsewhere."
                ) from error
            if self.free is not None:
                matrix = matrix[self.free][:, self.free]
            kind = "pivots from the diagonal" if self.diagonal_pivots else "full pivoting"
            parts = (matrix.indptr, matrix.indices, matrix.data)
            if self.kept is not None and (known := self.kept.find(parts, kind)) is not None:
                self.recalled += 1
                return known
            options = {"SymmetricMode": True} if self.diagonal_pivots else {}
            try:
                made = scipy.sparse.linalg.splu(
                    matrix.tocsc(),
                    permc_spec="MMD_AT_PLUS_A" if self.diagonal_pivots else "COLAMD",
                    diag_pivot_thresh=0.001 if self.diagonal_pivots else None,
                    options=options,
                )
            except RuntimeError as error:
                if "singular" not in str(error):
                    raise
                return None
            if self.kept is not None:
                self.kept.keep(parts, kind, made)
            return made

        # Not spread over threads: SciPy frees nothing of a factor that dies in another thread than the one that made it
        # (its table of allocations is the thread's own), and batches would fill the memory.
        self.factors.update((index, factor(index)) for index in indices)

    def run(
        self, b: Inexact[Tensor, "*batch n"], x0: Inexact[Tensor, "*batch n"] | None, rtol: float, atol: float
    ) -> Outcome:
        right = (b if x0 is None else b - self.operator.matvec(x0)).detach().cpu().resolve_conj().numpy()
        x = np.zeros_like(right)
        batch, sizes = right.shape[:-1], self.operator.batch_shape
        reason = np.full(batch, Reason.CONVERGED.code, dtype=np.int64)
        leading = (slice(None),) * (len(batch) - len(sizes))

        def rows(index: _Index) -> tuple[slice, ...]:
            """The systems of one matrix."""
            own = (slice(None) if size == 1 else slice(i, i + 1) for i, size in zip(index, sizes, strict=True))
            return (*leading, *own)

        wanted = [index for index in product(*map(range, sizes)) if np.any(right[rows(index)])]
        began, setup_seconds = time.perf_counter(), 0.0
        if missing := [index for index in wanted if index not in self.factors]:
            self._factor(missing)
            setup_seconds = time.perf_counter() - began

        def substitute(index: _Index) -> None:
            part, factor = rows(index), self.factors[index]
            if factor is None:
                reason[part] = Reason.SINGULAR.code
                return
            columns = right[part].reshape(-1, right.shape[-1])
            free = slice(None) if self.free is None else self.free
            solved = np.zeros_like(columns)
            solved[:, free] = factor.solve(np.ascontiguousarray(columns[:, free].T), trans=self.trans).T
            x[part] = solved.reshape(right[part].shape)

        # SuperLU releases the interpreter's lock while it substitutes.
        for_each_sample(lambda i, _: substitute(wanted[i]), len(wanted), None)
        found = torch.from_numpy(x).to(b.device)
        return Outcome(
            found if x0 is None else x0 + found,
            torch.zeros(batch, dtype=torch.int64, device=b.device),
            torch.from_numpy(reason).to(b.device),
            None,
            None,
            self.name,
            setup_seconds,
        )

    @property
    def name(self) -> str:
        fixed = 0 if self.free is None else self.operator.shape[0] - len(self.free)
        unknowns = "" if not fixed else f" with {'one unknown' if fixed == 1 else f'{fixed} unknowns'} fixed"
        pivoting = " and full pivoting" if self.pivoting else ""
        some = "" if self.recalled == len(self.factors) else f"{self.recalled} of {len(self.factors)} "
        return f"Direct, SuperLU{unknowns}{pivoting}{f', {some}factors kept' if self.recalled else ''}"

    def adjoint(self) -> Prepared:
        if self.operator.hermitian:
            return self
        turned = SuperLU(self.operator.adjoint(), self.pivoting, lazy=True, kept=self.kept)
        turned.factored, turned.factors, turned.free = self.factored, self.factors, self.free
        turned.trans = "H" if self.trans == "N" else "N"
        return turned

    def fallback(self) -> Prepared | None:
        return SuperLU(self.operator, pivoting=True, lazy=True, kept=self.kept) if self.diagonal_pivots else None


def _symmetric_pattern(A: LinearOperator) -> bool:
    if isinstance(A, CSR) and A.pattern.transposed[0] is A.pattern:
        return True
    return Tag.SYMMETRIC in A.tags or Tag.HERMITIAN in A.tags


def _free_unknowns(A: LinearOperator) -> np.ndarray | None:
    """Unknowns that are solved for: all but as many as the null space has dimensions, in well separated places."""
    if A.nullspace is None:
        return None
    basis = A.nullspace.detach().cpu().numpy()
    _, order = scipy.linalg.qr(basis.T, mode="r", pivoting=True)  # pyright: ignore[reportAssignmentType]
    return np.sort(np.asarray(order)[basis.shape[1] :])

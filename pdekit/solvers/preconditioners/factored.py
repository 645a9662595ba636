"""Approximate inverses that are two triangular solves, by compiled kernels on the CPU."""

import math
from collections.abc import Callable, Sequence
from copy import copy

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Inexact
from torch import Tensor

from pdekit.core.errors import InputError
from pdekit.solvers.operators.applied import applied
from pdekit.solvers.operators.base import LinearOperator, Tag, owners
from pdekit.solvers.operators.csr import CSR

__all__ = [
    "Factored",
    "batch_index",
    "check_diagonal",
    "entries_and_fill",
    "factor_each",
    "real_symmetric",
    "stored_matrix",
    "upper_triangle",
]


class Factored(LinearOperator):
    """The inverses of a batch of factored matrices.

    Args:
        like: what was factored; its batch, dtype and size are taken.
        factors: of each matrix of the batch, as `pdekit.kernels.sparse.triangular` describes them.
        name: for reports.
        transposed: stand for the inverses of the transposed matrices.
    """

    def __init__(
        self,
        like: LinearOperator,
        factors: Sequence[tuple[np.ndarray, ...]],
        name: str,
        *,
        transposed: bool = False,
    ):
        self._batch, self._dtype, self._n = like.batch_shape, like.dtype, like.shape[0]
        self._factors, self._name, self._transposed = list(factors), name, transposed

    @property
    def name(self) -> str:
        return self._name

    @property
    def shape(self) -> tuple[int, int]:
        return self._n, self._n

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self._batch

    @property
    def dtype(self) -> torch.dtype:
        return self._dtype

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @property
    def tags(self) -> frozenset[Tag]:
        symmetric = all(len(factor) == 3 for factor in self._factors)
        return frozenset({Tag.SYMMETRIC, Tag.POSITIVE_DEFINITE}) if symmetric else frozenset()

    def factors(self, index: int = 0) -> tuple[np.ndarray, ...]:
        """The arrays of one matrix, counted through the batch, that the kernels in `triangular` solve with.

        For a symmetric factor ``(indptr int32, indices int32, values float64)``, the rows of U of ``M = U^T D U`` with
        ``1 / D`` first in each; for a general one a fourth array says where ``1 / D`` is.
        """
        return self._factors[index]

    def lower(self, index: int = 0) -> scipy.sparse.csr_array:
        """L of ``M = L L^T`` of one matrix, counted through the batch; of a symmetric factor only.

        Its rows and columns are the unknowns, so it is lower triangular where these were eliminated in their own order.
        """
        indptr, indices, values = self._factors[index]
        rows = np.repeat(indices[indptr[:-1]], np.diff(indptr))
        root = np.empty(self._n)
        root[indices[indptr[:-1]]] = 1 / np.sqrt(values[indptr[:-1]])
        scaled = np.where(rows == indices, 1.0, values) * root[rows]
        return scipy.sparse.csr_array((scaled, (indices, rows)), shape=self.shape)

    def __getitem__(self, place: tuple[int, ...]) -> "Factored":
        """Of one matrix of the batch."""
        number = int(np.ravel_multi_index(place, self._batch))
        one = copy(self)
        one._batch, one._factors = (), [self._factors[number]]
        return one

    def matvec(self, x: Inexact[Tensor, "*#batch n"]) -> Inexact[Tensor, "*#batch n"]:
        return applied(self, self._solve, x)

    def transpose(self) -> "Factored":
        if Tag.SYMMETRIC in self.tags:
            return self
        return Factored(self, self._factors, self._name, transposed=not self._transposed)

    def adjoint(self) -> "Factored":
        """The inverses of the conjugate transposed matrices."""
        if not self._dtype.is_complex:
            return self.transpose()
        conjugated = [(indptr, indices, values.conj(), *rest) for indptr, indices, values, *rest in self._factors]
        return Factored(self, conjugated, self._name, transposed=not self._transposed)

    def _solve(self, x: Tensor) -> Tensor:
        """The triangular solves, without a gradient."""
        from pdekit.kernels.sparse.triangular import solve  # compiled code is loaded on first use

        if x.dtype != self._dtype:
            raise InputError(f"{self.name} takes vectors of {self._dtype}; they are {x.dtype}.")
        batch = torch.broadcast_shapes(x.shape[:-1], self._batch) if self._batch else x.shape[:-1]
        owner = owners(self._batch, batch)
        rows = x.detach().resolve_conj().expand(*batch, self._n).reshape(-1, self._n).contiguous()
        out = solve(self._factors, owner.numpy(), rows.numpy(), torch.get_num_threads(), transposed=self._transposed)
        return torch.from_numpy(out).reshape(*batch, self._n)

    def __repr__(self) -> str:
        return self.name


def stored_matrix(recipe: str, A: LinearOperator) -> CSR:
    """The operator, if its entries are stored and on the CPU.

    Raises:
        InputError: they are not; the message names the recipe and what takes this operator.
    """
    if not isinstance(A, CSR):
        raise InputError(
            f"{recipe} factors stored entries and needs a CSR; it was given {A.name}. Use Multigrid() for a Stencil, "
            "Jacobi() for any operator that knows its diagonal, or pass the matrix as a CSR (CSR.from_scipy)."
        )
    if A.device.type != "cpu":
        raise InputError(
            f"{recipe} solves with triangles one unknown after the other, which suits the CPU only; the matrix is on "
            f"{A.device}. Use Chebyshev(), BlockJacobi() or AMG() there."
        )
    check_diagonal(recipe, A)
    return A


def check_diagonal(recipe: str, A: CSR) -> None:
    """Refuse a pattern that lacks an entry of the diagonal.

    Raises:
        InputError: names the recipe and the row.
    """
    if len(places := A.pattern.diagonal[1]) < A.shape[0]:
        row = int(torch.nonzero(torch.bincount(places, minlength=A.shape[0]) == 0)[0])
        raise InputError(
            f"{recipe} divides by the diagonal, but row {row} stores no diagonal entry. A row of zeros makes a matrix "
            "singular; a saddle point needs MINRES, GMRES or Direct()."
        )


def real_symmetric(recipe: str, A: LinearOperator) -> CSR:
    """As `stored_matrix`, for recipes that need a real symmetric matrix."""
    A = stored_matrix(recipe, A)
    if A.dtype.is_complex:
        raise InputError(f"{recipe} takes real symmetric matrices; {A.name} is complex. Use ILU0().")
    if Tag.SYMMETRIC not in A.tags:
        raise InputError(
            f"{recipe} takes symmetric matrices; {A.name} does not equal its transpose. Use ILU0(), with GMRES or "
            "BiCGStab."
        )
    return A


def upper_triangle(
    A: CSR, order: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, Callable[[int], np.ndarray]]:
    """The upper triangles of symmetric matrices, as kernels factor them.

    Args:
        A: the matrices.
        order: ``(n,)`` int32, in which the unknowns are taken; None for their own.

    Returns:
        ``indptr`` and ``indices`` (int32), in places of the order, with the diagonal first in each row; and
        a function that copies the entries of one matrix, counted through the batch.
    """
    from pdekit.kernels.sparse import incomplete  # compiled code is loaded on first use

    order = np.arange(A.shape[0], dtype=np.int32) if order is None else order
    indptr, indices, source = incomplete.upper_triangle(*A.pattern.arrays, order)
    entries = A.entries.detach().reshape(math.prod(A.batch_shape), A.pattern.nnz).numpy()
    return indptr, indices, lambda i: entries[i][source]


def factor_each(one: Callable[[int], None], A: CSR) -> None:
    """Call one(i) for each matrix of the batch, spread over threads where it pays."""
    from pdekit.kernels.threads import for_each_sample

    matrices = math.prod(A.batch_shape)
    large = matrices * A.pattern.nnz > 100_000
    for_each_sample(lambda i, _: one(i), matrices, torch.get_num_threads() if large else 1)


def batch_index(A: LinearOperator, i: int) -> str:
    """How messages name a matrix of the batch: " of matrix [2, 1]", or nothing where there is only one."""
    if math.prod(A.batch_shape) == 1:
        return ""
    return f" of matrix {[int(k) for k in np.unravel_index(i, A.batch_shape)]}"


def entries_and_fill(entries: Sequence[int], stored: int) -> str:
    """The size of factors for names: "163,000 entries, fill 1.0", relative to the ``stored`` entries of the matrix."""
    least, most = min(entries, default=0), max(entries, default=0)
    sizes = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    mean = sum(entries) / max(len(entries), 1)
    return f"{sizes} entries, fill {mean / max(stored, 1):.1f}"

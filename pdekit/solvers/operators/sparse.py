"""One sparse matrix by its stored entries."""

from collections.abc import Sequence

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pdekit.core.errors import InputError
from pdekit.solvers.operators.base import LinearOperator, Tag

__all__ = ["SparseMatrix"]


class SparseMatrix(LinearOperator):
    """One square sparse matrix in compressed rows.

    Args:
        indptr: ``(n + 1,)``, where each row begins in ``indices``.
        indices: ``(nnz,)``, the column of each entry.
        entries: ``(nnz,)``; gradients of a solution flow to them.

    Example:
        >>> A = SparseMatrix.from_scipy(scipy.sparse.eye_array(2, format="csr"))
        >>> A.matvec(torch.ones(2, dtype=torch.float64))
        tensor([1., 1.], dtype=torch.float64)
    """

    def __init__(
        self, indptr: Int[Tensor, " rows_and_one"], indices: Int[Tensor, " nnz"], entries: Float[Tensor, " nnz"]
    ):
        self.indptr, self.indices, self.entries = indptr, indices, entries
        self.rows = torch.repeat_interleave(torch.arange(len(indptr) - 1, device=indptr.device), indptr.diff())
        self._tags: frozenset[Tag] | None = None

    @staticmethod
    def from_scipy(matrix: scipy.sparse.sparray | scipy.sparse.spmatrix) -> "SparseMatrix":
        """Of any SciPy sparse matrix or array, in float64.

        Raises:
            InputError: not square, or complex.
        """
        csr = scipy.sparse.csr_array(matrix)
        sizes = tuple(csr.shape or ())
        if len(sizes) != 2 or sizes[0] != sizes[1]:
            raise InputError(f"A has shape {sizes}; expected a square matrix (n, n).")
        if np.iscomplexobj(csr.data):
            raise InputError("A is complex; expected real entries.")
        csr.sum_duplicates()
        indptr, indices = (torch.from_numpy(part.astype(np.int64)) for part in (csr.indptr, csr.indices))
        return SparseMatrix(indptr, indices, torch.from_numpy(csr.data.astype(np.float64)))

    @property
    def name(self) -> str:
        return f"sparse matrix of order {self.shape[0]}"

    @property
    def shape(self) -> tuple[int, int]:
        n = len(self.indptr) - 1
        return n, n

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return ()

    @property
    def dtype(self) -> torch.dtype:
        return self.entries.dtype

    @property
    def device(self) -> torch.device:
        return self.entries.device

    @property
    def tags(self) -> frozenset[Tag]:
        """Symmetric where the matrix equals its transpose up to rounding."""
        if self._tags is None:
            matrix = self.to_scipy()
            gap = abs(matrix - matrix.T).max() if matrix.nnz else 0.0
            limit = 8 * np.finfo(np.float64).eps * (abs(matrix).max() if matrix.nnz else 0.0)
            self._tags = frozenset({Tag.SYMMETRIC}) if gap <= limit else frozenset()
        return self._tags

    @property
    def values(self) -> tuple[Tensor, ...]:
        return (self.entries,)

    def with_values(self, values: Sequence[Tensor]) -> "SparseMatrix":
        return SparseMatrix(self.indptr, self.indices, values[0])

    def matvec(self, x: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
        if self.device.type == "cpu" and not torch.is_grad_enabled():
            columns = x.detach().reshape(-1, x.shape[-1]).numpy().T
            return torch.from_numpy((self.to_scipy() @ columns).T.reshape(x.shape))
        products = self.entries * x.index_select(-1, self.indices)
        return torch.zeros_like(x).index_add(-1, self.rows, products)

    def diagonal(self) -> Float[Tensor, " n"]:
        on = self.rows == self.indices
        return torch.zeros(self.shape[0], dtype=self.dtype, device=self.device).index_add(
            0, self.rows[on], self.entries[on]
        )

    def transpose(self) -> "SparseMatrix":
        order = torch.argsort(self.indices, stable=True)
        counts = torch.bincount(self.indices, minlength=self.shape[0])
        indptr = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        return SparseMatrix(indptr, self.rows[order], self.entries[order])

    def to_scipy(self, index: tuple[int, ...] = ()) -> scipy.sparse.csr_array:
        parts = (self.entries.detach(), self.indices, self.indptr)
        return scipy.sparse.csr_array(tuple(part.cpu().numpy() for part in parts), shape=self.shape)

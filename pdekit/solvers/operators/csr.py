"""Batches of sparse matrices on one pattern."""

import math
from collections.abc import Sequence
from numbers import Number
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from pdekit.core.checks import is_fake
from pdekit.core.errors import InputError
from pdekit.solvers.operators.arithmetic import as_factors, check_stored, columns, of_multiple, of_sum, orthonormal
from pdekit.solvers.operators.base import LinearOperator, Tag, owners
from pdekit.solvers.operators.constants import constants_in
from pdekit.solvers.operators.pattern import Pattern
from pdekit.solvers.operators.symmetry import symmetries

__all__ = ["CSR", "Points"]


class Points(NamedTuple):
    """Where the unknowns of a matrix are.

    Args:
        points: ``(n, dim)``, the place of each unknown.
        component: ``(n,)``, which component of a vector field it is; 0 for a scalar field.
    """

    points: Float[Tensor, "n dim"]
    component: Int[Tensor, " n"]

    def __getitem__(self, unknowns) -> Any:  # rows of unknowns, not the fields of a tuple
        return Points(self.points[unknowns], self.component[unknowns])


class CSR(LinearOperator):
    """Square sparse matrices in compressed rows, of one pattern and batched entries, real or complex.

    Args:
        indptr: ``(n + 1,)``, where each row begins in ``indices``; or a :class:`Pattern`, which matrices can share.
        indices: ``(nnz,)``, the column of each entry, in order within each row; None with a pattern.
        entries: ``(*batch, nnz)``, float64 or complex128; gradients of products and solutions flow to them.
        tags: properties known to hold for every matrix; None finds from the entries, on first use, whether they are
            symmetric (and Hermitian).
        nullspace: ``(n, k)``, orthonormal columns that span the null space that the matrices and their adjoints share.
            None finds, on first use, whether it is the constants: whether the rows of symmetric matrices sum to 0.
        near_nullspace: ``(n, modes)``, vectors that the matrices nearly annihilate, such as rigid-body modes, for AMG.
        geometry: where the unknowns are.

    Raises:
        InputError: arrays that make no matrix.

    Example:
        >>> A = CSR.from_scipy(scipy.sparse.eye_array(2, format="csr"))
        >>> A.matvec(torch.ones(2, dtype=torch.float64))
        tensor([1., 1.], dtype=torch.float64)
        >>> CSR(A.pattern, None, torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)).batch_shape
        (2,)
        >>> (A + 2.0 * A) @ np.ones(2)
        array([3., 3.])
    """

    def __init__(
        self,
        indptr: Int[Tensor, " rows_and_one"] | Pattern,
        indices: Int[Tensor, " nnz"] | None,
        entries: Shaped[Tensor, "*batch nnz"],
        *,
        tags: frozenset[Tag] | None = None,
        nullspace: Shaped[Tensor, "n k"] | None = None,
        near_nullspace: Shaped[Tensor, "n modes"] | None = None,
        geometry: Points | None = None,
    ):
        if isinstance(indptr, Pattern):
            self.pattern = indptr
        elif indices is None:
            raise InputError("indices is None; expected the column of each entry, or a Pattern in place of indptr.")
        else:
            self.pattern = Pattern(indptr, indices)
        if entries.ndim == 0 or entries.shape[-1] != self.pattern.nnz:
            raise InputError(f"entries has shape {tuple(entries.shape)}; expected (*batch, {self.pattern.nnz}).")
        self.entries = entries
        self._stated = tags, nullspace
        self._tags, self._nullspace, self._searched = tags, nullspace, nullspace is not None
        self.near_nullspace, self.geometry = near_nullspace, geometry

    @staticmethod
    def from_scipy(
        matrix: scipy.sparse.sparray | scipy.sparse.spmatrix,
        *,
        tags: frozenset[Tag] | None = None,
        nullspace: Shaped[Tensor, "..."] | np.ndarray | None = None,
        near_nullspace: Shaped[Tensor, "..."] | np.ndarray | None = None,
    ) -> "CSR":
        """Of any SciPy sparse matrix or array, in float64 or complex128.

        Args:
            matrix: square.
            tags: properties known to hold, as for :class:`CSR`.
            nullspace: ``(n, k)`` or ``(n,)``, vectors that span the null space; they are made orthonormal.
            near_nullspace: ``(n, modes)`` or ``(n,)``, vectors that the matrix nearly annihilates, for AMG.

        Raises:
            InputError: not square, arrays that make no matrix, vectors of another length, dependent ones, or a null
                space that the matrix does not map to 0.

        Example:
            >>> A = scipy.sparse.csr_array([[1.0, -1.0], [-1.0, 1.0]])
            >>> CSR.from_scipy(A, nullspace=np.ones(2)).nullspace.shape
            torch.Size([2, 1])
        """
        check_stored(matrix)
        csr = scipy.sparse.csr_array(matrix, copy=True)
        sizes = tuple(csr.shape or ())
        if len(sizes) != 2 or sizes[0] != sizes[1]:
            raise InputError(f"A has shape {sizes}; expected a square matrix (n, n).")
        csr.sum_duplicates()
        indptr, indices = (torch.from_numpy(part.astype(np.int64)) for part in (csr.indptr, csr.indices))
        precise = np.complex128 if np.iscomplexobj(csr.data) else np.float64
        one = CSR(indptr, indices, torch.from_numpy(csr.data.astype(precise)), tags=tags)
        if near_nullspace is not None:
            one.near_nullspace = columns("near_nullspace", near_nullspace, one)
        if nullspace is not None:
            one._nullspace, one._searched = orthonormal(columns("nullspace", nullspace, one), one), True
            one._stated = tags, one._nullspace
        return one

    @property
    def name(self) -> str:
        kind = "complex sparse" if self.entries.is_complex() else "sparse"
        return f"{kind} matrix of order {self.shape[0]:,} with {self.pattern.nnz:,} entries"

    @property
    def indptr(self) -> Int[Tensor, " rows_and_one"]:
        return self.pattern.indptr

    @property
    def indices(self) -> Int[Tensor, " nnz"]:
        return self.pattern.indices

    @property
    def rows(self) -> Int[Tensor, " nnz"]:
        """The row of each entry."""
        return self.pattern.rows

    @property
    def shape(self) -> tuple[int, int]:
        return self.pattern.n, self.pattern.n

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return tuple(self.entries.shape[:-1])

    @property
    def dtype(self) -> torch.dtype:
        return self.entries.dtype

    @property
    def device(self) -> torch.device:
        return self.entries.device

    @property
    def tags(self) -> frozenset[Tag]:
        """As given; otherwise whether each matrix equals its transpose (SYMMETRIC) and its adjoint (HERMITIAN)."""
        if self._tags is None:
            self._tags = self._find_tags()
        return self._tags

    def _find_tags(self) -> frozenset[Tag]:
        both = frozenset({Tag.SYMMETRIC, Tag.HERMITIAN})
        if self.entries.numel() == 0:
            return both
        turned, order = self.pattern.transposed
        if turned is not self.pattern:
            # An entry whose mirror image is not stored may still be 0.
            one = self.to_scipy() if not self.batch_shape else None
            return both if one is not None and _mirrored(one) else frozenset()
        return symmetries(self.entries.detach(), order)

    @property
    def nullspace(self) -> Shaped[Tensor, "n k"] | None:
        """As given; otherwise the constants, where every matrix is Hermitian and maps them to 0 (graph Laplacians)."""
        if not self._searched:
            self._nullspace, self._searched = constants_in(self), True
        return self._nullspace

    @property
    def values(self) -> tuple[Tensor, ...]:
        return (self.entries,)

    def with_values(self, values: Sequence[Tensor]) -> "CSR":
        """The same pattern with other entries, of which only what was stated still holds, not what was found."""
        tags, nullspace = self._stated
        return CSR(
            self.pattern, None, values[0], tags=tags, nullspace=nullspace, near_nullspace=self.near_nullspace,
            geometry=self.geometry,
        )  # fmt: skip

    def _with(self, entries: Tensor, tags: frozenset[Tag] | None) -> "CSR":
        return CSR(
            self.pattern, None, entries, tags=tags, nullspace=self._nullspace, near_nullspace=self.near_nullspace,
            geometry=self.geometry,
        )  # fmt: skip

    def __getitem__(self, rows) -> "CSR":
        """Some matrices of the batch."""
        return self._with(self.entries[rows], self._tags)

    def __add__(self, other: Any) -> "CSR":
        """The sum of two batches, the pattern of one of which contains the other's; of the first's geometry."""
        if not isinstance(other, CSR):
            return NotImplemented
        wide, narrow = (self, other) if self.pattern.nnz >= other.pattern.nnz else (other, self)
        total = wide.entries + narrow.pattern.embed(narrow.entries, wide.pattern)
        tags = None if self._tags is None or other._tags is None else of_sum(self._tags, other._tags)
        return CSR(wide.pattern, None, total, tags=tags, near_nullspace=self.near_nullspace, geometry=self.geometry)

    def __sub__(self, other: Any) -> "CSR":
        return self + -other if isinstance(other, CSR) else NotImplemented

    def __mul__(self, factor: Any) -> "CSR":
        """Every matrix times a number, or times its own of a tensor ``(*batch,)``; differentiable with respect to both.

        The null space stays, and what is known of symmetry; definiteness where all factors are positive.

        Raises:
            InputError: factors that do not go with the batch, or a vector: the product is ``A @ x``.
        """
        if not isinstance(factor, Number | Tensor | np.ndarray):
            return NotImplemented
        factors = as_factors(factor, self)
        scaled = self._with(self.entries * factors[..., None], of_multiple(self._tags, factors))
        if not bool((factors.detach() != 0).all()):
            scaled._nullspace, scaled._searched = None, False
        return scaled

    __rmul__ = __mul__

    def __truediv__(self, divisor: Any) -> "CSR":
        if not isinstance(divisor, Number | Tensor | np.ndarray):
            return NotImplemented
        return self * (1 / as_factors(divisor, self))

    def __neg__(self) -> "CSR":
        return self * -1.0

    def matvec(self, x: Shaped[Tensor, "*#batch n"]) -> Shaped[Tensor, "*#batch n"]:
        if not torch.is_grad_enabled():
            return _product(self.entries, x, self.pattern)
        return _Product.apply(self.entries, x, self.pattern)  # pyright: ignore[reportReturnType]

    def diagonal(self) -> Shaped[Tensor, "*batch n"]:
        places, rows = self.pattern.diagonal
        zeros = self.entries.new_zeros((*self.batch_shape, self.shape[0]))
        return zeros.index_copy(-1, rows, self.entries.index_select(-1, places))

    def transpose(self) -> "CSR":
        if self._tags is not None and Tag.SYMMETRIC in self._tags:
            return self
        turned, order = self.pattern.transposed
        entries = self.entries.index_select(-1, order)
        return CSR(
            turned,
            None,
            entries,
            tags=self._tags,
            nullspace=None if self._nullspace is None else self._nullspace.conj(),
            near_nullspace=self.near_nullspace,
            geometry=self.geometry,
        )

    def adjoint(self) -> "CSR":
        """The conjugate transpose."""
        if self._tags is not None and self.hermitian:
            return self
        if not self.entries.is_complex():
            return self.transpose()
        turned, order = self.pattern.transposed
        symmetric = self._tags is not None and Tag.SYMMETRIC in self._tags
        return CSR(
            turned,
            None,
            (self.entries if symmetric else self.entries.index_select(-1, order)).conj().resolve_conj(),
            tags=self._tags,
            nullspace=self._nullspace,
            near_nullspace=self.near_nullspace,
            geometry=self.geometry,
        )

    def to_scipy(self, index: tuple[int, ...] = ()) -> scipy.sparse.csr_array:
        indptr, indices = self.pattern.arrays
        return scipy.sparse.csr_array((self.entries[index].detach().cpu().numpy(), indices, indptr), shape=self.shape)

    def __repr__(self) -> str:
        return f"CSR({self.name}, batch {self.batch_shape}, {self.dtype})"


def _mirrored(matrix: scipy.sparse.csr_array) -> bool:
    largest = abs(matrix).max() if matrix.nnz else 0.0
    return bool(abs(matrix - matrix.T).max() <= 8 * np.finfo(np.float64).eps * largest)


def _product(entries: Tensor, x: Tensor, pattern: Pattern) -> Tensor:
    """A x without a gradient."""
    batch = x.shape[:-1] if entries.ndim == 1 else torch.broadcast_shapes(entries.shape[:-1], x.shape[:-1])
    kind = torch.promote_types(entries.dtype, x.dtype)
    entries, x = entries.to(kind).resolve_conj(), x.to(kind).resolve_conj()
    if x.device.type != "cpu" or is_fake(x):
        products = entries * x.index_select(-1, pattern.indices)
        zeros = torch.zeros((*batch, pattern.n), dtype=kind, device=x.device)
        return zeros.index_add(-1, pattern.rows, products)
    from pdekit.kernels.sparse.product import matvec  # compiled code is loaded on first use

    matrices = math.prod(entries.shape[:-1])
    owner = owners(entries.shape[:-1], batch)
    out = matvec(
        *pattern.arrays,
        entries.detach().reshape(matrices, pattern.nnz).contiguous().numpy(),
        owner.numpy(),
        x.detach().expand(*batch, pattern.n).reshape(-1, pattern.n).contiguous().numpy(),
        torch.get_num_threads(),
    )
    return torch.from_numpy(out).reshape(*batch, pattern.n)


class _Product(torch.autograd.Function):
    """A x; the gradients are the two functions here again, so that they can be differentiated any number of times."""

    @staticmethod
    def forward(ctx: Any, entries: Tensor, x: Tensor, pattern: Pattern) -> Tensor:
        ctx.save_for_backward(entries, x)
        ctx.pattern = pattern
        return _product(entries, x, pattern)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor):
        (g,), (entries, x), pattern = cotangents, ctx.saved_tensors, ctx.pattern
        to_entries = to_x = None
        if ctx.needs_input_grad[0]:
            to_entries = _Outer.apply(g, x.conj(), pattern).sum_to_size(entries.shape)  # pyright: ignore
            to_entries = to_entries if entries.is_complex() else to_entries.real
        if ctx.needs_input_grad[1]:
            turned, order = pattern.transposed
            to_x = _Product.apply(entries.index_select(-1, order).conj(), g, turned).sum_to_size(x.shape)  # pyright: ignore
            to_x = to_x if x.is_complex() else to_x.real
        return to_entries, to_x, None


class _Outer(torch.autograd.Function):
    """The entries g_i x_j of an outer product at the places of a pattern."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor, pattern: Pattern) -> Tensor:
        ctx.save_for_backward(g, x)
        ctx.pattern = pattern
        return g.index_select(-1, pattern.rows) * x.index_select(-1, pattern.indices)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor):
        (h,), (g, x), pattern = cotangents, ctx.saved_tensors, ctx.pattern
        turned, order = pattern.transposed
        to_g = _Product.apply(h, x.conj(), pattern).sum_to_size(g.shape)  # pyright: ignore
        to_x = _Product.apply(h.index_select(-1, order), g.conj(), turned).sum_to_size(x.shape)  # pyright: ignore
        return to_g if g.is_complex() else to_g.real, to_x if x.is_complex() else to_x.real, None

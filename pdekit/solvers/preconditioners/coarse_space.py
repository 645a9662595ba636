"""A few vectors over aggregates of unknowns, and the solves within the space they span."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.core.checks import is_fake
from pdekit.core.errors import InputError
from pdekit.solvers.operators.base import LinearOperator, Tag, owners
from pdekit.solvers.operators.csr import CSR
from pdekit.solvers.preconditioners.factored import check_diagonal, factor_each

__all__ = ["CoarseSpace", "coarse_space"]


@dataclass(frozen=True, eq=False)
class CoarseSpace:
    """The spaces spanned by the columns of Z, one for each matrix of a batch, made by :func:`coarse_space`.

    Args:
        basis: ``(unknowns, m)``, Z of all matrices as the blocks of one.
        factor: of ``Z^T A Z``, as `pdekit.kernels.sparse.triangular` describes it.
        batch_shape: of the matrices; the unknowns are those of one after the other.
    """

    basis: scipy.sparse.csr_array
    factor: tuple[np.ndarray, np.ndarray, np.ndarray]
    batch_shape: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """Coarse unknowns of all matrices."""
        return len(self.factor[0]) - 1

    @staticmethod
    def join(spaces: "Sequence[CoarseSpace]") -> "CoarseSpace":
        """Of several matrices of any sizes, for vectors ``(*k, unknowns)`` through all of them.

        Example:
            >>> A = CSR.from_scipy(scipy.sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(90, 90)))
            >>> CoarseSpace.join([coarse_space(A, aggregate=9), coarse_space(A, aggregate=30)]).basis.shape
            (180, 13)
        """
        if len(spaces) == 1:
            return spaces[0]
        basis = scipy.sparse.block_diag([space.basis for space in spaces], format="csr")
        return CoarseSpace(scipy.sparse.csr_array(basis), _together([space.factor for space in spaces]))

    def apply(self, r: Float[Tensor, "*k n"]) -> Float[Tensor, "*k n"]:
        """Z (Z^T A Z)^-1 Z^T r, on the CPU wherever r is; differentiable in r.

        Args:
            r: vectors, whose leading axes broadcast with the batch of the matrices.
        """
        if not torch.is_grad_enabled():
            return self._apply(r)
        return _Projection.apply(r, self)  # pyright: ignore[reportReturnType]

    @cached_property
    def _turned(self) -> scipy.sparse.csr_array:
        """Z^T."""
        return scipy.sparse.csr_array(self.basis.T.tocsr())

    def _apply(self, r: Tensor) -> Tensor:
        batch, n = torch.broadcast_shapes(r.shape[:-1], self.batch_shape), r.shape[-1]
        if is_fake(r) or 0 in (*batch, n):
            return r.new_empty(*batch, n)
        rows = r.detach().cpu().to(torch.float64).expand(*batch, n)
        if batch[len(batch) - len(self.batch_shape) :] == self.batch_shape:
            out = self._project(rows.reshape(-1, math.prod(self.batch_shape) * n))
        else:  # one matrix meets several vectors of an axis: each vector goes among zeros for the others
            owner = owners(self.batch_shape, batch)
            wide = torch.zeros(len(owner), math.prod(self.batch_shape), n, dtype=torch.float64)
            places = torch.arange(len(owner)), owner
            wide[places] = rows.reshape(-1, n)
            out = self._project(wide.flatten(1)).reshape(wide.shape)[places]
        return out.reshape(*batch, n).to(r)

    def _project(self, rows: Tensor) -> Tensor:
        """Z (Z^T A Z)^-1 Z^T of vectors through all matrices."""
        from pdekit.kernels.sparse.product import matvec  # compiled code is loaded on first use
        from pdekit.kernels.sparse.triangular import solve

        owner, threads = np.zeros(len(rows), dtype=np.int64), torch.get_num_threads()

        def product(Z: scipy.sparse.csr_array, x: np.ndarray) -> np.ndarray:
            return matvec(Z.indptr, Z.indices, Z.data[None], owner, x, threads)

        coarse = solve([self.factor], owner, product(self._turned, rows.contiguous().numpy()), threads)
        return torch.from_numpy(product(self.basis, coarse))


class _Projection(torch.autograd.Function):
    """The map is symmetric, so its gradient is itself."""

    @staticmethod
    def forward(ctx: Any, r: Tensor, space: CoarseSpace) -> Tensor:
        ctx.space, ctx.shape = space, r.shape
        return space._apply(r)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor):
        return ctx.space.apply(cotangents[0]).sum_to_size(ctx.shape), None


def coarse_space(A: LinearOperator, aggregate: int = 64, smoothed: bool = True) -> CoarseSpace:
    """Columns over aggregates of unknowns that reproduce what the matrices nearly annihilate, and the coarse factors.

    Of a matrix with a null space, as many columns are left out, so that the coarse matrix is definite.

    Args:
        A: a real symmetric :class:`CSR`, positive (semi)definite.
        aggregate: unknowns of each component that make one, about.
        smoothed: take a step of damped Jacobi on the columns.

    Raises:
        InputError: another operator, or a coarse matrix that is not definite.

    Example:
        >>> A = CSR.from_scipy(scipy.sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(90, 90)))
        >>> space, x = coarse_space(A, aggregate=9), torch.ones(90, dtype=torch.float64)
        >>> space.basis.shape, bool(torch.allclose(space.apply(A.matvec(space.apply(x))), space.apply(x)))
        ((90, 10), True)

    Source:
        Vaněk, Mandel, Brezina, Computing 56 (1996) 179.
    """
    A = _suitable(A)
    from pdekit.solvers.preconditioners.coarse_plan import plan_for  # compiled code is loaded on first use

    plan = plan_for(A, aggregate, smoothed)
    entries = A.entries.detach().cpu().reshape(math.prod(A.batch_shape), A.pattern.nnz).contiguous().numpy()
    count, n, m = len(entries), A.shape[0], plan.size
    values, factors = np.empty((count, len(plan.columns))), [_NOTHING] * count

    def one(i: int) -> None:
        values[i] = plan.basis(A, entries[i])
        factors[i] = plan.factor(A, i, entries[i], values[i])

    factor_each(one, A)
    number = np.arange(count, dtype=np.int32)[:, None]
    starts = np.concatenate([plan.starts[:1], (number * np.int32(len(plan.columns)) + plan.starts[1:]).ravel()])
    columns = (number * np.int32(m) + plan.columns).ravel()
    basis = scipy.sparse.csr_array((values.ravel(), columns, starts), shape=(count * n, count * m))
    return CoarseSpace(basis, _together(factors), A.batch_shape)


def _together(factors: Sequence[tuple[np.ndarray, ...]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The factors of the blocks of one matrix as its factor."""
    starts = np.cumsum([0, *(len(indptr) - 1 for indptr, _, _ in factors)]).astype(np.int32)
    places = np.cumsum([0, *(len(indices) for _, indices, _ in factors)]).astype(np.int32)
    indptr = [indptr[1:] + place for (indptr, _, _), place in zip(factors, places, strict=False)]
    indices = [indices + start for (_, indices, _), start in zip(factors, starts, strict=False)]
    values = [values for _, _, values in factors]
    whole = zip(_NOTHING, (indptr, indices, values), strict=True)
    return tuple(np.concatenate([first, *parts]) for first, parts in whole)  # pyright: ignore[reportReturnType]


def _suitable(A: LinearOperator) -> CSR:
    if not isinstance(A, CSR):
        raise InputError(
            f"TwoLevel aggregates unknowns by stored entries and needs a CSR; it was given {A.name}. Use Multigrid() "
            "for a Stencil, or pass the matrix as a CSR (CSR.from_scipy)."
        )
    if A.dtype != torch.float64 or Tag.SYMMETRIC not in A.tags:
        kind = "is complex" if A.dtype.is_complex else "does not equal its transpose"
        raise InputError(f"TwoLevel takes real symmetric matrices; {A.name} {kind}. Use ILU0() with GMRES or BiCGStab.")
    check_diagonal("TwoLevel", A)
    return A


_NOTHING = np.zeros(1, dtype=np.int32), np.zeros(0, dtype=np.int32), np.zeros(0)
"""The factor of a matrix without unknowns."""

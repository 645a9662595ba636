"""A few vectors over aggregates of unknowns, and the solves within the space they span."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse
import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.core.checks import is_fake
from pdekit.core.errors import InputError
from pdekit.solvers.operators.base import LinearOperator, Tag, owners
from pdekit.solvers.operators.csr import CSR
from pdekit.solvers.operators.pattern import Pattern
from pdekit.solvers.preconditioners.aggregates import aggregates
from pdekit.solvers.preconditioners.factored import batch_index, check_diagonal

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
        starts = np.cumsum([0, *(space.size for space in spaces)]).astype(np.int32)
        places = np.cumsum([0, *(space.factor[0][-1] for space in spaces)]).astype(np.int32)
        indptr, indices, values = [starts[:1]], [starts[:0]], [np.empty(0)]
        for space, start, place in zip(spaces, starts, places, strict=False):
            indptr.append(space.factor[0][1:] + place)
            indices.append(space.factor[1] + start)
            values.append(space.factor[2])
        blocks = [scipy.sparse.csr_array((0, 0)), *(space.basis for space in spaces)]
        basis = scipy.sparse.csr_array(scipy.sparse.block_diag(blocks, format="csr"))
        return CoarseSpace(basis, (np.concatenate(indptr), np.concatenate(indices), np.concatenate(values)))

    def apply(self, r: Float[Tensor, "*k n"]) -> Float[Tensor, "*k n"]:
        """Z (Z^T A Z)^-1 Z^T r, on the CPU wherever r is; differentiable in r.

        Args:
            r: vectors, whose leading axes broadcast with the batch of the matrices.
        """
        if not torch.is_grad_enabled():
            return self._apply(r)
        return _Projection.apply(r, self)  # pyright: ignore[reportReturnType]

    @cached_property
    def _arrays(self) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
        """Z^T and Z for the kernel of products."""
        turned = scipy.sparse.csr_array(self.basis.T.tocsr())
        return tuple(
            (part.indptr.astype(np.int32), part.indices.astype(np.int32), part.data[None])
            for part in (turned, self.basis)
        )  # pyright: ignore[reportReturnType]

    def _apply(self, r: Tensor) -> Tensor:
        batch, n = torch.broadcast_shapes(r.shape[:-1], self.batch_shape), r.shape[-1]
        if is_fake(r) or 0 in (*batch, n):
            return r.new_empty(*batch, n)
        rows = r.detach().cpu().to(torch.float64).expand(*batch, n)
        if batch[len(batch) - len(self.batch_shape) :] == self.batch_shape:
            out = self._project(rows.reshape(-1, self.basis.shape[0]))
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
        restrict, prolong = self._arrays
        coarse = solve([self.factor], owner, matvec(*restrict, owner, rows.contiguous().numpy(), threads), threads)
        return torch.from_numpy(matvec(*prolong, owner, coarse, threads))


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
    tentative = aggregates(A, aggregate)
    if A.nullspace is not None:
        tentative = _without(tentative, A.nullspace.detach().cpu().numpy())
    indptr, indices = A.pattern.arrays
    spaces = []
    for i, entries in enumerate(A.entries.detach().cpu().reshape(-1, A.pattern.nnz).numpy()):
        matrix = scipy.sparse.csr_array((entries, indices, indptr), shape=A.shape)
        basis = tentative
        if smoothed:
            # Rows of sums of sizes in place of twice the diagonal, which they are for diffusion: no step is too long.
            step = 2 * _DAMPING / abs(matrix).sum(axis=1)
            basis = tentative - scipy.sparse.diags_array(step) @ (matrix @ tentative)
        spaces.append(CoarseSpace(scipy.sparse.csr_array(basis), _factor(basis.T @ (matrix @ basis), A, i)))
    space = CoarseSpace.join(spaces)
    return CoarseSpace(space.basis, space.factor, A.batch_shape)


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


def _without(columns: scipy.sparse.csr_array, nullspace: np.ndarray) -> scipy.sparse.csr_array:
    """The columns less as many as the null space has, chosen so that no vector of it is left in their span."""
    _, order = scipy.linalg.qr((columns.T @ nullspace).T, mode="r", pivoting=True)
    return columns[:, np.sort(order[nullspace.shape[1] :])]


def _factor(matrix: Any, A: CSR, i: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The complete Cholesky factor of a coarse matrix."""
    from pdekit.kernels.sparse.incomplete import cholesky_with_threshold, upper_triangle  # loaded on first use

    coarse = scipy.sparse.csr_array(matrix)
    coarse.sort_indices()
    pattern = Pattern(*(torch.from_numpy(part.astype(np.int64)) for part in (coarse.indptr, coarse.indices)))
    order = pattern.cuthill_mckee
    indptr, indices, source = upper_triangle(*pattern.arrays, order)
    starts, columns, values, row, pivot = cholesky_with_threshold(indptr, indices, coarse.data[source], 0.0, 0.0, -1)
    if row >= 0:
        raise InputError(
            f"The coarse matrix Z^T A Z{batch_index(A, i)} has a pivot that is not positive ({pivot:.1e} of its "
            "diagonal entry), so the matrix is not positive definite. MINRES, GMRES and Direct() take it."
        )
    return starts, order[columns], values


_DAMPING = 0.66
"""Of the step of Jacobi."""

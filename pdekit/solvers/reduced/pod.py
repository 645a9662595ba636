"""Proper orthogonal decomposition: the directions that a set of solutions spans, by importance."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from pdekit.core.checks import as_numbers, check_finite, check_limit, check_number
from pdekit.core.errors import InputError
from pdekit.solvers.operators.base import LinearOperator
from pdekit.solvers.operators.convert import MatrixLike, VectorLike, as_operator, precise

__all__ = ["POD", "magnitude", "pod"]

_ROUNDING = 1e-15
"""Singular values, as a part of the largest, below which nothing but rounding is left."""


class POD(NamedTuple):
    """An orthonormal basis of snapshots, the most important vector first.

    Args:
        basis: ``(*batch, size, n)``, a vector a row, orthonormal in the inner product.
        values: ``(*batch, count)``, all singular values of the snapshots, kept or not.
    """

    basis: Inexact[Tensor, "*batch size n"]
    values: Float[Tensor, "*batch count"]


@torch.no_grad()
def pod(
    snapshots: VectorLike, size: int | None = None, tolerance: float = 1e-12, inner: MatrixLike | None = None
) -> POD:
    """The basis of each size that approximates a set of vectors best, in the mean of squares.

    The snapshots are made orthonormal (Householder reflections, or Gram-Schmidt twice in an energy product), and the
    small triangle that this leaves gets a singular value decomposition. The Gram matrix of the snapshots, whose
    eigenvalues are the squares of the singular values, is never formed: with it all directions below 1e-8 of the first
    would drown in rounding.

    Args:
        snapshots: ``(*batch, count, n)``, a vector a row, NumPy or torch, real or complex.
        size: how many vectors to keep at most; None leaves it to the tolerance.
        tolerance: keep so many that the mean square of what is cut off is at most the square of this part of the mean
            square of the snapshots. A batch keeps as many as its worst case needs.
        inner: the Hermitian positive definite matrix M of the inner product ``conj(u) . M v`` (the energy norm, a mass
            matrix); None is the Euclidean one.

    Returns:
        The basis and all singular values.

    Raises:
        InputError: snapshots that are no finite vectors of one length, or an inner product that is not Hermitian.

    Example:
        >>> found = pod(np.outer([1.0, 2.0, 2.0], [0.0, 3.0, 4.0]))  # three multiples of one vector
        >>> (found.basis / found.basis[0, 2]).round(decimals=9), found.values.round(decimals=9)
        (tensor([[0.0000, 0.7500, 1.0000]], dtype=torch.float64), tensor([15.,  0.,  0.], dtype=torch.float64))

    Source:
        Sirovich, "Turbulence and the dynamics of coherent structures", 1987; Chan, "An improved algorithm for computing
        the singular value decomposition", 1982 (the triangle first).
    """
    vectors = precise(as_numbers("snapshots", snapshots))
    if vectors.ndim < 2 or 0 in vectors.shape[-2:]:
        raise InputError(f"snapshots has shape {tuple(vectors.shape)}; expected (*batch, count, n), a vector a row.")
    check_finite("snapshots", vectors)
    if size is not None:
        check_limit("pod", "size", size)
    check_number("pod", "tolerance", tolerance)
    if not 0 <= tolerance < 1:
        raise InputError(f"pod has tolerance={tolerance}; expected a number from 0 to 1.")
    scale = magnitude(vectors, (-2, -1))  # squares of entries beyond 1e154 are beyond all numbers
    vectors = vectors / scale
    if inner is None:
        columns, triangle = torch.linalg.qr(vectors.mT)
        rows = columns.mT
    else:
        rows, triangle = _orthonormalised(vectors, inner)
    turn, values, _ = torch.linalg.svd(triangle, full_matrices=False)
    squares = values.square()
    left = squares.flip(-1).cumsum(-1).flip(-1)  # what is cut off where nothing from here on is kept
    needed = (left > tolerance**2 * left[..., :1]) & (values > _ROUNDING * values[..., :1])
    kept = int(needed.sum(-1).max()) if needed.numel() else 0
    kept = kept if size is None else min(kept, size)
    return POD(turn.mT[..., :kept, :] @ rows, values * scale[..., 0])


def magnitude(v: Inexact[Tensor, "..."], axes: tuple[int, ...]) -> Float[Tensor, "..."]:
    """The power of two next below the largest entry along axes, which stay with length 1; 1 where all are 0.

    Division by it rounds nothing. Of complex entries the larger part counts, whose modulus may be beyond all numbers.

    Example:
        >>> magnitude(torch.tensor([[3.0, -5.0], [0.0, 0.0]]), (-1,)).tolist()
        [[4.0], [1.0]]
    """
    sizes = torch.view_as_real(v.resolve_conj()).abs().amax(-1) if v.is_complex() else v.abs()
    largest = sizes.amax(axes, keepdim=True)
    return torch.where(largest > 0, largest / (2 * torch.frexp(largest).mantissa), 1.0)


def _orthonormalised(vectors: Tensor, given: MatrixLike) -> tuple[Tensor, Tensor]:
    """Rows that are orthonormal in an inner product (0 for dependent vectors), and the triangle of coordinates."""
    inner = as_operator(given)
    if inner.batch_shape or not inner.hermitian or inner.shape[0] != vectors.shape[-1]:
        raise InputError(
            f"inner is a {inner.name}; expected one Hermitian positive definite matrix of order {vectors.shape[-1]}."
        )
    count = vectors.shape[-2]
    rows, images = torch.zeros_like(vectors), torch.zeros_like(vectors)
    triangle = vectors.new_zeros((*vectors.shape[:-2], count, count))
    for k in range(count):
        v = vectors[..., k, :]
        before = _norm(v, inner)
        for _ in range(2):  # the second time takes out what rounding left
            h = (images[..., :k, :].conj() @ v.unsqueeze(-1)).squeeze(-1)
            v = v - (rows[..., :k, :].mT @ h.unsqueeze(-1)).squeeze(-1)
            triangle[..., :k, k] += h
        length = _norm(v, inner)
        length = torch.where(length > 4 * _ROUNDING * before, length, 0.0)
        triangle[..., k, k] = length
        rows[..., k, :] = v * torch.where(length > 0, 1 / length, 0.0).unsqueeze(-1)
        images[..., k, :] = inner.matvec(rows[..., k, :])
    return rows, triangle


def _norm(v: Tensor, inner: LinearOperator) -> Tensor:
    square = torch.linalg.vecdot(v, inner.matvec(v)).real
    if not bool((square >= -_ROUNDING * torch.linalg.vecdot(v, v).real).all()):
        raise InputError(f"inner is not positive definite: it gives a vector the squared length {float(square.min())}.")
    return square.clamp(min=0).sqrt()

"""What multiples and sums of matrices keep, and vectors that a user states of one."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from pdekit.core.checks import as_numbers, check_finite
from pdekit.core.errors import InputError
from pdekit.solvers.operators.base import LinearOperator, Tag

if TYPE_CHECKING:
    from pdekit.solvers.operators.csr import CSR

__all__ = ["as_factors", "check_stored", "columns", "of_multiple", "of_sum", "orthonormal"]

_DEFINITE = frozenset({Tag.POSITIVE_DEFINITE, Tag.POSITIVE_SEMIDEFINITE})
_DEPENDENT = 1e-10
_ANNIHILATED = 1e-10


def as_factors(factor: Any, A: LinearOperator) -> Shaped[Tensor, "*batch"]:
    """Numbers that go with the batch of A, in float64 or complex128."""
    if isinstance(factor, int | float | complex):  # of which torch would make single precision
        factor = torch.tensor(factor, dtype=torch.complex128 if isinstance(factor, complex) else torch.float64)
    numbers = as_numbers("The factor", factor)
    numbers = numbers.to(torch.complex128 if numbers.is_complex() else torch.float64)
    shape, n = tuple(numbers.shape), A.shape[0]
    if shape == (n,) and n > 1 and A.batch_shape == ():
        raise InputError(
            f"The factor has shape {shape}, as vectors have: A * c scales matrices, A @ x is the product with x. "
            f"For {n} multiples of one matrix give it a batch axis: A[None] * c."
        )
    try:
        torch.broadcast_shapes(shape, A.batch_shape)
    except RuntimeError:
        raise InputError(
            f"The factor has shape {shape}, which does not go with the batch {A.batch_shape} of A; expected a number, "
            "or one for each matrix."
        ) from None
    return numbers


def of_multiple(tags: frozenset[Tag] | None, factors: Shaped[Tensor, "*batch"]) -> frozenset[Tag] | None:
    """The properties of a matrix that its multiples have."""
    if tags is None:
        return None
    if factors.is_complex():
        return tags & {Tag.SYMMETRIC}
    return tags if bool((factors.detach() > 0).all()) else tags - _DEFINITE


def of_sum(first: frozenset[Tag], second: frozenset[Tag]) -> frozenset[Tag]:
    """The properties of the sum of two matrices: definite as soon as one of them is and the other semidefinite."""
    known = first & second
    if first & _DEFINITE and second & _DEFINITE and first != second:
        return known | ({Tag.POSITIVE_DEFINITE} & (first | second))
    return known


def check_stored(matrix: Any) -> None:
    """Refuse a SciPy matrix whose arrays were changed so that they make none, with which SciPy itself would crash.

    Raises:
        InputError: starts of rows (CSC: columns) that do not run upwards through the stored entries, or numbers of
            columns (rows) that do not exist.
    """
    if getattr(matrix, "format", None) not in ("csr", "csc"):
        return
    starts, places = np.asarray(matrix.indptr), np.asarray(matrix.indices)
    lines, across = matrix.shape if matrix.format == "csr" else matrix.shape[::-1]
    stored = min(len(places), len(matrix.data))
    if len(starts) != lines + 1 or starts[0] != 0 or starts[-1] > stored or (np.diff(starts) < 0).any():
        raise InputError(
            f"The indptr of a {matrix.format} matrix of shape {matrix.shape} must hold {lines + 1} starts that run "
            f"upwards from 0 to at most its {stored} stored entries; this one does not, so it is no matrix."
        )
    places = places[: starts[-1]]
    if len(places) and (places.min() < 0 or places.max() >= across):
        raise InputError(
            f"The indices of a {matrix.format} matrix of shape {matrix.shape} run from {places.min()} to "
            f"{places.max()}; expected 0 to {across - 1}."
        )


def columns(name: str, vectors: Any, A: "CSR") -> Shaped[Tensor, "n k"]:
    """Vectors of the unknowns of A as columns, in float64 or complex128.

    Raises:
        InputError: of another length, or not finite.
    """
    given = as_numbers(name, vectors)
    table = given[:, None] if given.ndim == 1 else given
    if table.ndim != 2 or table.shape[0] != A.shape[0] or table.shape[1] == 0:
        hint = " Modes are columns here: pass its transpose." if table.shape[-1:] == A.shape[:1] else ""
        raise InputError(f"{name} has shape {tuple(given.shape)}; expected ({A.shape[0]}, k), a vector a column.{hint}")
    check_finite(name, table)
    return table.to(torch.complex128 if table.is_complex() else torch.float64)


def orthonormal(vectors: Shaped[Tensor, "n k"], A: "CSR") -> Shaped[Tensor, "n k"]:
    """An orthonormal basis of the span of vectors that A maps to 0.

    Raises:
        InputError: vectors that are dependent, or that A does not map to 0.
    """
    norms = torch.linalg.vector_norm(vectors, dim=0)
    basis, triangle = torch.linalg.qr(vectors / norms.clamp(min=torch.finfo(torch.float64).tiny))
    if bool((triangle.diagonal().abs() <= _DEPENDENT).any()):
        raise InputError(
            f"The {vectors.shape[1]} columns of nullspace are dependent (or 0), or more than the {A.shape[0]} "
            "unknowns; expected vectors that span the null space, each once."
        )
    images = torch.linalg.vector_norm(A.matvec(basis.mT), dim=-1)
    size = torch.linalg.vector_norm(A.entries.detach())
    if bool((images > _ANNIHILATED * size).any()):
        worst = int(images.argmax())
        raise InputError(
            f"A does not map nullspace to 0: of the column {worst}, once orthonormal, it makes a vector of norm "
            f"{float(images[worst]):.2e} (entries of A: {float(size):.2e}). Expected vectors v with A v = 0; those "
            "that A nearly annihilates, such as rigid motions of a body that is held somewhere, are near_nullspace."
        )
    return basis

"""Solves with factored matrices in compressed rows.

A symmetric factor stands for ``M = U^T D U``, stored as the rows of its upper triangle, the diagonal first: there lies
``1 / D``, and then the entries of U, whose diagonal is 1 and is not stored. A general factor ``M = L D U`` lies in the
rows of the whole pattern: entries of L left of the diagonal, ``1 / D`` on it, entries of U right of it. With unit
diagonals no division or product waits between two unknowns that depend on each other.
"""

from collections.abc import Sequence

import numpy as np

from pdekit.kernels.compile import jit
from pdekit.kernels.threads import for_each_sample

__all__ = ["Factor", "solve", "solve_factored", "solve_lu", "solve_lu_transposed"]

Factor = tuple[np.ndarray, ...]
"""``(indptr, indices, values)`` of a symmetric factor; ``(indptr, indices, values, diagonal)`` of a general one, where
``diagonal`` says where in a row's entries the one of the diagonal is. All int32 but the values."""

_SMALL = 100_000
"""Stored entries to be passed below which starting threads does not pay."""


def solve(
    factors: Sequence[Factor], owner: np.ndarray, r: np.ndarray, threads: int, *, transposed: bool = False
) -> np.ndarray:
    """The solutions of ``M[owner[i]] z[i] = r[i]``.

    Args:
        factors: of each matrix, all symmetric or all general.
        owner: ``(rows,)`` int64, which matrix each vector meets.
        r: ``(rows, n)``, of the type of the factors.
        threads: at most so many; results do not depend on it.
        transposed: solve with the transposed matrices; a symmetric factor is its own.

    Returns:
        ``(rows, n)``.
    """
    z = np.empty_like(r)

    def one(i: int, _: dict) -> None:
        factor = factors[owner[i]]
        if len(factor) == 3:
            solve_factored(*factor, r[i], z[i])
        else:
            (solve_lu_transposed if transposed else solve_lu)(*factor, r[i], z[i])

    large = len(r) > 1 and sum(len(factors[k][1]) for k in owner) > _SMALL
    for_each_sample(one, len(r), threads if large else 1)
    return z


@jit
def solve_factored(indptr, indices, values, r, z):
    """z = (U^T D U)^-1 r. Nothing is allocated; ``z`` may be ``r``."""
    n = len(indptr) - 1
    for i in range(n):
        z[i] = r[i]
    for i in range(n):  # U^T by scattering: each row of U is read once and knows all that z[i] passes on
        y = z[i]
        for k in range(indptr[i] + 1, indptr[i + 1]):
            z[indices[k]] -= values[k] * y
    for i in range(n - 1, -1, -1):
        start = indptr[i]
        x = z[i] * values[start]
        for k in range(start + 1, indptr[i + 1]):
            x -= values[k] * z[indices[k]]
        z[i] = x


@jit
def solve_lu(indptr, indices, values, diagonal, r, z):
    """z = (L D U)^-1 r. Nothing is allocated; ``z`` may be ``r``."""
    n = len(indptr) - 1
    for i in range(n):
        y = r[i]
        for k in range(indptr[i], diagonal[i]):
            y -= values[k] * z[indices[k]]
        z[i] = y
    for i in range(n - 1, -1, -1):
        x = z[i] * values[diagonal[i]]
        for k in range(diagonal[i] + 1, indptr[i + 1]):
            x -= values[k] * z[indices[k]]
        z[i] = x


@jit
def solve_lu_transposed(indptr, indices, values, diagonal, r, z):
    """z = (U^T D L^T)^-1 r. Nothing is allocated; ``z`` may be ``r``."""
    n = len(indptr) - 1
    for i in range(n):
        z[i] = r[i]
    for i in range(n):
        y = z[i]
        for k in range(diagonal[i] + 1, indptr[i + 1]):
            z[indices[k]] -= values[k] * y
        z[i] = y * values[diagonal[i]]
    for i in range(n - 1, -1, -1):
        x = z[i]
        for k in range(indptr[i], diagonal[i]):
            z[indices[k]] -= values[k] * x

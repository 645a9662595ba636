"""Solves with factored matrices in compressed rows.

A symmetric factor stands for ``M = U^T D U``, stored as the rows of U in the order in which unknowns were eliminated,
which may be any. Each row begins with the unknown it eliminated and ``1 / D``, and then come the entries of U for
unknowns eliminated later, in that order; its diagonal is 1 and is not stored. So vectors need no permutation. A general
factor ``M = L D U`` lies in the rows of the whole pattern: entries of L left of the diagonal, ``1 / D`` on it, entries
of U right of it.

What takes time is that unknowns wait for each other. With unit diagonals no division or product lies between two of
them; the value of the unknown before or after, on lattices nearly always the one waited for, stays in a register; and
unsigned indices spare the test for negative ones.
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
    one = np.uint64(1)
    for i in range(n):
        z[i] = r[i]
    # U^T by scattering: each row of U is read once and knows all that its unknown passes on.
    passed = values.dtype.type(0)
    end = np.uint64(0)
    for i in range(n):
        k = end + one
        row = np.uint32(indices[end])
        end = np.uint64(indptr[i + 1])
        y = z[row] - passed
        z[row] = y
        passed = values.dtype.type(0)
        if k < end and indices[k] == indices[end]:  # the next to be eliminated
            passed = values[k] * y
            k += one
        while k < end:
            z[np.uint32(indices[k])] -= values[k] * y
            k += one
    x = values.dtype.type(0)
    row = np.uint32(0)
    end = np.uint64(indptr[n])
    for i in range(n - 1, -1, -1):
        first = np.uint64(indptr[i])
        previous, later = x, row
        row = np.uint32(indices[first])
        x = z[row] * values[first]
        k = end - one
        end = first
        first += one
        while k > first:
            x -= values[k] * z[np.uint32(indices[k])]
            k -= one
        if k == first:
            x -= values[k] * (previous if np.uint32(indices[k]) == later else z[np.uint32(indices[k])])
        z[row] = x


@jit
def solve_lu(indptr, indices, values, diagonal, r, z):
    """z = (L D U)^-1 r. Nothing is allocated; ``z`` may be ``r``."""
    n = len(indptr) - 1
    one = np.uint64(1)
    y = values.dtype.type(0)
    for i in range(n):
        k, last = np.uint64(indptr[i]), np.uint64(diagonal[i])
        previous = y
        y = r[i]
        while k + one < last:
            y -= values[k] * z[np.uint32(indices[k])]
            k += one
        if k < last:
            y -= values[k] * (previous if indices[k] == i - 1 else z[np.uint32(indices[k])])
        z[i] = y
    x = values.dtype.type(0)
    for i in range(n - 1, -1, -1):
        first, k = np.uint64(diagonal[i]), np.uint64(indptr[i + 1]) - one
        previous = x
        x = z[i] * values[first]
        first += one
        while k > first:
            x -= values[k] * z[np.uint32(indices[k])]
            k -= one
        if k == first:
            x -= values[k] * (previous if indices[k] == i + 1 else z[np.uint32(indices[k])])
        z[i] = x


@jit
def solve_lu_transposed(indptr, indices, values, diagonal, r, z):
    """z = (U^T D L^T)^-1 r. Nothing is allocated; ``z`` may be ``r``."""
    n = len(indptr) - 1
    for i in range(n):
        z[i] = r[i]
    for i in range(n):
        y = z[i]
        for k in range(np.uint64(diagonal[i]) + np.uint64(1), np.uint64(indptr[i + 1])):
            z[np.uint32(indices[k])] -= values[k] * y
        z[i] = y * values[diagonal[i]]
    for i in range(n - 1, -1, -1):
        x = z[i]
        for k in range(np.uint64(indptr[i]), np.uint64(diagonal[i])):
            z[np.uint32(indices[k])] -= values[k] * x

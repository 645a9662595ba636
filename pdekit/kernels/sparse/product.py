"""Products with sparse matrices in compressed rows, and what is derived from a pattern once."""

import numpy as np

from pdekit.kernels.compile import jit
from pdekit.kernels.threads import for_each_sample

__all__ = ["matvec", "transposition"]

_SPLIT = 200_000
"""Stored entries above which the rows of one product are shared among threads."""


def matvec(
    indptr: np.ndarray, indices: np.ndarray, entries: np.ndarray, owner: np.ndarray, x: np.ndarray, threads: int
) -> np.ndarray:
    """The products of the matrices ``entries[owner[i]]`` with the vectors ``x[i]``.

    Args:
        indptr: ``(n + 1,)`` int32.
        indices: ``(nnz,)`` int32.
        entries: ``(matrices, nnz)``.
        owner: ``(rows,)`` int64, which matrix each vector meets.
        x: ``(rows, n)``, of the type of ``entries``.
        threads: at most so many; results do not depend on it.

    Returns:
        ``(rows, n)``.
    """
    n = len(indptr) - 1
    out = np.empty((len(x), n), dtype=x.dtype)
    parts = threads if threads > 1 and len(indices) > _SPLIT else 1
    bounds = [0, n]
    if parts > 1:  # counting takes as long as a product of some 10,000 entries
        bounds[1:1] = np.searchsorted(indptr, np.linspace(0, len(indices), parts + 1)[1:-1]).tolist()

    def one(task: int, _: dict) -> None:
        i, part = divmod(task, parts)
        _product(indptr, indices, entries[owner[i]], x[i], out[i], bounds[part], bounds[part + 1])

    for_each_sample(one, len(x) * parts, threads if len(x) * len(indices) > _SPLIT else 1)
    return out


@jit
def _product(indptr, indices, entries, x, out, first, last):
    # Unsigned indices spare the test for negative ones.
    place = np.uint64(indptr[first])
    for i in range(first, last):
        total = entries.dtype.type(0)
        end = np.uint64(indptr[i + 1])
        while place < end:
            total += entries[place] * x[np.uint32(indices[place])]
            place += np.uint64(1)
        out[i] = total


def transposition(indptr: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pattern of the transposed matrix: its ``indptr``, its ``indices``, and where its entries come from.

    Args:
        indptr: ``(n + 1,)`` int32.
        indices: ``(nnz,)`` int32, of a square matrix.

    Returns:
        ``(n + 1,)`` int32, ``(nnz,)`` int32, ``(nnz,)`` int64: the entries of the transpose are ``entries[order]``.
    """
    n = len(indptr) - 1
    counts = np.bincount(indices, minlength=n)
    turned = np.zeros(n + 1, dtype=np.int32)
    np.cumsum(counts, out=turned[1:])
    columns, order = np.empty(len(indices), dtype=np.int32), np.empty(len(indices), dtype=np.int64)
    _transpose(indptr, indices, turned[:-1].copy(), columns, order)
    return turned, columns, order


@jit
def _transpose(indptr, indices, place, columns, order):
    for i in range(len(indptr) - 1):
        for k in range(indptr[i], indptr[i + 1]):
            j = indices[k]
            columns[place[j]] = i
            order[place[j]] = k
            place[j] += 1

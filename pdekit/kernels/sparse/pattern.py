"""Which entries a matrix stores whose unknowns are coupled by cells, and what each cell contributes to."""

import numpy as np

from pdekit.kernels.compile import jit
from pdekit.kernels.threads import for_each_sample

__all__ = ["cell_pattern", "find_places", "group"]

_BLOCK = 50_000
"""Rows or cells a thread takes at a time."""


def group(keys: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The places of each key in compressed rows: a stable counting sort.

    Args:
        keys: ``(m,)`` int32 from 0 to n - 1.
        n: number of keys.

    Returns:
        ``(n + 1,)`` int32 starts, and ``(m,)`` int32 places in ``keys`` with equal keys together, in order.
    """
    starts, order = np.zeros(n + 1, dtype=np.int32), np.empty(len(keys), dtype=np.int32)
    _group(keys, starts, np.empty(n, dtype=np.int32), order)
    return starts, order


@jit
def _group(keys, starts, place, order):
    for key in keys:
        starts[key + 1] += 1
    for k in range(len(place)):
        place[k] = starts[k]
        starts[k + 1] += starts[k]
    for k in range(len(keys)):
        order[place[keys[k]]] = k
        place[keys[k]] += 1


def cell_pattern(dofs: np.ndarray, n: int, threads: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The pattern of matrices that couple all unknowns of a cell, in compressed rows with columns in order.

    Args:
        dofs: ``(cells, k)`` int32, the unknowns of each cell.
        n: number of unknowns.
        threads: at most so many; None for as many as torch uses.

    Returns:
        ``(n + 1,)`` int32 ``indptr`` and ``(nnz,)`` int32 ``indices``.
    """
    starts, members = group(dofs.reshape(-1), n)
    lengths = np.zeros(n + 1, dtype=np.int64)
    blocks = -(-n // _BLOCK)

    def count(block: int, space: dict) -> None:
        last_row = space.setdefault("marker", np.full(n, -1, dtype=np.int32))
        first, last = block * _BLOCK, min(n, (block + 1) * _BLOCK)
        _count(dofs, starts, members, last_row, first, last, lengths)

    for_each_sample(count, blocks, threads)
    total = np.cumsum(lengths)
    if total[-1] >= 2**31:
        raise MemoryError(f"The pattern would have {total[-1]:,} entries; kernels count up to 2,147,483,647.")
    indptr = total.astype(np.int32)
    indices = np.empty(indptr[-1], dtype=np.int32)

    def fill(block: int, space: dict) -> None:
        last_row = space.setdefault("marker", np.full(n, -1, dtype=np.int32))
        _fill(dofs, starts, members, last_row, block * _BLOCK, min(n, (block + 1) * _BLOCK), indptr, indices)

    for_each_sample(fill, blocks, threads)
    return indptr, indices


@jit
def _count(dofs, starts, members, last_row, first, last, lengths):
    k = dofs.shape[1]
    for i in range(first, last):
        found = 0
        for place in range(starts[i], starts[i + 1]):
            cell = members[place] // k
            for b in range(k):
                j = dofs[cell, b]
                if last_row[j] != i:
                    last_row[j] = i
                    found += 1
        lengths[i + 1] = found


@jit
def _fill(dofs, starts, members, last_row, first, last, indptr, indices):
    k = dofs.shape[1]
    for i in range(first, last):
        end = indptr[i]
        for place in range(starts[i], starts[i + 1]):
            cell = members[place] // k
            for b in range(k):
                j = dofs[cell, b]
                if last_row[j] != i:
                    last_row[j] = i
                    indices[end] = j
                    end += 1
        _sort(indices, indptr[i], end)


@jit
def _sort(values, first, last):
    """Shell sort of values[first:last]: rows have ten to a few hundred columns."""
    for gap in (132, 57, 23, 10, 4, 1):
        for k in range(first + gap, last):
            value = values[k]
            m = k
            while m >= first + gap and values[m - gap] > value:
                values[m] = values[m - gap]
                m -= gap
            values[m] = value


def find_places(indptr: np.ndarray, indices: np.ndarray, dofs: np.ndarray, threads: int | None = None) -> np.ndarray:
    """Where the entries of the matrices of cells are stored.

    Args:
        indptr: ``(n + 1,)`` int32.
        indices: ``(nnz,)`` int32, in order within each row.
        dofs: ``(cells, k)`` int32; the pattern holds every pair of a cell.
        threads: at most so many; None for as many as torch uses.

    Returns:
        ``(cells, k, k)`` int32, the place of (row, column) of each cell.
    """
    cells, k = dofs.shape
    places = np.empty((cells, k, k), dtype=np.int32)

    def one(block: int, _: dict) -> None:
        _find(indptr, indices, dofs, block * _BLOCK, min(cells, (block + 1) * _BLOCK), places)

    for_each_sample(one, -(-cells // _BLOCK), threads)
    return places


@jit
def _find(indptr, indices, dofs, first, last, places):
    k = dofs.shape[1]
    for cell in range(first, last):
        for a in range(k):
            row = dofs[cell, a]
            for b in range(k):
                column = dofs[cell, b]
                low, high = indptr[row], indptr[row + 1] - 1
                while low < high:
                    middle = (low + high) // 2
                    if indices[middle] < column:
                        low = middle + 1
                    else:
                        high = middle
                places[cell, a, b] = low

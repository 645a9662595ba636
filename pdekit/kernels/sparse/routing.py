"""The product of one sparse matrix with many vectors: coefficients to the entries of matrices."""

import numpy as np

from pdekit.kernels.compile import jit
from pdekit.kernels.threads import for_each_sample

__all__ = ["route", "take"]

_LANES = 4
_SPLIT = 200_000
"""Stored entries above which the work is shared among threads."""


def route(
    starts: np.ndarray, columns: np.ndarray, weights: np.ndarray, x: np.ndarray, threads: int | None = None
) -> np.ndarray:
    """``R x[i]`` for each vector, summed in the order in which R stores a row, whatever the threads and the batch.

    Four vectors are packed side by side, so that each entry of R is read once and meets them in one vector operation;
    missing ones are filled up, so that the bits of a product do not depend on its neighbours.

    Args:
        starts: ``(rows + 1,)`` int32.
        columns: ``(stored,)`` int32.
        weights: ``(stored,)`` float64; of length 0 where all of them are 1.
        x: ``(vectors, columns)`` float64.
        threads: at most so many; None for as many as torch uses.

    Returns:
        ``(vectors, rows)``.
    """
    rows, groups = len(starts) - 1, -(-len(x) // _LANES)
    out = np.empty((len(x), rows))
    parts = max(1, min(8 // max(groups, 1), len(columns) // _SPLIT))
    bounds = np.searchsorted(starts, np.linspace(0, len(columns), parts + 1)[1:-1])
    bounds = [0, *bounds.tolist(), rows]
    product = _weighted if len(weights) else _plain

    def one(task: int, space: dict) -> None:
        group, part = divmod(task, parts)
        if space.get("group") != group:
            packed = space.setdefault("packed", np.zeros((x.shape[1], _LANES)))
            _pack(x, group * _LANES, packed)
            space["group"] = group
        product(starts, columns, weights, space["packed"], out, group * _LANES, bounds[part], bounds[part + 1])

    for_each_sample(one, groups * parts, threads if len(x) * len(columns) > _SPLIT else 1)
    return out


@jit
def _pack(x, first, packed):
    for lane in range(min(packed.shape[1], len(x) - first)):
        for column in range(len(packed)):
            packed[column, lane] = x[first + lane, column]


@jit
def _weighted(starts, columns, weights, packed, out, first, begin, end):
    for row in range(begin, end):
        a = b = c = d = 0.0
        for place in range(starts[row], starts[row + 1]):
            weight, column = weights[place], columns[place]
            a += weight * packed[column, 0]
            b += weight * packed[column, 1]
            c += weight * packed[column, 2]
            d += weight * packed[column, 3]
        _store(out, first, row, a, b, c, d)


@jit
def _plain(starts, columns, weights, packed, out, first, begin, end):
    for row in range(begin, end):
        a = b = c = d = 0.0
        for place in range(starts[row], starts[row + 1]):
            column = columns[place]
            a += packed[column, 0]
            b += packed[column, 1]
            c += packed[column, 2]
            d += packed[column, 3]
        _store(out, first, row, a, b, c, d)


@jit
def _store(out, first, row, a, b, c, d):
    out[first, row] = a
    if first + 1 < len(out):
        out[first + 1, row] = b
    if first + 2 < len(out):
        out[first + 2, row] = c
    if first + 3 < len(out):
        out[first + 3, row] = d


def take(columns: np.ndarray, x: np.ndarray, threads: int | None = None) -> np.ndarray:
    """``x[:, columns]``.

    Args:
        columns: ``(chosen,)`` int32.
        x: ``(vectors, columns)`` float64.
        threads: at most so many; None for as many as torch uses.

    Returns:
        ``(vectors, chosen)``.
    """
    out = np.empty((len(x), len(columns)))

    def one(i: int, _: dict) -> None:
        _take(columns, x[i], out[i])

    for_each_sample(one, len(x), threads if out.size > _SPLIT else 1)
    return out


@jit
def _take(columns, x, out):
    for k in range(len(columns)):
        out[k] = x[columns[k]]

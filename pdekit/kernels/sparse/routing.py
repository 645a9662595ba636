"""The product of one sparse matrix with many vectors: coefficients to the entries of matrices."""

import numpy as np

from pdekit.kernels.compile import jit
from pdekit.kernels.threads import for_each_sample

__all__ = ["route"]

_SPLIT = 200_000
"""Stored entries above which the rows of one product are shared among threads."""


def route(
    starts: np.ndarray, columns: np.ndarray, weights: np.ndarray, x: np.ndarray, threads: int | None = None
) -> np.ndarray:
    """``R x[i]`` for each vector, summed in the order in which R stores a row, whatever the threads and the batch.

    Args:
        starts: ``(rows + 1,)`` int32.
        columns: ``(stored,)`` int32.
        weights: ``(stored,)`` float64; of length 0 where all of them are 1.
        x: ``(vectors, columns)`` float64.
        threads: at most so many; None for as many as torch uses.

    Returns:
        ``(vectors, rows)``.
    """
    rows = len(starts) - 1
    out = np.empty((len(x), rows))
    parts = 1 if len(x) > 1 else max(1, min(8, len(columns) // _SPLIT))
    bounds = np.searchsorted(starts, np.linspace(0, len(columns), parts + 1)[1:-1])
    bounds = [0, *bounds.tolist(), rows]

    def one(task: int, _: dict) -> None:
        i, part = divmod(task, parts)
        product = _weighted if len(weights) else _plain
        product(starts, columns, weights, x[i], out[i], bounds[part], bounds[part + 1])

    for_each_sample(one, len(x) * parts, threads if len(x) * len(columns) > _SPLIT else 1)
    return out


@jit
def _weighted(starts, columns, weights, x, out, first, last):
    for row in range(first, last):
        total = 0.0
        for place in range(starts[row], starts[row + 1]):
            total += weights[place] * x[columns[place]]
        out[row] = total


@jit
def _plain(starts, columns, weights, x, out, first, last):
    for row in range(first, last):
        total = 0.0
        for place in range(starts[row], starts[row + 1]):
            total += x[columns[place]]
        out[row] = total

"""What a network is told of each entry of a matrix and of its incomplete factor."""

import numpy as np

from pdekit.kernels.compile import jit

__all__ = ["edge_features"]


@jit
def edge_features(rows, cols, entries, start, diagonal, first, last, out):
    """The five features of the edges of one matrix; `pdekit.learned.features.edge_features` says which.

    Args:
        rows, cols: ``(edges,)`` int64, of all matrices.
        entries: ``(edges,)`` float64, of the matrices.
        start: ``(edges,)`` float64, of factors of them; empty where the roots of the diagonal stand for one.
        diagonal: ``(nodes,)`` int64, the number of each loop.
        first, last: the edges of the matrix.
        out: ``(edges, 5)`` float32, receives them.
    """
    started = len(start) > 0
    largest = 0.0
    for e in range(first, last):
        if started:
            largest = max(largest, abs(start[e]))
        elif rows[e] == cols[e]:
            largest = max(largest, np.sqrt(entries[e]))
    scale = 1.0 / largest
    for e in range(first, last):
        i, j = diagonal[rows[e]], diagonal[cols[e]]
        loop = i == e
        if started:
            out[e, 0], out[e, 1], out[e, 2] = start[e] * scale, start[i] * scale, start[j] * scale
        else:
            out[e, 1], out[e, 2] = np.sqrt(entries[i]) * scale, np.sqrt(entries[j]) * scale
            out[e, 0] = out[e, 1] if loop else 0.0
        out[e, 3] = entries[e] * scale * scale
        out[e, 4] = 1.0 if loop else 0.0

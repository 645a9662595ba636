"""Inference of the lean correction of incomplete factors, fused, and the factors that it gives."""

import numpy as np

from pdekit.kernels.compile import jit

__all__ = ["BLOCK", "corrected", "corrections", "lower_columns"]

BLOCK = 128
"""Edges that go through a layer together: their numbers stay in the first cache, and the inner loops are long."""


@jit
def lower_columns(indptr, values, lower):
    """The columns of L of ``L L^T = U^T D U``.

    Args:
        indptr: ``(n + 1,)``, where each row of U begins, with ``1 / D``.
        values: ``(nnz,)`` float64, as `pdekit.kernels.sparse.triangular` describes them.
        lower: ``(nnz,)`` float64, receives the entries of L.
    """
    for j in range(len(indptr) - 1):
        first = indptr[j]
        root = 1.0 / np.sqrt(values[first])
        lower[first] = root
        for k in range(first + 1, indptr[j + 1]):
            lower[k] = values[k] * root


@jit
def corrected(indptr, lower, correction, alpha, values):
    """The factor L + alpha C, whose diagonal is kept above a tenth of that of L, as the triangular solves take it.

    Args:
        indptr: ``(n + 1,)``, where each column of L begins, with the diagonal.
        lower: ``(nnz,)`` float64, entries of L.
        correction: ``(nnz,)`` float64, entries of C.
        alpha: how much of it.
        values: ``(nnz,)`` float64, receives the factor: ``1 / D`` first in each row of U.
    """
    for j in range(len(indptr) - 1):
        first = indptr[j]
        root, step = lower[first], alpha * correction[first]
        if step < 0.0:  # as `pdekit.learned.corrected` says
            root *= 0.1 + 0.9 * np.exp(step / (0.9 * root))
        else:
            root += step
        inverse = 1.0 / root
        values[first] = inverse * inverse
        for k in range(first + 1, indptr[j + 1]):
            values[k] = (lower[k] + alpha * correction[k]) * inverse


@jit
def _dense(weights, bias, x, y, positive):
    """y = W x + b for a block of edges, with negative numbers cut off where ``positive``.

    Args:
        weights: ``(outputs, inputs)`` float32, the inputs a multiple of 4.
        bias: ``(outputs,)`` float32.
        x: ``(inputs, BLOCK)`` float32.
        y: ``(outputs, BLOCK)`` float32.
    """
    zero = np.float32(0)
    for o in range(len(bias)):
        first = bias[o]
        for k in range(BLOCK):
            y[o, k] = first
        for c in range(0, weights.shape[1], 4):
            a, b, d, e = weights[o, c], weights[o, c + 1], weights[o, c + 2], weights[o, c + 3]
            for k in range(BLOCK):
                y[o, k] += a * x[c, k] + b * x[c + 1, k] + d * x[c + 2, k] + e * x[c + 3, k]
        if positive:
            for k in range(BLOCK):
                y[o, k] = max(y[o, k], zero)


@jit
def _layers(weights, inputs, hidden, outputs):
    """The two layers of a small network, and the weights after them."""
    one = inputs * hidden
    two = one + hidden + hidden * outputs
    return (
        weights[:one].reshape(hidden, inputs),
        weights[one : one + hidden],
        weights[one + hidden : two].reshape(outputs, hidden),
        weights[two : two + outputs],
        weights[two + outputs :],
    )


@jit
def corrections(indptr, indices, lower, entries, weights, edges, nodes, blocks, out):
    """What the network gives for each entry of one factor, times the factor's largest entry.

    Args:
        indptr: ``(n + 1,)``, where each column of L begins, with the diagonal.
        indices: ``(nnz,)``, the row of each entry.
        lower: ``(nnz,)`` float64, entries of L.
        entries: ``(nnz,)`` float64, entries of the matrix at the same places.
        weights: float32, of the encoder (8-8-8, the last three inputs unused), two passes (24-16-8) and the decoder
            (8-8-1), each weights and bias of one layer after the other, and the factor of the result.
        edges: ``(blocks of all entries, 8, BLOCK)`` float32 scratch.
        nodes: ``(n, 8)`` float32 scratch.
        blocks: ``(40, BLOCK)`` float32 scratch, of finite numbers.
        out: ``(nnz,)`` float64, receives the corrections; 0 where they are not finite.
    """
    count = len(indices)
    x, hidden = blocks[:24], blocks[24:]
    largest = 0.0
    for e in range(count):
        largest = max(largest, abs(lower[e]))
    scale = 1.0 / largest
    w1, b1, w2, b2, rest = _layers(weights, 8, 8, 8)
    for c in range(5, 8):
        for k in range(BLOCK):
            x[c, k] = 0.0
    j = 0
    for block in range(len(edges)):
        first = block * BLOCK
        for k in range(min(BLOCK, count - first)):
            e = first + k
            while e >= indptr[j + 1]:
                j += 1
            i = indices[e]
            x[0, k] = lower[e] * scale
            x[1, k] = lower[indptr[i]] * scale
            x[2, k] = lower[indptr[j]] * scale
            x[3, k] = entries[e] * scale * scale
            x[4, k] = 1.0 if i == j else 0.0
        _dense(w1, b1, x, hidden, True)
        _dense(w2, b2, hidden, edges[block], False)
    for _ in range(2):
        w1, b1, w2, b2, rest = _layers(rest, 24, 16, 8)
        _sum_at_nodes(indptr, indices, edges, nodes)
        j = 0
        for block in range(len(edges)):
            mine, first = edges[block], block * BLOCK
            for c in range(8):
                for k in range(BLOCK):
                    x[c, k] = mine[c, k]
            for k in range(min(BLOCK, count - first)):
                e = first + k
                while e >= indptr[j + 1]:
                    j += 1
                i = indices[e]
                for c in range(8):
                    x[8 + c, k] = nodes[i, c]
                    x[16 + c, k] = nodes[j, c]
            _dense(w1, b1, x, hidden, True)
            _dense(w2, b2, hidden, x, False)
            for c in range(8):
                for k in range(BLOCK):
                    mine[c, k] += x[c, k]
    w1, b1, w2, b2, rest = _layers(rest, 8, 8, 1)
    factor = largest * rest[0]
    for block in range(len(edges)):
        first = block * BLOCK
        _dense(w1, b1, edges[block], hidden, True)
        _dense(w2, b2, hidden, x, False)
        for k in range(min(BLOCK, count - first)):
            value = factor * x[0, k]
            out[first + k] = value if np.isfinite(value) else 0.0


@jit
def _sum_at_nodes(indptr, indices, edges, nodes):
    """Four channels of each entry summed by row, four by column."""
    for i in range(len(nodes)):
        for c in range(8):
            nodes[i, c] = 0.0
    for j in range(len(indptr) - 1):
        for e in range(indptr[j], indptr[j + 1]):
            i, block, k = indices[e], e // BLOCK, e % BLOCK
            for c in range(4):
                nodes[i, c] += edges[block, c, k]
                nodes[j, c + 4] += edges[block, c + 4, k]

"""Compiled loops over a lattice in natural order: the true residual from the conductances as given, norm, mean."""

import numpy as np
from numba import uint64

from pdekit.kernels.compile import jit
from pdekit.kernels.layout import BLOCKS, PERIODIC, N

__all__ = ["centre", "norm", "true_residual"]


@jit
def leave(out, x, face, row, lower, upper, below, above, low, high, n):
    """out -= what flows from a row of n points to two others along one axis.

    Those start at `low` and `high` and count `below` and `above` times: 0 for the ground, where x is zero.
    """
    o, p, q, e, f = uint64(row), uint64(low), uint64(high), uint64(lower), uint64(upper)
    for k in range(uint64(n)):
        here = x[o + k]
        out[o + k] -= face[e + k] * (here - below * x[p + k]) + face[f + k] * (here - above * x[q + k])


@jit
def true_residual(arrays, has_sink, b, x, out, t):
    """out = b - A x in natural order, from the conductances as given; returns its norm."""
    n0, n1, n2 = t[N], t[N + 1], t[N + 2]
    sink = arrays[3]
    for i0 in range(n0):
        for i1 in range(n1):
            row = (i0 * n1 + i1) * n2
            o = uint64(row)
            for k in range(uint64(n2)):
                out[o + k] = b[o + k] - sink[o + k] * x[o + k] if has_sink else b[o + k]
            for axis in range(0 if t[BLOCKS] == 8 else 1, 2):
                i, n, stride = (i0, n0, n1 * n2) if axis == 0 else (i1, n1, n2)
                lower = row if axis == 0 else row + i0 * n2
                ring = t[PERIODIC + axis] == 1
                low = row - stride if i > 0 else (row + (n - 1) * stride if ring else row)
                high = row + stride if i < n - 1 else (row - (n - 1) * stride if ring else row)
                below, above = 1.0 if i > 0 or ring else 0.0, 1.0 if i < n - 1 or ring else 0.0
                leave(out, x, arrays[axis], row, lower, lower + stride, below, above, low, high, n2)
            face, first, ring = arrays[2], row + i0 * n1 + i1, t[PERIODIC + 2] == 1
            leave(out, x, face, row + 1, first + 1, first + 2, 1.0, 1.0, row, row + 2, n2 - 2)
            last = row + n2 - 1
            around = 1.0 if ring else 0.0
            if n2 > 1:
                out[row] -= face[first] * (x[row] - around * x[last]) + face[first + 1] * (x[row] - x[row + 1])
                out[last] -= face[first + n2 - 1] * (x[last] - x[last - 1])
                out[last] -= face[first + n2] * (x[last] - around * x[row])
            else:
                out[row] -= (face[first] + face[first + 1]) * (1.0 - around) * x[row]
    return norm(out)


@jit
def norm(x):
    total = 0.0
    for k in range(x.shape[0]):
        total += x[k] * x[k]
    return np.sqrt(total)


@jit
def centre(x):
    """Subtract the mean."""
    mean = 0.0
    for k in range(x.shape[0]):
        mean += x[k]
    mean /= x.shape[0]
    for k in range(x.shape[0]):
        x[k] -= mean

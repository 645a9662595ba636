"""Compiled loops over a lattice in natural order: the true residual from the conductances as given, norm, mean."""

import numpy as np
from numba import uint64

from pdekit.kernels.compile import jit
from pdekit.kernels.layout import BLOCKS, PERIODIC, N

__all__ = ["centre", "norm", "true_residual"]


@jit
def add_flow(face, x, out, outer, n, inner, periodic):
    """out -= what flows out of each point along one axis; arrays are (outer, n (+ 1 for face), inner)."""
    for i in range(outer):
        for j in range(n + 1):
            e = uint64((i * (n + 1) + j) * inner)
            high, low = uint64((i * n + j) * inner), uint64((i * n + j - 1) * inner)
            if j == 0 or j == n:
                if periodic:
                    low, high = uint64((i * n + n - 1) * inner), uint64(i * n * inner)
                    if j == 0:
                        for k in range(uint64(inner)):
                            out[high + k] -= face[e + k] * (x[high + k] - x[low + k])
                    else:
                        for k in range(uint64(inner)):
                            out[low + k] -= face[e + k] * (x[low + k] - x[high + k])
                elif j == 0:
                    for k in range(uint64(inner)):
                        out[high + k] -= face[e + k] * x[high + k]
                else:
                    for k in range(uint64(inner)):
                        out[low + k] -= face[e + k] * x[low + k]
            else:
                for k in range(uint64(inner)):
                    flow = face[e + k] * (x[high + k] - x[low + k])
                    out[high + k] -= flow
                    out[low + k] += flow


@jit
def true_residual(arrays, has_sink, b, x, out, t):
    """out = b - A x in natural order, from the conductances as given; returns its norm."""
    n0, n1, n2 = t[N], t[N + 1], t[N + 2]
    sink = arrays[3]
    for k in range(b.shape[0]):
        out[k] = b[k] - sink[k] * x[k] if has_sink else b[k]
    for axis in range(0 if t[BLOCKS] == 8 else 1, 3):
        outer = 1 if axis == 0 else (n0 if axis == 1 else n0 * n1)
        inner = n1 * n2 if axis == 0 else (n2 if axis == 1 else 1)
        add_flow(arrays[axis], x, out, outer, t[N + axis], inner, t[PERIODIC + axis] == 1)
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

"""Products for summing series: every entry is summed in one order, whatever the shapes and the number of threads."""

import numpy as np
from numba import njit

__all__ = ["contract", "interpolate", "multiply"]

_jit = njit(cache=True, nogil=True, error_model="numpy")


@_jit
def multiply(a, b, c):
    """c = a @ b, each entry summed in the order of k whatever the shapes: the loop over columns is what vectorises."""
    rows, inner, columns = a.shape[0], a.shape[1], b.shape[1]
    wide = 256
    for left in range(0, columns, wide):
        right = min(columns, left + wide)
        for i in range(0, rows - rows % 4, 4):
            c0, c1, c2, c3 = c[i, left:right], c[i + 1, left:right], c[i + 2, left:right], c[i + 3, left:right]
            c0[:] = 0.0
            c1[:] = 0.0
            c2[:] = 0.0
            c3[:] = 0.0
            for k in range(inner):
                row = b[k, left:right]
                a0, a1, a2, a3 = a[i, k], a[i + 1, k], a[i + 2, k], a[i + 3, k]
                for j in range(right - left):
                    c0[j] += a0 * row[j]
                    c1[j] += a1 * row[j]
                    c2[j] += a2 * row[j]
                    c3[j] += a3 * row[j]
        for i in range(rows - rows % 4, rows):
            c0 = c[i, left:right]
            c0[:] = 0.0
            for k in range(inner):
                row = b[k, left:right]
                a0 = a[i, k]
                for j in range(right - left):
                    c0[j] += a0 * row[j]


@_jit
def contract(values, table):
    """sum_k table[p, k] values[p, k, :] for each point p."""
    points, inner, columns = values.shape
    out = np.zeros((points, columns))
    for p in range(points):
        for k in range(inner):
            for j in range(columns):
                out[p, j] += table[p, k] * values[p, k, j]
    return out


@_jit
def interpolate(values, starts, first, second, last, out):
    """out[p] = sum_ijk first[p, i] second[p, j] last[p, k] values[starts[p] + (i, j, k)]; ``last`` 4 n columns wide."""
    for p in range(len(out)):
        a, b, c = starts[p, 0], starts[p, 1], starts[p, 2]
        total = 0.0
        for i in range(first.shape[1]):
            for j in range(second.shape[1]):
                line = values[a + i, b + j, c : c + last.shape[1]]
                s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
                for k in range(0, last.shape[1], 4):
                    s0 += last[p, k] * line[k]
                    s1 += last[p, k + 1] * line[k + 1]
                    s2 += last[p, k + 2] * line[k + 2]
                    s3 += last[p, k + 3] * line[k + 3]
                total += first[p, i] * second[p, j] * ((s0 + s1) + (s2 + s3))
        out[p] = total

"""What the choice of a hierarchy needs to know about one sample's conductances, in one pass."""

import numpy as np
from numba import uint64

from pdekit.kernels.compile import jit
from pdekit.kernels.lattice import finite

__all__ = ["CONTRAST", "FINITE", "GROUND", "MEAN", "SINK", "survey"]

# entries of the result: mean conductance by axis, ground below and above by axis, whether there is a sink,
# ratio of the largest to the least conductance between points along an axis (worst axis), whether
# everything is finite
MEAN, GROUND, SINK, CONTRAST, FINITE = 0, 3, 9, 10, 11


@jit
def total(a, start, n):
    first = uint64(start)
    value = 0.0
    for k in range(uint64(n)):
        value += a[first + k]
    return value


@jit
def magnitude(a, start, n):
    first = uint64(start)
    value = 0.0
    for k in range(uint64(n)):
        value += abs(a[first + k])
    return value


@jit
def survey(arrays, has_sink, shape, periodic, first_axis, out):
    """Fill `out` (12 numbers) from the conductances by axis and the sink, flat, in natural order."""
    for k in range(12):
        out[k] = 0.0
    out[CONTRAST], out[FINITE] = 1.0, 1.0
    for axis in range(first_axis, 3):
        face = arrays[axis]
        n = shape[axis]
        outer, inner = 1, 1
        for k in range(3):
            if k < axis:
                outer *= shape[k]
            elif k > axis:
                inner *= shape[k]
        sum_, below, above = total(face, 0, face.shape[0]), 0.0, 0.0
        # numbers that are not negative are ordered like their bits, whose minimum is a vectorised loop
        bits, extremes = face.view(np.int64), np.empty(2)
        low, high = bits[inner], bits[inner]
        for i in range(outer):
            start = i * (n + 1) * inner
            below += magnitude(face, start, inner)
            above += magnitude(face, start + n * inner, inner)
            first = uint64(start + inner)
            for k in range(uint64((n - 1) * inner)):
                low, high = min(low, bits[first + k]), max(high, bits[first + k])
        extremes.view(np.int64)[0], extremes.view(np.int64)[1] = low, high
        out[MEAN + axis] = sum_ / face.shape[0]
        if n > 1 and extremes[1] > 0.0:
            out[CONTRAST] = max(out[CONTRAST], extremes[1] / extremes[0] if extremes[0] > 0.0 else np.inf)
        if not finite(sum_):
            out[FINITE] = 0.0
        if not periodic[axis]:
            out[GROUND + 2 * axis] = below
            out[GROUND + 2 * axis + 1] = above
    if has_sink:
        out[SINK] = magnitude(arrays[3], 0, arrays[3].shape[0])
        if not finite(out[SINK]):
            out[FINITE] = 0.0

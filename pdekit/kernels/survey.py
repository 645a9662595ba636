"""What the choice of a hierarchy needs to know about one sample's conductances, in one pass."""

import numpy as np
from numba import uint64

from pdekit.kernels.compile import jit

__all__ = ["FINITE", "GROUND", "JUMP", "MEAN", "SINK", "survey"]

# entries of the result: mean conductance by axis, ground below and above by axis, whether the sink is anywhere
# positive, whether a conductance is more than `jump` times the next one along its axis, whether everything is finite
MEAN, GROUND, SINK, JUMP, FINITE = 0, 3, 9, 10, 11


@jit
def jumps(a, low, high, n, jump):
    """How many of n neighbouring pairs of conductances, from positions low and high on, differ too much."""
    p, q = uint64(low), uint64(high)
    count = 0
    for k in range(uint64(n)):
        count += 1 if (a[p + k] > jump * a[q + k]) or (a[q + k] > jump * a[p + k]) else 0
    return count


@jit
def total(a, start, n):
    first = uint64(start)
    value = 0.0
    for k in range(uint64(n)):
        value += a[first + k]
    return value


@jit
def survey(arrays, has_sink, shape, periodic, first_axis, jump, out):
    """Fill `out` (12 numbers) from the conductances by axis and the sink, flat, in natural order."""
    for k in range(12):
        out[k] = 0.0
    out[FINITE] = 1.0
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
        for i in range(outer):
            start = i * (n + 1) * inner
            below += total(face, start, inner)
            above += total(face, start + n * inner, inner)
            # from the first link between points to the last one, each with the next
            if jumps(face, start + inner, start + 2 * inner, (n - 2) * inner, jump) > 0:
                out[JUMP] = 1.0
        out[MEAN + axis] = sum_ / face.shape[0]
        if not np.isfinite(sum_):
            out[FINITE] = 0.0
        if not periodic[axis]:
            out[GROUND + 2 * axis] = below
            out[GROUND + 2 * axis + 1] = above
    if has_sink:
        out[SINK] = total(arrays[3], 0, arrays[3].shape[0])
        if not np.isfinite(out[SINK]):
            out[FINITE] = 0.0

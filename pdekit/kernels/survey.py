"""What the choice of a hierarchy needs to know about one sample's conductances, in one pass."""

import numpy as np
from numba import uint64

from pdekit.kernels.lattice import jit

__all__ = ["FINITE", "GROUND", "JUMP", "MEAN", "SINK", "survey"]

# entries of the result: mean conductance by axis, ground below and above by axis, whether the sink is anywhere
# positive, ratio of the largest to the smallest conductance along an axis (worst axis), whether everything is finite
MEAN, GROUND, SINK, JUMP, FINITE = 0, 3, 9, 10, 11


@jit
def survey(arrays, has_sink, shape, periodic, first_axis, out):
    """Fill `out` (12 numbers) from the conductances by axis and the sink, flat, in natural order."""
    for k in range(12):
        out[k] = 0.0
    out[JUMP] = 1.0
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
        total, low, high = 0.0, np.inf, 0.0
        for i in range(outer):
            if inner == 1:  # a row: its ends are the sides
                row = uint64(i * (n + 1))
                for k in range(row + uint64(1), row + uint64(n)):
                    value = face[k]
                    total += value
                    low = min(low, value)
                    high = max(high, value)
                below, above = face[row], face[row + uint64(n)]
                total += below + above
                out[GROUND + 2 * axis] += below
                out[GROUND + 2 * axis + 1] += above
                continue
            for j in range(n + 1):
                row = uint64((i * (n + 1) + j) * inner)
                share = 0.0
                for k in range(uint64(inner)):
                    share += face[row + k]
                total += share
                if j == 0:
                    out[GROUND + 2 * axis] += share
                elif j == n:
                    out[GROUND + 2 * axis + 1] += share
                else:
                    for k in range(uint64(inner)):
                        low = min(low, face[row + k])
                        high = max(high, face[row + k])
        out[MEAN + axis] = total / (outer * (n + 1) * inner)
        if high > 0.0:
            out[JUMP] = max(out[JUMP], high / low if low > 0.0 else np.inf)
        if not np.isfinite(total):
            out[FINITE] = 0.0
        if periodic[axis]:
            out[GROUND + 2 * axis] = 0.0
            out[GROUND + 2 * axis + 1] = 0.0
    if has_sink:
        total = 0.0
        sink = arrays[3]
        for k in range(sink.shape[0]):
            total += sink[k]
        out[SINK] = total
        if not np.isfinite(total):
            out[FINITE] = 0.0

"""The way down and the way up of a cycle whose kernels are others at every point, one scale at a time.

Lattices have three axes, the first of length 1 in two dimensions. All numbers are float32.
"""

from pdekit.kernels.compile import jit

__all__ = ["ascend", "descend"]


@jit
def _gather(field, weights, offsets, out):
    """out_i = sum_j weights_j,i field_(i + offset_j), with 0 outside the lattice."""
    n0, n1, n2 = field.shape
    for i in range(n0):
        for j in range(n1):
            row = out[i, j]
            for k in range(n2):
                row[k] = 0.0
            for tap in range(len(offsets)):
                a, b, c = i + offsets[tap, 0], j + offsets[tap, 1], offsets[tap, 2]
                if a < 0 or a >= n0 or b < 0 or b >= n1:
                    continue
                first, last = max(0, -c), n2 - max(0, c)
                target = row[first:last]
                weight = weights[tap, i, j, first:last]
                given = field[a, b, first + c : last + c]
                for k in range(len(target)):
                    target[k] += weight[k] * given[k]


@jit
def descend(t, before, operator, diagonal, below, around, offsets, x, left, coarse):
    """Smooth, and sum what is left over the cells of the next scale.

    Args:
        t: ``(n0, n1, n2)``, the residual over the diagonal.
        before: ``(taps, n0, n1, n2)``, the smoother.
        operator: ``(taps', n0, n1, n2)``, the matrix over its diagonal.
        diagonal: ``(n0, n1, n2)``.
        below: the diagonal of the next scale; of length 0 at the coarsest.
        around, offsets: ``(taps, 3)`` int64, of the taps of ``before`` and of ``operator``.
        x: receives the correction.
        left: receives what is left of the residual, over the diagonal.
        coarse: as ``below``, receives the residual of the next scale, over the diagonal.
    """
    _gather(t, before, around, x)
    _gather(x, operator, offsets, left)
    n0, n1, n2 = t.shape
    for i in range(n0):
        for j in range(n1):
            for k in range(n2):
                left[i, j, k] = t[i, j, k] - left[i, j, k]
    if below.size == 0:
        return
    coarse[:] = 0.0
    for i in range(n0):
        for j in range(n1):
            target = coarse[i // 2, j // 2]
            for k in range(n2):
                target[k // 2] += left[i, j, k] * diagonal[i, j, k]
    m0, m1, m2 = coarse.shape
    for i in range(m0):
        for j in range(m1):
            for k in range(m2):
                coarse[i, j, k] /= below[i, j, k]


@jit
def ascend(t, correction, interpolation, operator, after, around, offsets, x, left, spread):
    """Add the interpolated correction of the next scale, and smooth.

    Args:
        t: as of :func:`descend`.
        correction: of the next scale; of length 0 at the coarsest.
        interpolation: ``(taps, n0, n1, n2)``.
        operator: as of :func:`descend`.
        after: ``(taps, n0, n1, n2)``, the smoother.
        around, offsets: as of :func:`descend`.
        x: what :func:`descend` gave; receives the correction.
        left: what :func:`descend` gave; overwritten.
        spread: room for a field.
    """
    n0, n1, n2 = t.shape
    if correction.size > 0:
        for i in range(n0):
            for j in range(n1):
                given = correction[i // 2, j // 2]
                for k in range(n2):
                    spread[i, j, k] = given[k // 2]
        _gather(spread, interpolation, around, left)
        for i in range(n0):
            for j in range(n1):
                for k in range(n2):
                    x[i, j, k] += left[i, j, k]
        _gather(x, operator, offsets, left)
        for i in range(n0):
            for j in range(n1):
                for k in range(n2):
                    left[i, j, k] = t[i, j, k] - left[i, j, k]
    _gather(left, after, around, spread)
    for i in range(n0):
        for j in range(n1):
            for k in range(n2):
                x[i, j, k] += spread[i, j, k]

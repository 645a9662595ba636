"""Compiled set-up of a hierarchy's levels from conductances in natural order."""

from numba import uint64

from pdekit.kernels.compile import jit
from pdekit.kernels.lattice import fill, position, wrap
from pdekit.kernels.layout import (
    BLOCK,
    BLOCKS,
    COARSENED,
    COUPLINGS,
    DIAGONAL,
    INVERSE,
    LENGTH,
    OFFSET,
    PERIODIC,
    SIZE,
    START,
    N,
)  # fmt: skip


@jit
def assemble_axis(source, start, w, t, place, axis, couplings, first):
    """Couplings of one axis in blocks, without those to the ground, and their share of the diagonal (in INVERSE)."""
    m1, m2 = t[N + 1] + (axis == 1), t[N + 2] + (axis == 2)
    up = uint64(m1 * m2 if axis == 0 else (m2 if axis == 1 else 1))
    diagonal = t[INVERSE]
    for i0 in range(t[N]):
        for i1 in range(t[N + 1]):
            even, odd = position(t, place, i0, i1)
            row = start + (i0 * m1 + i1) * m2
            grounded = t[PERIODIC + axis] == 0 and ((axis == 0 and i0 == 0) or (axis == 1 and i1 == 0))
            for parity in range(2):
                shift = even if parity == 0 else odd
                c, d, r = uint64(couplings + shift), uint64(diagonal + shift), uint64(row + parity)
                count = (t[N + 2] + 1 - parity) // 2
                for k in range(uint64(count)):
                    lower = source[r + k + k]
                    total = lower + source[r + up + k + k]
                    w[c + k] = lower
                    w[d + k] = total if first else w[d + k] + total
                if grounded:
                    fill(w, couplings + shift, 0.0, count)
            if axis == 2 and t[PERIODIC + 2] == 0:
                w[couplings + even] = 0.0


@jit
def add_sink(source, start, w, t, place):
    """Add the sink to the diagonal (in INVERSE)."""
    for i0 in range(t[N]):
        for i1 in range(t[N + 1]):
            even, odd = position(t, place, i0, i1)
            row = start + (i0 * t[N + 1] + i1) * t[N + 2]
            for parity in range(2):
                d, r = uint64(t[INVERSE] + (even if parity == 0 else odd)), uint64(row + parity)
                for k in range(uint64((t[N + 2] + 1 - parity) // 2)):
                    w[d + k] += source[r + k + k]


@jit
def invert_diagonal(w, t):
    """Turn the diagonal in INVERSE into its inverse; keep a copy in DIAGONAL where the level has one."""
    for m in range(t[BLOCKS]):
        shift = t[START] + m * t[BLOCK]
        d, o = uint64(t[INVERSE] + shift), uint64(t[DIAGONAL] + shift)
        if t[DIAGONAL] > 0:
            for k in range(uint64(t[LENGTH])):
                w[o + k] = w[d + k]
        for k in range(uint64(t[LENGTH])):
            value = w[d + k]
            w[d + k] = 1.0 / value if value > 0.0 else 0.0


@jit
def assemble(arrays, starts, has_sink, w, t, place, flips, wide):
    """Level arrays from conductances in natural order: faces by axis, then the sink."""
    first_axis = 0 if t[BLOCKS] == 8 else 1
    for axis in range(first_axis, 3):
        couplings = t[COUPLINGS] + (axis - first_axis) * t[SIZE]
        assemble_axis(arrays[axis], starts[axis], w, t, place, axis, couplings, axis == first_axis)
        if wide is not None:
            wrap(w, couplings, t, flips)
    if has_sink:
        add_sink(arrays[3], starts[3], w, t, place)
    invert_diagonal(w, t)


@jit
def halve_along(source, start, w, target, outer, n, inner, offset, periodic):
    """Faces along a halved axis: two conductances in series. Arrays are (outer, n + 1 or coarse + 1, inner)."""
    coarse = (n - offset + 1) // 2
    for i in range(outer):
        for c in range(coarse + 1):
            low, high = 2 * c + offset - 1, 2 * c + offset
            if low < 0:
                low = n - 1 if periodic else high
            single = low == high or high > n
            r = uint64(start + (i * (n + 1) + low) * inner)
            s = r if single else uint64(start + (i * (n + 1) + high) * inner)
            o = uint64(target + (i * (coarse + 1) + c) * inner)
            if single:
                for k in range(uint64(inner)):
                    w[o + k] = source[r + k]
            else:
                for k in range(uint64(inner)):
                    a, b = source[r + k], source[s + k]
                    w[o + k] = a * b / (a + b) if a + b > 0.0 else 0.0


@jit
def halve_across(source, start, w, target, outer, n, inner, offset, periodic, end):
    """Sums over a halved axis with the weights of linear interpolation. Arrays are (outer, n or coarse, inner)."""
    coarse = (n - offset + 1) // 2
    for i in range(outer):
        for c in range(coarse):
            here = 2 * c + offset
            o = uint64(target + (i * coarse + c) * inner)
            r = uint64(start + (i * n + here) * inner)
            low, high, weight = here - 1, here + 1, 0.5
            if low < 0 and periodic:
                low = n - 1
            if high == n - 1 and c == coarse - 1 and not periodic:
                weight = end
            if low >= 0 and high < n:
                p, q = uint64(start + (i * n + low) * inner), uint64(start + (i * n + high) * inner)
                for k in range(uint64(inner)):
                    w[o + k] = source[r + k] + (0.5 * source[p + k] + weight * source[q + k])
            elif low >= 0 or high < n:
                near = low if low >= 0 else high
                factor = 0.5 if low >= 0 else weight
                p = uint64(start + (i * n + near) * inner)
                for k in range(uint64(inner)):
                    w[o + k] = source[r + k] + factor * source[p + k]
            else:
                for k in range(uint64(inner)):
                    w[o + k] = source[r + k]


@jit
def halve_last_across(source, start, w, target, rows, n, offset, end):
    """`halve_across` for a last axis without wrap: one strided loop a row."""
    coarse = (n - offset + 1) // 2
    inside = (n - offset) // 2  # coarse points with a fine point above
    for i in range(rows):
        o, r = uint64(target + i * coarse), uint64(start + i * n + offset)
        first = 1 - offset
        below, above = uint64(start + i * n + offset - 1), uint64(start + i * n + offset + 1)
        w[o] = source[r]
        for k in range(uint64(first), uint64(coarse)):
            w[o + k] = source[r + k + k] + 0.5 * source[below + k + k]
        for k in range(uint64(inside)):
            w[o + k] += 0.5 * source[above + k + k]
        if inside == coarse:
            w[o + uint64(coarse - 1)] += (end - 0.5) * source[above + uint64(2 * (coarse - 1))]


@jit
def halve_last_along(source, start, w, target, rows, n, offset):
    """`halve_along` for a last axis without wrap: one strided loop a row."""
    coarse = (n - offset + 1) // 2
    last = offset + 2 * (coarse - 1)
    pairs = coarse + (last < n - 1)  # faces with two in series, counted from face 0 (s = 1) or 1 (s = 0)
    for i in range(rows):
        o, r = uint64(target + i * (coarse + 1)), uint64(start + i * (n + 1) + offset - 1)
        first = uint64(1 - offset)
        w[o] = source[uint64(start + i * (n + 1))]
        for k in range(first, uint64(pairs)):
            a, b = source[r + k + k], source[r + k + k + uint64(1)]
            w[o + k] = a * b / (a + b) if a + b > 0.0 else 0.0
        if last == n - 1:
            w[o + uint64(coarse)] = source[uint64(start + i * (n + 1) + n)]


@jit
def coarsen_array(source, start, w, target, spares, t, end, axis):
    """One face array (axis 0..2) or the sink (axis 3) of the next level: in series along, then summed across.

    A resistor network seen from twice as far: conductances in series along an axis are halved, those side by side
    add up.
    """
    passes = t[COARSENED] + t[COARSENED + 1] + t[COARSENED + 2]
    n0, n1, n2 = t[N], t[N + 1], t[N + 2]
    done = 0
    for turn in range(4):  # its own axis first
        k = axis if turn == 0 else turn - 1
        if k == 3 or (turn > 0 and k == axis) or t[COARSENED + k] == 0:
            continue
        done += 1
        to = target if done == passes else spares[done % 2]
        n = n0 if k == 0 else (n1 if k == 1 else n2)
        e0, e1, e2 = n0 + (axis == 0), n1 + (axis == 1), n2 + (axis == 2)
        outer = 1 if k == 0 else (e0 if k == 1 else e0 * e1)
        inner = e1 * e2 if k == 0 else (e2 if k == 1 else 1)
        strided = k == 2 and t[PERIODIC + 2] == 0
        if k == axis and strided:
            halve_last_along(source, start, w, to, outer, n, t[OFFSET + k])
        elif k == axis:
            halve_along(source, start, w, to, outer, n, inner, t[OFFSET + k], t[PERIODIC + k] == 1)
        elif strided:
            halve_last_across(source, start, w, to, outer, n, t[OFFSET + k], end[k])
        else:
            halve_across(source, start, w, to, outer, n, inner, t[OFFSET + k], t[PERIODIC + k] == 1, end[k])
        source, start = w, to
        coarse = (n - t[OFFSET + k] + 1) // 2
        if k == 0:
            n0 = coarse
        elif k == 1:
            n1 = coarse
        else:
            n2 = coarse

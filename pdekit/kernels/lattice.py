"""Compiled loops over the blocks of one lattice (see `pdekit.kernels.layout`)."""

import numpy as np
from numba import uint64

from pdekit.kernels.compile import jit
from pdekit.kernels.layout import (
    BLOCK,
    BLOCKS,
    OFFSET,
    PERIODIC,
    START,
    STRIDE,
    N,
    R,
)  # fmt: skip

# -- sums over neighbours --------------------------------------------------------------------------------------------
# A block's points start at position u; couplings a and b belong to two stored offsets, whose neighbours lie la, lb
# below and ua, ub above. Positions are unsigned inside loops: signed ones would be tested for wrapping around.
# `extra` (or None) holds the sum over all other neighbours.


@jit
def relax(w, u, f, inverse, extra, a, b, la, ua, lb, ub, n):
    """u = (f + neighbours) / diagonal."""
    o, g, d, e = uint64(u), uint64(f), uint64(inverse), uint64(0 if extra is None else extra)
    a0, a1, b0, b1 = uint64(a), uint64(a + ua), uint64(b), uint64(b + ub)
    x0, x1, y0, y1 = uint64(u + la), uint64(u + ua), uint64(u + lb), uint64(u + ub)
    for k in range(uint64(n)):
        s = w[g + k] + w[a0 + k] * w[x0 + k] + w[a1 + k] * w[x1 + k] + w[b0 + k] * w[y0 + k] + w[b1 + k] * w[y1 + k]
        if extra is not None:
            s += w[e + k]
        w[o + k] = w[d + k] * s


@jit
def neighbours(w, out, u, extra, a, b, la, ua, lb, ub, n):
    """out = neighbours."""
    o, e = uint64(out), uint64(0 if extra is None else extra)
    a0, a1, b0, b1 = uint64(a), uint64(a + ua), uint64(b), uint64(b + ub)
    x0, x1, y0, y1 = uint64(u + la), uint64(u + ua), uint64(u + lb), uint64(u + ub)
    for k in range(uint64(n)):
        s = w[a0 + k] * w[x0 + k] + w[a1 + k] * w[x1 + k] + w[b0 + k] * w[y0 + k] + w[b1 + k] * w[y1 + k]
        if extra is not None:
            s += w[e + k]
        w[o + k] = s


@jit
def residual(w, out, u, f, diagonal, extra, a, b, la, ua, lb, ub, n):
    """out = f + neighbours - diagonal u."""
    o, g, d, e, c = uint64(out), uint64(f), uint64(diagonal), uint64(0 if extra is None else extra), uint64(u)
    a0, a1, b0, b1 = uint64(a), uint64(a + ua), uint64(b), uint64(b + ub)
    x0, x1, y0, y1 = uint64(u + la), uint64(u + ua), uint64(u + lb), uint64(u + ub)
    for k in range(uint64(n)):
        s = w[g + k] + w[a0 + k] * w[x0 + k] + w[a1 + k] * w[x1 + k] + w[b0 + k] * w[y0 + k] + w[b1 + k] * w[y1 + k]
        if extra is not None:
            s += w[e + k]
        w[o + k] = s - w[d + k] * w[c + k]


@jit
def relax_and_dot(w, u, f, total, inverse, extra, a, b, la, ua, lb, ub, n):
    """total = f + neighbours; u = total / diagonal; returns u . f."""
    o, g, t, d, e = uint64(u), uint64(f), uint64(total), uint64(inverse), uint64(0 if extra is None else extra)
    a0, a1, b0, b1 = uint64(a), uint64(a + ua), uint64(b), uint64(b + ub)
    x0, x1, y0, y1 = uint64(u + la), uint64(u + ua), uint64(u + lb), uint64(u + ub)
    dot = 0.0
    for k in range(uint64(n)):
        s = w[g + k] + w[a0 + k] * w[x0 + k] + w[a1 + k] * w[x1 + k] + w[b0 + k] * w[y0 + k] + w[b1 + k] * w[y1 + k]
        if extra is not None:
            s += w[e + k]
        z = w[d + k] * s
        w[t + k] = s
        w[o + k] = z
        dot += z * w[g + k]
    return dot


@jit
def direction(w, p, q, u, total, beta, extra, a, b, la, ua, lb, ub, n):
    """p = u + beta p; q = total - neighbours + beta q, which is A p; returns p . q."""
    o, v, z, t, e = uint64(p), uint64(q), uint64(u), uint64(total), uint64(0 if extra is None else extra)
    a0, a1, b0, b1 = uint64(a), uint64(a + ua), uint64(b), uint64(b + ub)
    x0, x1, y0, y1 = uint64(u + la), uint64(u + ua), uint64(u + lb), uint64(u + ub)
    dot = 0.0
    for k in range(uint64(n)):
        s = w[a0 + k] * w[x0 + k] + w[a1 + k] * w[x1 + k] + w[b0 + k] * w[y0 + k] + w[b1 + k] * w[y1 + k]
        if extra is not None:
            s += w[e + k]
        new_p = w[z + k] + beta * w[o + k]
        new_q = w[t + k] - s + beta * w[v + k]
        w[o + k] = new_p
        w[v + k] = new_q
        dot += new_p * new_q
    return dot


@jit
def gather_first(w, out, u, a, la, ua, n):
    """out = the two neighbours of one stored offset."""
    o, a0, a1, x0, x1 = uint64(out), uint64(a), uint64(a + ua), uint64(u + la), uint64(u + ua)
    for k in range(uint64(n)):
        w[o + k] = w[a0 + k] * w[x0 + k] + w[a1 + k] * w[x1 + k]


@jit
def gather_more(w, out, u, a, la, ua, n):
    """out += the two neighbours of one stored offset."""
    o, a0, a1, x0, x1 = uint64(out), uint64(a), uint64(a + ua), uint64(u + la), uint64(u + ua)
    for k in range(uint64(n)):
        w[o + k] += w[a0 + k] * w[x0 + k] + w[a1 + k] * w[x1 + k]


@jit
def finite(x):
    """Whether x is neither infinite nor NaN; np.isfinite tests x - x, which reassociation may fold to zero."""
    return abs(x) < np.inf


# -- plain vector loops ----------------------------------------------------------------------------------------------


@jit
def scale(w, out, x, y, n):
    """out = x y."""
    o, a, b = uint64(out), uint64(x), uint64(y)
    for k in range(uint64(n)):
        w[o + k] = w[a + k] * w[b + k]


@jit
def fill(w, out, value, n):
    o = uint64(out)
    for k in range(uint64(n)):
        w[o + k] = value


@jit
def step(w, x, p, r, q, z, inverse, alpha, n):
    """x += alpha p; r -= alpha q; z = r / diagonal; returns r . r."""
    ox, op, orr, oq, oz, od = uint64(x), uint64(p), uint64(r), uint64(q), uint64(z), uint64(inverse)
    dot = 0.0
    for k in range(uint64(n)):
        w[ox + k] += alpha * w[op + k]
        s = w[orr + k] - alpha * w[oq + k]
        w[orr + k] = s
        w[oz + k] = s * w[od + k]
        dot += s * s
    return dot


@jit
def add1(w, out, x, factor, a, n):
    """out += factor x moved by a."""
    o, p = uint64(out), uint64(x + a)
    for k in range(uint64(n)):
        w[o + k] += factor * w[p + k]


@jit
def add2(w, out, x, factor, a, b, n):
    """out += factor (x moved by a + x moved by b)."""
    o, p, q = uint64(out), uint64(x + a), uint64(x + b)
    for k in range(uint64(n)):
        w[o + k] += factor * (w[p + k] + w[q + k])


@jit
def add4(w, out, x, factor, a, b, c, d, n):
    """out += factor (four moved copies of x)."""
    o, p, q, r, s = uint64(out), uint64(x + a), uint64(x + b), uint64(x + c), uint64(x + d)
    for k in range(uint64(n)):
        w[o + k] += factor * ((w[p + k] + w[q + k]) + (w[r + k] + w[s + k]))


@jit
def add_product(w, out, x, y, n):
    """out += x y."""
    o, a, b = uint64(out), uint64(x), uint64(y)
    for k in range(uint64(n)):
        w[o + k] += w[a + k] * w[b + k]


# -- ghosts, and the way in and out ----------------------------------------------------------------------------------


@jit
def copy_layer(w, base, t, axis, to, source):
    """Copy a layer of cells (with its ghosts) to another along one axis; the bases name the two blocks."""
    j, k = (axis + 1) % 3, (axis + 2) % 3
    gj, gk = (1 if t[N + j] > 1 else 0), (1 if t[N + k] > 1 else 0)
    for cj in range(-gj, t[R + j] + gj):
        for ck in range(-gk, t[R + k] + gk):
            shift = cj * t[STRIDE + j] + ck * t[STRIDE + k]
            w[base + to + shift] = w[base + source + shift]


@jit
def wrap(w, array, t, flips):
    """Fill the ghosts of periodic axes, in all blocks."""
    for axis in range(3):
        if t[PERIODIC + axis] == 0:
            continue
        bit = 1 << (2 - axis)
        s, cells = t[STRIDE + axis], t[R + axis]
        odd = t[N + axis] % 2 == 1
        for m in range(t[BLOCKS]):
            base = array + t[START] + m * t[BLOCK]
            if not odd:
                copy_layer(w, base, t, axis, -s, (cells - 1) * s)
                copy_layer(w, base, t, axis, cells * s, 0)
            elif ((flips[m] & bit) != 0) != (t[OFFSET + axis] == 1):
                # an odd ring: the ghosts of the odd points mirror the last and the first even one
                for other in range(t[BLOCKS]):
                    if flips[other] == flips[m] ^ bit:
                        move = (other - m) * t[BLOCK]
                        copy_layer(w, base, t, axis, -s, move + (cells - 1) * s)
                        copy_layer(w, base, t, axis, (cells - 1) * s, move)


@jit
def position(t, place, i0, i1):
    """Blocks and cell offset of a row (i0, i1): the block of its even points, of its odd points, and the shift."""
    q = (((i0 & 1) ^ t[OFFSET]) << 2) | (((i1 & 1) ^ t[OFFSET + 1]) << 1)
    even, odd = place[q | t[OFFSET + 2]], place[q | (1 - t[OFFSET + 2])]
    shift = t[START] + (i0 >> 1) * t[STRIDE] + (i1 >> 1) * t[STRIDE + 1]
    return even * t[BLOCK] + shift, odd * t[BLOCK] + shift


@jit
def split(source, start, s0, s1, s2, w, array, t, place):
    """Bring lattice values in natural order (strides s0, s1, s2) into blocks."""
    for i0 in range(t[N]):
        for i1 in range(t[N + 1]):
            even, odd = position(t, place, i0, i1)
            row = start + i0 * s0 + i1 * s1
            e, o, r, r1, two = uint64(array + even), uint64(array + odd), uint64(row), uint64(row + s2), uint64(2 * s2)
            for k in range(uint64((t[N + 2] + 1) // 2)):
                w[e + k] = source[r + two * k]
            for k in range(uint64(t[N + 2] // 2)):
                w[o + k] = source[r1 + two * k]


@jit
def merge(w, array, t, place, target, start, s0, s1, s2):
    """The inverse of `split`."""
    for i0 in range(t[N]):
        for i1 in range(t[N + 1]):
            even, odd = position(t, place, i0, i1)
            row = start + i0 * s0 + i1 * s1
            e, o, r, r1, two = uint64(array + even), uint64(array + odd), uint64(row), uint64(row + s2), uint64(2 * s2)
            for k in range(uint64((t[N + 2] + 1) // 2)):
                target[r + two * k] = w[e + k]
            for k in range(uint64(t[N + 2] // 2)):
                target[r1 + two * k] = w[o + k]

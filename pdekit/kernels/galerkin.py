"""Compiled operator-dependent interpolation and Galerkin products (Dendy's black-box multigrid).

Interpolation to a fine point between coarse ones solves its own equation, with the couplings along the axes it does not
interpolate along collapsed onto the point itself; points with more flips build on those with fewer.

Source: J. E. Dendy, Black box multigrid, J. Comput. Phys. 48 (1982) 366-386.
"""

from numba import uint64

from pdekit.kernels.assembly import invert_diagonal
from pdekit.kernels.compile import jit
from pdekit.kernels.cycle import exchange
from pdekit.kernels.lattice import add1, copy_layer, fill, wrap
from pdekit.kernels.layout import (
    BLOCK,
    BLOCKS,
    COARSENED,
    COUPLINGS,
    DIAGONAL,
    INVERSE,
    LENGTH,
    OFFSETS,
    PERIODIC,
    PRODUCT,
    ROWS,
    SIZE,
    START,
    STRIDE,
    WEIGHTS,
    R,
    T,
)  # fmt: skip
from pdekit.kernels.sweep import direction_index


@jit
def add_product(w, out, factor, x, y, n):
    """out += factor x y."""
    o, a, b = uint64(out), uint64(x), uint64(y)
    for k in range(uint64(n)):
        w[o + k] += factor * w[a + k] * w[b + k]


@jit
def add_product3(w, out, x, y, z, n):
    """out += x y z."""
    o, a, b, c = uint64(out), uint64(x), uint64(y), uint64(z)
    for k in range(uint64(n)):
        w[o + k] += w[a + k] * w[b + k] * w[c + k]


@jit
def safe_inverse(w, out, n):
    o = uint64(out)
    for k in range(uint64(n)):
        value = w[o + k]
        w[o + k] = 1.0 / value if value > 0.0 else 0.0


@jit
def level_weights(w, weights, inverse, diagonal, share, n):
    """Equal weights for points that conduct nothing along the axes they interpolate along."""
    o, i, d = uint64(weights), uint64(inverse), uint64(diagonal)
    for k in range(uint64(n)):
        w[o + k] = share if w[i + k] == 0.0 and w[d + k] > 0.0 else w[o + k]


@jit
def corner_index(tables, level, m, c0, c1, c2):
    """Which of the coarse values that block m interpolates from lies at these cells."""
    for j in range(tables.corners[level, m]):
        corner = tables.corner[level, m, j]
        if corner[0] == c0 and corner[1] == c1 and corner[2] == c2:
            return j
    return -1


@jit
def interpolation(w, tables, level):
    """Interpolation weights of a level from its operator."""
    t, near, half = tables.table[level], tables.near[level], tables.half
    flips, corners, weight = tables.flips[level], tables.corners[level], tables.weight[level]
    blocks, n = t[BLOCKS], t[LENGTH]
    for turn in range(1, 4):  # blocks with one flip, then two, then three
        for m in range(blocks):
            if corners[m] != 1 << turn:
                continue
            s = t[START] + m * t[BLOCK]
            weights = t[WEIGHTS] + weight[m] * t[SIZE] + s
            inverse = t[T] + s
            fill(w, inverse, 0.0, n)
            add1(w, inverse, t[DIAGONAL] + s, 1.0, 0, n)
            for j in range(corners[m]):
                fill(w, weights + j * t[SIZE], 0.0, n)
            f0, f1, f2 = flipped(t, flips[m], 0), flipped(t, flips[m], 1), flipped(t, flips[m], 2)
            for stored in range(2 * t[OFFSETS]):
                j, sign = stored >> 1, 2 * (stored & 1) - 1
                if sign * (half[j, 0] * f0) == 0 and half[j, 1] * f1 == 0 and half[j, 2] * f2 == 0:
                    move = 0 if sign < 0 else near[m, direction_index(half, j, 1)]
                    add1(w, inverse, t[COUPLINGS] + j * t[SIZE] + s, -1.0, move, n)
            safe_inverse(w, inverse, n)
            for stored in range(2 * t[OFFSETS]):
                j, sign = stored >> 1, 2 * (stored & 1) - 1
                o0, o1, o2 = sign * half[j, 0] * f0, sign * half[j, 1] * f1, sign * half[j, 2] * f2
                if o0 == 0 and o1 == 0 and o2 == 0:
                    continue
                coupling = t[COUPLINGS] + j * t[SIZE] + s
                if sign > 0:
                    coupling += near[m, direction_index(half, j, 1)]
                d = (o0 + 1) * 9 + (o1 + 1) * 3 + o2 + 1
                other = tables.neighbour[level, m, d]
                cells = tables.cells[level, m, d]
                if corners[other] == 1:
                    c = corner_index(tables, level, m, cells[0], cells[1], cells[2])
                    add_product(w, weights + c * t[SIZE], 1.0, coupling, inverse, n)
                    continue
                for k in range(corners[other]):
                    v = tables.corner[level, other, k]
                    c = corner_index(tables, level, m, cells[0] + v[0], cells[1] + v[1], cells[2] + v[2])
                    theirs = t[WEIGHTS] + (weight[other] + k) * t[SIZE] + s + near[m, d]
                    add_product3(w, weights + c * t[SIZE], coupling, inverse, theirs, n)
            for j in range(corners[m]):
                level_weights(w, weights + j * t[SIZE], inverse, t[DIAGONAL] + s, 1.0 / corners[m], n)
                wrap(w, weights - s + j * t[SIZE], t, flips)


@jit
def flipped(t, flips, axis):
    return 1 if t[COARSENED + axis] == 1 and (flips >> (2 - axis)) & 1 == 1 else 0


@jit
def product(w, tables, level):
    """The next level's operator P^T A P."""
    t, c, near, half = tables.table[level], tables.table[level + 1], tables.near[level], tables.half
    flips, home, corners, weight = tables.flips[level], tables.home[level], tables.corners[level], tables.weight[level]
    blocks, n, rows, out = t[BLOCKS], t[LENGTH], tables.vectors[ROWS], tables.vectors[PRODUCT]
    width = t[BLOCK] + 2 * t[START]  # of one temporary
    low = 0 if blocks == 8 else 1
    for h in range(blocks):
        if home[h] == h:
            for j in range(c[OFFSETS] + 1):
                fill(w, out + j * t[SIZE] + t[START] + h * t[BLOCK], 0.0, n)
    for m in range(blocks):
        s = t[START] + m * t[BLOCK]
        fill(w, rows, 0.0, 27 * width if low == 0 else 9 * width)
        # row b: couplings of the block's points to the coarse value b cells (points, on a kept axis) away
        for stored in range(-1, 2 * t[OFFSETS]):
            j, sign = stored >> 1, 2 * (stored & 1) - 1
            if stored < 0:
                d, entry, factor = 13, t[DIAGONAL] + s, 1.0
                o0, o1, o2 = 0, 0, 0
            else:
                d, entry, factor = direction_index(half, j, sign), t[COUPLINGS] + j * t[SIZE] + s, -1.0
                o0, o1, o2 = sign * half[j, 0], sign * half[j, 1], sign * half[j, 2]
                if sign > 0:
                    entry += near[m, d]
            other, cells = tables.neighbour[level, m, d], tables.cells[level, m, d]
            for k in range(corners[other]):
                v = tables.corner[level, other, k]
                b0 = cells[0] + v[0] if t[COARSENED] == 1 else o0
                b1 = cells[1] + v[1] if t[COARSENED + 1] == 1 else o1
                b2 = cells[2] + v[2] if t[COARSENED + 2] == 1 else o2
                row = rows + ((b0 + 1 - low) * 9 + (b1 + 1) * 3 + b2 + 1) * width + t[START]
                if corners[other] == 1:
                    add1(w, row, entry, factor, 0, n)
                else:
                    theirs = t[WEIGHTS] + (weight[other] + k) * t[SIZE] + s + near[m, d]
                    add_product(w, row, factor, entry, theirs, n)
        for axis in range(low, 3):
            if t[COARSENED + axis] == 1 and t[PERIODIC + axis] == 1:
                for b in range(27 if low == 0 else 9):
                    base = rows + b * width + t[START]
                    copy_layer(w, base, t, axis, -t[STRIDE + axis], (t[R + axis] - 1) * t[STRIDE + axis])
                    copy_layer(w, base, t, axis, t[R + axis] * t[STRIDE + axis], 0)
        for k in range(corners[m]):
            v = tables.corner[level, m, k]
            for j in range(-1, c[OFFSETS]):
                # the stored coupling to the point half[j] below; the diagonal for j = -1
                b0, b1, b2 = v[0], v[1], v[2]
                if j >= 0:
                    b0, b1, b2 = v[0] - half[j, 0], v[1] - half[j, 1], v[2] - half[j, 2]
                if max(abs(b0), max(abs(b1), abs(b2))) > 1:
                    continue
                row = rows + ((b0 + 1 - low) * 9 + (b1 + 1) * 3 + b2 + 1) * width + t[START]
                target = out + (j + 1) * t[SIZE] + t[START] + home[m] * t[BLOCK]
                factor = 1.0 if j < 0 else -1.0
                if corners[m] == 1:
                    add1(w, target, row, factor, 0, n)
                else:
                    mine = t[WEIGHTS] + (weight[m] + k) * t[SIZE] + s
                    add_product(w, target, factor, mine - v[3], row - v[3], n)
    for j in range(-1, c[OFFSETS]):
        target = c[INVERSE] if j < 0 else c[COUPLINGS] + j * c[SIZE]
        exchange(w, t, c, flips, home, tables.place, out + (j + 1) * t[SIZE], target, True)
        if j >= 0:
            wrap(w, target, c, tables.flips[level + 1])
    invert_diagonal(w, c)

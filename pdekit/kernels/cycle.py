"""The compiled symmetric V-cycle: coloured Gauss-Seidel, transfers, a dense solve at the bottom."""

import numpy as np
from numba import uint64

from pdekit.kernels.compile import jit
from pdekit.kernels.islands import move_islands
from pdekit.kernels.lattice import (
    add1,
    add2,
    add4,
    add_product,
    copy_layer,
    fill,
    merge,
    scale,
    split,
)  # fmt: skip
from pdekit.kernels.layout import (
    BLOCK,
    BLOCKS,
    COARSENED,
    COUPLED,
    DENSE,
    INVERSE,
    LENGTH,
    OFFSET,
    OFFSETS,
    PERIODIC,
    SCRATCH,
    SIZE,
    START,
    STRIDE,
    WEIGHTS,
    F,
    N,
    R,
    T,
    U,
)  # fmt: skip
from pdekit.kernels.sweep import NEIGHBOURS, RELAX, RESIDUAL, refresh, sweep_block


@jit
def restrict(w, tables, level, blocks, wide):
    """Coarse right-hand side from the residual in T, of which the first `blocks` blocks are not zero."""
    flips, home, corners, corner, weight = tables.flips, tables.home, tables.corners, tables.corner, tables.weight
    end, place = tables.end, tables.place
    t, c = tables.table[level], tables.table[level + 1]
    array, n = t[T], t[LENGTH]
    refresh(w, array, t, flips[level], wide)
    for m in range(t[BLOCKS]):
        if home[level, m] == m and m >= blocks:
            fill(w, array + t[START] + m * t[BLOCK], 0.0, n)
    for m in range(blocks):
        if home[level, m] == m:
            continue
        source = array + t[START] + m * t[BLOCK]
        target = array + t[START] + home[level, m] * t[BLOCK]
        k = corner[level, m]
        if wide is not None and t[WEIGHTS] > 0:
            for j in range(corners[level, m]):
                v = t[WEIGHTS] + (weight[level, m] + j) * t[SIZE] + t[START] + m * t[BLOCK]
                add_product(w, target, source - k[j, 3], v - k[j, 3], n)
            continue
        for axis in range(3):
            e = end[level, axis]
            if e > 0.0 and e != 0.5 and (flips[level, m] >> (2 - axis)) & 1 == 1:
                scale_layer(w, source, t, axis, 2.0 * e)
        if corners[level, m] == 2:
            add2(w, target, source, 0.5, -k[0, 3], -k[1, 3], n)
        elif corners[level, m] == 4:
            add4(w, target, source, 0.25, -k[0, 3], -k[1, 3], -k[2, 3], -k[3, 3], n)
        else:
            add4(w, target, source, 0.125, -k[0, 3], -k[1, 3], -k[2, 3], -k[3, 3], n)
            add4(w, target, source, 0.125, -k[4, 3], -k[5, 3], -k[6, 3], -k[7, 3], n)
    exchange(w, t, c, flips[level], home[level], place, array, c[F], True)


@jit
def scale_layer(w, block, t, axis, factor):
    """Scale the last layer of flipped points along an axis, the one beyond the last coarse layer."""
    last = t[R + axis] - 1
    j, k = (axis + 1) % 3, (axis + 2) % 3
    for cj in range(t[R + j]):
        for ck in range(t[R + k]):
            w[block + last * t[STRIDE + axis] + cj * t[STRIDE + j] + ck * t[STRIDE + k]] *= factor


@jit
def exchange(w, t, c, flips, home, place, fine, coarse, down):
    """Move coarse values between the coarse points of a fine level's array and an array of the next level."""
    for m in range(t[BLOCKS]):
        if home[m] != m:
            continue
        base = fine + t[START] + m * t[BLOCK]
        # the coarse points of this block: all of a coarsened axis, one parity of a kept one
        f0, f1, f2 = (flips[m] >> 2) & 1, (flips[m] >> 1) & 1, flips[m] & 1
        k0, k1, k2 = t[COARSENED], t[COARSENED + 1], t[COARSENED + 2]
        i0 = 0 if k0 == 1 else f0
        while i0 < c[N]:
            cell0 = i0 if k0 == 1 else i0 >> 1
            i1 = 0 if k1 == 1 else f1
            while i1 < c[N + 1]:
                cell1 = i1 if k1 == 1 else i1 >> 1
                row = uint64(base + cell0 * t[STRIDE] + cell1 * t[STRIDE + 1])
                q = (((i0 & 1) ^ c[OFFSET]) << 2) | (((i1 & 1) ^ c[OFFSET + 1]) << 1)
                shift = c[START] + (i0 >> 1) * c[STRIDE] + (i1 >> 1) * c[STRIDE + 1]
                for parity in range(2):
                    if k2 == 0 and parity != f2:
                        continue
                    block = place[q | (parity ^ c[OFFSET + 2])] * c[BLOCK] + shift
                    other = uint64(coarse + block)
                    count = uint64((c[N + 2] + 1 - parity) // 2)
                    if k2 == 0:
                        if down:
                            for k in range(count):
                                w[other + k] = w[row + k]
                        else:
                            for k in range(count):
                                w[row + k] = w[other + k]
                    else:
                        here = row + uint64(parity)
                        if down:
                            for k in range(count):
                                w[other + k] = w[here + k + k]
                        else:
                            for k in range(count):
                                w[here + k + k] = w[other + k]
                i1 += 1 if k1 == 1 else 2
            i0 += 1 if k0 == 1 else 2


@jit
def coarse_ghosts(w, t, level, end, home, wide):
    """Values of the coarse points beyond the last, such that linear interpolation ends as it should."""
    for m in range(t[BLOCKS]):
        if home[level, m] != m:
            continue
        base = t[T] + t[START] + m * t[BLOCK]
        for axis in range(3):
            s = t[STRIDE + axis]
            if wide is not None and t[COARSENED + axis] == 1 and t[PERIODIC + axis] == 1:
                copy_layer(w, base, t, axis, t[R + axis] * s, 0)
                copy_layer(w, base, t, axis, -s, (t[R + axis] - 1) * s)
            if end[level, axis] > 0.0:
                coarse = (t[N + axis] - t[OFFSET + axis] + 1) // 2
                copy_layer(w, base, t, axis, coarse * s, (coarse - 1) * s)
                factor = 2.0 * end[level, axis] - 1.0
                j, k = (axis + 1) % 3, (axis + 2) % 3
                gj, gk = (1 if t[N + j] > 1 else 0), (1 if t[N + k] > 1 else 0)
                for cj in range(-gj, t[R + j] + gj):
                    for ck in range(-gk, t[R + k] + gk):
                        w[base + coarse * s + cj * t[STRIDE + j] + ck * t[STRIDE + k]] *= factor


@jit
def prolong(w, tables, level, blocks, target_array, add, wide):
    """Interpolate U of the next level; add it to the first `blocks` blocks of the target (or set them)."""
    flips, home, corners, corner, weight = tables.flips, tables.home, tables.corners, tables.corner, tables.weight
    end, place = tables.end, tables.place
    t, c = tables.table[level], tables.table[level + 1]
    for m in range(t[BLOCKS]):
        if home[level, m] == m:
            fill(w, t[T] + t[START] + m * t[BLOCK], 0.0, t[LENGTH])
    exchange(w, t, c, flips[level], home[level], place, t[T], c[U], False)
    n = t[LENGTH]
    coarse_ghosts(w, t, level, end, home, wide)
    for m in range(blocks):
        target = target_array + t[START] + m * t[BLOCK]
        source = t[T] + t[START] + home[level, m] * t[BLOCK]
        k = corner[level, m]
        if not add:
            fill(w, target, 0.0, n)
        if corners[level, m] == 1:
            add1(w, target, source, 1.0, 0, n)
        elif wide is not None and t[WEIGHTS] > 0:
            for j in range(corners[level, m]):
                v = t[WEIGHTS] + (weight[level, m] + j) * t[SIZE] + t[START] + m * t[BLOCK]
                add_product(w, target, source + k[j, 3], v, n)
        elif corners[level, m] == 2:
            add2(w, target, source, 0.5, k[0, 3], k[1, 3], n)
        elif corners[level, m] == 4:
            add4(w, target, source, 0.25, k[0, 3], k[1, 3], k[2, 3], k[3, 3], n)
        else:
            add4(w, target, source, 0.125, k[0, 3], k[1, 3], k[2, 3], k[3, 3], n)
            add4(w, target, source, 0.125, k[4, 3], k[5, 3], k[6, 3], k[7, 3], n)


@jit
def dense_inverse(w, tables, singular, wide):
    """Invert the operator of the coarsest level, plus a multiple of the constant mode where it is singular."""
    last, place = tables.table.shape[0] - 1, tables.place
    t = tables.table[last]
    n = t[N] * t[N + 1] * t[N + 2]
    matrix = np.zeros((n, n))
    unit = np.zeros(n)
    image = np.zeros(n)
    for column in range(n):
        unit[column] = 1.0
        fill(w, t[U], 0.0, t[SIZE])
        split(unit, 0, t[N + 1] * t[N + 2], t[N + 2], 1, w, t[U], t, place)
        refresh(w, t[U], t, tables.flips[last], wide)
        for m in range(t[BLOCKS]):
            sweep_block(
                w, t, tables.near[last], tables.half, wide, m, NEIGHBOURS, t[U], t[F], t[T], tables.vectors[SCRATCH]
            )
        merge(w, t[T], t, place, image, 0, t[N + 1] * t[N + 2], t[N + 2], 1)
        for k in range(n):
            matrix[column, k] = -image[k]
        merge(w, t[INVERSE], t, place, image, 0, t[N + 1] * t[N + 2], t[N + 2], 1)
        matrix[column, column] += 1.0 / image[column] if image[column] > 0.0 else 1.0
        unit[column] = 0.0
    fill(w, t[U], 0.0, t[SIZE])
    if singular:
        trace = 0.0
        for i in range(n):
            trace += matrix[i, i]
        for i in range(n):
            for j in range(n):
                matrix[i, j] += trace / (n * n)
    # Cholesky factor in the lower triangle, its inverse in place, then inverse = (L^-1)^T L^-1
    for j in range(n):
        pivot = matrix[j, j]
        for k in range(j):
            pivot -= matrix[j, k] * matrix[j, k]
        if not pivot > 0.0:
            return False
        pivot = np.sqrt(pivot)
        matrix[j, j] = pivot
        for i in range(j + 1, n):
            value = matrix[i, j]
            for k in range(j):
                value -= matrix[i, k] * matrix[j, k]
            matrix[i, j] = value / pivot
    for j in range(n):
        matrix[j, j] = 1.0 / matrix[j, j]
        for i in range(j + 1, n):
            value = 0.0
            for k in range(j, i):
                value -= matrix[i, k] * matrix[k, j]
            matrix[i, j] = value / matrix[i, i]
    dense = tables.vectors[DENSE]
    for i in range(n):
        for j in range(i + 1):
            value = 0.0
            for k in range(i, n):
                value += matrix[k, i] * matrix[k, j]
            w[dense + i * n + j] = value
            w[dense + j * n + i] = value
    return True


@jit
def solve_coarsest(w, tables):
    last, place = tables.table.shape[0] - 1, tables.place
    t = tables.table[last]
    n = t[N] * t[N + 1] * t[N + 2]
    dense = tables.vectors[DENSE]
    f, u = dense + n * n, dense + n * n + n
    merge(w, t[F], t, place, w, f, t[N + 1] * t[N + 2], t[N + 2], 1)
    g = uint64(f)
    for i in range(n):
        row = uint64(dense + i * n)
        value = 0.0
        for k in range(uint64(n)):
            value += w[row + k] * w[g + k]
        w[u + i] = value
    split(w, u, t[N + 1] * t[N + 2], t[N + 2], 1, w, t[U], t, place)


@jit
def descend(w, tables, level, wide, islands):
    """Relax from zero, restrict the residual."""
    t, near, half, flips = tables.table[level], tables.near[level], tables.half, tables.flips[level]
    scratch, blocks = tables.vectors[SCRATCH], t[BLOCKS]
    red = blocks // 2
    u, f, n = t[U], t[F], t[LENGTH]
    if wide is not None:
        fill(w, u, 0.0, t[SIZE])
    active = blocks
    if wide is None or t[OFFSETS] <= 3:
        for m in range(red):
            s = t[START] + m * t[BLOCK]
            scale(w, u + s, f + s, t[INVERSE] + s, n)
        refresh(w, u, t, flips, wide)
        for m in range(red, blocks):
            sweep_block(w, t, near, half, wide, m, RELAX, u, f, u, scratch)
        refresh(w, u, t, flips, wide)
        if wide is None or not (t[COUPLED] or (level == 0 and islands.points.shape[0] > 0)):
            active = red  # black points have just been relaxed; they leave no residual
            for m in range(red):
                sweep_block(w, t, near, half, wide, m, NEIGHBOURS, u, f, t[T], scratch)
    if wide is not None and t[OFFSETS] > 3:
        for m in range(blocks):
            sweep_block(w, t, near, half, wide, m, RELAX, u, f, u, scratch)
            refresh(w, u, t, flips, wide)
    if wide is not None and active == blocks:
        if level == 0 and islands.points.shape[0] > 0:
            move_islands(w, t, near, u, f, islands)
            refresh(w, u, t, flips, wide)
        for m in range(blocks):
            sweep_block(w, t, near, half, wide, m, RESIDUAL, u, f, t[T], scratch)
    restrict(w, tables, level, active, wide)


@jit
def ascend(w, tables, level, wide, islands):
    """Add the coarse correction, relax in the opposite order."""
    t, near, half, flips = tables.table[level], tables.near[level], tables.half, tables.flips[level]
    scratch, blocks = tables.vectors[SCRATCH], t[BLOCKS]
    u, f = t[U], t[F]
    active = blocks // 2  # black points are relaxed next and need no correction
    if wide is not None:
        moves = level == 0 and islands.points.shape[0] > 0
        if t[OFFSETS] > 3 or t[COUPLED] or moves:
            active = blocks
        prolong(w, tables, level, active, u, True, wide)
        refresh(w, u, t, flips, wide)
        if moves:
            move_islands(w, t, near, u, f, islands)
            refresh(w, u, t, flips, wide)
    else:
        prolong(w, tables, level, active, u, True, wide)
    if wide is None or t[OFFSETS] <= 3:
        for turn in range(blocks):  # black, then red; within a coupled colour the ghosts hold the values from before
            m = (turn + blocks // 2) % blocks
            sweep_block(w, t, near, half, wide, m, RELAX, u, f, u, scratch)
            if turn == blocks // 2 - 1 or turn == blocks - 1:
                refresh(w, u, t, flips, wide)
    if wide is not None and t[OFFSETS] > 3:
        for m in range(blocks - 1, -1, -1):
            sweep_block(w, t, near, half, wide, m, RELAX, u, f, u, scratch)
            refresh(w, u, t, flips, wide)


@jit
def vcycle(w, tables, wide, islands):
    """From F to U on the finest level."""
    last = tables.table.shape[0] - 1
    for level in range(last):
        descend(w, tables, level, wide, islands)
    solve_coarsest(w, tables)
    for level in range(last - 1, -1, -1):
        ascend(w, tables, level, wide, islands)

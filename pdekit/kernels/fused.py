"""The whole solution of one sample, compiled: set-up of the hierarchy, conjugate gradients, the true residual."""

import numpy as np
from numba import uint64

from pdekit.kernels.assembly import assemble, coarsen_array
from pdekit.kernels.compile import jit
from pdekit.kernels.cycle import (
    ascend,
    dense_inverse,
    descend,
    prolong,
    restrict,
    solve_coarsest,
)  # fmt: skip
from pdekit.kernels.galerkin import interpolation, product
from pdekit.kernels.islands import move_islands
from pdekit.kernels.lattice import direction, fill, finite, merge, relax_and_dot, split, step
from pdekit.kernels.layout import (
    BLOCK,
    BLOCKS,
    CHUNK,
    COUPLINGS,
    INVERSE,
    LENGTH,
    NATURAL,
    NATURAL_NEXT,
    OFFSETS,
    PERIODIC,
    RES,
    SCRATCH,
    SIZE,
    SPARE,
    SPARE_NEXT,
    START,
    STRIDE,
    WEIGHTS,
    B,
    F,
    G,
    N,
    P,
    Q,
    R,
    T,
    U,
    X,
)  # fmt: skip
from pdekit.kernels.natural import centre, norm, true_residual
from pdekit.kernels.sweep import NEIGHBOURS, RELAX, RESIDUAL, direction_index, gather, refresh, sweep_block

CONVERGED, MAX_ITERATIONS, STAGNATED, BREAKDOWN, NOT_FINITE, INCONSISTENT = range(6)
ROUNDING = 1e-14  # a mean this small, relative to b, is no inconsistency


@jit
def setup(arrays, has_sink, w, tables, singular, wide):
    """Build the hierarchy in the workspace; False if the coarsest operator is not positive definite.

    `arrays` are the conductances by axis and the sink, flat, in natural order (the first repeats the second in 2-D).
    """
    place, finest = tables.place, tables.table[0]
    first_axis = 0 if finest[BLOCKS] == 8 else 1
    spares = (tables.vectors[SPARE], tables.vectors[SPARE_NEXT])
    old, new = tables.vectors[NATURAL], tables.vectors[NATURAL_NEXT]
    starts = (0, 0, 0, 0)
    levels = tables.table.shape[0]
    galerkin = False
    if wide is not None:
        galerkin = finest[WEIGHTS] > 0
    for level in range(1 if galerkin else levels):
        t = tables.table[level]
        if level > 0:
            n0, n1, n2 = t[N], t[N + 1], t[N + 2]
            s1 = new + ((n0 + 1) * n1 * n2 if first_axis == 0 else 0)
            s2 = s1 + n0 * (n1 + 1) * n2
            coarse = (new, s1, s2, s2 + n0 * n1 * (n2 + 1))
            fine, end = tables.table[level - 1], tables.end[level - 1]
            for axis in range(first_axis, 4 if has_sink else 3):
                coarsen_array(arrays[axis], starts[axis], w, coarse[axis], spares, fine, end, axis)
            arrays, starts = (w, w, w, w), coarse
            old, new = new, old
        assemble(arrays, starts, has_sink, w, t, place, tables.flips[level], wide)
    if wide is not None and galerkin:
        for level in range(levels - 1):
            interpolation(w, tables, level)
            product(w, tables, level)
    return dense_inverse(w, tables, singular, wide)


@jit
def clear_ghosts(w, array, t, wide):
    """Zero the pads of the black blocks, which periodic couplings fill."""
    if wide is None or t[PERIODIC] + t[PERIODIC + 1] + t[PERIODIC + 2] == 0:
        return
    for m in range(t[BLOCKS] // 2, t[BLOCKS]):
        base = array + t[START] + m * t[BLOCK]
        for c0 in range(t[R] + 2 if t[N] > 1 else t[R]):
            for c1 in range(t[R + 1] + 2):
                inside = (t[N] == 1 or c0 < t[R]) and c1 < t[R + 1]
                row = base + c0 * t[STRIDE] + c1 * t[STRIDE + 1]
                for c2 in range(t[R + 2] if inside else 0, t[STRIDE + 1]):
                    w[row + c2] = 0.0


@jit
def precondition_black(w, tables, wide, islands):
    """One V-cycle on residuals that vanish on red points; z in U, its image's diagonal part in G; returns z . r."""
    t, near, half, flips = tables.table[0], tables.near[0], tables.half, tables.flips[0]
    blocks, red = t[BLOCKS], t[BLOCKS] // 2
    u, r, g, scratch = t[U], tables.vectors[RES], tables.vectors[G], tables.vectors[SCRATCH]
    n, d = t[LENGTH], t[INVERSE]
    last = tables.table.shape[0] - 1
    # z = r / diagonal on black points is in U already
    moves = False
    if wide is not None:
        moves = islands.points.shape[0] > 0
        if moves:
            for m in range(red):
                fill(w, u + t[START] + m * t[BLOCK], 0.0, n)
        refresh(w, u, t, flips, wide)
        if moves:
            move_islands(w, t, near, u, r, islands)
            refresh(w, u, t, flips, wide)
    active = blocks if moves else red
    for m in range(active):
        kind = RESIDUAL if moves else NEIGHBOURS
        sweep_block(w, t, near, half, wide, m, kind, u, r, t[T], scratch)
    restrict(w, tables, 0, active, wide)
    for level in range(1, last):
        descend(w, tables, level, wide, islands)
    solve_coarsest(w, tables)
    for level in range(last - 1, 0, -1):
        ascend(w, tables, level, wide, islands)
    prolong(w, tables, 0, active, u, moves, wide)
    refresh(w, u, t, flips, wide)
    if wide is not None and moves:
        move_islands(w, t, near, u, r, islands)
        refresh(w, u, t, flips, wide)
    dot = 0.0
    a, b = t[COUPLINGS], t[COUPLINGS] + t[SIZE]
    for m in range(red, blocks):
        la, ua = near[m, direction_index(half, 0, -1)], near[m, direction_index(half, 0, 1)]
        lb, ub = near[m, direction_index(half, 1, -1)], near[m, direction_index(half, 1, 1)]
        s = t[START] + m * t[BLOCK]
        if wide is None or t[OFFSETS] == 2:
            dot += relax_and_dot(w, u + s, r + s, g + s, d + s, None, a + s, b + s, la, ua, lb, ub, n)
        if wide is not None and t[OFFSETS] > 2:
            for first in range(0, n, CHUNK):
                s, count = t[START] + m * t[BLOCK] + first, min(CHUNK, n - first)
                gather(w, t, near, half, m, u, s, count, scratch)
                dot += relax_and_dot(w, u + s, r + s, g + s, d + s, scratch, a + s, b + s, la, ua, lb, ub, count)
    refresh(w, u, t, flips, wide)
    for m in range(red):  # the residual is zero there
        sweep_block(w, t, near, half, wide, m, RELAX, u, r, u, scratch)
    refresh(w, u, t, flips, wide)
    return dot


@jit
def new_direction(w, tables, wide, beta):
    """p = z + beta p and q = A p on black points (A p vanishes on red ones); returns p . q."""
    t, near, half = tables.table[0], tables.near[0], tables.half
    p, q, u, g, scratch = (
        tables.vectors[P], tables.vectors[Q], t[U], tables.vectors[G], tables.vectors[SCRATCH],
    )  # fmt: skip
    a, b, n = t[COUPLINGS], t[COUPLINGS] + t[SIZE], t[LENGTH]
    clear_ghosts(w, u, t, wide)
    dot = 0.0
    for m in range(t[BLOCKS] // 2, t[BLOCKS]):
        la, ua = near[m, direction_index(half, 0, -1)], near[m, direction_index(half, 0, 1)]
        lb, ub = near[m, direction_index(half, 1, -1)], near[m, direction_index(half, 1, 1)]
        s = t[START] + m * t[BLOCK]
        if wide is None or t[OFFSETS] == 2:
            dot += direction(w, p + s, q + s, u + s, g + s, beta, None, a + s, b + s, la, ua, lb, ub, n)
        if wide is not None and t[OFFSETS] > 2:
            for first in range(0, n, CHUNK):
                s, count = t[START] + m * t[BLOCK] + first, min(CHUNK, n - first)
                gather(w, t, near, half, m, u, s, count, scratch)
                dot += direction(w, p + s, q + s, u + s, g + s, beta, scratch, a + s, b + s, la, ua, lb, ub, count)
    clear_ghosts(w, q, t, wide)
    return dot


@jit
def eliminate_red(w, tables, wide, x, b, into_residual):
    """x solves the red equations, given its black values; optionally RES = black residual."""
    t, near, half, flips = tables.table[0], tables.near[0], tables.half, tables.flips[0]
    red, blocks, n, scratch = t[BLOCKS] // 2, t[BLOCKS], t[LENGTH], tables.vectors[SCRATCH]
    refresh(w, x, t, flips, wide)
    for m in range(red):
        sweep_block(w, t, near, half, wide, m, RELAX, x, b, x, scratch)
    if into_residual:
        refresh(w, x, t, flips, wide)
        r = tables.vectors[RES]
        for m in range(red, blocks):
            s = t[START] + m * t[BLOCK]
            sweep_block(w, t, near, half, wide, m, NEIGHBOURS, x, b, r, scratch)
            o, f, y, d = uint64(r + s), uint64(b + s), uint64(x + s), uint64(t[INVERSE] + s)
            for k in range(uint64(n)):
                w[o + k] = w[o + k] + w[f + k] - (w[y + k] / w[d + k] if w[d + k] > 0.0 else 0.0)
        clear_ghosts(w, r, t, wide)


@jit
def start(arrays, has_sink, b, x, work, tables, singular, rtol, atol, history):
    """What decides before the first step: a reason (or -1), the tolerance, its part for b without mean, the mean, and
    the norm of the residual, which is left in `work`."""
    size = b.shape[0]
    b_norm = norm(b)
    if b_norm == 0.0:
        for k in range(size):
            x[k] = 0.0
        history[0] = 0.0
        return CONVERGED, 0.0, 0.0, 0.0, 0.0
    target = max(rtol * b_norm, atol)
    goal, mean = target, 0.0
    if norm(x) > 0.0:
        true = true_residual(arrays, has_sink, b, x, work, tables.table[0])
    else:
        true = b_norm
        for k in range(size):
            work[k] = b[k]
    history[0] = true
    if not (finite(true) and finite(b_norm)):
        return NOT_FINITE, target, goal, mean, np.nan
    if singular:
        for k in range(size):
            mean += b[k]
        mean /= size
        shift = abs(mean) * np.sqrt(size)
        if shift > max(target, ROUNDING * b_norm):
            return INCONSISTENT, target, goal, mean, true
        goal = np.sqrt(max(target * target - shift * shift, (0.1 * target) ** 2))
    return (CONVERGED if true <= target else -1), target, goal, mean, true


@jit
def refine_directly(arrays, has_sink, b, x, w, tables, singular, rtol, atol, max_iterations, history):
    """A lattice that is its own coarsest level: the dense inverse, with iterative refinement."""
    t, place = tables.table[0], tables.place
    n1, n2 = t[N + 1], t[N + 2]
    work = np.empty(b.shape[0])
    reason, target, _, _, true = start(arrays, has_sink, b, x, work, tables, singular, rtol, atol, history)
    if reason >= 0:
        return reason, 0, true
    iterations = 0
    previous = np.inf
    while true > target:
        if iterations >= max_iterations:
            return MAX_ITERATIONS, iterations, true
        if true > 0.5 * previous:
            return STAGNATED, iterations, true
        previous = true
        split(work, 0, n1 * n2, n2, 1, w, t[F], t, place)
        solve_coarsest(w, tables)
        merge(w, t[U], t, place, work, 0, n1 * n2, n2, 1)
        for k in range(x.shape[0]):
            x[k] += work[k]
        if singular:
            centre(x)
        true = true_residual(arrays, has_sink, b, x, work, t)
        iterations += 1
        history[iterations] = true
        if not finite(true):
            return NOT_FINITE, iterations, true
    return CONVERGED, iterations, true


@jit
def conjugate_gradients(
    arrays, has_sink, b, x, w, tables, singular, wide, islands, rtol, atol, max_iterations, history
):  # fmt: skip
    """Solve for x (in and out, natural order). Returns reason, iterations, norm of the true residual."""
    t, place = tables.table[0], tables.place
    n0, n1, n2 = t[N], t[N + 1], t[N + 2]
    size = n0 * n1 * n2
    red, blocks, length = t[BLOCKS] // 2, t[BLOCKS], t[LENGTH]
    xs, bs, r, p, q = tables.vectors[X], tables.vectors[B], tables.vectors[RES], tables.vectors[P], tables.vectors[Q]
    black = t[START] + red * t[BLOCK]
    run = (blocks - red - 1) * t[BLOCK] + length
    work = np.empty(size)

    reason, target, goal, mean, true = start(
        arrays, has_sink, b, x, work, tables, singular, rtol, atol, history
    )  # fmt: skip
    if reason >= 0:
        return reason, 0, true
    split(x, 0, n1 * n2, n2, 1, w, xs, t, place)
    for k in range(size):
        work[k] = b[k] - mean
    split(work, 0, n1 * n2, n2, 1, w, bs, t, place)
    iterations = 0
    previous = np.inf
    misses = 0
    while True:
        if true <= target:
            return CONVERGED, iterations, true
        if iterations >= max_iterations:
            return MAX_ITERATIONS, iterations, true
        if true > 0.5 * previous:
            misses += 1
            if misses >= 2:
                return STAGNATED, iterations, true
        previous = true
        eliminate_red(w, tables, wide, xs, bs, True)
        fill(w, p + black, 0.0, run)
        fill(w, q + black, 0.0, run)
        # an empty step: z = r / diagonal, and the norm
        rr = step(w, xs + black, p + black, r + black, q + black, t[U] + black, t[INVERSE] + black, 0.0, run)
        rho, beta = 0.0, 0.0
        reason = CONVERGED
        best = rr
        while np.sqrt(rr) > max(goal, 1e-12 * true) and iterations < max_iterations:
            if best < (1e-10 * history[0]) ** 2 and rr > 1e4 * best:
                break  # rounding grows, as it does in a null space: go on from the true residual
            new_rho = precondition_black(w, tables, wide, islands)
            if not new_rho > 0.0:
                reason = BREAKDOWN if finite(new_rho) else NOT_FINITE
                break
            beta = new_rho / rho if rho > 0.0 else 0.0
            rho = new_rho
            pq = new_direction(w, tables, wide, beta)
            if not pq > 0.0:
                reason = BREAKDOWN if finite(pq) else NOT_FINITE
                break
            rr = step(
                w, xs + black, p + black, r + black, q + black, t[U] + black, t[INVERSE] + black, rho / pq, run
            )  # fmt: skip
            iterations += 1
            history[iterations] = np.sqrt(rr)
            best = min(best, rr)
        eliminate_red(w, tables, wide, xs, bs, False)
        merge(w, xs, t, place, x, 0, n1 * n2, n2, 1)
        if singular:
            centre(x)
        true = true_residual(arrays, has_sink, b, x, work, t)
        history[iterations] = true
        if not finite(true):
            return NOT_FINITE, iterations, true
        # Near the limit of rounding the products lose their signs: that is stagnation, found at the next turn.
        if reason != CONVERGED and true > max(target, 1e-10 * history[0]):
            return reason, iterations, true

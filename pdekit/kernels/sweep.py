"""One operation on one block of a lattice: relaxation, the sum over neighbours, the residual."""

from pdekit.kernels.compile import jit
from pdekit.kernels.lattice import gather_first, gather_more, neighbours, relax, residual, wrap
from pdekit.kernels.layout import BLOCK, CHUNK, COUPLINGS, DIAGONAL, INVERSE, LENGTH, OFFSETS, PERIODIC, SIZE, START

__all__ = ["NEIGHBOURS", "RELAX", "RESIDUAL", "direction_index", "gather", "refresh", "sweep_block"]

RELAX, NEIGHBOURS, RESIDUAL = range(3)


@jit
def direction_index(half, j, sign):
    return (sign * half[j, 0] + 1) * 9 + (sign * half[j, 1] + 1) * 3 + sign * half[j, 2] + 1


@jit
def gather(w, t, near, half, m, u, shift, count, scratch):
    """Sum over the neighbours of all stored offsets but the first two, for `count` points from `shift` on."""
    for j in range(2, t[OFFSETS]):
        lower = near[m, direction_index(half, j, -1)]
        upper = near[m, direction_index(half, j, 1)]
        coupling = t[COUPLINGS] + j * t[SIZE] + shift
        if j == 2:
            gather_first(w, scratch, u + shift, coupling, lower, upper, count)
        else:
            gather_more(w, scratch, u + shift, coupling, lower, upper, count)


@jit
def sweep_block(w, t, near, half, wide, m, kind, u, f, out, scratch):
    """One operation over a block: see the kinds above."""
    begin = t[START] + m * t[BLOCK]
    a, b = t[COUPLINGS], t[COUPLINGS] + t[SIZE]
    la, ua = near[m, direction_index(half, 0, -1)], near[m, direction_index(half, 0, 1)]
    lb, ub = near[m, direction_index(half, 1, -1)], near[m, direction_index(half, 1, 1)]
    d, c = t[INVERSE], t[DIAGONAL]
    if wide is None or t[OFFSETS] == 2:
        s, n = begin, t[LENGTH]
        if kind == RELAX:
            relax(w, u + s, f + s, d + s, None, a + s, b + s, la, ua, lb, ub, n)
        elif kind == NEIGHBOURS:
            neighbours(w, out + s, u + s, None, a + s, b + s, la, ua, lb, ub, n)
        if wide is not None and kind == RESIDUAL:
            residual(w, out + s, u + s, f + s, c + s, None, a + s, b + s, la, ua, lb, ub, n)
    if wide is not None and t[OFFSETS] > 2:
        for first in range(0, t[LENGTH], CHUNK):
            s, n = begin + first, min(CHUNK, t[LENGTH] - first)
            gather(w, t, near, half, m, u, s, n, scratch)
            if kind == RELAX:
                relax(w, u + s, f + s, d + s, scratch, a + s, b + s, la, ua, lb, ub, n)
            elif kind == NEIGHBOURS:
                neighbours(w, out + s, u + s, scratch, a + s, b + s, la, ua, lb, ub, n)
            else:
                residual(w, out + s, u + s, f + s, c + s, scratch, a + s, b + s, la, ua, lb, ub, n)


@jit
def refresh(w, array, t, flips, wide):
    """Fill the ghosts of periodic axes, which the narrow variant does not have."""
    if wide is not None and t[PERIODIC] + t[PERIODIC + 1] + t[PERIODIC + 2] > 0:
        wrap(w, array, t, flips)

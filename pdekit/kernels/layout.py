"""Where the compiled multigrid keeps a hierarchy: one flat workspace, each lattice split by parity.

The points of a lattice are stored in 2^d *blocks*, one for each combination of even and odd indices. All points of a
block have their neighbours at fixed distances in memory, so that a coloured Gauss-Seidel sweep, a residual or a
transfer is one vectorised loop over a block. Blocks are named by their *flips*: bit pattern 0 holds the coarse points,
a set bit says that the index has the other parity along that axis. Blocks with an even number of flips (red) come
first, the others (black) after them; a five- or seven-point stencil couples red to black only.

Each block is a padded array of cells (index // 2). Pads hold zeros (or copies, on periodic axes) and belong to no
point: their inverse diagonal is zero, so that loops may run over them. Two-dimensional lattices have a leading axis
of length 1.
"""

import itertools
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from pdekit.kernels.plan import Level

__all__ = ["Layout", "layout"]

# columns of Layout.table, one row a level; N, R, STRIDE, OFFSET, PERIODIC and COARSENED have an entry for each axis
(N, R, STRIDE, OFFSET, PERIODIC, COARSENED, START, LENGTH, BLOCK, SIZE, BLOCKS, COUPLED, OFFSETS) = (
    0, 3, 6, 9, 12, 15, 18, 19, 20, 21, 22, 23, 24,
)  # fmt: skip
# arrays of a level: solution, right-hand side, temporary, diagonal, its inverse, couplings, interpolation weights
(U, F, T, DIAGONAL, INVERSE, COUPLINGS, WEIGHTS) = range(25, 32)
COLUMNS = 32
# vectors of conjugate gradients on the finest level, and scratch; columns of Layout.vectors
(X, B, RES, P, Q, G, NATURAL, NATURAL_NEXT, SPARE, SPARE_NEXT, DENSE, SCRATCH, ROWS, PRODUCT) = range(14)

CHUNK = 1024  # points that a sum over many neighbours takes at once, so that its partial sums stay in cache
BLOCK_ORDER = {2: (0, 3, 1, 2), 3: (0, 3, 5, 6, 1, 2, 4, 7)}


class Layout(NamedTuple):
    """Integer tables that the kernels read, and the length of the workspace they describe."""

    table: np.ndarray  # (levels, COLUMNS)
    near: np.ndarray  # (levels, 8, 27): from a point to its neighbour, by block and offset, in memory
    neighbour: np.ndarray  # (levels, 8, 27): the neighbour's block
    cells: np.ndarray  # (levels, 8, 27, 3): the neighbour's cell relative to the point's, by axis
    half: np.ndarray  # (13, 3): the stored half of the offsets
    place: np.ndarray  # (8,): block of each pattern of flips
    flips: np.ndarray  # (levels, 8): flips of each block
    home: np.ndarray  # (levels, 8): block that holds the coarse values a block is interpolated from
    corners: np.ndarray  # (levels, 8): how many coarse values that takes
    corner: np.ndarray  # (levels, 8, 8, 4): their cells relative to the fine point's, by axis, and in memory
    weight: np.ndarray  # (levels, 8): index of a block's first weight array
    end: np.ndarray  # (levels, 3) float64: weight of the last coarse point at the fine point beyond it; 0 if none is
    vectors: np.ndarray  # (14,)
    size: int


def _round_up(n: int, to: int = 8) -> int:
    return -(-n // to) * to


@lru_cache(maxsize=64)
def layout(levels: tuple[Level, ...], periodic: tuple[bool, ...], galerkin: bool) -> Layout:
    """Lay out a hierarchy in memory."""
    dim = len(periodic)
    pad = 3 - dim
    order = BLOCK_ORDER[dim]
    place = {q: m for m, q in enumerate(order)}
    directions = list(itertools.product((-1, 0, 1), repeat=3))
    axes = [tuple(int(j == k) for j in range(3)) for k in range(pad, 3)]
    diagonals = [o for o in directions if o > (0, 0, 0) and o not in axes and not (pad and o[0])]
    half = np.array(axes + diagonals, dtype=np.int64)

    count = len(levels)
    table = np.zeros((count, COLUMNS), dtype=np.int64)
    near, neighbour = np.zeros((count, 8, 27), dtype=np.int64), np.zeros((count, 8, 27), dtype=np.int64)
    cell_shift = np.zeros((count, 8, 27, 3), dtype=np.int64)
    flips, home, corners, weight = (np.zeros((count, 8), dtype=np.int64) for _ in range(4))
    corner = np.zeros((count, 8, 8, 4), dtype=np.int64)
    end = np.zeros((count, 3))
    top = 8

    def allocate(length: int) -> int:
        nonlocal top
        base = top
        top += _round_up(length) + 8  # the extra line keeps equal arrays from sharing cache sets
        return base

    for row, level in enumerate(levels):
        n = (1,) * pad + level.shape
        ring = (False,) * pad + periodic
        coarsened = (False,) * pad + level.coarsened
        offset = (0,) * pad + level.offset
        cells = tuple((m + 1) // 2 for m in n)
        padded = tuple(c + 2 if k >= pad else 1 for k, c in enumerate(cells))
        width = _round_up(padded[2])
        strides = (padded[1] * width, width, 1)
        block = padded[0] * strides[0]
        reach = sum(strides[pad:])
        start = _round_up(reach)
        t = table[row]
        t[N : N + 3], t[R : R + 3], t[STRIDE : STRIDE + 3] = n, cells, strides
        t[OFFSET : OFFSET + 3], t[PERIODIC : PERIODIC + 3], t[COARSENED : COARSENED + 3] = offset, ring, coarsened
        t[START], t[BLOCK], t[BLOCKS] = start, block, 2**dim
        t[LENGTH] = 1 + sum((c - 1) * s for c, s in zip(cells, strides, strict=True))
        t[SIZE] = size = _round_up(2 * start + 2**dim * block) + 8
        t[COUPLED] = any(p and m % 2 for p, m in zip(ring, n, strict=True))
        t[OFFSETS] = len(half) if galerkin and row > 0 else dim
        keep = sum(1 << (2 - k) for k in range(3) if not coarsened[k])
        arrays = 0
        for m, q in enumerate(order):
            bits = [(q >> (2 - k)) & 1 for k in range(3)]
            parity = [b ^ s for b, s in zip(bits, offset, strict=True)]
            flips[row, m] = q
            home[row, m] = place[q & keep]
            for d, o in enumerate(directions):
                if pad and o[0]:
                    continue
                moved = [p + c for p, c in zip(parity, o, strict=True)]
                target = sum(((v % 2) ^ s) << (2 - k) for k, (v, s) in enumerate(zip(moved, offset, strict=True)))
                shift = sum((v // 2) * s for v, s in zip(moved, strides, strict=True))
                neighbour[row, m, d], cell_shift[row, m, d] = place[target], [v // 2 for v in moved]
                near[row, m, d] = (place[target] - m) * block + shift
            choices = [
                ((-1, 0) if s else (0, 1)) if b and c else (0,) for b, c, s in zip(bits, coarsened, offset, strict=True)
            ]
            cell = list(itertools.product(*choices))
            corners[row, m] = len(cell)
            for j, c in enumerate(cell):
                corner[row, m, j] = (*c, sum(x * s for x, s in zip(c, strides, strict=True)))
            weight[row, m] = arrays
            arrays += len(cell) if len(cell) > 1 else 0
        for k in range(pad, 3 if not (galerkin) else pad):
            coarse = (n[k] - offset[k] + 1) // 2
            if coarsened[k] and not ring[k] and offset[k] + 2 * (coarse - 1) < n[k] - 1:
                end[row, k] = level.end[k - pad]
        names = [U, F, T, INVERSE, DIAGONAL] if galerkin or t[COUPLED] else [U, F, T, INVERSE]
        for name in names:
            t[name] = allocate(size)
        t[COUPLINGS] = allocate(size * int(t[OFFSETS]))
        if galerkin and not level.coarsest:
            t[WEIGHTS] = allocate(size * arrays)

    vectors = np.zeros(14, dtype=np.int64)
    finest, last = table[0], levels[-1]
    for name in (X, B, RES, P, Q, G):
        vectors[name] = allocate(int(finest[SIZE]))
    points = int(np.prod([m + 1 for m in levels[0].shape]))
    for name in (NATURAL, NATURAL_NEXT):
        vectors[name] = allocate((dim + 1) * points // 2 + points)
    for name in (SPARE, SPARE_NEXT):
        vectors[name] = allocate(points)
    vectors[DENSE] = allocate(2 * int(np.prod(last.shape)) ** 2 + 2 * int(np.prod(last.shape)))
    vectors[SCRATCH] = allocate(CHUNK)
    if galerkin:  # rows of A P of one block, and P^T A P before it goes to the next level
        vectors[ROWS] = allocate(3**dim * int(finest[BLOCK] + 2 * finest[START]))
        vectors[PRODUCT] = allocate((len(half) + 1) * int(finest[SIZE]))
    places = np.array([place.get(q, 0) for q in range(8)])
    return Layout(
        table, near, neighbour, cell_shift, half, places, flips, home, corners, corner, weight, end, vectors, top + 64
    )

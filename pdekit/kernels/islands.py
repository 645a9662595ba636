"""Islands of high conductance: small connected pieces whose constant neither smoother nor coarse points can move.

In three dimensions a rough high-contrast medium has many pieces of two to some hundred points that conduct well inside
and badly to everything around. Point relaxation moves such a piece only as fast as the leak to its surroundings, and no
coarse point may lie in it. So before and after the coarse correction of the finest level each island is moved as a
whole: with Z the indicators of the islands, u += Z diag(Z^T A Z)^-1 Z^T (f - A u). Islands do not touch by a strong
face, so the matrix is nearly diagonal anyway. `pdekit bench multigrid` counts the iterations.
"""

from typing import NamedTuple

import numpy as np

from pdekit.kernels.compile import jit
from pdekit.kernels.lattice import position
from pdekit.kernels.layout import BLOCK, COUPLINGS, DIAGONAL, PERIODIC, SIZE, START, N

__all__ = ["Islands", "find_islands", "label_islands", "move_islands", "no_islands"]

LARGEST_SHARE = 0.25
"""A piece with more than this share of all points is the land, not an island."""


class Islands(NamedTuple):
    """The points of all islands, and what each island leaks."""

    points: np.ndarray
    """(m,) int64: where a point lies in an array of the finest level"""
    owner: np.ndarray
    """(m,) int64: its island"""
    inverse: np.ndarray
    """(islands,) float64: one over the conductance from the island to everything else"""
    sums: np.ndarray
    """(islands,) float64 scratch"""


@jit
def root(parent, i):
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@jit
def label_islands(arrays, has_sink, shape, periodic):
    """Number the islands of one 3-D lattice.

    Args:
        arrays: conductances by axis and the sink, flat, in natural order.
        has_sink: whether the sink is there.
        shape, periodic: of the lattice, by axis.

    Returns:
        ``label`` (points,) int64, -1 outside islands, and ``leak`` (islands,) float64, the conductance from each
        island to everything else. A face is strong above the geometric mean of the least and the largest.
    """
    n0, n1, n2 = shape
    size = n0 * n1 * n2
    low, high = np.inf, 0.0
    for axis in range(3):
        face = arrays[axis]
        for k in range(face.shape[0]):
            if face[k] > 0.0:
                low, high = min(low, face[k]), max(high, face[k])
    threshold = np.sqrt(low) * np.sqrt(high)
    parent = np.arange(size)
    leak = np.zeros(size)
    for turn in range(2):  # first join along strong faces, then sum up what leads out of each piece
        for axis in range(3):
            face = arrays[axis]
            n = n0 if axis == 0 else (n1 if axis == 1 else n2)
            stride = n1 * n2 if axis == 0 else (n2 if axis == 1 else 1)
            for i in range(size):
                along = (i // stride) % n
                outer = i // (stride * n)
                e = (outer * (n + 1) + along + 1) * stride + i % stride
                j = i + stride if along < n - 1 else i - (n - 1) * stride
                inside = along < n - 1 or periodic[axis]
                if turn == 0:
                    if inside and face[e] > threshold:
                        parent[root(parent, i)] = root(parent, j)
                    continue
                a = root(parent, i)
                if not inside:
                    leak[a] += face[e]
                elif root(parent, j) != a:
                    leak[a] += face[e]
                    leak[root(parent, j)] += face[e]
                if along == 0 and not periodic[axis]:
                    leak[a] += face[e - stride]
    count = np.zeros(size, dtype=np.int64)
    for i in range(size):
        a = root(parent, i)
        count[a] += 1
        if has_sink:
            leak[a] += arrays[3][i]
    number = np.full(size, -1, dtype=np.int64)
    islands = 0
    for i in range(size):
        if 2 <= count[i] <= LARGEST_SHARE * size and leak[i] > 0.0:
            number[i] = islands
            leak[islands] = leak[i]
            islands += 1
    label = np.empty(size, dtype=np.int64)
    for i in range(size):
        label[i] = number[root(parent, i)]
    return label, leak[:islands].copy()


@jit
def find_islands(arrays, has_sink, t, place):
    """The islands of one sample on the finest level of a layout; see `Islands`."""
    label, leak = label_islands(
        arrays, has_sink, (t[N], t[N + 1], t[N + 2]), (t[PERIODIC] == 1, t[PERIODIC + 1] == 1, t[PERIODIC + 2] == 1)
    )
    total = 0
    for i in range(label.shape[0]):
        total += label[i] >= 0
    points, owner = np.empty(total, dtype=np.int64), np.empty(total, dtype=np.int64)
    found, i = 0, 0
    for i0 in range(t[N]):
        for i1 in range(t[N + 1]):
            even, odd = position(t, place, i0, i1)
            for i2 in range(t[N + 2]):
                if label[i] >= 0:
                    points[found] = (even if i2 % 2 == 0 else odd) + i2 // 2
                    owner[found] = label[i]
                    found += 1
                i += 1
    return Islands(points, owner, 1.0 / leak, np.zeros(leak.shape[0]))


def no_islands() -> Islands:
    """For lattices where they are not looked for."""
    nothing = np.empty(0, dtype=np.int64)
    return Islands(nothing, nothing, np.empty(0), np.empty(0))


@jit
def move_islands(w, t, near, u, f, islands):
    """u += Z diag(Z^T A Z)^-1 Z^T (f - A u) on the finest level; looks at the points of islands only."""
    sums = islands.sums
    for k in range(sums.shape[0]):
        sums[k] = 0.0
    for k in range(islands.points.shape[0]):
        p = islands.points[k]
        m = (p - t[START]) // t[BLOCK]
        value = w[f + p] - w[t[DIAGONAL] + p] * w[u + p]
        for axis in range(3):
            step = 9 if axis == 0 else (3 if axis == 1 else 1)
            lower, upper = near[m, 13 - step], near[m, 13 + step]
            coupling = t[COUPLINGS] + axis * t[SIZE] + p
            value += w[coupling] * w[u + p + lower] + w[coupling + upper] * w[u + p + upper]
        sums[islands.owner[k]] += value
    for k in range(islands.points.shape[0]):
        island = islands.owner[k]
        w[u + islands.points[k]] += islands.inverse[island] * sums[island]

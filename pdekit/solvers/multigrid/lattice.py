"""Views of padded lattices by parity: the alphabet of the tensor multigrid.

A lattice of shape N is held with one ghost layer on every side, (batch, n_0 + 2, ..): zeros, or copies on periodic
axes. The points of parity p (one bit an axis) form a strided view; a point's *cell* is index // 2.
"""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = [
    "Offset", "add_moved", "cells", "half_offsets", "inner", "moved", "negative", "neighbour", "pad", "parities",
    "points", "select", "wrap",
]  # fmt: skip

Offset = tuple[int, ...]


def parities(dim: int) -> list[Offset]:
    """All combinations of even and odd indices."""
    return list(itertools.product((0, 1), repeat=dim))


def half_offsets(dim: int, full: bool) -> list[Offset]:
    """One of each pair of opposite neighbours: those along the axes, then, if `full`, the diagonal ones."""
    axes = [tuple(int(j == k) for j in range(dim)) for k in range(dim)]
    if not full:
        return axes
    return axes + [o for o in itertools.product((-1, 0, 1), repeat=dim) if o > (0,) * dim and o not in axes]


def negative(offset: Offset) -> Offset:
    return tuple(-c for c in offset)


def neighbour(p: Offset, offset: Offset) -> tuple[Offset, Offset]:
    """Parity of the neighbours of points of parity p, and the cell they lie in, relative to the points' own."""
    parity = tuple((a + b) % 2 for a, b in zip(p, offset, strict=True))
    return parity, tuple((a + b) // 2 for a, b in zip(p, offset, strict=True))


def cells(shape: Sequence[int], p: Offset) -> tuple[int, ...]:
    """How many points of parity p there are along each axis."""
    return tuple((n - q + 1) // 2 for n, q in zip(shape, p, strict=True))


def points(x: Tensor, p: Offset) -> Tensor:
    """View of the points of parity p of an unpadded lattice."""
    return x[(..., *(slice(q, None, 2) for q in p))]


def select(x: Tensor, p: Offset, offset: Offset, counts: Sequence[int]) -> Tensor:
    """View of the neighbours, at an offset, of the points of parity p of a padded lattice."""
    start = [1 + q + o for q, o in zip(p, offset, strict=True)]
    return x[(..., *(slice(s, s + 2 * c - 1, 2) for s, c in zip(start, counts, strict=True)))]


def inner(x: Tensor, shape: Sequence[int], offset: Offset | None = None) -> Tensor:
    """A padded lattice without its ghosts, or its neighbours at an offset."""
    offset = (0,) * len(shape) if offset is None else offset
    return x[(..., *(slice(1 + o, 1 + o + n) for n, o in zip(shape, offset, strict=True)))]


def wrap(x: Tensor, periodic: Sequence[bool]) -> Tensor:
    """Fill the ghosts of periodic axes of a padded lattice, in place."""
    for k, ring in enumerate(periodic):
        if ring:
            axis = k - len(periodic)
            last = x.shape[axis] - 2
            x.select(axis, 0).copy_(x.select(axis, last))
            x.select(axis, last + 1).copy_(x.select(axis, 1))
    return x


def pad(x: Tensor, periodic: Sequence[bool]) -> Tensor:
    """A lattice with its ghosts."""
    return wrap(torch.nn.functional.pad(x, (1, 1) * len(periodic)), periodic)


def moved(v: Tensor, shift: Offset, counts: Sequence[int], periodic: Sequence[bool]) -> Tensor:
    """v at the cells moved by `shift`, for `counts` cells; zero beyond the ends, around on periodic axes."""
    dim = len(counts)
    for k, (s, m) in enumerate(zip(shift, counts, strict=True)):
        axis = k - dim
        n = v.shape[axis]
        if s == 0 and n == m:
            continue
        if periodic[k] and n == m:
            v = torch.roll(v, -s, axis)
            continue
        low, high = max(0, s), min(n, s + m)
        v = v.narrow(axis, low, high - low)
        if high - low < m:
            v = torch.nn.functional.pad(v, [0, 0] * (dim - 1 - k) + [low - s, s + m - high])
    return v


def add_moved(target: Tensor, term: Tensor, shift: Offset, periodic: Sequence[bool]) -> None:
    """target at the cells moved by `shift` += term; the transpose of `moved`."""
    dim = len(shift)
    for k, s in enumerate(shift):
        axis = k - dim
        n, m = target.shape[axis], term.shape[axis]
        if periodic[k] and n == m:
            term = torch.roll(term, s, axis) if s else term
            continue
        low, high = max(0, s), min(n, m + s)
        target = target.narrow(axis, low, high - low)
        term = term.narrow(axis, low - s, high - low)
    target += term

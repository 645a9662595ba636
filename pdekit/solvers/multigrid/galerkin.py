"""Operator-dependent interpolation and Galerkin coarse operators on lattices, in tensor operations."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from pdekit.kernels.plan import Level
from pdekit.solvers.multigrid.lattice import (
    Offset,
    add_moved,
    cells,
    half_offsets,
    moved,
    negative,
    neighbour,
    parities,
    points,
    select,
)  # fmt: skip

__all__ = ["Weights", "corners", "flips", "interpolation", "product"]

Weights = dict[Offset, dict[Offset, Tensor | None]]
"""By parity of the fine point: the coarse cells (relative to its own) it interpolates from, and their weights; None
is a weight of one."""


def flips(p: Offset, level: Level) -> tuple[bool, ...]:
    """Along which axes points of parity p lie between coarse points."""
    return tuple(k and q != s for k, q, s in zip(level.coarsened, p, level.offset, strict=True))


def corners(p: Offset, level: Level) -> list[Offset]:
    """Cells of the coarse points around points of parity p, relative to their own cell."""
    around = [((-1, 0) if s else (0, 1)) if f else (0,) for f, s in zip(flips(p, level), level.offset, strict=True)]
    return list(itertools.product(*around))


def interpolation(couplings: dict[Offset, Tensor], diagonal: Tensor, level: Level, periodic: Sequence[bool]) -> Weights:
    """Interpolation weights from the operator (Dendy's black-box multigrid).

    A fine point between coarse ones solves its own equation, with the couplings across the axes it interpolates along
    collapsed onto it; points between more coarse ones build on those between fewer.

    Args:
        couplings: padded lattices by stored offset o, the coupling of each point to the one at -o.
        diagonal: ``(batch, *shape)``.
        level: the fine level.
        periodic: by axis.

    Source: J. E. Dendy, Black box multigrid, J. Comput. Phys. 48 (1982) 366-386.
    """
    dim = len(level.shape)
    zero = (0,) * dim
    weights: Weights = {}
    for p in sorted(parities(dim), key=lambda p: sum(flips(p, level))):
        counts = cells(level.shape, p)
        if not any(flips(p, level)):
            weights[p] = {zero: None}
            continue
        if 0 in counts:
            weights[p] = {}
            continue
        own = points(diagonal, p).clone()
        towards: dict[Offset, Tensor] = {}
        for offset, coupling in couplings.items():
            for o in (offset, negative(offset)):
                value = select(coupling, p, o if o == offset else zero, counts)
                along = tuple(c if f else 0 for c, f in zip(o, flips(p, level), strict=True))
                if along == zero:
                    own -= value
                else:
                    towards[along] = towards[along] + value if along in towards else value
        inverse = _inverse(own)
        row: dict[Offset, Tensor] = {c: torch.zeros_like(own) for c in corners(p, level)}
        for along, value in towards.items():
            parity, cell = neighbour(p, along)
            for corner, theirs in weights[parity].items():
                part = value * inverse if theirs is None else value * inverse * moved(theirs, cell, counts, periodic)
                row[_add(cell, corner)] = row[_add(cell, corner)] + part
        # Points that conduct nothing along these axes, as dummies of odd rings, take equal parts.
        alone = (inverse == 0) & (points(diagonal, p) > 0)
        weights[p] = {corner: torch.where(alone, 1 / len(row), weight) for corner, weight in row.items()}
    return weights


def product(
    couplings: dict[Offset, Tensor],
    diagonal: Tensor,
    level: Level,
    coarse_shape: Sequence[int],
    periodic: Sequence[bool],
    weights: Weights,
) -> tuple[dict[Offset, Tensor], Tensor]:
    """The Galerkin product P^T A P: couplings (not padded) by stored offset, and the diagonal."""
    dim = len(level.shape)
    zero = (0,) * dim
    out = {o: diagonal.new_zeros(*diagonal.shape[:-dim], *coarse_shape) for o in [zero, *half_offsets(dim, True)]}
    for p in parities(dim):
        counts = cells(level.shape, p)
        if 0 in counts:
            continue
        # Rows of A P: couplings of these points to coarse values, by distance in cells (in points on kept axes).
        rows: dict[Offset, Tensor] = {}
        entries: list[tuple[Offset, Tensor]] = [(zero, points(diagonal, p))]
        for offset, coupling in couplings.items():
            entries.append((offset, -select(coupling, p, offset, counts)))
            entries.append((negative(offset), -select(coupling, p, zero, counts)))
        for o, entry in entries:
            parity, cell = neighbour(p, o)
            for corner, theirs in weights[parity].items():
                to = tuple(s + c if k else d for s, c, k, d in zip(cell, corner, level.coarsened, o, strict=True))
                term = entry if theirs is None else entry * moved(theirs, cell, counts, periodic)
                rows[to] = rows[to] + term if to in rows else term
        for corner, mine in weights[p].items():
            for to, row in rows.items():
                stored = tuple(c - t for c, t in zip(corner, to, strict=True))
                if stored in out:
                    term = row if mine is None else mine * row
                    add_moved(coarse_points(out[stored], p, level), term, corner, periodic)
    return {o: -value for o, value in out.items() if o != zero}, out[zero]


def coarse_points(e: Tensor, p: Offset, level: Level) -> Tensor:
    """View of those points of the next lattice that lie around fine points of parity p: on kept axes, their parity."""
    return e[(..., *(slice(None) if k else slice(q, None, 2) for k, q in zip(level.coarsened, p, strict=True)))]


def _inverse(x: Tensor) -> Tensor:
    return torch.where(x > 0, 1 / torch.where(x > 0, x, 1), 0)


def _add(a: Offset, b: Offset) -> Offset:
    return tuple(x + y for x, y in zip(a, b, strict=True))

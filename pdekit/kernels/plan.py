"""Which lattices a multigrid hierarchy is made of: sizes, coarsened axes, coarse points. Pure Python, no data."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["GALERKIN_CONTRAST", "Extension", "Level", "periodic_extension", "plan_levels", "rounded_ratios"]

SMALLEST_RING = 3  # a periodic axis of three points or fewer is not halved
DENSE_UNKNOWNS = 36  # a lattice as small as this is solved directly
WEAK_AXIS = 0.3  # an axis is halved if its mean conductance is at least this share of the largest
GALERKIN_CONTRAST = 20.0
"""Where conductances along an axis differ by more than this, "auto" takes Galerkin coarsening.

Averaged coarsening may need less time beyond it, but its iterations grow; and a rule on neighbouring conductances would
choose differently on a finer grid.
"""


@dataclass(frozen=True)
class Level:
    """One lattice of the hierarchy.

    Fine point 2 I + offset is coarse point I. A fine point between two coarse points takes half of each; a last
    point beyond the last coarse one takes ``end`` of it: position decides where the ground lies beyond (1/2 at equal
    distances), 1 without ground. Axes that are not coarsened have offset 0 and keep their points.
    """

    shape: tuple[int, ...]
    coarsened: tuple[bool, ...]
    offset: tuple[int, ...]
    end: tuple[float, ...]

    @property
    def coarsest(self) -> bool:
        return not any(self.coarsened)


def plan_levels(
    shape: Sequence[int],
    periodic: Sequence[bool],
    grounded: Sequence[tuple[bool, bool]],
    conductance: Sequence[float],
) -> tuple[Level, ...]:
    """The hierarchy for a lattice, finest level first.

    Args:
        shape: unknowns along each axis.
        periodic: a flag for each axis; a periodic axis is halved while it is even (see `periodic_extension`).
        grounded: whether the lower and the upper side of each axis lead to the ground.
        conductance: mean conductance along each axis; only the ratios matter. They are rounded to quarter octaves,
            so that nearly equal samples share one plan.

    Example:
        >>> [level.shape for level in plan_levels((100, 37), (False, False), ((True, True),) * 2, (7.3, 1.0))]
        [(100, 37), (50, 37), (25, 18), (12, 9), (6, 4)]
    """
    return _plan(tuple(shape), tuple(periodic), tuple(map(tuple, grounded)), rounded_ratios(conductance))


def rounded_ratios(conductance: Sequence[float]) -> tuple[int, ...]:
    """Quarter octaves by which each axis conducts worse than the best."""
    largest = max(conductance)
    return tuple(round(4 * math.log2(largest / g)) if g > 0 else 400 for g in conductance)


@lru_cache(maxsize=1024)
def _plan(shape, periodic, grounded, quarters) -> tuple[Level, ...]:
    dim = len(shape)
    shape, strength = list(shape), [-q / 4 for q in quarters]  # log2 of the conductances
    ground_distance = [1.0] * dim  # from the last point to the ground beyond it, in steps of the level
    levels = []
    while True:
        can = [
            (n > SMALLEST_RING and n % 2 == 0 if periodic[k] else n > 1) and math.prod(shape) > DENSE_UNKNOWNS
            for k, n in enumerate(shape)
        ]
        strongest = max((strength[k] for k in range(dim) if can[k]), default=0.0)
        coarsened = tuple(can[k] and strength[k] >= strongest + math.log2(WEAK_AXIS) for k in range(dim))
        offset = tuple(int(coarsened[k] and grounded[k][0] and not periodic[k]) for k in range(dim))
        end = tuple(d / (1 + d) if grounded[k][1] else 1.0 for k, d in enumerate(ground_distance))
        levels.append(Level(tuple(shape), coarsened, offset, end))
        if not any(coarsened):
            return tuple(levels)
        for k in range(dim):
            if coarsened[k]:
                coarse = (shape[k] - offset[k] + 1) // 2
                last = offset[k] + 2 * (coarse - 1)
                ground_distance[k] = (ground_distance[k] + shape[k] - 1 - last) / 2
                shape[k] = coarse
            # half as strong along itself (two in series), twice for each other halved axis (two side by side)
            strength[k] += sum(coarsened) - 2 * coarsened[k]


@dataclass(frozen=True)
class Extension:
    """A periodic axis made longer by dummy points inside some of its links."""

    length: int
    position: tuple[int, ...]  # new index of each point
    link: tuple[int, ...]  # old link that each of the length + 1 new links is a part of
    parts: tuple[int, ...]  # into how many equal parts in series that link was divided


@lru_cache(maxsize=256)
def periodic_extension(n: int) -> Extension | None:
    """How to extend a periodic axis of n points so that it can be halved, or None where it can be as it is.

    An odd ring has no red-black colouring and cannot be halved. Dummy points divide some of its links instead, each
    link replaced by conductances in series: eliminating the dummies gives the ring back exactly.

    Example:
        >>> extension = periodic_extension(9)
        >>> extension.length, extension.position
        (10, (0, 1, 2, 3, 4, 6, 7, 8, 9))
        >>> extension.link, extension.parts
        ((0, 1, 2, 3, 4, 5, 5, 6, 7, 8, 9), (1, 1, 1, 1, 1, 2, 2, 1, 1, 1, 1))
    """
    if n in (1, 2, 6):
        return None
    length = min(m << s for m in range(4, 8) for s in range(40) if (m << s) >= n and (s > 0 or m == 4))
    if length == n:
        return None
    # at odd places, so that no dummy is a coarse point: it conducts along the axis only and could not be interpolated
    # from across
    dummies = {2 * ((2 * i + 1) * (length // 2) // (2 * (length - n))) + 1 for i in range(length - n)}
    position = [j for j in range(length) if j not in dummies]
    first = [position[-1] - length, *position]  # the last point once more, one turn before
    link, parts = [n] * (length + 1), [length - position[-1]] * (length + 1)
    for i in range(1, n):
        for j in range(first[i] + 1, first[i + 1] + 1):
            link[j], parts[j] = i, first[i + 1] - first[i]
    link[0] = 0
    return Extension(length, tuple(position), tuple(link), tuple(parts))

"""Diffusion problems with every kind of side, shared by the tests of this folder."""

import torch

from pdekit.domain import SIDES, Boundary, Grid
from pdekit.solvers import LinearSystem, diffusion


def sides(*kinds: str) -> list[Boundary]:
    """Boundaries from one word of two letters an axis: d, n, r or p (periodic) at the lower and the upper end."""
    made = []
    for axis, pair in enumerate(kinds):
        for end, letter in enumerate(pair):
            name = SIDES[axis][end]
            if letter == "d":
                made.append(Boundary(name, "dirichlet", 0.3 * (axis + end)))
            elif letter == "n":
                made.append(Boundary(name, "neumann", 0.5 + axis))
            elif letter == "r":
                made.append(Boundary(name, "robin", 1.0, coefficient=0.5 + end))
    return made


def grid_for(shape: tuple[int, ...], kinds: tuple[str, ...]) -> Grid:
    return Grid(shape, closed=tuple(pair != "pp" for pair in kinds))


def problem(shape, kinds, *, batch=(2,), contrast=4.0, reaction=None, constant=False) -> LinearSystem:
    """A system with a rough random coefficient (or a constant one) and a positive random source."""
    generator = torch.Generator().manual_seed(sum(shape))
    grid = grid_for(shape, kinds)

    def random():
        return torch.rand((*batch, *grid.shape), generator=generator, dtype=torch.float64)

    coefficient = 2.5 if constant else torch.exp(torch.log(torch.tensor(contrast)) * random())
    system = diffusion(grid, coefficient, random() + 0.1, sides(*kinds), reaction=reaction)
    return system.balanced()


EVERY_KIND = [
    ((17,), ("dd",)),
    ((12,), ("rn",)),
    ((12,), ("nn",)),
    ((9,), ("pp",)),
    ((17, 17), ("dd", "dd")),
    ((13, 20), ("dn", "nd")),
    ((13, 20), ("rr", "dn")),
    ((20, 11), ("nn", "rn")),
    ((16, 12), ("pp", "dd")),
    ((16, 12), ("pp", "pp")),
    ((11, 14), ("nn", "nn")),
    ((11, 14), ("nn", "pp")),
    ((9, 8, 7), ("dd", "dd", "dd")),
    ((9, 8, 7), ("nn", "nn", "dr")),
    ((7, 8, 9), ("nd", "pp", "rn")),
    ((7, 8, 9), ("nn", "pp", "nn")),
]

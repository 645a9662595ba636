"""Matrices for the tests of directions."""

import torch

from pdekit.domain import Grid
from pdekit.families import Obstacles
from pdekit.fields import GaussianField, Inclusions, LogNormal
from pdekit.solvers import Stencil

MEDIUM = LogNormal(GaussianField(alpha=2, tau=3))


def around_obstacles(shape, count=2, *, seed=0, medium=False):
    """Matrices and right-hand sides of white noise in the fluid, on a lattice of this shape."""
    grid = Grid(tuple(n + 2 for n in shape))
    family = Obstacles(grid, Inclusions((2, 4), (0.08, 0.2)), MEDIUM if medium else 1.0)
    A = family.system(family.draw(range(count), seed=seed)).operator
    assert isinstance(A, Stencil)
    noise = torch.randn(count, A.shape[0], dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return A, torch.where(alone(A), 0.0, noise)


def alone(A):
    """Which unknowns of a stencil with walls all around are coupled to nothing."""
    beside = torch.stack([A.lower(k) + A.upper(k) for k in range(len(A.lattice))]).sum(0)
    return (beside == 0).reshape(*A.batch_shape, A.shape[0])

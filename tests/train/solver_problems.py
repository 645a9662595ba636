"""Families, recipes and batches small enough to train solvers on in a test."""

import torch

import pdekit as pk
from pdekit.families import Darcy, Obstacles
from pdekit.fields import GaussianField, LogNormal
from pdekit.learned.corrected import CorrectedFactor
from pdekit.learned.directions import DeepDirections, DirectionNet
from pdekit.stream import Batch
from pdekit.train.direction_learning import DirectionLearning
from pdekit.train.preconditioner_learning import PreconditionerLearning

DARCY = Darcy(pk.Grid((13, 13)), LogNormal(GaussianField(alpha=2, tau=3)))
OBSTACLES = Obstacles(pk.Grid((18, 18)))


def batch(family, count=3, seed=0):
    """As a stream makes it: float32."""
    samples = family.solve(family.draw(range(count), seed=seed), rtol=1e-8).to(torch.float32)
    return Batch(samples, torch.arange(count))


def adam(lr):
    return lambda parameters: torch.optim.Adam(parameters, lr=lr)


def preconditioning(family=DARCY, recipe=None, lr=5e-3, **settings):
    return PreconditionerLearning(recipe or CorrectedFactor(), family, optimizer=adam(lr), **settings)


def directing(family=OBSTACLES, lr=1e-3, **settings):
    return DirectionLearning(DeepDirections(DirectionNet(2)), family, optimizer=adam(lr), **settings)

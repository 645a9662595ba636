"""The linear systems behind the samples of a stream: what solvers that are trained learn from."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from pdekit.core.errors import InputError
from pdekit.domain import Grid
from pdekit.families import Family
from pdekit.samples import Inputs, Samples, Source
from pdekit.solvers import CSR, LinearSystem
from pdekit.solvers.operators.entries import written_out

__all__ = ["Stages", "as_family", "stored", "systems_of"]


def as_family(source: Source, task: str) -> Family:
    """The source, if it has matrices.

    Raises:
        InputError: it solves in a way of its own.
    """
    if not isinstance(source, Family):
        raise InputError(
            f"{task} learns from the matrices of a family, and {type(source).__name__} has none to show; expected a "
            "family such as Darcy, whose system() gives them."
        )
    return source


def systems_of(family: Family, inputs: Inputs) -> list[LinearSystem]:
    """The linear systems of some samples, in float64, without gradients.

    Args:
        family: that the samples belong to.
        inputs: of any precision.

    Returns:
        One system with a batch; or, where every sample has its own mesh, a system for each.
    """
    inputs = inputs.to(torch.float64)
    with torch.no_grad():
        if inputs.meshes is None:
            return [family.system(inputs)]
        return [family.on(mesh).system(inputs.sample(i)) for i, mesh in enumerate(inputs.meshes)]


def stored(systems: Sequence[LinearSystem]) -> list[CSR]:
    """The matrices of systems with their entries; those of a grid are written out.

    Raises:
        InputError: an operator without entries.
    """
    matrices = []
    for system in systems:
        if not isinstance(A := written_out(system.operator), CSR):
            raise InputError(f"The entries of {A.name} are not stored; expected a Stencil or a CSR.")
        matrices.append(A)
    return matrices


class Stages:
    """The same samples on a sequence of grids, small ones first, while training goes on.

    Every stage has an equal share of the steps. Sample k is the same function on every grid, so a stage on another grid
    than the stream's draws the inputs of the batch's numbers there.

    Args:
        family: of the stream.
        sizes: points a side of each stage's grid; None for one stage, on the grid or mesh of the stream.

    Raises:
        InputError: sizes of a family that is not on a grid, or too small ones.
    """

    def __init__(self, family: Family, sizes: Sequence[int] | None):
        self.family = family
        if sizes is None:
            self.families = [family]
            return
        grid = family.place
        if not isinstance(grid, Grid):
            raise InputError(f"sizes={list(sizes)} are points a side of grids, but the family lives on {grid}.")
        if not sizes:
            raise InputError("sizes is empty; expected points a side of at least one grid, or null.")
        self.families = [replace(family, domain=replace(grid, shape=(size,) * grid.dim)) for size in sizes]  # pyright: ignore

    @property
    def redraws(self) -> bool:
        """Whether any stage is on another grid than the stream."""
        return any(stage.place != self.family.place for stage in self.families)

    def at(self, step: int, steps: int, samples: Samples) -> tuple[Family, Inputs]:
        """The family of the stage that a step belongs to, and the samples' inputs there.

        Args:
            step: from 0.
            steps: in all.
            samples: of the stream.
        """
        stage = self.families[min(step * len(self.families) // max(steps, 1), len(self.families) - 1)]
        if stage.place == self.family.place:
            return stage, samples.inputs
        identity = samples.identity
        if identity is None:
            raise InputError(
                "The samples do not say what they were drawn from, so they cannot be drawn on another grid."
            )
        numbers = identity.indices.tolist()
        return stage, stage.draw(numbers, seed=identity.seed, split=identity.split, attempt=identity.attempt)

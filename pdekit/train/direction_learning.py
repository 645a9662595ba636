"""Training of deep conjugate directions."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from pdekit.core.errors import InputError
from pdekit.learned.directions import DeepDirections, DirectionLoss, EnergyNorm
from pdekit.samples import Source
from pdekit.solvers import Stencil
from pdekit.stream import Batch
from pdekit.train.solver_learning import SolverLearning
from pdekit.train.systems import systems_of

__all__ = ["DirectionLearning"]


class DirectionLearning(SolverLearning):
    """Trains the network of deep conjugate directions to leave little of an error after each step.

    Args:
        recipe: ``DeepDirections(network)``; the network is trained in place.
        family: of the samples, on a grid.
        optimizer: makes the optimiser from the parameters.
        schedule: makes the learning-rate schedule from the optimiser, or None; one of its steps is an optimiser step.
        loss: of errors to begin with; :class:`EnergyNorm` by default.
        sizes: points a side of the grids to train on, small ones first, each for an equal share of the steps; None for
            the family's own.
        right_hand_sides: random ones solved for each matrix of a batch, whose solutions are the errors to begin with;
            0 for the solutions of the samples.
        rtol: relative residual at which the iterations of validation samples are counted.

    Raises:
        InputError: a source that is no family on a grid, sizes that do not fit it or numbers out of range.

    Example:
        >>> from pdekit.domain import Grid
        >>> from pdekit.families import Poisson
        >>> from pdekit.fields import GaussianField
        >>> from pdekit.learned.directions import DirectionNet
        >>> family = Poisson(Grid((17, 17)), GaussianField(alpha=2, tau=3))
        >>> recipe = DeepDirections(DirectionNet(2))
        >>> task = DirectionLearning(recipe, family, optimizer=lambda p: torch.optim.Adam(p, lr=1e-3))
        >>> samples = family.solve(family.draw(range(4), seed=0), rtol=1e-8)
        >>> task.training_step(Batch(samples, torch.arange(4)), 0).shape
        torch.Size([])

    Source:
        Kaneda et al., ICML 2023; the loss and the replay are ours.
    """

    model_type: ClassVar[Any] = Callable[[], DeepDirections]

    def __init__(
        self,
        recipe: DeepDirections,
        family: Source,
        *,
        optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
        schedule: Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler] | None = None,
        loss: DirectionLoss | None = None,
        sizes: Sequence[int] | None = None,
        right_hand_sides: int = 1,
        rtol: float = 1e-8,
    ):
        super().__init__(
            recipe, family, optimizer=optimizer, schedule=schedule, sizes=sizes, right_hand_sides=right_hand_sides,
            rtol=rtol, max_iterations=recipe.max_iterations,
        )  # fmt: skip
        self.loss = loss or EnergyNorm()

    def method(self, recipe: DeepDirections) -> DeepDirections:
        """Itself."""
        return recipe

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        (system,) = systems_of(*self.stage(batch.samples))
        A = system.operator
        if not isinstance(A, Stencil):
            raise InputError(f"DirectionLearning looks at lattices, and {type(self.family).__name__} gives a {A.name}; "
                             "expected a family on a Grid.")  # fmt: skip
        (error,) = self.solutions([system], batch.samples)
        # The network works in float32, and so may the few steps that the loss replays.
        A = A.with_values([values.to(self.device, torch.float32) for values in A.values])
        loss = self.loss(self.in_training, A, error.to(self.device, torch.float32))
        if self._trainer is not None:
            self.log("train_loss", loss, batch_size=len(batch))
        return loss

"""Training of learned preconditioners."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pdekit.families import Family
from pdekit.learned import algebra
from pdekit.learned.base import LearnedPreconditioner
from pdekit.learned.graphs import MatrixGraph
from pdekit.learned.losses import LowFrequency, PreconditionerLoss
from pdekit.samples import Inputs, Samples, Source
from pdekit.solvers import CG, CSR, LinearSystem
from pdekit.stream import Batch
from pdekit.train.solver_learning import SolverLearning
from pdekit.train.systems import stored, systems_of

__all__ = ["PreconditionerLearning"]


class PreconditionerLearning(SolverLearning):
    """Trains the network of a learned preconditioner to make conjugate gradients converge in few iterations.

    Args:
        recipe: such as ``CorrectedFactor()``; its network is trained in place.
        family: of the samples; gives the matrices, symmetric and positive definite.
        optimizer: makes the optimiser from the parameters.
        schedule: makes the learning-rate schedule from the optimiser, or None; one of its steps is an optimiser step.
        loss: of solutions x and their right-hand sides; :class:`LowFrequency` by default.
        sizes: points a side of the grids to train on, small ones first, each for an equal share of the steps; None for
            the family's own grid or mesh.
        right_hand_sides: random ones solved for each matrix of a batch, to train on the solutions, in which every
            wave has the share that the inverse gives it; 0 to train on the solutions of the samples.
        rtol: relative residual at which the iterations of validation samples are counted.
        max_iterations: at which counting ends.

    Raises:
        InputError: a source that is no family, sizes that do not fit it or numbers out of range.

    Example:
        >>> from pdekit.domain import Grid
        >>> from pdekit.families import Darcy
        >>> from pdekit.fields import GaussianField, LogNormal
        >>> from pdekit.learned.corrected import CorrectedFactor
        >>> family = Darcy(Grid((9, 9)), LogNormal(GaussianField(alpha=2, tau=3)))
        >>> task = PreconditionerLearning(CorrectedFactor(), family, optimizer=lambda p: torch.optim.Adam(p, lr=5e-3))
        >>> samples = family.solve(family.draw(range(4), seed=0), rtol=1e-8)
        >>> task.training_step(Batch(samples, torch.arange(4)), 0).shape
        torch.Size([])

    Source:
        The loss: Trifonov et al., arXiv 2405.15557. Weights kept by iterations: Häusner et al., TMLR 2024.
    """

    model_type: ClassVar[Any] = Callable[[], LearnedPreconditioner]

    def __init__(
        self,
        recipe: LearnedPreconditioner,
        family: Source,
        *,
        optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
        schedule: Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler] | None = None,
        loss: PreconditionerLoss | None = None,
        sizes: Sequence[int] | None = None,
        right_hand_sides: int = 1,
        rtol: float = 1e-8,
        max_iterations: int = 1000,
    ):
        super().__init__(
            recipe, family, optimizer=optimizer, schedule=schedule, sizes=sizes, right_hand_sides=right_hand_sides,
            rtol=rtol, max_iterations=max_iterations,
        )  # fmt: skip
        self.loss = loss or LowFrequency()

    def method(self, recipe: LearnedPreconditioner) -> CG:
        """Conjugate gradients with it."""
        return CG(recipe, max_iterations=self.max_iterations)

    def operator(self, system: LinearSystem) -> CSR:
        """The matrices with their entries."""
        return stored([system])[0]

    def problems(
        self, family: Family, inputs: Inputs, samples: Samples
    ) -> tuple[MatrixGraph, Float[Tensor, "k nodes"], Float[Tensor, "k nodes"]]:
        """What the loss is taken of, on the CPU: the graph of matrices A, vectors x and b = A x.

        Args:
            family: whose matrices are trained on.
            inputs: that belong to it.
            samples: the same with solutions, where those are trained on.
        """
        systems = systems_of(family, inputs)
        with torch.no_grad():
            graph = self.recipe.graph(stored(systems))
            x = torch.cat(
                [_through(x, system) for x, system in zip(self.solutions(systems, samples), systems, strict=True)], -1
            )
            return graph, x, algebra.symmetric(graph, graph.entries, x)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        graph, x, b = self.problems(*self.stage(batch.samples), batch.samples)
        loss = self.loss(self.recipe, graph.to(self.device), x.to(self.device), b.to(self.device))
        if self._trainer is not None:
            self.log("train_loss", loss, batch_size=len(batch))
        return loss


def _through(x: Float[Tensor, "k *batch n"], system: LinearSystem) -> Float[Tensor, "vectors nodes"]:
    """Vectors of a batch of systems as vectors through all its matrices: more of them, where one matrix has several."""
    own = len(system.operator.batch_shape)
    return x.flatten(0, x.ndim - 2 - own).flatten(1)

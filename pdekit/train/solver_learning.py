"""What training preconditioners and training directions have in common: matrices, iterations, the best network."""

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pdekit.core.checks import check_limit, check_tolerances
from pdekit.core.errors import InputError
from pdekit.families import Family
from pdekit.learned.base import TrainedOn
from pdekit.samples import Inputs, Samples, Source
from pdekit.solvers import Auto, LinearOperator, LinearSystem, Method, solve
from pdekit.stream import Batch
from pdekit.train.config import RunConfig
from pdekit.train.data import StreamData
from pdekit.train.solver_comparison import Compared, compare
from pdekit.train.systems import Stages, as_family, systems_of
from pdekit.train.task import Task

__all__ = ["SolverLearning"]

_EXACT = 1e-8
"""Relative residual of the solutions that are trained on; what is trained cannot tell them from exact ones."""


class SolverLearning(Task):
    """Trains a network that works inside a solver, on the matrices behind the samples of a stream.

    No sample holds a matrix: :meth:`pdekit.families.Family.system` makes it of the inputs. A look at the validation
    samples counts the iterations that solving them takes; the weights with the fewest are kept beside those in
    training, and are what is saved in the end, since the loss does not tell them.

    Args:
        recipe: a frozen dataclass with the network, ``trained_on`` and ``save``.
        family: of the samples.
        optimizer: makes the optimiser from the parameters.
        schedule: makes the learning-rate schedule from the optimiser, or None; one of its steps is an optimiser step.
        sizes: points a side of the grids to train on, one after the other for equal shares of the steps; None for the
            family's own.
        right_hand_sides: random ones solved for each matrix of a batch, to train on the solutions; 0 to train on the
            solutions of the samples.
        rtol: relative residual at which the iterations of validation samples are counted.
        max_iterations: at which counting ends.

    Raises:
        InputError: a source that is no family, sizes that do not fit it or numbers out of range.
    """

    supplied: ClassVar[tuple[str, ...]] = ("recipe", "family", "optimizer", "schedule")
    best_iterations: Tensor

    def __init__(
        self,
        recipe: Any,
        family: Source,
        *,
        optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
        schedule: Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler] | None = None,
        sizes: Sequence[int] | None = None,
        right_hand_sides: int = 1,
        rtol: float = 1e-8,
        max_iterations: int = 1000,
    ):
        super().__init__(optimizer, schedule)
        name = type(self).__name__
        check_tolerances(rtol, 0.0)
        check_limit(name, "max_iterations", max_iterations)
        self.family = as_family(family, name)
        self.stages = Stages(self.family, sizes)
        if right_hand_sides < 0 or (right_hand_sides == 0 and self.stages.redraws):
            also = ", and at least 1 beside sizes, since samples have solutions on their own grid only"
            raise InputError(f"{name} has right_hand_sides={right_hand_sides}; expected 0 or more{also}.")
        self.right_hand_sides, self.rtol, self.max_iterations = right_hand_sides, rtol, max_iterations
        self.recipe = replace(recipe, trained_on=_trained_on(self.family))
        self.in_training = self.recipe.network
        self.best = deepcopy(self.in_training).requires_grad_(False)
        self.register_buffer("best_iterations", torch.tensor(math.inf, dtype=torch.float64))
        self._counted: list[Tensor] = []
        self._validated_at = -1

    @classmethod
    def of_run(cls, config: RunConfig, arguments: Mapping[str, Any]) -> Self:
        """With the recipe of the file."""
        return cls(config.model(), config.family, optimizer=config.optimizer, schedule=config.schedule, **arguments)

    @property
    def network(self) -> nn.Module:
        """In training."""
        return self.in_training

    @property
    def trained(self) -> Any:
        """The recipe with the best network so far; with the one in training where no iterations were counted."""
        counted = math.isfinite(float(self.best_iterations))
        return replace(self.recipe, network=self.best if counted else self.in_training)

    @abstractmethod
    def method(self, recipe: Any) -> Method:
        """How systems are solved with it."""

    def operator(self, system: LinearSystem) -> LinearOperator:
        """The matrices as :meth:`method` takes them."""
        return system.operator

    def stage(self, samples: Samples) -> tuple[Family, Inputs]:
        """Where the samples of the present step are trained on."""
        trainer = self._trainer
        step, steps = (0, 1) if trainer is None else (trainer.global_step, trainer.max_steps)
        return self.stages.at(step, steps, samples)

    @torch.no_grad()
    def solutions(
        self, systems: Sequence[LinearSystem], samples: Samples
    ) -> list[Float[Tensor, "right_hand_sides *batch n"]]:
        """Vectors that the matrices of each system have been solved for.

        Args:
            systems: of the samples, on any grid.
            samples: that have solutions, where those are trained on.
        """
        if self.right_hand_sides:
            return [self._random(system) for system in systems]
        fields = samples.to(torch.float64)
        parts = [fields] if samples.meshes is None else [fields.sample(i) for i in range(len(fields))]
        return [s.reduce(part[self.family.output])[None] for s, part in zip(systems, parts, strict=True)]

    def _random(self, system: LinearSystem) -> Tensor:
        A = system.operator
        b = torch.randn(self.right_hand_sides, *A.batch_shape, A.shape[0], dtype=torch.float64)
        return torch.as_tensor(solve(A, b, Auto(), rtol=_EXACT).x)

    def iterations(self, samples: Samples, recipe: Any) -> Float[Tensor, " systems"]:
        """How many iterations each sample takes; a system that is not solved counts as one more than allowed."""
        counts = []
        for system in systems_of(self.family, samples.inputs):
            solution = solve(self.operator(system), system.rhs, self.method(recipe), rtol=self.rtol, throw=False)
            counts.append(torch.where(solution.converged, solution.iterations, self.max_iterations + 1).flatten())
        return torch.cat(counts).to(torch.float64)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Samples stay on the CPU, where systems are made; what is made of them is moved."""
        return batch

    def on_validation_epoch_start(self) -> None:
        """Forget the last look."""
        self._counted = []

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count the iterations of a batch."""
        # What is made here, such as patterns, may be kept and met again in training.
        with torch.inference_mode(False), torch.no_grad():
            self._counted.append(self.iterations(batch.samples, self.recipe))

    def on_validation_epoch_end(self) -> None:
        """Log the mean, and keep the weights if none were better."""
        found = torch.cat(self._counted).mean()
        if self._trainer is not None:
            self.log("validation_iterations", found)
        self._keep(found)

    def _keep(self, found: Tensor) -> None:
        self._validated_at = self.global_step
        if found <= self.best_iterations:
            with torch.inference_mode(False), torch.no_grad():
                self.best_iterations.copy_(found)
                self.best.load_state_dict(self.in_training.state_dict())

    def conclude(self, data: StreamData) -> None:
        """Look at the last weights, if that has not been done."""
        if data.validation_samples is not None and self._validated_at != self.global_step:
            self._keep(
                torch.cat([self.iterations(batch.samples, self.recipe) for batch in data.val_dataloader()]).mean()
            )

    def save(self, directory: Path) -> None:
        """Write the recipe with the best network."""
        self.trained.save(directory)

    def measure(self, config: RunConfig) -> Compared:
        """Compare iterations and seconds with those of classical methods."""
        return compare(
            self.trained,
            config.family,
            samples=config.evaluation.samples,
            seed=config.seed,
            split=config.evaluation.split,
            rtol=config.evaluation.rtol,
            method=config.solver,
        )


def _trained_on(family: Family) -> TrainedOn:
    components = family.dim if getattr(family, "vector", False) else 1
    return TrainedOn(type(family).__name__, family.dim, components)

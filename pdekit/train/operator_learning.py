"""Supervised learning of a solution operator from solved samples."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from pdekit.samples import Samples, Schema
from pdekit.stream import Batch
from pdekit.train.channels import Channels
from pdekit.train.config import ModelFactory, RunConfig
from pdekit.train.evaluation import Evaluated, evaluate
from pdekit.train.losses import Loss, RelativeL2
from pdekit.train.normaliser import Normaliser
from pdekit.train.strategies import OneStep, Strategy
from pdekit.train.surrogate import Surrogate
from pdekit.train.task import Task

__all__ = ["OperatorLearning"]


class OperatorLearning(Task):
    """Trains a network to give the outputs of a family from its inputs.

    Args:
        model: ``(batch, *shape, inputs)`` to ``(batch, *shape, outputs)``, in normalised units.
        schema: of the samples.
        optimizer: makes the optimiser from the parameters.
        schedule: makes the learning-rate schedule from the optimiser, or None; one of its steps is an optimiser step.
        channels: which fields, in which order; those of the schema by default.
        normaliser: fitted, or to be fitted by :meth:`fit_normaliser` before training.
        loss: on decoded fields; :class:`RelativeL2` by default.
        strategy: how a batch is used; :class:`OneStep` by default.

    ``surrogate`` is what is trained, ready for use; ``training_error`` its relative L2 error on the last batch.

    Raises:
        InputError: the model does not fit the grid of the schema.

    Example:
        >>> from pdekit.domain import Grid
        >>> from pdekit.nn import FNO
        >>> from pdekit.samples import FieldSpec
        >>> schema = Schema(Grid((9, 9)), (FieldSpec("coefficient", "input"), FieldSpec("solution", "output")))
        >>> model = FNO(1, 1, basis="sine", modes=3, width=4, layers=1)
        >>> task = OperatorLearning(model, schema, optimizer=lambda p: torch.optim.AdamW(p, lr=1e-3))
        >>> samples = Samples(schema, {"coefficient": torch.rand(4, 9, 9), "solution": torch.rand(4, 9, 9)})
        >>> task.fit_normaliser(samples)
        >>> task.training_step(Batch(samples, torch.arange(4)), 0).shape
        torch.Size([])
    """

    model_type: ClassVar[Any] = ModelFactory
    supplied: ClassVar[tuple[str, ...]] = ("model", "schema", "channels", "normaliser", "optimizer", "schedule")
    weights: Tensor
    training_error: Tensor | None = None

    def __init__(
        self,
        model: nn.Module,
        schema: Schema,
        *,
        optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
        schedule: Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler] | None = None,
        channels: Channels | None = None,
        normaliser: Normaliser | None = None,
        loss: Loss | None = None,
        strategy: Strategy | None = None,
    ):
        super().__init__(optimizer, schedule)
        self.surrogate = Surrogate(model, schema, channels, normaliser)
        self.loss = loss or RelativeL2()
        self.strategy = strategy or OneStep()
        self.register_buffer("weights", schema.one_domain.quadrature().to(torch.float32), persistent=False)

    @classmethod
    def of_run(cls, config: RunConfig, arguments: Mapping[str, Any]) -> Self:
        """With a model of as many channels as the family has fields."""
        schema = config.family.schema
        model = config.model(len(schema.inputs), len(schema.outputs))
        return cls(model, schema, optimizer=config.optimizer, schedule=config.schedule, **arguments)

    @property
    def network(self) -> nn.Module:
        """The model."""
        return self.surrogate.model

    def begin(self, first: Samples) -> None:
        """Fit the normaliser on the first fill of the buffer."""
        self.fit_normaliser(first)

    def save(self, directory: Path) -> None:
        """Write the surrogate."""
        self.surrogate.save(directory)

    def measure(self, config: RunConfig) -> Evaluated:
        """Compare the surrogate with solutions."""
        return evaluate(
            self.surrogate,
            config.family,
            samples=config.evaluation.samples,
            seed=config.seed,
            split=config.evaluation.split,
            rtol=config.evaluation.rtol,
            method=config.solver,
        )

    def fit_normaliser(self, samples: Samples) -> None:
        """Fit the normaliser, once, on the first fill of the reservoir.

        Raises:
            PdekitError: it is fitted already.
        """
        channels = self.surrogate.channels
        self.surrogate.normaliser.fit(channels.stack_inputs(samples), channels.stack_outputs(samples))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        prediction, truth = self._step(batch)
        loss = self.loss(prediction, truth, self.weights)
        if isinstance(self.loss, RelativeL2):
            self.training_error = loss.detach()
        else:
            self.training_error = RelativeL2()(prediction.detach(), truth, self.weights)
        if self._trainer is not None:
            self.log("train_loss", loss, batch_size=len(batch))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch of the validation set."""
        loss = self.loss(*self._step(batch), self.weights)
        if self._trainer is not None:
            self.log("validation_loss", loss, batch_size=len(batch))
        return loss

    def _step(self, batch: Batch) -> tuple[Tensor, Tensor]:
        channels = self.surrogate.channels
        inputs, outputs = channels.stack_inputs(batch.samples), channels.stack_outputs(batch.samples)
        return self.strategy.step(self.surrogate, inputs, outputs)

"""What a run trains: what tasks of every kind tell the run."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import lightning.pytorch as L
import torch
from torch import nn

from pdekit.samples import Samples
from pdekit.train.config import RunConfig
from pdekit.train.data import StreamData
from pdekit.train.report import Measured

__all__ = ["Task"]


class Task(L.LightningModule, ABC):
    """Trains something on the samples of a stream: a surrogate, a preconditioner, search directions.

    A subclass gives the steps, as every LightningModule does, and what a run must know: what the key ``model`` of a
    configuration file stands for, how the task is made of a configuration, and how what was trained is measured and
    saved.

    Args:
        optimizer: makes the optimiser from the parameters.
        schedule: makes the learning-rate schedule from the optimiser, or None; one of its steps is an optimiser step.
    """

    model_type: ClassVar[Any]
    """The annotation of ``model`` in a file: a callable, of arguments that the task has and the file does not give."""
    supplied: ClassVar[tuple[str, ...]]
    """Arguments of the constructor that come from the run and not from ``task`` in a file."""

    def __init__(
        self,
        optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
        schedule: Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler] | None,
    ):
        super().__init__()
        self.optimizer, self.schedule = optimizer, schedule

    @classmethod
    @abstractmethod
    def of_run(cls, config: RunConfig, arguments: Mapping[str, Any]) -> Self:
        """The task of a run.

        Args:
            config: of the run; its ``model`` is called here.
            arguments: those under ``task`` in the file.
        """

    @property
    @abstractmethod
    def network(self) -> nn.Module:
        """What has the weights that are trained."""

    def begin(self, first: Samples) -> None:
        """Called once in a run's life, before its first step, with what the buffer then holds."""

    def conclude(self, data: StreamData) -> None:
        """Called when all steps are made, also by a resumed run that had none left to make."""

    @abstractmethod
    def save(self, directory: Path) -> None:
        """Write what was trained to a folder for :func:`pdekit.load`."""

    @abstractmethod
    def measure(self, config: RunConfig) -> Measured:
        """Try what was trained on the held-out problems of a run."""

    def configure_optimizers(self) -> dict[str, Any]:
        """The optimiser, and the schedule in optimiser steps."""
        optimizer = self.optimizer(self.network.parameters())
        if self.schedule is None:
            return {"optimizer": optimizer}
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": self.schedule(optimizer), "interval": "step"},
        }

"""Training as ``pdekit train`` does it, from objects in place of a configuration file."""

import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from pdekit.domain import RandomShape
from pdekit.families import Family
from pdekit.learned.base import LearnedPreconditioner
from pdekit.learned.losses import PreconditionerLoss
from pdekit.samples import Samples
from pdekit.stream import Batch
from pdekit.train import load, run
from pdekit.train.config import Evaluation, RunConfig, TrainerSettings
from pdekit.train.preconditioner_learning import PreconditionerLearning

__all__ = ["Trained", "Training"]

_POOL, _VALIDATION = 256, 8
"""Samples on random meshes that are trained on again and again; validation samples."""
_LOOKS = 8
"""How often iterations are counted."""


@dataclass(frozen=True)
class Trained:
    """What came out.

    Args:
        recipe: with the weights that took the fewest iterations on the validation samples.
        seconds: to make samples and to train, validation included.
    """

    recipe: LearnedPreconditioner
    seconds: float


@dataclass(frozen=True)
class Training:
    """How something is trained; the defaults are those found to do well.

    Args:
        recipe: makes the preconditioner with fresh weights.
        family: of the matrices.
        loss: what becomes small.
        steps: of the optimiser.
        sizes: points a side of the grids, small ones first; None for the family's own domain.
        rate: of Adam.
        cosine: whether the rate falls to 0 as a cosine.
        clip: largest norm of the gradient, or None.
        right_hand_sides: solved for each matrix of a batch.
        batch: matrices of a step.
    """

    recipe: Callable[[], LearnedPreconditioner]
    family: Family
    loss: PreconditionerLoss
    steps: int
    sizes: Sequence[int] | None = None
    rate: float = 5e-3
    cosine: bool = True
    clip: float | None = 1.0
    right_hand_sides: int = 3
    batch: int = 8

    def run(self, seed: int, say: Callable[[str], None]) -> Trained:
        """Train.

        Args:
            seed: of samples and weights.
            say: shows a line of progress.
        """
        random = isinstance(self.family.place, RandomShape)  # a mesh each, which streams do not take
        trained = self._from_pool(seed) if random else self._from_stream(seed)
        say(f"  trained for {trained.seconds:.0f} s, {self.steps} steps")
        return trained

    def _from_stream(self, seed: int) -> Trained:
        """By what ``pdekit train`` calls, in a folder that is gone afterwards."""
        arguments = {"loss": self.loss, "sizes": self.sizes, "right_hand_sides": self.right_hand_sides}
        looks = max(1, self.steps // _LOOKS)
        with tempfile.TemporaryDirectory() as folder:
            config = RunConfig(
                family=self.family,
                solver=None,
                stream={"seed": seed, "rtol": 1e-3, "capacity": _POOL, "batch_size": self.batch},
                task=partial(PreconditionerLearning.of_run, arguments=arguments),
                model=self.recipe,
                optimizer=self._optimizer,
                schedule=self._schedule,
                trainer=TrainerSettings(
                    max_steps=self.steps, gradient_clip_val=self.clip, accelerator="cpu", log_every_n_steps=looks,
                    checkpoint_every_n_steps=self.steps, validate_every_n_steps=looks,
                ),
                evaluation=Evaluation(samples=1, rtol=1e-8, validation=_VALIDATION),
                out=Path(folder) / "run",
                resolved={},
            )  # fmt: skip
            seconds = run(config, say=lambda line: None).seconds
            return Trained(load(config.out / "model"), seconds["first_fill"] + seconds["train"])

    def _from_pool(self, seed: int) -> Trained:
        """By the same task and trainer, on samples that are made before."""
        import lightning.pytorch as L

        with torch.random.fork_rng(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Lightning's hints
            logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
            torch.manual_seed(seed)
            task = PreconditionerLearning(
                self.recipe(), self.family, optimizer=self._optimizer, schedule=self._schedule, loss=self.loss,
                right_hand_sides=self.right_hand_sides,
            )  # fmt: skip
            trainer = L.Trainer(
                max_steps=self.steps, gradient_clip_val=self.clip, accelerator="cpu", logger=False,
                enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
                num_sanity_val_steps=0, val_check_interval=max(1, self.steps // _LOOKS), check_val_every_n_epoch=None,
            )  # fmt: skip
            start = time.perf_counter()
            pool, held_out = (
                self.family.solve(self.family.draw(range(count), seed=seed, split=split), rtol=1e-3)
                for count, split in ((min(_POOL, self.steps * self.batch), "train"), (_VALIDATION, "validation"))
            )
            trainer.fit(task, _Batches(pool, self.batch, self.steps), _Batches(held_out, self.batch, 1))
            return Trained(task.trained, time.perf_counter() - start)

    def _optimizer(self, parameters) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=self.rate)

    def _schedule(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        if not self.cosine:
            return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)


@dataclass
class _Batches:
    """So many random batches of samples; all of them in order where one batch holds them."""

    samples: Samples
    size: int
    count: int

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Batch]:
        for _ in range(self.count):
            chosen = torch.randperm(len(self.samples))[: self.size]
            yield Batch(self.samples[chosen], chosen)

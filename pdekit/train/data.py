"""A stream as the data of a Lightning training."""

from collections.abc import Iterator
from typing import Any

from lightning.pytorch import LightningDataModule

from pdekit.core.errors import InputError
from pdekit.samples import Samples
from pdekit.stream import Batch, EndOfStream, Stream, held_out, training_precision

__all__ = ["StreamData"]


class StreamData(LightningDataModule):
    """Training batches from a stream, and a validation set solved once before training.

    Its state is the stream's, so a checkpoint taken when a batch is done continues with the next one. Batches are
    :class:`pdekit.stream.Batch`; Lightning moves them to the model's device.

    Args:
        stream: closed when training ends.
        validation: number of validation samples; 0 for none.
        validation_rtol: relative tolerance of their certificates.

    Raises:
        InputError: a negative number of samples.
    """

    def __init__(self, stream: Stream, *, validation: int = 64, validation_rtol: float = 1e-8):
        super().__init__()
        if validation < 0:
            raise InputError(f"validation={validation}; expected a number of samples, or 0 for none.")
        self.stream = stream
        self.validation = validation
        self.validation_rtol = validation_rtol
        self.validation_samples: Samples | None = None

    def setup(self, stage: str) -> None:
        """Solve the validation set, once."""
        if stage in ("fit", "validate") and self.validation and self.validation_samples is None:
            with self.stream.solving:
                samples = held_out(
                    self.stream.source,
                    self.validation,
                    seed=self.stream.seed,
                    split="validation",
                    rtol=self.validation_rtol,
                    method=self.stream.ledger.method,
                    ticket_size=self.stream.ledger.size,
                )
            fields = {name: training_precision(values) for name, values in samples.fields.items()}
            self.validation_samples = Samples(samples.schema, fields, samples.identity, samples.certificate)

    def first_fill(self) -> Samples:
        """What the buffer holds when the first batch is due; a normaliser is fitted on it."""
        return self.stream.first_fill()

    def train_dataloader(self) -> "_TrainLoader":
        """Batches up to the trainer's last step.

        Raises:
            InputError: the trainer has no last step.
        """
        trainer = self.trainer
        assert trainer is not None, "the data module is not attached to a trainer"
        if trainer.max_steps < 1:
            raise InputError(
                f"Trainer(max_steps={trainer.max_steps}); expected a number of steps, because a stream has no epochs."
            )
        return _TrainLoader(self, trainer.max_steps * trainer.accumulate_grad_batches)

    def val_dataloader(self) -> "_FixedLoader":
        """The validation set in batches."""
        return _FixedLoader(self.validation_samples, self.stream.batch_size)

    def state_dict(self) -> dict[str, Any]:
        """The state of the stream; to be taken when every batch drawn has been trained on."""
        return self.stream.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue with the batch after the checkpoint."""
        self.stream.load_state_dict(state_dict)

    def teardown(self, stage: str) -> None:
        """Close the stream when training ends."""
        if stage == "fit":
            self.stream.close()

    def on_exception(self, exception: BaseException) -> None:
        """Close the stream when training fails."""
        self.stream.close()


class _TrainLoader:
    """An iterable with a length: without one Lightning fetches a batch ahead, and every resume would lose it."""

    def __init__(self, data: StreamData, length: int):
        self._data = data
        self._length = length

    def __len__(self) -> int:
        # The whole budget, not what is left of it: after a resume Lightning counts on from the batches already done.
        return self._length

    def __iter__(self) -> Iterator[Batch]:
        while True:
            try:
                yield self._data.stream.next_batch()
            except EndOfStream:
                assert self._data.trainer is not None
                self._data.trainer.should_stop = True
                return

    def state_dict(self) -> dict[str, Any]:
        """Empty: the state travels in the data module. Lightning asks whether the loader can be resumed."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to do."""


class _FixedLoader:
    def __init__(self, samples: Samples | None, batch_size: int):
        self._samples = samples
        self._batch_size = batch_size

    def __len__(self) -> int:
        return 0 if self._samples is None else -(-len(self._samples) // self._batch_size)

    def __iter__(self) -> Iterator[Batch]:
        samples = self._samples
        for k in range(len(self)):
            assert samples is not None
            part = samples[k * self._batch_size : (k + 1) * self._batch_size]
            assert part.identity is not None
            yield Batch(part, part.identity.indices)

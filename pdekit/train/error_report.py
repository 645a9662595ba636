"""The error of the model in training on its way to the stream."""

from typing import Any

import lightning.pytorch as L
from lightning.pytorch.callbacks import Callback

from pdekit.core.errors import InputError
from pdekit.stream import Batch, Stream

__all__ = ["ErrorReport"]


class ErrorReport(Callback):
    """Reports the error of every batch to the stream, whose :class:`pdekit.stream.LabelTolerance` follows it.

    Nothing is read from the model where the stream's tolerance is fixed.

    Args:
        stream: that the batches come from.

    Raises:
        InputError: the module in training has no ``training_error``.
    """

    def __init__(self, stream: Stream):
        self.stream = stream

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Report the batch just trained on."""
        if not self.stream.follows_error:
            return
        error = getattr(pl_module, "training_error", None)
        if error is None:
            raise InputError(
                f"{type(pl_module).__name__} does not say how wrong its model is; with a LabelTolerance expected its "
                "training_error, the relative L2 error on the last batch. Or give the stream a number as rtol."
            )
        self.stream.report(float(error))

"""The record of what was trained on: ``batches.csv``."""

import hashlib
import io
from pathlib import Path
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.callbacks import Callback

from pdekit.core.errors import PdekitError
from pdekit.stream import Batch

__all__ = ["BatchesLog"]

HEADER = b"step,indices,indices_sha256,batch_sha256\n"


class BatchesLog(Callback):
    """Writes one line a batch: its number, its samples' numbers, and SHA-256 sums of those and of the tensors' bytes.

    Two runs trained on the same data if and only if their files are equal. Each line is written when the batch is
    done; a resumed run first cuts the file back to the checkpoint, so that an interrupted and resumed run leaves the
    same file as an uninterrupted one.

    Args:
        path: of the file; overwritten by a run that starts at its first step.

    Raises:
        PdekitError: a line cannot be written; training stops, because its record would have a hole.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._file: io.FileIO | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Open the file at the first line that is still to come."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        done = trainer.fit_loop.total_batch_idx + 1
        kept = _lines_up_to(self.path, done) if done else b""
        self._file = self.path.open("r+b" if kept else "wb", buffering=0)
        if kept:
            self._file.truncate(len(kept))
            self._file.seek(len(kept))
        else:
            self._file.write(HEADER)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Write the line of this batch."""
        assert self._file is not None
        numbers = " ".join(map(str, batch.indices.tolist()))
        step = trainer.fit_loop.total_batch_idx + 1
        line = f"{step},{numbers},{_digest([batch.indices])},{_digest(_tensors(batch))}\n"
        try:
            self._file.write(line.encode())
        except OSError as error:
            raise PdekitError(f"The record {self.path} could not be written at step {step}: {error}.") from error

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _tensors(batch: Batch) -> list[Any]:
    return [batch.samples[spec.name] for spec in batch.samples.schema.fields]


def _digest(tensors: list[Any]) -> str:
    digest = hashlib.sha256()
    for values in tensors:
        digest.update(values.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def _lines_up_to(path: Path, step: int) -> bytes:
    """The header and the complete lines of the batches up to ``step``; empty if there is no such file."""
    if not path.is_file():
        return b""
    kept = []
    for line in path.read_bytes().splitlines(keepends=True):
        if line != HEADER and (not line.endswith(b"\n") or int(line.split(b",", 1)[0]) > step):
            break
        kept.append(line)
    return b"".join(kept)

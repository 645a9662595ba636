"""Checkpoints that are complete or absent, and that run no code when loaded."""

import os
import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from pdekit.core.errors import InputError, PdekitError
from pdekit.train.data import StreamData

__all__ = ["Checkpoints", "DamagedCheckpoint", "latest_checkpoint", "read_checkpoint", "write_checkpoint"]

PATTERN = "step-*.ckpt"


class DamagedCheckpoint(InputError):
    """A checkpoint file that is cut off or otherwise unreadable."""


class Checkpoints(Checkpoint):
    """Saves the whole training every so many steps, and at its end.

    A file appears under its name only when it is complete and on the disk, and has been read back; the one before is
    kept until then. It holds the model, the optimiser, the learning-rate schedule, the stream, torch's random states
    and the counters, as tensors and plain containers. Saved in ``on_train_batch_end`` after all other callbacks, when
    the batch is done and the next one not yet drawn.

    Args:
        directory: of the files ``step-00001000.ckpt``.
        every: steps between checkpoints.
        keep: how many of the newest to keep.

    Raises:
        InputError: ``every`` or ``keep`` below 1.
    """

    def __init__(self, directory: str | Path, *, every: int = 500, keep: int = 2):
        if every < 1 or keep < 1:
            raise InputError(f"Checkpoints(every={every}, keep={keep}); expected at least 1 of both.")
        self.directory = Path(directory)
        self.every, self.keep = every, keep
        self._saved = -1
        self._random: dict[str, Any] | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Make the trainer write and read checkpoints the safe way, and clear away what a killed run left half done."""
        for partial in self.directory.glob(f".{PATTERN}.partial"):
            partial.unlink()
        trainer.strategy.checkpoint_io = _SafeIO()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Put torch's random states back, as late as possible."""
        self._saved = trainer.global_step if self._random is not None else -1
        if self._random is not None:
            torch.set_rng_state(self._random["cpu"])
            if self._random["cuda"] and torch.cuda.is_available():
                torch.cuda.set_rng_state_all(self._random["cuda"])
            self._random = None

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if it is time."""
        step = trainer.global_step
        if step != self._saved and (step % self.every == 0 or step >= trainer.max_steps > 0):
            self._save(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save what was trained since the last checkpoint."""
        if trainer.global_step != self._saved:
            self._save(trainer)

    def state_dict(self) -> dict[str, Any]:
        """Torch's random states."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return {"cpu": torch.get_rng_state(), "cuda": cuda}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Remember torch's random states until training starts."""
        self._random = state_dict

    def _save(self, trainer: L.Trainer) -> None:
        _check_boundary(trainer)
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / f"step-{trainer.global_step:08d}.ckpt"
        try:
            trainer.save_checkpoint(path)
        except OSError as error:
            warnings.warn(
                f"The checkpoint {path} could not be written ({error}); training goes on, earlier ones are kept.",
                stacklevel=2,
            )
            return
        self._saved = trainer.global_step
        for old in _newest_first(self.directory)[self.keep :]:
            old.unlink()


def latest_checkpoint(directory: str | Path) -> Path | None:
    """The newest checkpoint that can be used; a damaged one is passed over, with a warning that says so.

    Args:
        directory: where :class:`Checkpoints` saved.

    Returns:
        Its path, or None where there is none at all.

    Raises:
        InputError: a checkpoint is a pickle that runs code when loaded.
        DamagedCheckpoint: there are checkpoints, and none can be read.
    """
    paths = _newest_first(Path(directory))
    problem = None
    for path in paths:
        try:
            read_checkpoint(path, mapped=True)
        except DamagedCheckpoint as error:
            problem = error
            warnings.warn(f"{error} Falling back to the checkpoint before it.", stacklevel=2)
        else:
            return path
    if problem is not None:
        raise DamagedCheckpoint(f"No checkpoint in {directory} can be read. {problem}")
    return None


def read_checkpoint(path: str | Path, *, device: Any = "cpu", mapped: bool = False) -> dict[str, Any]:
    """Load a checkpoint without running any code from it.

    Args:
        path: of the file.
        device: where its tensors go.
        mapped: leave the tensors in the file until they are used, which is enough to see that the file is whole.

    Returns:
        Tensors and plain containers.

    Raises:
        DamagedCheckpoint: the file is cut off or no checkpoint.
        InputError: loading it would run code.
    """
    path = Path(path)
    with path.open("rb") as file:
        start = file.read(64)
    if not start.strip(b"\0"):
        raise DamagedCheckpoint(f"The checkpoint {path} is empty.")
    if not start.startswith(b"PK"):
        raise InputError(_refusal(path, ""))
    if not zipfile.is_zipfile(path):
        raise DamagedCheckpoint(f"The checkpoint {path} is cut off: its end is missing.")
    try:
        return torch.load(path, map_location=device, weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        raise InputError(_refusal(path, f" (it asks for {found[1]})" if found else "")) from error
    except (RuntimeError, EOFError) as error:
        raise DamagedCheckpoint(f"The checkpoint {path} is damaged: {str(error).splitlines()[0]}") from error


def _refusal(path: Path, needs: str) -> str:
    return (
        f"The checkpoint {path} is a pickle that could run any code when loaded{needs}; it is refused. Expected a file "
        "of tensors and plain containers, as pdekit writes."
    )


def write_checkpoint(checkpoint: dict[str, Any], path: str | Path) -> None:
    """Save under a temporary name, bring it to the disk, read it back, and only then give it its name.

    Args:
        checkpoint: tensors and plain containers.
        path: of the file.

    Raises:
        OSError: the disk is full or not writable; nothing is left behind.
        PdekitError: the checkpoint holds an object that could not be loaded safely.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    try:
        try:
            with partial.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            read_checkpoint(partial, mapped=True)
        except RuntimeError as error:  # torch reports a failed write so
            raise OSError(f"writing {partial.name} failed: {str(error).splitlines()[0]}") from error
        except InputError as error:
            raise PdekitError(
                f"This training cannot be saved to {path} in a form that loads safely. {error}"
            ) from error
        partial.replace(path)
        _sync_directory(path.parent)
    finally:
        partial.unlink(missing_ok=True)


class _SafeIO(TorchCheckpointIO):
    """Lightning's reading and writing of checkpoints, through the two functions above."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        write_checkpoint(checkpoint, path)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        return read_checkpoint(path, device=map_location or "cpu")


def _check_boundary(trainer: L.Trainer) -> None:
    """A loader that fetches ahead would make the resumed run skip a batch."""
    data = getattr(trainer, "datamodule", None)
    trained = trainer.fit_loop.total_batch_idx + 1
    if isinstance(data, StreamData) and data.stream.batches != trained:
        raise PdekitError(
            f"{data.stream.batches} batches were drawn and {trained} trained on: a checkpoint taken now would lose the "
            "difference. Use the loader of StreamData as it is, without prefetching."
        )


def _newest_first(directory: Path) -> list[Path]:
    return sorted(directory.glob(PATTERN), reverse=True)


def _sync_directory(directory: Path) -> None:
    """Bring a rename to the disk, where the system allows a directory to be opened."""
    if os.name != "posix":
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

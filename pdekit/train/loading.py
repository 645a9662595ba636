"""What a run has trained, back from its folder."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from pdekit.core.errors import InputError
from pdekit.train import surrogate

__all__ = ["load"]


def load(directory: str | Path, *, device: torch.device | str = "cpu", allow: Sequence[str] = ()) -> Any:
    """Load what was trained and saved. No code from the folder runs, whoever made it.

    Args:
        directory: the folder, such as ``runs/quickstart/model``.
        device: where the weights go.
        allow: modules beside pdekit's own whose classes may be built.

    Returns:
        What the folder holds: a :class:`Surrogate`; a learned preconditioner, for ``CG(preconditioner=...)``; or
        :class:`pdekit.learned.directions.DeepDirections`, a method for :func:`pdekit.solve`. Its network is in
        evaluation mode.

    Raises:
        InputError: no such folder, a pickle in place of the weights, a class that is not allowed, or weights that do
            not belong to the network.
    """
    directory = Path(directory)
    for marker, read in _KINDS.items():
        if (directory / marker).is_file():
            return read(directory, device=device, allow=allow)
    if directory.is_file():
        return surrogate.load(directory)  # says what the file is
    inside = directory / "model"
    hint = f" Did you mean {inside}?" if any((inside / marker).is_file() for marker in _KINDS) else ""
    raise InputError(
        f"{directory} holds no saved surrogate, preconditioner or directions ({' or '.join(_KINDS)} is missing).{hint}"
    )


def _learned(directory: Path, *, device: torch.device | str, allow: Sequence[str]) -> Any:
    from pdekit.learned import files  # surrogates need nothing of it

    return files.load(directory, device=device, allow=allow)


_KINDS: dict[str, Callable[..., Any]] = {surrogate.DESCRIPTION: surrogate.load, "learned.json": _learned}
"""How a folder is read, by the file that tells what it holds."""

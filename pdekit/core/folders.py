"""Folders that trained networks are kept in: a description as JSON, weights as safetensors, and never any code."""

import inspect
import json
import os
import shutil
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from jaxtyping import Shaped
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pdekit.core.checks import check_finite
from pdekit.core.errors import InputError

__all__ = ["FORMAT", "WEIGHTS", "find_class", "read_description", "read_weights", "write_folder"]

FORMAT = 1
WEIGHTS = "weights.safetensors"


def write_folder(
    directory: str | Path,
    marker: str,
    description: dict[str, Any],
    tensors: dict[str, Shaped[Tensor, "..."]],
    *,
    what: str,
    more: Callable[[Path], None] | None = None,
) -> None:
    """Write the folder of one trained network; it appears under its name only when it is complete.

    Args:
        directory: replaced if such a folder was there before.
        marker: name of the file with the description, which tells what kind of folder it is.
        description: plain containers.
        tensors: the weights.
        what: the folder holds, for messages.
        more: writes further files into the folder.

    Raises:
        InputError: the place is taken by something else, or the description cannot be written as JSON.
        OSError: the disk is full or not writable; nothing is left behind.
    """
    directory = Path(directory)
    if directory.exists() and not (directory / marker).is_file():
        raise InputError(f"{directory} exists and is no saved {what}, so it was not touched; give another name.")
    try:
        text = json.dumps(description, indent=1, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise InputError(f"The arguments of the {what} cannot be written as JSON: {error}.") from error
    tensors = {name: values.detach().cpu().contiguous() for name, values in tensors.items()}
    partial = directory.with_name(f".{directory.name}.partial-{os.getpid()}")
    old = directory.with_name(f".{directory.name}.old-{os.getpid()}")
    try:
        partial.mkdir(parents=True)
        save_file(tensors, partial / WEIGHTS)
        (partial / marker).write_text(text)
        if more is not None:
            more(partial)
        if directory.exists():
            directory.rename(old)
        partial.rename(directory)
    except (OSError, SafetensorError) as error:
        if old.exists() and not directory.exists():
            old.rename(directory)
        raise OSError(f"Saving the {what} to {directory} failed: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def read_description(directory: str | Path, marker: str, *, kind: str, what: str) -> dict[str, Any]:
    """The description that `write_folder` wrote.

    Args:
        directory: the folder.
        marker: name of the file with the description.
        kind: that the description must state.
        what: the folder should hold, for messages.

    Raises:
        InputError: no such folder (one that has it inside is suggested), no JSON, another kind or format.
    """
    directory = Path(directory)
    path = directory / marker
    if directory.is_file():
        raise InputError(f"{directory} is a file; expected the folder of a saved {what}. {_what_it_is(directory)}")
    if not path.is_file():
        inside = directory / "model"
        hint = f" Did you mean {inside}?" if (inside / marker).is_file() else ""
        raise InputError(f"{directory} holds no saved {what} ({marker} is missing).{hint}")
    try:
        description = json.loads(path.read_text())
    except (ValueError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path} is no JSON: {error}. {_what_it_is(path)}") from error
    if not isinstance(description, dict) or description.get("kind") != kind:
        raise InputError(f"{path} describes no {what}.")
    if description.get("format") != FORMAT:
        raise InputError(
            f"{path} has format {description.get('format')!r}; this pdekit reads {FORMAT}. It was written by pdekit "
            f"{description.get('pdekit', '?')}."
        )
    return description


def find_class(class_path: Any, trusted: Sequence[str], allow: Sequence[str] = ()) -> type:
    """The class that a file names, if it is defined in a module that may be imported.

    Args:
        class_path: such as "pdekit.nn.fno.FNO".
        trusted: packages whose classes a file may name.
        allow: further modules.

    Raises:
        InputError: another module, which is not imported, or no class there.
    """
    if not isinstance(class_path, str) or not all(part.isidentifier() for part in class_path.split(".")):
        raise InputError(f"The class {class_path!r} is no class path.")
    known = (*trusted, *allow)
    if not any(class_path.startswith(module + ".") for module in known):
        raise InputError(
            f"The class {class_path} is outside {' and '.join(known)}, and importing it would run its code. If you "
            f"trust it, pass allow=[{class_path.rpartition('.')[0]!r}]."
        )
    module, _, name = class_path.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(f"There is no class {class_path} in this installation: {error}.") from error
    if not inspect.isclass(found) or not any(f"{found.__module__}.".startswith(f"{each}.") for each in known):
        raise InputError(f"{class_path} is no class of {' or '.join(known)}.")
    return found


def read_weights(path: Path, shapes: dict[str, tuple[int, ...]], *, marker: str) -> dict[str, Shaped[Tensor, "..."]]:
    """The tensors of a safetensors file whose header agrees with a network's names and shapes.

    Args:
        path: of the file.
        shapes: of the network's tensors.
        marker: name of the file that describes the network, for messages.

    Raises:
        InputError: no safetensors file, or tensors of other names, shapes or without finite numbers.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing.")
    try:
        with safe_open(path, framework="pt") as file:
            stored = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
            for name in sorted({*stored, *shapes}):
                if stored.get(name) != shapes.get(name):
                    raise InputError(
                        f"{path} does not belong to the model in {marker}: {name} has shape {stored.get(name)} in "
                        f"the file and {shapes.get(name)} in the model."
                    )
            tensors = {name: file.get_tensor(name) for name in stored}
    except SafetensorError as error:
        raise InputError(f"{path} is no safetensors file ({error}). {_what_it_is(path)}") from error
    for name, values in tensors.items():
        check_finite(f"{path}: {name}", values)
    return tensors


def _what_it_is(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(9)
    if start.startswith((b"PK", b"\x80")) and start[8:] != b"{":  # where a safetensors file opens its header
        return (
            "It is a pickle, as torch.save writes, which could run any code when loaded, so it is refused; save the "
            "model with its own save()."
        )
    return "It may be cut off or damaged."

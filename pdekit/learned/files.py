"""The folder that a network inside a solver is kept in.

A recipe is a frozen dataclass with one network; its fields are numbers, strings, further recipes and that network, and
are written as nested ``class_path`` and ``init_args``.
"""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pdekit.core.errors import InputError
from pdekit.core.folders import FORMAT, WEIGHTS, find_class, read_description, read_weights, write_folder

__all__ = ["MARKER", "load", "save"]

MARKER = "learned.json"
"""The file that tells such a folder from that of a surrogate."""
_KIND, _WHAT = "learned", "learned solver"
_TRUSTED = ("pdekit.learned", "pdekit.solvers")
"""Packages whose classes a folder may name; others need ``allow``. No class there runs what its arguments say."""


def save(recipe: Any, directory: str | Path) -> None:
    """Write a recipe and the weights of its network: safetensors and JSON, no code.

    The folder appears under its name only when it is complete; what was saved there before is replaced.

    Args:
        recipe: a frozen dataclass with a field ``network``, such as a learned preconditioner.
        directory: the folder.

    Raises:
        InputError: an argument that is no plain value, a network without ``arguments``, or a place that is taken by
            something else.
        OSError: the disk is full or not writable; nothing is left behind.
    """
    described = _described(recipe)
    version = import_module("pdekit").__version__  # by name: the package gives names of floors above this one too
    description = {"format": FORMAT, "kind": _KIND, "pdekit": version, "recipe": described}
    write_folder(directory, MARKER, description, recipe.network.state_dict(), what=_WHAT)


def load(directory: str | Path, *, device: torch.device | str = "cpu", allow: Sequence[str] = ()) -> Any:
    """Load what :func:`save` wrote. No code from the folder runs, whoever made it.

    Args:
        directory: the folder, such as ``runs/precondition_darcy/model``.
        device: where the weights go.
        allow: modules beside pdekit's own whose classes may be built.

    Returns:
        The recipe, its network in evaluation mode.

    Raises:
        InputError: no such folder, a pickle in place of the weights, a class that is not allowed, or weights that do
            not belong to the network.

    Example:
        >>> from pdekit.learned import CorrectedFactor
        >>> save(CorrectedFactor(start=pk.IC0(relaxation=0.97)), "model")
        >>> load("model").start.relaxation
        0.97
    """
    directory = Path(directory)
    described = read_description(directory, MARKER, kind=_KIND, what=_WHAT).get("recipe")

    def build() -> Any:
        try:
            recipe = _built(described, tuple(allow))
            network = getattr(recipe, "network", None)
        except (TypeError, ValueError, RuntimeError, OverflowError, RecursionError) as error:
            raise InputError(f"{directory / MARKER}: the arguments are refused: {error}") from error
        if not is_dataclass(recipe) or not isinstance(network, nn.Module):
            raise InputError(f"{directory / MARKER} describes no {_WHAT}: it has no network.")
        return recipe

    with torch.device("meta"):  # shapes without memory: a forged file must not make us allocate what it likes
        shapes = {name: tuple(values.shape) for name, values in build().network.state_dict().items()}
    tensors = read_weights(directory / WEIGHTS, shapes, marker=MARKER)
    recipe = build()
    recipe.network.load_state_dict(tensors)
    recipe.network.to(device).eval()
    return recipe


def _described(value: Any) -> Any:
    """A value as plain containers."""
    cls = type(value)
    if isinstance(value, nn.Module):
        arguments = getattr(value, "arguments", None)
        if not isinstance(arguments, dict):
            raise InputError(
                f"{cls.__name__} cannot be saved: it has no `arguments`. Keep the constructor's arguments there, as a "
                "dictionary of numbers, strings and lists, so that the network can be built again."
            )
    elif is_dataclass(value):
        arguments = {each.name: _described(getattr(value, each.name)) for each in fields(value) if each.init}
    elif isinstance(value, list | tuple):
        return [_described(each) for each in value]
    else:
        return value
    return {"class_path": f"{cls.__module__}.{cls.__qualname__}", "init_args": arguments}


def _built(value: Any, allow: tuple[str, ...]) -> Any:
    """What `_described` described."""
    if isinstance(value, list):
        return tuple(_built(each, allow) for each in value)
    if not isinstance(value, dict):
        return value
    if set(value) != {"class_path", "init_args"} or not isinstance(value["init_args"], dict):
        raise InputError(f"{MARKER} has {str(value)[:80]!r}; expected class_path and init_args.")
    cls = find_class(value["class_path"], _TRUSTED, allow)
    if issubclass(cls, nn.Module):
        return cls(**value["init_args"])
    if not is_dataclass(cls):
        raise InputError(f"{cls.__name__} is neither a network nor a recipe, so {MARKER} may not name it.")
    return cls(**{name: _built(each, allow) for name, each in value["init_args"].items()})

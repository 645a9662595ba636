"""What all shapes have in common."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pdekit.core.errors import InputError
from pdekit.domain.mesh import Mesh

__all__ = ["Shape", "counts", "interval_ends", "named_by_nodes", "with_tuples"]


class Shape(ABC):
    """A recipe of a mesh: a frozen dataclass, so that a configuration file can hold it and equal ones share a mesh."""

    @abstractmethod
    def build(self) -> Mesh:
        """Make the mesh; users call :meth:`mesh`, which keeps it."""

    def mesh(self) -> Mesh:
        """The mesh of this shape; the same object as long as one of the last few."""
        return _kept(self)

    def __post_init__(self):
        with_tuples(self)


@lru_cache(maxsize=16)
def _kept(shape: Shape) -> Mesh:
    return shape.build()


def with_tuples(recipe: object) -> None:
    """Make tuples of the lists among the arguments of a frozen dataclass: only tuples can be hashed and stay equal."""
    assert is_dataclass(recipe)
    for field in fields(recipe):
        object.__setattr__(recipe, field.name, _hashable(getattr(recipe, field.name)))


def _hashable(value: Any) -> Any:
    return tuple(map(_hashable, value)) if isinstance(value, list | tuple) else value


def named_by_nodes(mesh: Mesh, masks: Mapping[str, npt.NDArray[np.bool_]]) -> Mesh:
    """Name the boundary facets all of whose nodes are in a mask ``(nodes,)``."""
    facets = mesh.boundary("all")
    nodes = mesh.facets[facets]
    return mesh.with_names({name: facets[torch.from_numpy(mask)[nodes].all(dim=1)] for name, mask in masks.items()})


def counts(given: int | Sequence[int], dim: int, what: str, least: int = 1) -> tuple[int, ...]:
    """One number per axis, from one number or several."""
    numbers = tuple(given) if isinstance(given, Sequence) else (given,) * dim
    if len(numbers) != dim or not all(isinstance(n, int) and not isinstance(n, bool) and n >= least for n in numbers):
        raise InputError(f"{what} is {given}; expected an integer of at least {least}, or {dim} of them.")
    return numbers


def interval_ends(box: Sequence[Sequence[float]], what: str) -> tuple[tuple[float, float], ...]:
    """The ends of each axis as numbers, the lower first."""
    ends = tuple((float(pair[0]), float(pair[1])) for pair in box if len(pair) == 2)
    if len(ends) != len(box) or not all(np.isfinite(pair).all() and pair[0] < pair[1] for pair in ends):
        raise InputError(f"{what} is {tuple(box)}; expected finite ends of each axis, the lower first.")
    return ends

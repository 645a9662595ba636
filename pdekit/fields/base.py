"""What a random field promises."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.core.random import KeyArray
from pdekit.domain import Grid, Mesh

__all__ = ["PointSet", "RandomField"]


@dataclass(frozen=True, eq=False)
class PointSet:
    """Points of a domain whose box is known: what the nodes or the cells of a mesh are to a random field.

    Args:
        points: ``(m, dim)``, float64.
        box: lower and upper end of each axis; fields without a box of their own live on it.
    """

    points: Float[Tensor, "m dim"]
    box: tuple[tuple[float, float], ...]

    @staticmethod
    def nodes(mesh: Mesh) -> "PointSet":
        """The nodes of a mesh, in its bounding box."""
        return PointSet(mesh.points, _bounding_box(mesh.points))

    @staticmethod
    def cells(mesh: Mesh) -> "PointSet":
        """The centres of the cells of a mesh (means of their vertices), in its bounding box."""
        return PointSet(mesh.points[mesh.cells].mean(1), _bounding_box(mesh.points))

    @property
    def shape(self) -> tuple[int, ...]:
        """``(m,)``."""
        return (len(self.points),)


class RandomField(ABC):
    """A random function: one key makes one function, which can be evaluated anywhere.

    The function belongs to the key alone. On two grids, or on a grid and a mesh, a key gives the same function: values
    at a common point differ by rounding only. On one machine the values are the same bits whatever the batch they are
    drawn in and however many threads draw it.

    Subclasses are frozen dataclasses whose arguments a JSON file can hold (numbers, words, other fields).
    """

    @abstractmethod
    def sample(
        self, keys: KeyArray, domain: Grid | Mesh | PointSet | Float[Tensor, "points dim"]
    ) -> Float[Tensor, "batch *shape"]:
        """Values of one function per key.

        Args:
            keys: ``(batch,)`` uint64, of ``Keys(..).named(..)``.
            domain: a grid, a mesh (its nodes), other points of a mesh, or any points ``(m, dim)``.

        Returns:
            ``(batch, *domain.shape)`` or ``(batch, m)``, float64, on the CPU.

        Raises:
            InputError: keys or a domain that the field cannot use.
        """

    def describe(self) -> dict[str, Any]:
        """Plain containers from which the field can be made again, as a configuration file names it."""
        return {
            "class_path": f"pdekit.fields.{type(self).__name__}",
            "init_args": {f.name: _plain(getattr(self, f.name)) for f in fields(self)} if is_dataclass(self) else {},
        }


def _bounding_box(points: Tensor) -> tuple[tuple[float, float], ...]:
    low, high = torch.aminmax(points, dim=0)
    return tuple(zip(low.tolist(), high.tolist(), strict=True))


def _plain(value: Any) -> Any:
    if isinstance(value, RandomField):
        return value.describe()
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value

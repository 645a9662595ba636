"""What a random field promises."""

from abc import ABC, abstractmethod
from dataclasses import fields, is_dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from pdekit.core.random import KeyArray
from pdekit.domain import Grid

__all__ = ["RandomField"]


class RandomField(ABC):
    """A random function: one key makes one function, which can be evaluated anywhere.

    The function belongs to the key alone. On two grids, or on a grid and a mesh, a key gives the same function: values
    at a common point differ by rounding only. On one machine the values are the same bits whatever the batch they are
    drawn in and however many threads draw it.

    Subclasses are frozen dataclasses whose arguments a JSON file can hold (numbers, words, other fields).
    """

    @abstractmethod
    def sample(self, keys: KeyArray, domain: Grid | Float[Tensor, "points dim"]) -> Float[Tensor, "batch *shape"]:
        """Values of one function per key.

        Args:
            keys: ``(batch,)`` uint64, of ``Keys(..).named(..)``.
            domain: a grid, or points ``(m, dim)`` such as the nodes of a mesh.

        Returns:
            ``(batch, *grid.shape)`` or ``(batch, m)``, float64, on the CPU.

        Raises:
            InputError: keys or a domain that the field cannot use.
        """

    def describe(self) -> dict[str, Any]:
        """Plain containers from which the field can be made again, as a configuration file names it."""
        return {
            "class_path": f"pdekit.fields.{type(self).__name__}",
            "init_args": {f.name: _plain(getattr(self, f.name)) for f in fields(self)} if is_dataclass(self) else {},
        }


def _plain(value: Any) -> Any:
    if isinstance(value, RandomField):
        return value.describe()
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value

"""Fields of two values: bodies in a background."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.core.errors import InputError, did_you_mean
from pdekit.core.random import FloatArray, KeyArray, as_keys, uniform
from pdekit.domain import Grid, Mesh
from pdekit.fields.base import PointSet, RandomField
from pdekit.fields.series import domain_box

__all__ = ["Inclusions"]

Bodies = Literal["both", "boxes", "balls"]


@dataclass(frozen=True)
class Inclusions(RandomField):
    """One value inside of a random number of boxes and balls, another outside: obstacles, or grains of a material.

    Number, places and sizes are uniformly distributed; bodies may overlap and reach over the boundary.

    Args:
        count: least and largest number of bodies.
        size: least and largest half extent of a body along an axis, radius of a ball, as parts of the shortest side of
            the domain's box; the box is the unit box for points.
        inside: value in the bodies.
        outside: value around them.
        bodies: ``boxes`` with sides along the axes, ``balls``, or ``both``, either with equal chances.

    Raises:
        InputError: numbers out of order or out of range, unknown bodies.

    Example:
        >>> from pdekit.core.random import Keys
        >>> fluid = Inclusions().sample(Keys(0, "train", range(3)).named("fluid"), Grid((64, 64)))
        >>> fluid.shape, fluid.unique()
        (torch.Size([3, 64, 64]), tensor([0., 1.], dtype=torch.float64))
    """

    count: Sequence[int] = (2, 6)
    size: Sequence[float] = (0.04, 0.15)
    inside: float = 0.0
    outside: float = 1.0
    bodies: Bodies = "both"

    def __post_init__(self):
        for name, least in (("count", 0), ("size", 0.0)):
            pair = tuple(getattr(self, name))
            if len(pair) != 2 or not least <= pair[0] <= pair[1] < np.inf:
                raise InputError(f"Inclusions {name} is {pair}; expected two numbers of at least 0, the smaller first.")
            object.__setattr__(self, name, pair)
        if self.bodies not in get_args(Bodies):
            raise InputError(f"Inclusions bodies={self.bodies!r}. {did_you_mean(str(self.bodies), get_args(Bodies))}")

    def sample(
        self, keys: KeyArray, domain: Grid | Mesh | PointSet | Float[Tensor, "points dim"]
    ) -> Float[Tensor, "batch *shape"]:
        box = np.asarray(domain_box(domain, None))
        places = (
            domain if isinstance(domain, Tensor) else domain.points() if isinstance(domain, Grid) else domain.points
        )
        points = places.detach().to("cpu", torch.float64).numpy()
        least, most = self.count
        dim = len(box)
        numbers = uniform(as_keys(keys), 1 + most * (2 * dim + 1))
        out = np.full((len(numbers), *points.shape[:-1]), float(self.outside))
        for row, field in zip(numbers, out, strict=True):
            for body in row[1:].reshape(most, 2 * dim + 1)[: least + int(row[0] * (most - least + 1))]:
                field[self._inside(points, body, box)] = self.inside
        return torch.from_numpy(out)

    def _inside(self, points: FloatArray, body: FloatArray, box: FloatArray) -> np.ndarray:
        """Whether points are in the body of some uniform numbers: its kind, its place, its size."""
        dim, lengths = len(box), box[:, 1] - box[:, 0]
        distance = points - (box[:, 0] + body[1 : 1 + dim] * lengths)
        low, high = self.size
        extents = (low + (high - low) * body[1 + dim :]) * lengths.min()
        if self.bodies == "balls" or (self.bodies == "both" and body[0] < 0.5):
            return (distance**2).sum(-1) <= extents[0] ** 2
        return (abs(distance) <= extents).all(-1)

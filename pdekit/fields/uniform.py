"""One random number for the whole domain."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.core.errors import InputError
from pdekit.core.random import KeyArray, as_keys, uniform
from pdekit.domain import Grid, Mesh
from pdekit.fields.base import PointSet, RandomField

__all__ = ["Uniform"]


@dataclass(frozen=True)
class Uniform(RandomField):
    """The same number everywhere, uniformly distributed between two ends: a random parameter such as a wave number.

    Args:
        low: lower end.
        high: upper end.

    Raises:
        InputError: ends that are not finite, or not in order.

    Example:
        >>> from pdekit.core.random import Keys
        >>> values = Uniform(10.0, 20.0).sample(Keys(0, "train", [0, 1]).named("wave_number"), Grid((3,)))
        >>> values.shape, bool(((values >= 10) & (values <= 20)).all()), bool((values[0] == values[0, 0]).all())
        (torch.Size([2, 3]), True, True)
    """

    low: float
    high: float

    def __post_init__(self):
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            raise InputError(f"Uniform low={self.low}, high={self.high}; expected finite numbers, the lower first.")

    def sample(
        self, keys: KeyArray, domain: Grid | Mesh | PointSet | Float[Tensor, "points dim"]
    ) -> Float[Tensor, "batch *shape"]:
        shape = domain.shape[:1] if isinstance(domain, Tensor) else domain.shape
        numbers = torch.from_numpy(uniform(as_keys(keys), 1)).reshape(-1, *[1] * len(shape))
        return (self.low + (self.high - self.low) * numbers).expand(-1, *shape).contiguous()

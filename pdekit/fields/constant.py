"""A field without randomness."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.core.random import KeyArray, as_keys
from pdekit.domain import Grid, Mesh
from pdekit.fields.base import PointSet, RandomField

__all__ = ["Constant"]


@dataclass(frozen=True)
class Constant(RandomField):
    """The same number everywhere and for every key.

    Args:
        value: that number.

    Example:
        >>> from pdekit.core.random import Keys
        >>> Constant(2.0).sample(Keys(0, "train", [0]).named("source"), Grid((3,)))
        tensor([[2., 2., 2.]], dtype=torch.float64)
    """

    value: float

    def sample(
        self, keys: KeyArray, domain: Grid | Mesh | PointSet | Float[Tensor, "points dim"]
    ) -> Float[Tensor, "batch *shape"]:
        shape = domain.shape[:1] if isinstance(domain, Tensor) else domain.shape
        return torch.full((len(as_keys(keys)), *shape), float(self.value), dtype=torch.float64)

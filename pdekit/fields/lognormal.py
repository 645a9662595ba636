"""The exponential of a field."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.core.random import KeyArray
from pdekit.domain import Grid, Mesh
from pdekit.fields.base import PointSet, RandomField

__all__ = ["LogNormal"]


@dataclass(frozen=True)
class LogNormal(RandomField):
    """``exp(field)``: positive, and log-normal where the field is Gaussian.

    Args:
        field: the logarithm; its mean m and variance v give the mean ``exp(m + v/2)``.

    Example:
        >>> from pdekit.core.random import Keys
        >>> from pdekit.fields import Matern
        >>> field = LogNormal(Matern(length=0.1, smoothness=0.5, variance=4.0))
        >>> bool((field.sample(Keys(0, "train", [0]).named("coefficient"), Grid((32, 32))) > 0).all())
        True
    """

    field: RandomField

    def sample(
        self, keys: KeyArray, domain: Grid | Mesh | PointSet | Float[Tensor, "points dim"]
    ) -> Float[Tensor, "batch *shape"]:
        values = self.field.sample(keys, domain).numpy()
        return torch.from_numpy(np.exp(values, out=values))

"""Fields of two values."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.core.random import KeyArray
from pdekit.domain import Grid, Mesh
from pdekit.fields.base import PointSet, RandomField

__all__ = ["Threshold"]


@dataclass(frozen=True)
class Threshold(RandomField):
    """``high`` where another field is at least ``level``, ``low`` elsewhere: two materials.

    Args:
        field: the field whose level set parts the materials.
        low: value below the level.
        high: value from the level on.
        level: in the units of ``field``.

    Example:
        >>> from pdekit.core.random import Keys
        >>> from pdekit.fields import GaussianField
        >>> field = Threshold(GaussianField(alpha=2, tau=3), low=3, high=12)
        >>> field.sample(Keys(0, "train", [0]).named("coefficient"), Grid((64, 64))).unique()
        tensor([ 3., 12.], dtype=torch.float64)
    """

    field: RandomField
    low: float
    high: float
    level: float = 0.0

    def sample(
        self, keys: KeyArray, domain: Grid | Mesh | PointSet | Float[Tensor, "points dim"]
    ) -> Float[Tensor, "batch *shape"]:
        # NumPy: torch's threads would go on spinning, and slow down ours in the next call.
        values = self.field.sample(keys, domain).numpy()
        return torch.from_numpy(np.where(values >= self.level, float(self.high), float(self.low)))

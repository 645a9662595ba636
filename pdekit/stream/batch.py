"""What a stream yields."""

from typing import Self

import torch
from jaxtyping import Int
from torch import Tensor

from pdekit.samples import Samples

__all__ = ["Batch"]


class Batch:
    """A batch on its way into training.

    Not a dataclass on purpose: Lightning takes dataclasses apart field by field, which frozen samples forbid.

    Args:
        samples: float32 fields, certificates and identity.
        indices: ``(batch,)`` int64, the sample numbers.
    """

    __slots__ = ("indices", "samples")

    def __init__(self, samples: Samples, indices: Int[Tensor, " batch"]):
        self.samples, self.indices = samples, indices

    def __len__(self) -> int:
        return len(self.indices)

    def to(self, device: torch.device | str) -> Self:
        """The same batch with its fields on another device; the numbers stay on the CPU."""
        return type(self)(self.samples.to(device), self.indices)

    def __repr__(self) -> str:
        return f"Batch of {self.samples}"

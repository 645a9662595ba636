"""The one place where named fields become the channels of a network."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.core.errors import InputError
from pdekit.samples import Inputs, Schema

__all__ = ["Channels"]


@dataclass(frozen=True)
class Channels:
    """Which fields a network sees and which it predicts, in the order of its channels.

    Args:
        inputs: names of the input fields, one channel each.
        outputs: names of the output fields.

    Raises:
        InputError: no names, or a name twice.

    Example:
        >>> from pdekit.domain import Grid
        >>> from pdekit.samples import FieldSpec
        >>> schema = Schema(Grid((3, 3)), (FieldSpec("coefficient", "input"), FieldSpec("solution", "output")))
        >>> channels = Channels.of(schema)
        >>> channels.stack_inputs(Inputs(schema, {"coefficient": torch.ones(5, 3, 3)})).shape
        torch.Size([5, 3, 3, 1])
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def __post_init__(self):
        names = self.inputs + self.outputs
        if not self.inputs or not self.outputs or len(set(names)) < len(names):
            raise InputError(f"Channels(inputs={self.inputs}, outputs={self.outputs}); expected different field names.")

    @classmethod
    def of(cls, schema: Schema) -> Self:
        """All fields of a schema, in its order."""
        return cls(schema.inputs, schema.outputs)

    def stack_inputs(self, batch: Inputs) -> Float[Tensor, "batch *shape channels"]:
        """The network's input, float32."""
        return torch.stack([batch[name].to(torch.float32) for name in self.inputs], -1)

    def stack_outputs(self, batch: Inputs) -> Float[Tensor, "batch *shape channels"]:
        """What the network should give, float32; the batch must hold outputs."""
        return torch.stack([batch[name].to(torch.float32) for name in self.outputs], -1)

    def split_outputs(self, values: Float[Tensor, "batch *shape channels"]) -> Mapping[str, Tensor]:
        """Fields by name, each ``(batch, *shape)``."""
        return dict(zip(self.outputs, values.unbind(-1), strict=True))

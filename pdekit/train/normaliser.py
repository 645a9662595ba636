"""Mean and scale of the channels, found once and then part of the model."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pdekit.core.errors import InputError, PdekitError

__all__ = ["Normaliser"]


class Normaliser(nn.Module):
    """Shifts and scales every channel to mean 0 and standard deviation 1, and back.

    Fitted once, on the first fill of the reservoir, and frozen from then on: figures that drift would move the
    network's targets under the optimiser. One mean and one deviation per channel, so it fits any resolution. A channel
    that never varies is shifted only.

    Args:
        inputs, outputs: number of channels of each.

    Example:
        >>> normaliser = Normaliser(1, 1).fit(torch.tensor([[[1.0], [3.0]]]), torch.tensor([[[10.0], [10.0]]]))
        >>> normaliser.encode(torch.tensor([[[3.0]]])).item(), normaliser.decode(torch.tensor([[[0.5]]])).item()
        (1.0, 10.5)
    """

    input_mean: Tensor
    input_scale: Tensor
    output_mean: Tensor
    output_scale: Tensor
    fitted: Tensor

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        for name, channels in (("input", inputs), ("output", outputs)):
            self.register_buffer(f"{name}_mean", torch.zeros(channels))
            self.register_buffer(f"{name}_scale", torch.ones(channels))
        self.register_buffer("fitted", torch.zeros((), dtype=torch.bool))
        self._ready = False  # the flag above, without a transfer from the device at every step
        self.register_load_state_dict_post_hook(_read_flag)

    def fit(
        self, inputs: Float[Tensor, "batch *shape inputs"], outputs: Float[Tensor, "batch *shape outputs"]
    ) -> "Normaliser":
        """Find mean and scale of every channel over all samples and points.

        Returns:
            This normaliser.

        Raises:
            PdekitError: it was fitted before.
            InputError: another number of channels, or values that are not finite.
        """
        if self._ready:
            raise PdekitError("This normaliser is fitted and frozen; make a new one for other data.")
        for name, values in (("input", inputs), ("output", outputs)):
            mean, scale = getattr(self, f"{name}_mean"), getattr(self, f"{name}_scale")
            if values.shape[-1] != mean.numel():
                raise InputError(f"The {name}s have {values.shape[-1]} channels; this normaliser has {mean.numel()}.")
            found = values.double().flatten(0, -2)
            centre, spread = found.mean(0), found.std(0, correction=0)
            if not bool(torch.isfinite(centre + spread).all()):
                bad = int(torch.nonzero(~torch.isfinite(centre + spread))[0])
                raise InputError(
                    f"{name} channel {bad} holds values that are not finite; the normaliser needs numbers."
                )
            mean.copy_(centre)
            scale.copy_(torch.where(spread > 1e-6 * centre.abs(), spread, 1.0))
        self.fitted.fill_(True)
        self._ready = True
        return self

    def encode(self, inputs: Float[Tensor, "batch *shape inputs"]) -> Float[Tensor, "batch *shape inputs"]:
        """Physical inputs to what the network sees.

        Raises:
            PdekitError: nothing was fitted yet.
        """
        self._check()
        return (inputs - self.input_mean) / self.input_scale

    def decode(self, outputs: Float[Tensor, "batch *shape outputs"]) -> Float[Tensor, "batch *shape outputs"]:
        """What the network gives to physical outputs.

        Raises:
            PdekitError: nothing was fitted yet.
        """
        self._check()
        return outputs * self.output_scale + self.output_mean

    def _check(self) -> None:
        if not self._ready:
            raise PdekitError("This normaliser is not fitted; call fit(inputs, outputs) or load a state first.")


def _read_flag(normaliser: Normaliser, incompatible: object) -> None:
    normaliser._ready = bool(normaliser.fitted)

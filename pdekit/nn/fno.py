"""The Fourier neural operator, with a Fourier, sine or cosine basis on each axis."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pdekit.core.errors import InputError
from pdekit.nn.bases import AxisBasis
from pdekit.nn.spectral import Matrices, SpectralConvolution, transform_matrices

__all__ = ["FNO"]


class FNO(nn.Module):
    """Fourier neural operator: global convolutions in a truncated basis, alternating with pointwise layers.

    The network is resolution-free: it can be trained on one grid and evaluated on another of the same box.

    Args:
        in_channels, out_channels: channels of the input and output fields.
        dim: number of axes, 1 to 3.
        modes: highest wave number kept, one number or one per axis. In a Fourier basis these are whole waves and both
            signs are kept (what some codes count as 2 modes); in the sine and cosine bases they are half waves.
        width: channels of the hidden fields.
        layers: number of spectral blocks.
        basis: ``"fourier"``, ``"sine"`` (fields that vanish at both ends: Dirichlet) or ``"cosine"`` (zero slope:
            Neumann), one for all axes or one per axis. The last two have real weights, half as many as a Fourier basis
            of the same number of functions.
        padding: empty space before the field repeats, as a fraction of the axis (0.125: the period is 9/8), for
            Fourier bases on axes that are not periodic; one number or one per axis.
        coordinates: whether the coordinates of the points, from 0 to 1, are appended to the input.
        lifting, projection: hidden width of the pointwise network before the first and after the last block;
            0 means a single linear layer.
        channel_mlp: hidden width of a further pointwise network in each block, with a gated skip; 0 leaves it out.

    Each axis must be *open* (periodic, end point not stored) where its basis is Fourier without padding, and *closed*
    (both ends stored) otherwise; ``closed`` tells which. No activation follows the last block.

    Raises:
        InputError: an unknown basis, or a number out of range.

    Example:
        >>> model = FNO(1, 1, basis="sine", modes=8, width=16, layers=2)
        >>> model(torch.ones(5, 33, 33, 1)).shape, model(torch.ones(5, 65, 65, 1)).shape
        (torch.Size([5, 33, 33, 1]), torch.Size([5, 65, 65, 1]))
        >>> FNO(**model.arguments).closed
        (True, True)

    Source: Li et al., Fourier neural operator for parametric partial differential equations, ICLR 2021; the channel
    network with gated skip and the lifting and projection networks are those of neuraloperator 2.0, whose values this
    class reproduces with the same weights.
    """

    resolution_free = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        dim: int = 2,
        modes: int | Sequence[int] = 12,
        width: int = 32,
        layers: int = 4,
        basis: str | Sequence[str] = "fourier",
        padding: float | Sequence[float] = 0.0,
        coordinates: bool = True,
        lifting: int = 0,
        projection: int = 64,
        channel_mlp: int = 0,
    ):
        super().__init__()
        if dim not in (1, 2, 3):
            raise InputError(f"dim must be 1, 2 or 3, got {dim}")
        for name, value in {
            "in_channels": in_channels,
            "out_channels": out_channels,
            "width": width,
            "layers": layers,
        }.items():
            if value < 1:
                raise InputError(f"{name} must be at least 1, got {value}")
        kinds, waves, spaces = _each("basis", basis, dim), _each("modes", modes, dim), _each("padding", padding, dim)
        self.arguments: dict[str, Any] = {
            "in_channels": in_channels,
            "out_channels": out_channels,
            "dim": dim,
            "modes": waves,
            "width": width,
            "layers": layers,
            "basis": kinds,
            "padding": spaces,
            "coordinates": coordinates,
            "lifting": lifting,
            "projection": projection,
            "channel_mlp": channel_mlp,
        }
        self.bases = tuple(AxisBasis(*each) for each in zip(kinds, waves, spaces, strict=True))
        self.in_channels = in_channels
        self.coordinates = coordinates
        self.activation: nn.Module = nn.GELU()
        self.lifting = _pointwise(in_channels + dim * coordinates, lifting, width)
        self.blocks = nn.ModuleList(_Block(width, self.bases, channel_mlp) for _ in range(layers))
        self.projection = _pointwise(width, projection, out_channels)

    @property
    def closed(self) -> tuple[bool, ...]:
        """Whether each axis of the grid must store both of its ends."""
        return tuple(basis.closed for basis in self.bases)

    def forward(self, x: Float[Tensor, "batch *shape in_channels"]) -> Float[Tensor, "batch *shape out_channels"]:
        """Fields on the points of a grid, components last, to fields on the same points."""
        if x.ndim != len(self.bases) + 2 or x.shape[-1] != self.in_channels:
            axes = ", ".join(f"n{axis}" for axis in range(len(self.bases)))
            raise InputError(
                f"FNO expects (batch, {axes}, {self.in_channels}), channels last; got shape {tuple(x.shape)}"
            )
        matrices = transform_matrices(self.bases, x.shape[1:-1], x)
        if self.coordinates:
            x = torch.cat((x, self._coordinates(x)), -1)
        x = self.lifting(x)
        for number, block in enumerate(self.blocks, start=1):
            x = block(x, matrices, self.activation if number < len(self.blocks) else None)
        return self.projection(x)

    def _coordinates(self, x: Tensor) -> Tensor:
        lines = [basis.coordinates(n, x.device, x.dtype) for basis, n in zip(self.bases, x.shape[1:-1], strict=True)]
        grid = torch.stack(torch.meshgrid(*lines, indexing="ij"), -1)
        return grid.expand(x.shape[0], *grid.shape)


class _Block(nn.Module):
    """Spectral convolution plus pointwise linear map; then, if asked for, a pointwise network with a gated skip."""

    def __init__(self, width: int, bases: Sequence[AxisBasis], channel_mlp: int):
        super().__init__()
        self.convolution = SpectralConvolution(width, width, bases)
        self.skip = nn.Linear(width, width)
        self.channel_mlp = _pointwise(width, channel_mlp, width) if channel_mlp else None
        self.gate = nn.Parameter(torch.ones(width)) if channel_mlp else None

    def forward(self, x: Tensor, matrices: Matrices, activation: Callable[[Tensor], Tensor] | None) -> Tensor:
        y = self.skip(x) + self.convolution(x, matrices)
        if activation is not None:
            y = activation(y)
        if self.channel_mlp is None or self.gate is None:
            return y
        y = torch.addcmul(self.channel_mlp(y), x, self.gate)
        return y if activation is None else activation(y)


def _pointwise(inputs: int, hidden: int, outputs: int) -> nn.Module:
    if not hidden:
        return nn.Linear(inputs, outputs)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, outputs))


def _each(name: str, value: Any, dim: int) -> list[Any]:
    if isinstance(value, int | float | str):
        return [value] * dim
    values = list(value)
    if len(values) != dim:
        raise InputError(f"{name} has {len(values)} entries for {dim} axes; give one value or one per axis: {values}")
    return values

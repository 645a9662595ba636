"""The spectral convolution: a linear map of the channels, one matrix for each wave vector kept."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pdekit.nn.bases import AxisBasis

__all__ = ["Matrices", "SpectralConvolution", "transform_matrices"]

Matrices = Sequence[tuple[Tensor, Tensor]]
"""Analysis and synthesis of each axis."""


def transform_matrices(bases: Sequence[AxisBasis], shape: Sequence[int], like: Tensor) -> Matrices:
    """The matrices that a spectral convolution in these bases needs on a grid of this shape.

    They are those of :meth:`AxisBasis.matrices`, except that the last Fourier axis gets the rows Re 0..k, Im 0..k of
    e^{-ikx}: a real field determines its negative wave numbers, so there k > 0 counts twice on the way back.

    Args:
        bases: one per axis.
        shape: points per axis.
        like: a tensor of the device and precision wanted.
    """
    matrices = [basis.matrices(n, like.device, like.dtype) for basis, n in zip(bases, shape, strict=True)]
    half = _half_axis(bases)
    if half is not None:
        analysis, synthesis = matrices[half]
        waves = analysis.shape[0] // 2
        nothing = torch.zeros_like(analysis[:1])
        matrices[half] = (
            torch.cat((analysis[: waves + 1], nothing, -analysis[waves + 1 :])),
            torch.cat(
                (
                    synthesis[:, :1],
                    2 * synthesis[:, 1 : waves + 1],
                    nothing.new_zeros(synthesis.shape[0], 1),
                    -2 * synthesis[:, waves + 1 :],
                ),
                1,
            ),
        )
    return matrices


class SpectralConvolution(nn.Module):
    """Expand a field in the kept modes, mix its channels mode by mode, and sum up again.

    The transforms are products with small real matrices rather than FFTs: only the kept modes are ever computed,
    the channels stay last in memory, and everything is a real GEMM. Values equal those of a truncated FFT layer.

    Args:
        in_channels, out_channels: channels of the input and of the output field.
        bases: one per axis. With Fourier axes the last of them keeps wave numbers 0..k (a real field determines the
            others) and the rest -k..k, in the order 0, 1..k, -1..-k.

    The weight has shape (*modes, 2, in, out), real and imaginary part as a pair, or (*modes, in, out) where no axis
    is Fourier.

    Source: Li et al., Fourier neural operator for parametric partial differential equations, ICLR 2021.
    """

    def __init__(self, in_channels: int, out_channels: int, bases: Sequence[AxisBasis]):
        super().__init__()
        self.bases = tuple(bases)
        self.half_axis = _half_axis(self.bases)
        self.full_axes = tuple(
            axis for axis, b in enumerate(self.bases) if b.kind == "fourier" and axis != self.half_axis
        )
        counts = [self._count(axis, basis.modes) for axis, basis in enumerate(self.bases)]
        pair = [] if self.half_axis is None else [2]
        self.weight = nn.Parameter(torch.empty(*counts, *pair, in_channels, out_channels))
        nn.init.normal_(self.weight, std=0.3 / in_channels**0.5)  # at first the pointwise path beside it leads

    def forward(
        self, x: Float[Tensor, "batch *shape in_channels"], matrices: Matrices
    ) -> Float[Tensor, "batch *shape out_channels"]:
        """The convolution of a field; ``matrices`` are those of :func:`transform_matrices` for its grid."""
        kept = [basis.kept(points) for basis, points in zip(self.bases, x.shape[1:-1], strict=True)]
        weight = self._weight(kept)
        for axis, (analysis, _) in enumerate(matrices):  # the first axis is the largest product and the most efficient
            x = _along(axis, analysis, x)
        x = self._mix_real(x, weight) if self.half_axis is None else self._mix_pairs(x, weight, kept, self.half_axis)
        for axis, (_, synthesis) in reversed(list(enumerate(matrices))):
            x = _along(axis, synthesis, x)
        return x

    def _mix_real(self, x: Tensor, weight: Tensor) -> Tensor:
        batch, *modes, channels = x.shape
        y = torch.bmm(x.reshape(batch, -1, channels).transpose(0, 1), weight.flatten(0, -3))
        return y.transpose(0, 1).reshape(batch, *modes, -1)

    def _mix_pairs(self, x: Tensor, weight: Tensor, kept: Sequence[int], half: int) -> Tensor:
        """The complex case: V(+-k) = C -+ iS from the cosine and sine sums of each full axis, and back again."""
        x = x.unflatten(half + 1, (2, kept[half] + 1)).movedim(half + 1, 0).movedim(1, -2)  # (2, *modes, batch, in)
        for axis in self.full_axes:
            zero, cosine, sine = x.split((1, kept[axis], kept[axis]), axis + 1)
            turned = torch.stack((sine[1], -sine[0]))
            x = torch.cat((zero, cosine + turned, cosine - turned), axis + 1)
        x = x.movedim(0, -3)  # (*modes, 2, batch, in)
        modes, batch = x.shape[:-3], x.shape[-2]
        real, imaginary = x.unbind(-3)  # one real product: (re, -im) and (im, re) against (W_re, W_im)
        stacked = torch.stack((torch.cat((real, -imaginary), -1), torch.cat((imaginary, real), -1)), -3)
        y = torch.bmm(stacked.view(modes.numel(), 2 * batch, -1), weight.flatten(-3, -2).flatten(0, -3))
        y = y.view(*modes, 2, batch, -1).movedim(-3, 0)
        for axis in self.full_axes:
            zero, plus, minus = y.split((1, kept[axis], kept[axis]), axis + 1)
            difference = plus - minus
            y = torch.cat((zero, plus + minus, torch.stack((-difference[1], difference[0]))), axis + 1)
        return y.movedim(-2, 1).movedim(0, half + 1).flatten(half + 1, half + 2)

    def _count(self, axis: int, modes: int) -> int:
        kind = self.bases[axis].kind
        return modes if kind == "sine" else modes + 1 if kind == "cosine" or axis == self.half_axis else 2 * modes + 1

    def _weight(self, kept: Sequence[int]) -> Tensor:
        weight = self.weight
        for axis, (count, basis) in enumerate(zip(kept, self.bases, strict=True)):
            if count == basis.modes:
                continue
            if axis in self.full_axes:
                zero, plus, minus = weight.split((1, basis.modes, basis.modes), axis)
                weight = torch.cat((zero, plus.narrow(axis, 0, count), minus.narrow(axis, 0, count)), axis)
            else:
                weight = weight.narrow(axis, 0, self._count(axis, count))
        return weight


def _along(axis: int, matrix: Tensor, x: Tensor) -> Tensor:
    """Multiply axis ``axis`` (not counting the batch) of (batch, *shape, channels) by a matrix."""
    before, after = x.shape[: axis + 1], x.shape[axis + 2 :]
    flat = x.reshape(before.numel(), x.shape[axis + 1], after.numel())
    return torch.bmm(matrix.expand(before.numel(), -1, -1), flat).view(*before, matrix.shape[0], *after)


def _half_axis(bases: Sequence[AxisBasis]) -> int | None:
    """The last Fourier axis, of which only the wave numbers 0..k are kept."""
    fourier = [axis for axis, basis in enumerate(bases) if basis.kind == "fourier"]
    return fourier[-1] if fourier else None

"""Sums over neighbours on a lattice with weights of their own at every point."""

from collections.abc import Sequence
from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

__all__ = ["Offsets", "box", "cross", "gather"]

Offsets = Sequence[tuple[int, ...]]


def box(dim: int) -> list[tuple[int, ...]]:
    """Offsets of the 3^dim points around a point, itself in the middle of the list."""
    return list(product((-1, 0, 1), repeat=dim))


def cross(dim: int) -> list[tuple[int, ...]]:
    """Offsets of a point and of its 2 dim neighbours: itself, then the lower and the upper one along each axis.

    Example:
        >>> cross(2)
        [(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)]
    """
    steps = [tuple(sign * (k == axis) for k in range(dim)) for axis in range(dim) for sign in (-1, 1)]
    return [(0,) * dim, *steps]


def gather(field: Float[Tensor, "..."], weights: Float[Tensor, "..."], offsets: Offsets) -> Float[Tensor, "..."]:
    """``out_i = sum_j weights_j,i field_(i + offset_j)``, with 0 outside the lattice.

    Args:
        field: ``(*batch, *lattice)``.
        weights: ``(*batch, taps, *lattice)``; the batches broadcast.
        offsets: of the taps, entries -1, 0 or 1; their length is the dimension of the lattice.

    Example:
        >>> gather(torch.arange(4.0), torch.ones(3, 4), [(-1,), (0,), (1,)])
        tensor([1., 3., 6., 5.])
    """
    return _Gather.apply(field, weights, tuple(offsets))


class _Gather(torch.autograd.Function):
    """By hand: of the taps' products autograd would keep one field each."""

    @staticmethod
    def forward(ctx, field: Tensor, weights: Tensor, offsets: Offsets) -> Tensor:
        dim = len(offsets[0])
        ctx.save_for_backward(field, weights)
        ctx.offsets = offsets
        windows = _windows(field, offsets)
        batch = torch.broadcast_shapes(field.shape[:-dim], weights.shape[: -dim - 1])
        out = field.new_zeros((*batch, *field.shape[-dim:]))
        for weight, window in zip(weights.unbind(-dim - 1), windows, strict=True):
            out.addcmul_(weight, window)
        return out

    @staticmethod
    def backward(ctx, gradient: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        field, weights = ctx.saved_tensors
        offsets, dim = ctx.offsets, len(ctx.offsets[0])
        of_field = of_weights = None
        if ctx.needs_input_grad[0]:
            spread = torch.zeros_like(pad(field, (1, 1) * dim))
            for weight, target in zip(weights.unbind(-dim - 1), _slices(spread, offsets), strict=True):
                target.add_((weight * gradient).sum_to_size(field.shape))
            of_field = _slices(spread, [(0,) * dim])[0]
        if ctx.needs_input_grad[1]:
            one = (*weights.shape[: -dim - 1], *weights.shape[-dim:])
            parts = [(window * gradient).sum_to_size(one) for window in _windows(field, offsets)]
            of_weights = torch.stack(parts, -dim - 1)
        return of_field, of_weights, None


def _windows(field: Tensor, offsets: Offsets) -> list[Tensor]:
    """The field shifted by each offset, 0 coming in."""
    return _slices(pad(field, (1, 1) * len(offsets[0])), offsets)


def _slices(padded: Tensor, offsets: Offsets) -> list[Tensor]:
    """Views of the size of the lattice in a field with a margin of one point."""
    dim = len(offsets[0])
    lattice = [n - 2 for n in padded.shape[-dim:]]
    return [
        padded[(..., *(slice(1 + step, 1 + step + n) for step, n in zip(offset, lattice, strict=True)))]
        for offset in offsets
    ]

"""Averaged coarsening: a resistor network seen from twice as far, in tensor operations."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.kernels.plan import Level

__all__ = ["averaged"]


def averaged(
    faces: Sequence[Float[Tensor, "batch ..."]],
    sink: Float[Tensor, "batch ..."] | None,
    level: Level,
    periodic: Sequence[bool],
) -> tuple[list[Float[Tensor, "batch ..."]], Float[Tensor, "batch ..."] | None]:
    """Conductances and sink of the next level.

    Along a halved axis two conductances in series become one; side by side they are summed with the weights of linear
    interpolation, so that the restriction of residuals is consistent with it. The coarse stencil has no more points
    than the fine one.

    Args:
        faces: ``(batch, n_0, .., n_k + 1, ..)`` for each axis k, as in `Stencil`.
        sink: ``(batch, *shape)`` or None.
        level: the fine level, which says what is halved and where coarse points lie.
        periodic: by axis.

    Returns:
        The same for the next level.

    Source: R. E. Alcouffe, A. Brandt, J. E. Dendy, J. W. Painter, SIAM J. Sci. Stat. Comput. 2 (1981) 430-454.
    """
    halved = [k for k, yes in enumerate(level.coarsened) if yes]
    coarse = []
    for k, face in enumerate(faces):
        if k in halved:
            face = _in_series(face, k, level, periodic)
        for j in halved:
            if j != k:
                face = _side_by_side(face, j, level, periodic)
        coarse.append(face)
    for j in halved:
        sink = None if sink is None else _side_by_side(sink, j, level, periodic)
    return coarse, sink


def _every_second(x: Tensor, axis: int, start: int, count: int) -> Tensor:
    index = [slice(None)] * x.ndim
    index[axis] = slice(start, start + 2 * count - 1, 2)
    return x[tuple(index)]


def _in_series(face: Tensor, k: int, level: Level, periodic: Sequence[bool]) -> Tensor:
    axis, n, offset = k - len(level.shape), level.shape[k], level.offset[k]
    coarse = (n - offset + 1) // 2
    resistance = 1 / face  # a missing link is infinite, beyond the ends there is none
    first = resistance.narrow(axis, n - 1, 1) if periodic[k] else torch.zeros_like(resistance.narrow(axis, 0, 1))
    all_ = torch.cat([first, resistance, torch.zeros_like(first)], axis)
    return 1 / (_every_second(all_, axis, offset, coarse + 1) + _every_second(all_, axis, offset + 1, coarse + 1))


def _side_by_side(x: Tensor, k: int, level: Level, periodic: Sequence[bool]) -> Tensor:
    axis, n, offset = k - len(level.shape), level.shape[k], level.offset[k]
    coarse = (n - offset + 1) // 2
    near = x
    if not periodic[k] and offset + 2 * (coarse - 1) < n - 1:
        weight = torch.ones(n, dtype=x.dtype, device=x.device)
        weight[-1] = 2 * level.end[k]
        near = x * weight.reshape(-1, *[1] * (-axis - 1))
    first, last = near.narrow(axis, 0, 1), near.narrow(axis, n - 1, 1)
    if not periodic[k]:
        first, last = torch.zeros_like(first), torch.zeros_like(last)
    all_ = torch.cat([last, near, first], axis)
    sides = _every_second(all_, axis, offset, coarse) + _every_second(all_, axis, offset + 2, coarse)
    return _every_second(x, axis, offset, coarse) + 0.5 * sides

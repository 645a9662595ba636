"""The cycle of a direction network on the CPU, in compiled kernels, a system a thread."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.learned.directions.taps import box, cross
from pdekit.solvers.operators.base import owners

__all__ = ["FusedCycle"]

_SMALL = 10_000
"""Points below which further threads cost more than they bring."""


class FusedCycle:
    """What torch operations would do one after the other, for weights and residuals on the CPU without gradients.

    Args:
        dim: dimension of the lattice.
        levels: for each scale, finest first: the kernels before, after, of the interpolation and of the matrix,
            ``(*batch, taps, *lattice)``, and the diagonal, ``(*batch, *lattice)``; float32.
    """

    def __init__(self, dim: int, levels: Sequence[tuple[Tensor, ...]]):
        finest = levels[0][-1]
        self.batch_shape, self.lattice = tuple(finest.shape[:-dim]), tuple(finest.shape[-dim:])
        self.levels = [
            (*(_three(kernel, dim, tapped=True) for kernel in level[:-1]), _three(level[-1], dim)) for level in levels
        ]
        self.around, self.cross = (
            np.array([(0,) * (3 - dim) + offset for offset in offsets], dtype=np.int64)
            for offsets in (box(dim), cross(dim))
        )

    def __call__(self, t: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The correction of residuals over their diagonal."""
        from pdekit.kernels.threads import for_each_sample

        dim = len(self.lattice)
        batch = torch.broadcast_shapes(t.shape[:-dim], self.batch_shape)
        t = t.expand(*batch, *self.lattice).contiguous()
        given, owner = _three(t, dim), owners(self.batch_shape, batch).tolist()
        out = np.empty_like(given)

        def one(i: int, space: dict) -> None:
            self._one(given[i], owner[i], out[i], space)

        for_each_sample(one, len(given), None if t.numel() > _SMALL else 1)
        return torch.from_numpy(out).reshape(t.shape)

    def _one(self, t: np.ndarray, owner: int, out: np.ndarray, space: dict) -> None:
        from pdekit.kernels.learned.directions import ascend, descend  # compiled code is loaded on first use

        if not space:
            lattices = [level[-1].shape[1:] for level in self.levels]
            space["fields"] = [np.empty((4, *lattice), dtype=np.float32) for lattice in lattices]
        fields, nothing = space["fields"], np.empty((0, 0, 0), dtype=np.float32)
        last = len(self.levels) - 1
        for k, (before, _, _, operator, diagonal) in enumerate(self.levels):
            x, left, _, _ = fields[k]
            below, coarse = (self.levels[k + 1][-1][owner], fields[k + 1][3]) if k < last else (nothing, nothing)
            offsets = self.cross if k == 0 else self.around
            current = t if k == 0 else fields[k][3]
            descend(
                current, before[owner], operator[owner], diagonal[owner], below, self.around, offsets, x, left, coarse
            )
        for k in range(last, -1, -1):
            _, after, interpolation, operator, _ = self.levels[k]
            x, left, room, _ = fields[k]
            offsets = self.cross if k == 0 else self.around
            current = t if k == 0 else fields[k][3]
            correction = fields[k + 1][0] if k < last else nothing
            ascend(
                current, correction, interpolation[owner], operator[owner], after[owner], self.around, offsets, x, left,
                room,
            )  # fmt: skip
        out[:] = fields[0][0]


def _three(values: Tensor, dim: int, tapped: bool = False) -> np.ndarray:
    """As the kernels take it: one axis of systems, taps if there are any, three axes of points."""
    points = values.shape[-dim:]
    taps = values.shape[-dim - 1 : -dim] if tapped else ()
    count = math.prod(values.shape[: values.ndim - dim - len(taps)])
    return values.detach().reshape(count, *taps, *(1,) * (3 - dim), *points).numpy()

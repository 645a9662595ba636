"""Islands of high conductance as tensors: the part of the coarse correction that `pdekit.kernels.islands` explains."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pdekit.kernels.islands import label_islands
from pdekit.kernels.pcg import network

__all__ = ["Islands", "find_islands"]


class Islands(NamedTuple):
    """Which island each point belongs to; the last number stands for none."""

    label: Tensor
    """(batch, points) int64"""
    inverse: Tensor
    """(batch, islands + 1): one over the conductance from the island to everything else, 0 for none"""

    def correction(self, residual: Tensor) -> Tensor:
        """Z diag(Z^T A Z)^-1 Z^T applied to ``(batch, *lattice)``."""
        sums = torch.zeros_like(self.inverse).scatter_add_(1, self.label, residual.flatten(1))
        return (self.inverse * sums).gather(1, self.label).reshape(residual.shape)


def find_islands(faces: Sequence[Tensor], sink: Tensor | None, periodic: Sequence[bool]) -> Islands:
    """The islands of a batch of 3-D networks; found on the host, since joining pieces is no work for tensors."""
    shape = (faces[0].shape[1] - 1, *faces[0].shape[2:])
    arrays = network([f.detach().cpu().numpy() for f in faces], None if sink is None else sink.detach().cpu().numpy())
    found = [
        label_islands(tuple(a[i if len(a) > 1 else 0] for a in arrays), sink is not None, shape, tuple(periodic))
        for i in range(faces[0].shape[0])
    ]
    most = max(len(leak) for _, leak in found)
    inverse = faces[0].new_zeros(len(found), most + 1)
    for row, (_, leak) in zip(inverse, found, strict=True):
        row[: len(leak)] = torch.from_numpy(1 / leak)
    label = torch.stack([torch.from_numpy(numbers) for numbers, _ in found])
    return Islands(torch.where(label < 0, most, label).to(faces[0].device), inverse)

"""Islands of high conductance as tensors: the part of the coarse correction that `pdekit.kernels.islands` explains."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pdekit.core.checks import is_fake

__all__ = ["Islands", "find_islands"]


class Islands(NamedTuple):
    """Which island each point belongs to; the last number stands for none."""

    label: Tensor
    """(batch, points) int64"""
    inverse: Tensor
    """(batch, islands + 1): one over the conductance from the island to everything else, 0 for none"""

    def correction(self, residual: Tensor) -> Tensor:
        """Z diag(Z^T A Z)^-1 Z^T applied to ``(batch, *lattice)``."""
        rows = residual.flatten(1)
        label = self.label.expand(len(rows), -1)
        sums = rows.new_zeros(len(rows), self.inverse.shape[1]).scatter_add(1, label, rows)
        return (self.inverse * sums).gather(1, label).reshape(residual.shape)


def find_islands(faces: Sequence[Tensor], sink: Tensor | None, periodic: Sequence[bool]) -> Islands:
    """The islands of a batch of 3-D networks; found on the host, since joining pieces is no work for tensors."""
    shape = (faces[0].shape[1] - 1, *faces[0].shape[2:])
    if is_fake(faces[0]):
        nowhere = torch.zeros(faces[0].shape[0], math.prod(shape), dtype=torch.int64, device=faces[0].device)
        return Islands(nowhere, faces[0].new_zeros(faces[0].shape[0], 1))

    from pdekit.kernels.islands import label_islands  # compiled code is loaded on first use
    from pdekit.kernels.pcg import network

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

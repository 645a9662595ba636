"""Two laws of a source compared by the energy of their waves."""

import itertools
import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.domain import Grid, Mesh
from pdekit.fields import PointSet

__all__ = ["Shift", "energies"]

_HIGHEST = {1: 64, 2: 16, 3: 8}
"""Half waves along the longest axis that are told apart, by dimension."""


@dataclass(frozen=True, repr=False)
class Shift:
    """Mean squares of sources by wave number: those made, and those that the family draws; print it for a table.

    Args:
        half_waves: ``(bands,)``, upper end of each band, in half waves along the longest side of the bounding box; the
            last is infinite.
        made: ``(bands,)``, energy of the sources that were computed; the sum is the mean square.
        drawn: ``(bands,)``, of the family's own.
    """

    half_waves: Float[Tensor, " bands"]
    made: Float[Tensor, " bands"]
    drawn: Float[Tensor, " bands"]

    def __str__(self) -> str:
        lines = ["half waves    made   drawn   (share of the drawn mean square)"]
        total = float(self.drawn.sum()) or math.nan  # of a source that is 0 there is no share
        ends = self.half_waves.tolist()
        for start, end, made, drawn in zip([0.0, *ends], ends, self.made.tolist(), self.drawn.tolist(), strict=False):
            lines.append(f"{start:4g} .. {end:4g}  {made / total:6.3f}  {drawn / total:6.3f}")
        lines.append(f"all           {float(self.made.sum()) / total:6.3f}   1.000")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)


def energies(place: Grid | Mesh, f: Float[Tensor, "batch *shape"]) -> tuple[Tensor, Float[Tensor, " bands"]]:
    """Ends of the bands of wave numbers, and the mean square of fields in each.

    The fields are projected on the products of cosines of the bounding box, long waves first, each made orthogonal to
    those before in the inner product of the domain; what is left is the energy of the last band.

    Args:
        place: the domain.
        f: a batch of fields on it.
    """
    points = place.points().reshape(-1, place.dim) if isinstance(place, Grid) else place.points
    weights = place.quadrature().flatten()
    values = f.flatten(1).to(torch.float64) * (weights / weights.sum()).sqrt()
    box = (place.box or ()) if isinstance(place, Grid) else PointSet.nodes(place).box
    longest = max(high - low for low, high in box)
    top = max(1, min(_HIGHEST[place.dim], int(len(points) ** (1 / place.dim) / 2)))
    waves = [k for k in itertools.product(range(top + 1), repeat=place.dim)]
    sizes = [
        sum((n * longest / (high - low)) ** 2 for n, (low, high) in zip(k, box, strict=True)) ** 0.5 for k in waves
    ]
    chosen = sorted((size, k) for size, k in zip(sizes, waves, strict=True) if size <= top)
    columns = torch.ones(len(points), len(chosen), dtype=torch.float64)
    for column, (_, k) in enumerate(chosen):
        for axis, (n, (low, high)) in enumerate(zip(k, box, strict=True)):
            columns[:, column] *= torch.cos(torch.pi * n * (points[:, axis] - low) / (high - low))
    basis, _ = torch.linalg.qr(columns * (weights / weights.sum()).sqrt().unsqueeze(-1))
    energy = (values @ basis).square().mean(0)
    ends = torch.tensor([0.5, *(1.5 * 2**i for i in range(10) if 1.5 * 2**i < top), float(top), torch.inf])
    band = torch.searchsorted(ends, torch.tensor([size for size, _ in chosen]))
    found = torch.zeros(len(ends), dtype=torch.float64).index_add(0, band, energy)
    found[-1] = (values.square().sum(1).mean() - energy.sum()).clamp(min=0)
    return ends, found

"""Function bases of one axis: the real matrices that carry values on its points to coefficients and back."""

from dataclasses import dataclass
from math import ceil, pi

import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.core.errors import InputError

__all__ = ["BASES", "AxisBasis"]

BASES = ("fourier", "sine", "cosine")


@dataclass(frozen=True)
class AxisBasis:
    """The functions in which a spectral layer expands a field along one axis of unit length.

    Args:
        kind: ``"fourier"`` (exponentials of wave numbers -modes..modes), ``"sine"`` (sin(k pi x), k = 1..modes, for
            fields that vanish at both ends) or ``"cosine"`` (cos(k pi x), k = 0..modes, for zero slope at both ends).
        modes: highest wave number kept; on a grid too coarse for it, the highest the grid can tell apart.
        padding: for ``"fourier"``, the length of empty space added before the field repeats, as a fraction of the axis.

    An axis is *open* (periodic, end point not stored) for an unpadded Fourier basis and *closed* (both ends stored)
    for every other choice. Integrals are trapezoid sums, so that coefficients do not depend on the resolution.

    Example:
        >>> basis = AxisBasis("sine", modes=3)
        >>> analysis, synthesis = basis.matrices(9, torch.device("cpu"), torch.float64)
        >>> torch.allclose(analysis @ synthesis, torch.eye(3, dtype=torch.float64))
        True

    Source: Li et al., Fourier neural operator (2021) for the truncation; DST-I and DCT-I for the closed bases.
    """

    kind: str = "fourier"
    modes: int = 12
    padding: float = 0.0

    def __post_init__(self):
        if self.kind not in BASES:
            raise InputError(f"basis {self.kind!r} is unknown; choose one of {', '.join(BASES)}")
        if isinstance(self.modes, bool) or not isinstance(self.modes, int) or self.modes < 1:
            raise InputError(f"modes must be a whole number of at least 1, got {self.modes!r}")
        if not 0.0 <= self.padding <= 10.0:
            raise InputError(f"padding is a fraction of the axis between 0 and 10, got {self.padding!r}")
        if self.padding and self.kind != "fourier":
            raise InputError(
                f"padding belongs to the fourier basis; the {self.kind} basis needs none, got {self.padding}"
            )

    @property
    def closed(self) -> bool:
        """Whether the axis stores both of its end points."""
        return self.kind != "fourier" or self.padding > 0

    @property
    def period(self) -> float:
        """Length after which the basis repeats, in lengths of the axis; with padding no whole number of cells."""
        return 1.0 + self.padding if self.kind == "fourier" else 2.0

    def kept(self, points: int) -> int:
        """Highest wave number used on an axis of this many points."""
        cells = points - 1 if self.closed else points
        limit = (ceil(self.period * cells - 1e-9) - 1) // 2  # two points a wave would not tell its sine from nothing
        if points < 2 or limit < 1:
            raise InputError(f"an axis of {points} points is too short for a {self.kind} basis; give at least 4 points")
        return min(self.modes, limit)

    def coordinates(self, points: int, device: torch.device, dtype: torch.dtype) -> Float[Tensor, " points"]:
        """Positions of the points, from 0 at the first towards 1 at the far end of the axis."""
        return torch.arange(points, device=device, dtype=dtype) / (points - 1 if self.closed else points)

    def matrices(
        self, points: int, device: torch.device, dtype: torch.dtype
    ) -> tuple[Float[Tensor, "rows points"], Float[Tensor, "points rows"]]:
        """Analysis (values to coefficients) and synthesis (coefficients to values).

        A Fourier basis has the rows cos 0..k, sin 1..k. Analysis divides by the period, synthesis does not, so that
        both together project onto the span and coefficients are means, whatever the number of points.
        """
        kept = self.kept(points)
        step = 1 / (points - 1) if self.closed else 1 / points
        index = torch.arange(points, device=device, dtype=torch.float64)
        first = 0 if self.kind == "cosine" else 1
        wave = torch.arange(first, kept + 1, device=device, dtype=torch.float64)
        phase = (2 * pi * step / self.period) * wave[:, None] * index
        if self.kind == "fourier":
            functions = torch.cat([torch.ones_like(phase[:1]), torch.cos(phase), torch.sin(phase)])
            weight = step / self.period * self._trapezoid(index, points)
            analysis, synthesis = functions * weight, functions.mT
        elif self.kind == "sine":
            inside = (index > 0) & (index < points - 1)
            synthesis = torch.where(inside, 2.0**0.5 * torch.sin(phase), 0.0).mT
            analysis = step * synthesis.mT
        else:
            scale = torch.where(wave == 0, 1.0, 2.0**0.5)[:, None]
            synthesis = (scale * torch.cos(phase)).mT
            analysis = synthesis.mT * step * self._trapezoid(index, points)
        return analysis.to(dtype).contiguous(), synthesis.to(dtype).contiguous()

    def _trapezoid(self, index: Tensor, points: int) -> Tensor:
        ends = (index == 0) | (index == points - 1)
        return torch.where(ends, 0.5, 1.0) if self.closed else torch.ones_like(index)

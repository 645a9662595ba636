"""Uniform grids on boxes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.core.errors import InputError

__all__ = ["AXES", "SIDES", "Grid"]

AXES = ("x", "y", "z")
SIDES = (("left", "right"), ("bottom", "top"), ("back", "front"))
"""Names of the lower and the upper side of each axis."""


@dataclass(frozen=True)
class Grid:
    """A uniform grid of points on a box in 1 to 3 dimensions.

    Axis 0 is x (sides left and right), axis 1 is y (bottom, top), axis 2 is z (back, front). A *closed* axis stores
    both of its ends, so its n points have the spacing L/(n-1); an *open* axis is periodic, stores its lower end only,
    and has the spacing L/n.

    Args:
        shape: stored points along each axis; at least 3 on a closed axis and 2 on an open one.
        box: lower and upper end of each axis; the unit box by default.
        closed: per axis, or one value for all; True by default.

    Raises:
        InputError: a shape, box or flag that makes no grid.

    Example:
        >>> grid = Grid((5, 4), closed=(True, False))
        >>> grid.spacing
        (0.25, 0.25)
        >>> grid.points().shape
        torch.Size([5, 4, 2])
    """

    shape: tuple[int, ...]
    box: tuple[tuple[float, float], ...] | None = None
    closed: bool | tuple[bool, ...] = True

    def __post_init__(self):
        shape = tuple(int(n) for n in self.shape) if isinstance(self.shape, Sequence) else (int(self.shape),)
        dim = len(shape)
        if not 1 <= dim <= 3:
            raise InputError(f"Grid shape {shape} has {dim} axes; expected 1, 2 or 3.")
        closed = (self.closed,) * dim if isinstance(self.closed, bool) else tuple(bool(c) for c in self.closed)
        if len(closed) != dim:
            raise InputError(f"Grid closed={closed} names {len(closed)} axes, but shape {shape} has {dim}.")
        box = ((0.0, 1.0),) * dim if self.box is None else tuple((float(a), float(b)) for a, b in self.box)
        if len(box) != dim:
            raise InputError(f"Grid box={box} has {len(box)} axes, but shape {shape} has {dim}.")
        for k in range(dim):
            least = 3 if closed[k] else 2
            if shape[k] < least:
                kind = "a closed" if closed[k] else "an open"
                raise InputError(f"Grid axis {AXES[k]} has {shape[k]} points; {kind} axis needs at least {least}.")
            low, high = box[k]
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise InputError(f"Grid box along {AXES[k]} is ({low}, {high}); expected finite ends, the lower first.")
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "closed", closed)
        object.__setattr__(self, "box", box)

    @property
    def dim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of stored points."""
        return math.prod(self.shape)

    @property
    def lengths(self) -> tuple[float, ...]:
        """Side lengths of the box."""
        return tuple(high - low for low, high in self.box or ())

    @property
    def volume(self) -> float:
        """Volume of the box."""
        return math.prod(self.lengths)

    @property
    def spacing(self) -> tuple[float, ...]:
        """Distance between neighbouring points along each axis."""
        return tuple(
            length / (n - 1 if closed else n)
            for length, n, closed in zip(self.lengths, self.shape, self.closed_axes, strict=True)
        )

    @property
    def closed_axes(self) -> tuple[bool, ...]:
        """``closed`` as one flag per axis."""
        return (self.closed,) * self.dim if isinstance(self.closed, bool) else self.closed

    def with_shape(self, shape: int | Sequence[int]) -> "Grid":
        """The same box with other numbers of points; one number means the same along every axis."""
        return Grid((shape,) * self.dim if isinstance(shape, int) else tuple(shape), self.box, self.closed)

    def coordinates(self, axis: int, *, device: torch.device | None = None) -> Float[Tensor, " n"]:
        """Coordinates of the points along one axis, float64."""
        low, _ = (self.box or ())[axis]
        step = torch.arange(self.shape[axis], dtype=torch.float64, device=device)
        count = self.shape[axis] - 1 if self.closed_axes[axis] else self.shape[axis]
        return low + step * (self.lengths[axis] / count)

    def points(self, *, device: torch.device | None = None) -> Float[Tensor, "*shape dim"]:
        """All points, ``(*shape, dim)``, float64."""
        axes = [self.coordinates(k, device=device) for k in range(self.dim)]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)

    def quadrature(self, *, device: torch.device | None = None) -> Float[Tensor, "*shape"]:
        """Integration weights: the trapezoid rule on closed axes, the rectangle rule on open (periodic) ones.

        Example:
            >>> Grid((3,)).quadrature()
            tensor([0.2500, 0.5000, 0.2500], dtype=torch.float64)
        """
        weights = torch.ones((), dtype=torch.float64, device=device)
        for k in range(self.dim):
            line = torch.full((self.shape[k],), self.spacing[k], dtype=torch.float64, device=device)
            if self.closed_axes[k]:
                line[0] /= 2
                line[-1] /= 2
            weights = weights.unsqueeze(-1) * line
        return weights

"""What networks are told of a matrix: a resistor network on a lattice, and its coarser and coarser pictures."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from pdekit.solvers.operators.stencil import Stencil

__all__ = ["Conductors", "halved", "spread"]


@dataclass(frozen=True)
class Conductors:
    """The couplings of a :class:`Stencil` at one scale, up to one factor a matrix.

    Points without any coupling, such as those inside an obstacle, are apart from the rest: what leads from them to the
    ground is left out.

    Args:
        inner: per axis k, ``(*batch, .., n_k - 1, ..)``, conductances between neighbours.
        walls: per axis k, ``(*batch, .., 2, ..)``, from the first and the last points to the ground outside.
        sink: ``(*batch, *lattice)``, to the ground inside.
        share: ``(*batch, *lattice)``, the part of the points that are coupled.
    """

    inner: tuple[Float[Tensor, "..."], ...]
    walls: tuple[Float[Tensor, "..."], ...]
    sink: Float[Tensor, "..."]
    share: Float[Tensor, "..."]

    @staticmethod
    def of(A: Stencil) -> "Conductors":
        """Those of the matrix itself, float32, the largest diagonal entry being 1.

        Example:
            >>> Conductors.of(Stencil([torch.ones(4)])).ground
            tensor([0.5000, 0.0000, 0.5000])
        """
        dim = len(A.lattice)
        largest = A.diagonal().amax(-1).reshape(*A.batch_shape, *(1,) * dim)
        faces = [(face / largest).float() for face in A.faces]
        axes = range(-dim, 0)
        inner = tuple(face.narrow(k, 1, n - 1) for k, face, n in zip(axes, faces, A.lattice, strict=True))
        coupled = (torch.stack(_ends(inner)).sum(0) > 0).float()
        walls = tuple(_outer(face, k) * _outer(coupled, k) for k, face in zip(axes, faces, strict=True))
        sink = torch.zeros_like(coupled) if A.sink is None else (A.sink / largest).float() * coupled
        return Conductors(inner, walls, sink, coupled)

    @property
    def couplings(self) -> Float[Tensor, "..."]:
        """``(*batch, 2 dim, *lattice)``: from each point to its lower and its upper neighbour along each axis."""
        return torch.stack(_ends(self.inner), -len(self.inner) - 1)

    @property
    def ground(self) -> Float[Tensor, "..."]:
        """``(*batch, *lattice)``: from each point to the ground, through walls and inside."""
        total = self.sink.clone()
        for k, wall in zip(range(-len(self.walls), 0), self.walls, strict=True):
            for end, place in ((0, 0), (1, total.shape[k] - 1)):
                total.narrow(k, place, 1).add_(wall.narrow(k, end, 1))
        return total

    def coarser(self) -> "Conductors":
        """Of cells of two points along each axis: fluxes over a common side add up, over the distance of the centres.

        Of an odd number of points the last makes a cell of its own.
        """
        axes = range(-len(self.inner), 0)
        inner, walls = [], []
        for k, face, wall in zip(axes, self.inner, self.walls, strict=True):
            across, odd = [axis for axis in axes if axis != k], self.share.shape[k] % 2
            # Between the cells (0, 1) and (2, 3) lies the coupling of 1 and 2.
            between = 0.5 * face[(..., slice(1, None, 2), *(slice(None),) * (-k - 1))]
            if odd and between.shape[k]:
                count = between.shape[k]
                between = torch.cat((between.narrow(k, 0, count - 1), between.narrow(k, count - 1, 1) / 0.75), k)
            inner.append(halved(between, across))
            if face.shape[k]:
                # The centre of a cell of two points is half a spacing further from the wall.
                beside = _outer(face, k)
                further = torch.where(beside > 0, wall / (1.0 + 0.5 * wall / beside), wall)
                low, high = further.narrow(k, 0, 1), (wall if odd else further).narrow(k, 1, 1)
                wall = torch.cat((low, high), k)
            walls.append(halved(wall, across))
        points = halved(torch.ones_like(self.share), axes)
        return Conductors(tuple(inner), tuple(walls), halved(self.sink, axes), halved(self.share, axes) / points)


def halved(field: Float[Tensor, "..."], axes: Sequence[int]) -> Float[Tensor, "..."]:
    """Sums over two points along each of some axes, the last of an odd number alone.

    Args:
        field: of any shape.
        axes: counted from the end, negative.

    Example:
        >>> halved(torch.ones(2, 5), [-1])
        tensor([[2., 2., 1.],
                [2., 2., 1.]])
    """
    for axis in axes:
        if field.shape[axis] % 2:
            field = pad(field, (0, 0) * (-axis - 1) + (0, 1))
        field = field.unflatten(axis, (-1, 2)).sum(axis)
    return field


def spread(field: Float[Tensor, "..."], lattice: Sequence[int]) -> Float[Tensor, "..."]:
    """The value of each cell at its points, on a lattice of twice as many or one less along each axis.

    Example:
        >>> spread(torch.tensor([1.0, 2.0]), (3,))
        tensor([1., 1., 2.])
    """
    for k, n in enumerate(lattice):
        axis = k - len(lattice)
        field = field.repeat_interleave(2, axis).narrow(axis, 0, n)
    return field


def _ends(inner: Sequence[Tensor]) -> list[Tensor]:
    """Each coupling at the point above it and at the one below."""
    dim, ends = len(inner), []
    for k, face in enumerate(inner):
        before = (0, 0) * (dim - 1 - k)
        ends += [pad(face, (*before, 1, 0)), pad(face, (*before, 0, 1))]
    return ends


def _outer(field: Tensor, axis: int) -> Tensor:
    """The first and the last layer along an axis."""
    return torch.cat((field.narrow(axis, 0, 1), field.narrow(axis, field.shape[axis] - 1, 1)), axis)

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
        ground: ``(*batch, *lattice)``, conductances to the ground (Dirichlet sides, sinks).
        share: ``(*batch, *lattice)``, the part of the points that are coupled.
    """

    inner: tuple[Float[Tensor, "..."], ...]
    ground: Float[Tensor, "..."]
    share: Float[Tensor, "..."]

    @staticmethod
    def of(A: Stencil) -> "Conductors":
        """Those of the matrix itself, float32, the largest diagonal entry being 1.

        Example:
            >>> Conductors.of(Stencil([torch.ones(4), ])).ground
            tensor([0.5000, 0.0000, 0.5000])
        """
        dim = len(A.lattice)
        largest = A.diagonal().amax(-1).reshape(*A.batch_shape, *(1,) * dim)
        faces = [(face / largest).float() for face in A.faces]
        inner = tuple(face.narrow(k - dim, 1, n - 1) for k, (face, n) in enumerate(zip(faces, A.lattice, strict=True)))
        ground = torch.zeros(*A.batch_shape, *A.lattice, device=A.device)
        if A.sink is not None:
            ground = ground + (A.sink / largest).float()
        for k, (face, n) in enumerate(zip(faces, A.lattice, strict=True)):
            walls = torch.zeros_like(ground)
            walls.narrow(k - dim, 0, 1).add_(face.narrow(k - dim, 0, 1))
            walls.narrow(k - dim, n - 1, 1).add_(face.narrow(k - dim, n, 1))
            ground = ground + walls
        coupled = (torch.stack(_ends(inner)).sum(0) > 0).float()
        return Conductors(inner, ground * coupled, coupled)

    @property
    def couplings(self) -> Float[Tensor, "..."]:
        """``(*batch, 2 dim, *lattice)``: from each point to its lower and its upper neighbour along each axis."""
        return torch.stack(_ends(self.inner), -len(self.inner) - 1)

    def coarser(self) -> "Conductors":
        """Of cells of two points along each axis: fluxes over a common side add up, over twice the distance."""
        axes = range(-len(self.inner), 0)
        inner = []
        for k, face in zip(axes, self.inner, strict=True):
            # Between the cells (0, 1) and (2, 3) lies the coupling of 1 and 2.
            between = face[(..., slice(1, None, 2), *(slice(None),) * (-k - 1))]
            inner.append(0.5 * halved(between, [axis for axis in axes if axis != k]))
        points = halved(torch.ones_like(self.share), axes)
        return Conductors(tuple(inner), halved(self.ground, axes), halved(self.share, axes) / points)


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

"""Matrices that are known by what they do, written out in compressed rows."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Int
from torch import Tensor

from pdekit.solvers.operators.base import LinearOperator
from pdekit.solvers.operators.csr import CSR, Points
from pdekit.solvers.operators.pattern import Pattern
from pdekit.solvers.operators.stencil import Stencil

__all__ = ["written_out"]


def written_out(A: LinearOperator) -> LinearOperator:
    """The same matrices with stored entries, for what reads them; differentiable in the values of ``A``.

    Stencils on one lattice share one pattern.

    Args:
        A: a Stencil; any other operator is returned as it is.

    Returns:
        A :class:`CSR` of the same batch, tags and null space, with the points of the grid as geometry.

    Example:
        >>> written_out(Stencil([torch.ones(4, dtype=torch.float64)])).to_scipy().toarray()
        array([[ 2., -1.,  0.],
               [-1.,  2., -1.],
               [ 0., -1.,  2.]])
    """
    if not isinstance(A, Stencil):
        return A
    pattern, places = _layout(A.lattice, A.periodic, A.device)
    axes = len(A.faces)
    parts = [A.diagonal()]
    for axis, face in enumerate(A.faces):
        length = A.lattice[axis]
        spans = [(1, length - 1)] + [(0, 1)] * (A.periodic[axis] and length > 1)
        for first, count in spans:
            coupling = -face.narrow(axis - axes, first, count).flatten(-axes)
            parts += [coupling, coupling]
    found = torch.cat(parts, -1)
    # Of two points on a periodic axis each is twice the other's neighbour, so that entries may have to be summed.
    entries = found.new_zeros(*A.batch_shape, pattern.nnz).scatter_add(-1, places.expand(found.shape), found)
    return CSR(pattern, None, entries, tags=A.tags, nullspace=A.nullspace, geometry=_points(A))


@lru_cache(maxsize=8)
def _layout(
    lattice: tuple[int, ...], periodic: Sequence[bool], device: torch.device
) -> tuple[Pattern, Int[Tensor, " parts"]]:
    """The pattern, and the entry that each diagonal element and each coupling, there and back, belongs to."""
    numbers = torch.arange(torch.Size(lattice).numel(), device=device).reshape(lattice)
    n = numbers.numel()
    rows, columns = [numbers.flatten()], [numbers.flatten()]
    for axis, length in enumerate(lattice):
        pairs = [((0, length - 1), (1, length - 1))] + [((length - 1, 1), (0, 1))] * (periodic[axis] and length > 1)
        for pair in pairs:
            low, high = (numbers.narrow(axis, *span).flatten() for span in pair)
            rows += [low, high]
            columns += [high, low]
    stored, places = torch.unique(torch.cat(rows) * n + torch.cat(columns), return_inverse=True)
    ends = torch.bincount(stored // n, minlength=n).cumsum(0)
    return Pattern(torch.cat([ends.new_zeros(1), ends]), stored % n), places


def _points(A: Stencil) -> Points | None:
    """Where the unknowns are: the nodes of the grid but those of Dirichlet sides, which lead to the ground."""
    if A.geometry is None:
        return None
    points = A.geometry.points(device=A.device)
    for axis, (length, face) in enumerate(zip(A.lattice, A.faces, strict=True)):
        missing = points.shape[axis] - length
        if not 0 <= missing <= 2:
            return None
        below = missing == 2 or (missing == 1 and bool((face.select(axis - len(A.faces), 0) != 0).any()))
        points = points.narrow(axis, int(below), length)
    points = points.reshape(A.shape[0], -1)
    return Points(points, torch.zeros(len(points), dtype=torch.int64, device=A.device))

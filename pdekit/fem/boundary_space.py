"""Finite element functions on a part of the boundary."""

from functools import cached_property
from typing import TYPE_CHECKING

import torch
from jaxtyping import Int64
from torch import Tensor

from pdekit.fem.integration import Integration
from pdekit.fem.patch import Patch

if TYPE_CHECKING:
    from pdekit.fem.space import Space

__all__ = ["BoundarySpace"]


class BoundarySpace(Integration):
    """The functions of a space on some facets, for boundary integrals; made by :meth:`Space.boundary`.

    Degrees of freedom and pattern are those of the whole space, so that a matrix of boundary terms is added to one of
    the volume. Forms find the outward unit normal in ``w.n``; gradients are those of the cell at the facet.

    Args:
        space: the space.
        name: of the part.
        facets: ``(m,)`` facet numbers.
    """

    def __init__(self, space: "Space", name: str, facets: Int64[Tensor, " m"]):
        self._space, self.part, self.facets = space, name, facets
        self.cells = space.mesh.facet_cells[facets, 0]
        self._local = (space.mesh.cell_facets[self.cells] == facets[:, None]).int().argmax(dim=1)

    def __repr__(self) -> str:
        return f"BoundarySpace({self._space.name}, {self.part}: {len(self.facets)} facets)"

    @property
    def space(self) -> "Space":
        return self._space

    @property
    def n_items(self) -> int:
        return len(self.facets)

    @cached_property
    def item_dofs(self) -> Int64[Tensor, "items k"]:
        return self._space.cell_dofs[self.cells]

    @cached_property
    def nodes(self) -> Int64[Tensor, " points"]:
        """The points with degrees of freedom that lie on the facets, in order."""
        on_facet = torch.from_numpy(self._space.facet_functions)[self._local]
        return torch.unique(self._space.node_dofs[self.cells][on_facet])

    def patch_of(self, items: Int64[Tensor, " m"], device: torch.device, order: int | None = None) -> Patch:
        order = order or self._space.quadrature_order
        return Patch(self._space.mesh, self.cells[items], order, self._local[items], device)

"""Cells or facets with their quadrature points: where forms are evaluated."""

from functools import cached_property, lru_cache

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from pdekit.domain import Mesh
from pdekit.domain.topology import KINDS
from pdekit.fem.elements import Element, first_order, quadrature, reference

__all__ = ["Patch"]


class Patch:
    """Some cells of a mesh, or some of its facets as seen from a cell, with the points of a quadrature rule.

    Args:
        mesh: the mesh.
        cells: ``(m,)`` cell numbers.
        order: of the quadrature rule.
        local: ``(m,)``, which facet of its cell each item is; None for the cells themselves.
        device: where tensors go.
    """

    def __init__(
        self,
        mesh: Mesh,
        cells: Int64[Tensor, " m"],
        order: int,
        local: Int64[Tensor, " m"] | None = None,
        device: torch.device | None = None,
    ):
        self.mesh, self.cells, self.order, self.local = mesh, cells, order, local
        self.device = torch.device("cpu") if device is None else device

    @cached_property
    def consecutive(self) -> bool:
        """Whether the cells are numbered one after the other."""
        cells = self.cells.numpy()
        return bool(len(cells) > 0 and cells[-1] - cells[0] == len(cells) - 1 and (np.diff(cells) == 1).all())

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def simplex(self) -> bool:
        return self.mesh.cell_kind.simplex

    def tabulate(self, element: Element) -> tuple[Float64[Tensor, "a q k"], Float64[Tensor, "b p k dim"]]:
        """Values and reference gradients of the basis; axes of length 1 where they do not depend on item or point."""
        values, gradients = _tables(element, self.mesh.kind, self.order, self.local is not None)
        if self.simplex and element.degree < 2:
            gradients = gradients[:1, :1]
        elif self.local is not None:
            gradients = gradients[self.local]
        if self.local is not None:
            values = values[self.local]
        return values.to(self.device), gradients.to(self.device)

    def gradients(self, element: Element) -> Float64[Tensor, "m p k dim"]:
        """Gradients of the basis on the cells."""
        if element not in self._kept:
            self._kept[element] = self._gradients(element)
        return self._kept[element]

    @cached_property
    def _kept(self) -> dict[Element, Tensor]:
        return {}

    def _gradients(self, element: Element) -> Tensor:
        inverse = self._inverse[..., None, :, :]
        reference_gradients = self.tabulate(element)[1]
        total = reference_gradients[..., :1] * inverse[..., 0, :]
        for b in range(1, self.mesh.dim):
            total = total + reference_gradients[..., b : b + 1] * inverse[..., b, :]
        return total

    @property
    def _geometric(self) -> Element:
        return first_order(self.mesh.kind)

    @cached_property
    def _corners(self) -> Float64[Tensor, "m k dim"]:
        # NumPy: torch would wake its threads for every small gather, and wait for them.
        return torch.from_numpy(np.take(self.mesh.points.numpy(), self.nodes.numpy(), axis=0)).to(self.device)

    @cached_property
    def nodes(self) -> Int64[Tensor, "m k"]:
        """The nodes of the cells."""
        return torch.from_numpy(np.take(self.mesh.cells.numpy(), self.cells.numpy(), axis=0))

    @cached_property
    def x(self) -> Float64[Tensor, "m q dim"]:
        """The points."""
        values = self.tabulate(self._geometric)[0][..., None]
        total = values[:, :, 0] * self._corners[:, None, 0]
        for k in range(1, values.shape[2]):
            total = total + values[:, :, k] * self._corners[:, None, k]
        return total

    @cached_property
    def _jacobian(self) -> Float64[Tensor, "m p dim dim"]:
        gradients = self.tabulate(self._geometric)[1]
        total = self._corners[:, None, 0, :, None] * gradients[:, :, 0, None, :]
        for k in range(1, gradients.shape[2]):
            total = total + self._corners[:, None, k, :, None] * gradients[:, :, k, None, :]
        return total

    @cached_property
    def _cofactors(self) -> Float64[Tensor, "m p dim dim"]:
        """det J times the inverse of J."""
        J = self._jacobian
        if self.mesh.dim == 1:
            return torch.ones_like(J)
        if self.mesh.dim == 2:
            (a, b), (c, d) = ([J[..., i, j] for j in range(2)] for i in range(2))
            return torch.stack([torch.stack([d, -b], -1), torch.stack([-c, a], -1)], -2)
        rows = [torch.linalg.cross(J[..., :, i], J[..., :, j]) for i, j in ((1, 2), (2, 0), (0, 1))]
        return torch.stack(rows, -2)

    @cached_property
    def _determinant(self) -> Float64[Tensor, "m p"]:
        J, cofactors = self._jacobian, self._cofactors
        total = J[..., 0, 0] * cofactors[..., 0, 0]
        for k in range(1, self.mesh.dim):
            total = total + J[..., k, 0] * cofactors[..., 0, k]
        return total

    @cached_property
    def _inverse(self) -> Float64[Tensor, "m p dim dim"]:
        return self._cofactors / self._determinant[..., None, None]

    @cached_property
    def dx(self) -> Float64[Tensor, "m q"]:
        """Weights of the points: they sum to the volume of each cell, or the area of each facet."""
        kind = self.mesh.cell_kind
        weights = torch.from_numpy(quadrature(kind.facet_kind if self.local is not None else kind.name, self.order)[1])
        if self.local is None:
            return self._determinant.abs() * weights.to(self.device)
        return torch.linalg.vector_norm(self._normal, dim=-1) * weights.to(self.device)

    @cached_property
    def _normal(self) -> Float64[Tensor, "m q dim"]:
        """Outward normals, as long as the facet is large relative to the reference facet."""
        # Nanson's formula: the area element n dS maps with det J times the inverse transpose of J.
        assert self.local is not None
        outward = torch.from_numpy(_facet_rule(self.mesh.kind, self.order)[1])[self.local].to(self.device)
        total = outward[..., :1] * self._cofactors[..., 0, :]
        for b in range(1, self.mesh.dim):
            total = total + outward[..., b : b + 1] * self._cofactors[..., b, :]
        return total

    @cached_property
    def n(self) -> Float64[Tensor, "m q dim"]:
        """Outward unit normals."""
        return self._normal / torch.linalg.vector_norm(self._normal, dim=-1, keepdim=True)


@lru_cache(maxsize=256)
def _tables(element: Element, kind: str, order: int, facets: bool) -> tuple[Tensor, Tensor]:
    """Values ``(facets, q, k)`` and reference gradients ``(facets, q, k, dim)``; the cell itself is one such item."""
    points = _facet_rule(kind, order)[0] if facets else quadrature(kind, order)[0][None]
    tables = [reference(element, kind).tabulate(place) for place in points]
    values, gradients = (np.stack(parts) for parts in zip(*tables, strict=True))
    return torch.from_numpy(values), torch.from_numpy(gradients)


@lru_cache
def _facet_rule(kind: str, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Points on the facets of the reference cell, and outward area elements there, both ``(facets, q, dim)``."""
    cell = KINDS[kind]
    corners = cell.corners[cell.facets]
    if cell.dim == 1:
        return corners, np.array([[[-1.0]], [[1.0]]])
    plane = reference(first_order(cell.facet_kind), cell.facet_kind)
    values, gradients = plane.tabulate(quadrature(cell.facet_kind, order)[0])
    points = np.einsum("qk,fkd->fqd", values, corners)
    tangents = np.einsum("qkb,fkd->fqbd", gradients, corners)
    if cell.dim == 2:
        return points, np.stack([tangents[:, :, 0, 1], -tangents[:, :, 0, 0]], axis=-1)
    return points, np.cross(tangents[:, :, 0], tangents[:, :, 1])

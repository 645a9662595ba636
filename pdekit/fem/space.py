"""Finite element spaces: an element on every cell of a mesh."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int64, Shaped
from torch import Tensor

from pdekit.core.checks import as_real
from pdekit.core.errors import InputError
from pdekit.domain import Mesh
from pdekit.domain.shapes import Shape
from pdekit.fem.boundary_space import BoundarySpace
from pdekit.fem.cache import Cache
from pdekit.fem.elements import Element, Vector, default_order, first_order, reference
from pdekit.fem.integration import Integration
from pdekit.fem.location import evaluate
from pdekit.fem.patch import Patch
from pdekit.fem.points import as_dofs, at_points
from pdekit.solvers.operators.csr import Points
from pdekit.solvers.operators.pattern import Pattern

__all__ = ["Space"]


class Space(Integration):
    """Functions on a mesh that are an element on every cell.

    Degrees of freedom are values at points: first the nodes of the mesh, in its order (so those of P1 and Q1 are the
    nodes), then midpoints of edges, centres of facets, centres of cells, as far as the element has them. Those of a
    vector field are interleaved: point * dim + component. Everything that assembly needs again, patterns and routing
    matrices, is found on first use and kept here, so a space is made once and used often.

    Args:
        mesh: the mesh, or a shape that stands for its mesh.
        element: :class:`P1`, :class:`P2`... or :class:`Vector` of one; None: P1, on quads and hexahedra Q1.
        quadrature_order: degree of polynomials that are integrated exactly on the reference cell; by default 2 for
            degree 1 and 4 for degree 2, one more on quads and hexahedra.

    Raises:
        InputError: an element that does not fit the cells, or a quadrature order that is none.

    Example:
        >>> from pdekit.domain import Rectangle
        >>> from pdekit.fem import P2
        >>> space = Space(Rectangle(cells=2).mesh(), P2())
        >>> space, space.n_dofs, space.dofs("left").tolist()
        (Space(P2 on 8 triangles, 25 degrees of freedom), 25, [0, 1, 2, 9, 12])
    """

    def __init__(
        self, mesh: Mesh | Shape, element: Element | Vector | None = None, quadrature_order: int | None = None
    ):
        if isinstance(mesh, Shape):
            mesh = mesh.mesh()
        if not isinstance(mesh, Mesh):
            raise InputError(f"mesh is a {type(mesh).__name__}; expected a Mesh, or a shape such as Disk().")
        if element is None:
            element = first_order(mesh.kind)
        if isinstance(element, type):
            raise InputError(
                f"element is the class {element.__name__}; expected an object such as {element.__name__}()."
            )
        if not isinstance(element, Element | Vector):
            raise InputError(f"element is {element!r}; expected P1(), P2(), Q1(), Q2(), P0() or Vector of one.")
        _ = mesh.facets  # overlapping cells are found with them; a mesh whose parts have names has them already
        self.mesh, self.element = mesh, element
        self.scalar: Element = element.element if isinstance(element, Vector) else element
        self.reference = reference(self.scalar, mesh.kind)
        order = default_order(self.scalar, mesh.kind) if quadrature_order is None else quadrature_order
        if not isinstance(order, int) or not 0 <= order <= 20:
            raise InputError(f"quadrature_order={quadrature_order!r}; expected a degree from 0 to 20.")
        self.quadrature_order = max(order, 1)
        self.cache = Cache()
        self._boundaries: dict[str, BoundarySpace] = {}

    @property
    def name(self) -> str:
        return f"{self.element} on {self.mesh.n_cells:,} {self.mesh.cell_kind.plural}"

    def __repr__(self) -> str:
        return f"Space({self.name}, {self.n_dofs:,} degrees of freedom)"

    @property
    def space(self) -> "Space":
        """Itself: the space whose degrees of freedom are used."""
        return self

    @property
    def rank(self) -> int:
        """1 for vector fields, 0 for scalar ones."""
        return int(isinstance(self.element, Vector))

    @property
    def components(self) -> int:
        """Degrees of freedom at one point."""
        return self.mesh.dim if self.rank else 1

    @cached_property
    def _entities(self) -> dict[str, tuple[int, Tensor]]:
        """How many vertices, edges, facets and cells there are, and which each cell has."""
        mesh = self.mesh
        tables: dict[str, Callable[[], tuple[int, Tensor]]] = {
            "vertices": lambda: (mesh.n_nodes, mesh.cells),
            "edges": lambda: (len(mesh.edges), mesh.cell_edges),
            "facets": lambda: (len(mesh.facets), mesh.cell_facets),
            "inside": lambda: (mesh.n_cells, torch.arange(mesh.n_cells)[:, None]),
        }
        return {name: tables[name]() for name in self.reference.entities}

    @cached_property
    def node_dofs(self) -> Int64[Tensor, "cells k"]:
        """The points that carry the degrees of freedom of each cell."""
        parts, start = [], 0
        for count, table in self._entities.values():
            parts.append(table + start if start else table)
            start += count
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]

    @cached_property
    def n_points(self) -> int:
        """Points that carry degrees of freedom."""
        return sum(count for count, _ in self._entities.values())

    @property
    def n_dofs(self) -> int:
        """Degrees of freedom."""
        return self.n_points * self.components

    @cached_property
    def cell_dofs(self) -> Int64[Tensor, "cells k"]:
        """Degrees of freedom of each cell."""
        return self._with_components(self.node_dofs)

    def _with_components(self, nodes: Int64[Tensor, "*shape k"]) -> Int64[Tensor, "*shape more"]:
        if not self.rank:
            return nodes
        return (nodes[..., None] * self.components + torch.arange(self.components)).flatten(-2)

    @cached_property
    def _node_points(self) -> Float64[Tensor, "points dim"]:
        mesh = self.mesh
        makers: dict[str, Callable[[], Tensor]] = {
            "vertices": lambda: mesh.points,
            "edges": lambda: mesh.points[mesh.edges].mean(dim=1),
            "facets": lambda: mesh.points[mesh.facets].mean(dim=1),
            "inside": lambda: mesh.points[mesh.cells].mean(dim=1),
        }
        return torch.cat([makers[name]() for name in self.reference.entities])

    @cached_property
    def dof_points(self) -> Float64[Tensor, "dofs dim"]:
        """Where each degree of freedom is."""
        return self._node_points.repeat_interleave(self.components, dim=0) if self.rank else self._node_points

    @cached_property
    def geometry(self) -> Points:
        """Point and component of each degree of freedom."""
        component = torch.arange(self.components).repeat(self.n_points)
        return Points(self.dof_points, component)

    @cached_property
    def rigid_body_modes(self) -> Float64[Tensor, "dofs k"]:
        """What a pure Neumann problem leaves free: the constant, or for vector fields translations and rotations."""
        if not self.rank:
            return torch.ones((self.n_dofs, 1), dtype=torch.float64)
        x, d = self._node_points - self._node_points.mean(dim=0), self.components
        modes = [torch.eye(d, dtype=torch.float64)[k].expand(len(x), d) for k in range(d)]
        for a in range(d):
            for b in range(a + 1, d):
                turn = torch.zeros((len(x), d), dtype=torch.float64)
                turn[:, a], turn[:, b] = -x[:, b], x[:, a]
                modes.append(turn)
        return torch.stack([mode.reshape(-1) for mode in modes], dim=-1)

    def dofs(self, name: str) -> Int64[Tensor, " m"]:
        """Degrees of freedom on a named part of the boundary, in order.

        Raises:
            InputError: an unknown name (the message lists the names), or an element without any there.
        """
        part = self.boundary(name)
        if len(part.nodes) == 0 and len(part.facets):
            raise InputError(
                f"{self.element} has no degree of freedom on the boundary {name!r}; expected a continuous element, or "
                "the condition as boundary terms (fem.natural)."
            )
        return self._with_components(part.nodes[:, None]).reshape(-1)

    @cached_property
    def facet_functions(self) -> np.ndarray:
        """``(facets per cell, k)``, whether each basis function sits on each facet."""
        cell, nodes = self.reference.kind, self.reference.nodes
        on = []
        for facet in cell.facets:
            corners = cell.corners[facet]
            # A facet of a reference cell is convex: a node is on it if its distances to the plane vanish.
            normal = _normal(corners, cell.corners.mean(axis=0))
            on.append(np.abs((nodes - corners[0]) @ normal) < 1e-12)
        return np.stack(on)

    def boundary(self, name: str) -> BoundarySpace:
        """The functions of this space on a named part of the boundary, for boundary integrals.

        Raises:
            InputError: an unknown name; the message lists the names.
        """
        facets = self.mesh.boundary(name)
        if name not in self._boundaries:
            self._boundaries[name] = BoundarySpace(self, name, facets)
        return self._boundaries[name]

    @cached_property
    def pattern(self) -> Pattern:
        """Which entries matrices on this space store: all pairs of degrees of freedom of a cell."""
        from pdekit.kernels.sparse.pattern import cell_pattern  # compiled code is loaded on first use

        dofs = np.ascontiguousarray(self.cell_dofs.numpy().astype(np.int32))
        indptr, indices = cell_pattern(dofs, self.n_dofs)
        return Pattern(torch.from_numpy(indptr), torch.from_numpy(indices))

    def pattern_on(self, device: torch.device) -> Pattern:
        """The pattern on a device."""
        if device == self.pattern.device:
            return self.pattern
        return self.cache.get(("pattern", device), lambda: self.pattern.to(device), lambda found: 12 * found.nnz)

    @property
    def n_items(self) -> int:
        """Cells."""
        return self.mesh.n_cells

    @property
    def item_dofs(self) -> Int64[Tensor, "cells k"]:
        return self.cell_dofs

    def patch_of(self, items: Int64[Tensor, " m"], device: torch.device, order: int | None = None) -> Patch:
        return Patch(self.mesh, items, order or self.quadrature_order, None, device)

    def interpolate(self, f: Any) -> Shaped[Tensor, "*batch dofs"]:
        """The degrees of freedom of the function of this space that agrees with a given one at all of its points.

        Args:
            f: a number, a function of points (coordinates first: ``x[0]``, see :func:`fem.points.at_points`), or for
                vector fields a tuple of ``dim`` numbers.

        Returns:
            ``(n_dofs,)``.

        Raises:
            InputError: an answer with another number of components.

        Example:
            >>> from pdekit.domain import Interval
            >>> from pdekit.fem import P1
            >>> Space(Interval(cells=2).mesh(), P1()).interpolate(lambda x: x[0] ** 2)
            tensor([0.0000, 0.2500, 1.0000], dtype=torch.float64)
        """
        return self.values_at(f, self._node_points, "The function to interpolate").reshape(-1)

    def at_nodes(self, u: Shaped[Tensor, "*batch dofs"] | np.ndarray) -> Shaped[Tensor, "..."]:
        """Values of a function of this space at the nodes of the mesh, as plots and :meth:`Mesh.write` take them.

        Args:
            u: its degrees of freedom; of elements of order 2 those between the nodes are left out.

        Returns:
            ``(*batch, nodes)``, for vector fields ``(*batch, nodes, dim)``.

        Raises:
            InputError: another number of degrees of freedom, or an element without any at the nodes.

        Example:
            >>> from pdekit.domain import Interval
            >>> from pdekit.fem import P2
            >>> space = Space(Interval(cells=2).mesh(), P2())
            >>> space.at_nodes(space.interpolate(lambda x: x[0]))
            tensor([0.0000, 0.5000, 1.0000], dtype=torch.float64)
        """
        values = as_dofs(u, self.n_dofs)
        if self.scalar.degree == 0:
            raise InputError(f"{self.element} has one value a cell and none at the nodes; write them as they are.")
        values = values[..., : self.mesh.n_nodes * self.components]  # nodes come first
        return values.unflatten(-1, (-1, self.components)) if self.rank else values

    def evaluate(
        self,
        u: Shaped[Tensor, "*batch dofs"] | np.ndarray,
        points: Shaped[Tensor, "m dim"] | np.ndarray | Sequence[Sequence[float]],
    ) -> Shaped[Tensor, "..."]:
        """Values of a function of this space at any points of the mesh; differentiable with respect to u.

        Args:
            u: its degrees of freedom.
            points: ``(m, dim)``, a tensor or an array.

        Returns:
            ``(*batch, m)``, for vector fields ``(*batch, m, dim)``.

        Raises:
            InputError: a point outside the mesh, with its index; shapes that do not fit.

        Example:
            >>> from pdekit.domain import Interval
            >>> from pdekit.fem import P1
            >>> space = Space(Interval(cells=2).mesh(), P1())
            >>> space.evaluate(space.interpolate(lambda x: 4 * x[0]), torch.tensor([[0.3]], dtype=torch.float64))
            tensor([1.2000], dtype=torch.float64)
        """
        places = as_real("points", points if isinstance(points, Tensor) else np.asarray(points))
        if places.ndim != 2 or places.shape[1] != self.mesh.dim:
            raise InputError(f"points has shape {tuple(places.shape)}; expected (points, {self.mesh.dim}).")
        return evaluate(self, as_dofs(u, self.n_dofs), places)

    def values_at(self, f: Any, points: Float64[Tensor, "m dim"], what: str) -> Shaped[Tensor, "m *components"]:
        """Values of a function, number or tuple of components at points, with the components of this space."""
        function = f if callable(f) and not isinstance(f, Tensor) else lambda _: f
        values, rank = at_points(function, points, what)
        if rank == 0 and self.rank and not callable(f):
            values = values[:, None].expand(-1, self.components)
        elif rank != self.rank:
            raise InputError(f"{what} has values of rank {rank}; {self.element} needs {_EXPECTED[self.rank]}.")
        return values


_EXPECTED = ("one number a point", "dim components a point, as a tuple or (m, dim)")


def _normal(corners: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The direction that is orthogonal to a facet of the reference cell."""
    edges = corners[1:] - corners[0]
    direction = inside - corners[0]
    if len(edges):
        direction = direction - np.linalg.lstsq(edges.T, direction, rcond=None)[0] @ edges
    return direction

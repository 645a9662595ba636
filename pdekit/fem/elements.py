"""Finite elements: which functions live on a cell, and where their degrees of freedom sit."""

from abc import ABC
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import skfem
from skfem.quadrature import get_quadrature

from pdekit.core.errors import InputError
from pdekit.domain.topology import KINDS, CellKind

__all__ = ["P0", "P1", "P2", "Q0", "Q1", "Q2", "Element", "Reference", "Vector", "first_order", "reference"]

FloatArray = npt.NDArray[np.float64]

_ORDERS = {0: 2, 1: 2, 2: 4}
"""Degree that quadrature integrates exactly by default, for a degree of simplicial elements."""


class Element(ABC):  # no dataclass itself: a configuration file then names its subclasses
    """Base of the scalar elements P0, P1, P2 (lines, triangles, tetrahedra) and Q0, Q1, Q2 (lines, quads, hexahedra).

    P elements hold all polynomials up to a total degree, Q elements up to a degree along each axis of the reference
    cell; on lines they are the same.
    """

    family: ClassVar[str]
    degree: ClassVar[int]

    def __str__(self) -> str:
        return f"{self.family}{self.degree}"


@dataclass(frozen=True)
class P0(Element):
    """Constant on each cell, on cells of any kind; one degree of freedom a cell."""

    family, degree = "P", 0


@dataclass(frozen=True)
class P1(Element):
    """Continuous, linear on each line, triangle or tetrahedron; the values at the nodes."""

    family, degree = "P", 1


@dataclass(frozen=True)
class P2(Element):
    """Continuous, quadratic on each line, triangle or tetrahedron; the values at nodes and midpoints of edges."""

    family, degree = "P", 2


@dataclass(frozen=True)
class Q0(Element):
    """Constant on each cell; another name for P0."""

    family, degree = "Q", 0


@dataclass(frozen=True)
class Q1(Element):
    """Continuous, linear along each axis of a quad or hexahedron; the values at the nodes."""

    family, degree = "Q", 1


@dataclass(frozen=True)
class Q2(Element):
    """Continuous, quadratic along each axis of a quad or hexahedron; values at nodes, midpoints and centres."""

    family, degree = "Q", 2


@dataclass(frozen=True)
class Vector:
    """Vector fields with as many components as the mesh has dimensions, each in a scalar element.

    Args:
        element: of each component.

    Example:
        >>> str(Vector(P2()))
        'Vector(P2)'
    """

    element: Element

    def __post_init__(self):
        if not isinstance(self.element, Element):
            raise InputError(f"Vector was given {self.element!r}; expected a scalar element such as P1().")

    def __str__(self) -> str:
        return f"Vector({self.element})"


def first_order(kind: str) -> Element:
    """P1 on lines, triangles and tetrahedra, Q1 on quads and hexahedra: also the map from the reference cell.

    Example:
        >>> str(first_order("quad"))
        'Q1'
    """
    return P1() if KINDS[kind].simplex else Q1()


@dataclass(frozen=True, eq=False)
class Reference:
    """A scalar element on the reference cell; its functions are numbered by vertices, edges, facets, then the inside.

    Args:
        kind: of cells.
        nodes: ``(k, dim)``, the points at which one basis function is 1 and the others are 0.
        entities: where there are degrees of freedom: some of ``vertices``, ``edges``, ``facets``, ``inside``.
        order: ``(k,)``, the number of each function in scikit-fem's element.
        element: scikit-fem's.
    """

    kind: CellKind
    nodes: FloatArray
    entities: tuple[str, ...]
    order: tuple[int, ...]
    element: skfem.Element

    def tabulate(self, points: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Values ``(q, k)`` and gradients ``(q, k, dim)`` of the basis at points ``(q, dim)`` of the reference cell."""
        x = np.ascontiguousarray(points.T)
        values = np.empty((len(points), len(self.order)))
        gradients = np.empty((*values.shape, self.kind.dim))
        for i, j in enumerate(self.order):
            value, gradient = self.element.lbasis(x.copy(), j)  # pyright: ignore[reportAttributeAccessIssue]
            values[:, i], gradients[:, i] = value, np.reshape(gradient, x.shape).T
        return values, gradients


_CLASSES = {
    "line": {0: "ElementLineP0", 1: "ElementLineP1", 2: "ElementLineP2"},
    "triangle": {0: "ElementTriP0", 1: "ElementTriP1", 2: "ElementTriP2"},
    "tetra": {0: "ElementTetP0", 1: "ElementTetP1", 2: "ElementTetP2"},
    "quad": {0: "ElementQuad0", 1: "ElementQuad1", 2: "ElementQuad2"},
    "hexahedron": {0: "ElementHex0", 1: "ElementHex1", 2: "ElementHex2"},
}


@lru_cache
def reference(element: Element, kind: str) -> Reference:
    """A scalar element on a kind of cell, from scikit-fem, numbered our way.

    Raises:
        InputError: the element does not exist on cells of that kind.

    Example:
        >>> reference(P2(), "triangle").nodes.tolist()
        [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.5, 0.0], [0.5, 0.5], [0.0, 0.5]]
    """
    cell = KINDS[kind]
    fitting = "P" if cell.simplex else "Q"
    if element.degree > 0 and cell.dim > 1 and element.family != fitting:
        raise InputError(
            f"{element} does not exist on {cell.plural}; expected {fitting}{element.degree}(), its like on them."
        )
    theirs: skfem.Element = getattr(skfem, _CLASSES[kind][element.degree])()
    candidates = {"vertices": cell.corners}
    if cell.dim > 1:  # the edge of a line is its inside
        candidates["edges"] = cell.corners[cell.edges].mean(axis=1)
    if cell.dim > 2:
        candidates["facets"] = cell.corners[cell.facets].mean(axis=1)
    candidates["inside"] = cell.corners.mean(axis=0, keepdims=True)
    entities, nodes, order = [], [], []
    for name, places in candidates.items():
        near = np.abs(places[:, None] - theirs.doflocs[None]).max(axis=-1) < 1e-12
        if near.any():
            entities.append(name)
            nodes.append(places)
            order += near.argmax(axis=1).tolist()
    assert sorted(order) == list(range(len(theirs.doflocs)))
    return Reference(cell, np.concatenate(nodes), tuple(entities), tuple(order), theirs)


@lru_cache
def quadrature(kind: str, order: int) -> tuple[FloatArray, FloatArray]:
    """Points ``(q, dim)`` and weights ``(q,)`` on the reference cell (``vertex``: one point), from scikit-fem."""
    if kind == "vertex":
        return np.zeros((1, 0)), np.ones(1)
    domain = getattr(skfem, _CLASSES[kind][1])().refdom
    points, weights = get_quadrature(domain, order)
    return np.ascontiguousarray(points.T), weights


def default_order(element: Element, kind: str) -> int:
    """Twice the degree, one more along each axis for Q elements (2 and 3 points an axis)."""
    order = _ORDERS[element.degree]
    return order if KINDS[kind].simplex else order + 1

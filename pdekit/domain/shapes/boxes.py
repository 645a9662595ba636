"""Intervals, rectangles, boxes and the L-shape: lattices cut into cells without obtuse angles."""

import itertools
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pdekit.core.errors import InputError, did_you_mean
from pdekit.domain.grid import SIDES
from pdekit.domain.mesh import Mesh
from pdekit.domain.shapes.base import Shape, counts, interval_ends, named_by_nodes
from pdekit.domain.topology import KINDS

__all__ = ["Box", "Interval", "LShape", "Rectangle"]

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Interval(Shape):
    """The interval between two numbers, in lines of equal length; boundaries left and right.

    Args:
        cells: number of lines.
        box: its two ends.

    Raises:
        InputError: no cell, or ends in the wrong order.

    Example:
        >>> Interval(cells=4, box=(0.0, 2.0)).mesh()
        Mesh(5 nodes, 4 lines, boundaries: left 1, right 1)
    """

    cells: int = 32
    box: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self):
        super().__post_init__()
        counts(self.cells, 1, "Interval cells")
        interval_ends((self.box,), "Interval box")

    def build(self) -> Mesh:
        """Make the mesh."""
        return _lattice((self.cells,), (self.box,), "line")


@dataclass(frozen=True)
class Rectangle(Shape):
    """A rectangle in equal right-angled triangles or in quads; boundaries left, right, bottom and top.

    Nodes are numbered as the points of a closed :class:`Grid` of ``cells + 1``: x slowest. No angle is obtuse, so that
    the P1 Laplacian is an M-matrix.

    Args:
        cells: per axis, or one number for both; each is a quad or two triangles.
        box: lower and upper end of x and of y.
        kind: ``triangle`` or ``quad``.

    Raises:
        InputError: no cell, ends in the wrong order, or another kind.

    Example:
        >>> Rectangle(cells=(4, 2), box=((0.0, 2.0), (0.0, 1.0))).mesh()
        Mesh(15 nodes, 16 triangles, boundaries: left 2, right 2, bottom 4, top 4)
    """

    cells: int | tuple[int, int] = 32
    box: tuple[tuple[float, float], tuple[float, float]] = ((0.0, 1.0), (0.0, 1.0))
    kind: Literal["triangle", "quad"] = "triangle"

    def __post_init__(self):
        super().__post_init__()
        _check(self, 2, ("triangle", "quad"))

    def build(self) -> Mesh:
        """Make the mesh."""
        return _lattice(counts(self.cells, 2, "cells"), self.box, self.kind)


@dataclass(frozen=True)
class Box(Shape):
    """A box in tetrahedra or hexahedra; boundaries left, right, bottom, top, back and front (lower and upper z).

    Nodes are numbered as the points of a closed :class:`Grid` of ``cells + 1``: x slowest. Each cell is one hexahedron
    or six tetrahedra around its diagonal (Kuhn's), none of whose dihedral angles is obtuse.

    Args:
        cells: per axis, or one number for all.
        box: lower and upper end of each axis.
        kind: ``tetra`` or ``hexahedron``.

    Raises:
        InputError: no cell, ends in the wrong order, or another kind.

    Example:
        >>> Box(cells=2).mesh()
        Mesh(27 nodes, 48 tetrahedra, boundaries: left 8, right 8, bottom 8, top 8, back 8, front 8)
    """

    cells: int | tuple[int, int, int] = 8
    box: tuple[tuple[float, float], ...] = ((0.0, 1.0),) * 3
    kind: Literal["tetra", "hexahedron"] = "tetra"

    def __post_init__(self):
        super().__post_init__()
        _check(self, 3, ("tetra", "hexahedron"))

    def build(self) -> Mesh:
        """Make the mesh."""
        return _lattice(counts(self.cells, 3, "cells"), self.box, self.kind)


@dataclass(frozen=True)
class LShape(Shape):
    """The square [-1, 1]^2 without its lower right quarter; solutions are singular at the corner in the origin.

    Boundaries: ``boundary`` (all of it) and ``reentrant`` (the two sides that meet in the origin).

    Args:
        cells: per side of length 1.
        kind: ``triangle`` or ``quad``.

    Raises:
        InputError: no cell, or another kind.

    Example:
        >>> LShape(cells=2).mesh()
        Mesh(21 nodes, 24 triangles, boundaries: boundary 16, reentrant 4)
    """

    cells: int = 16
    kind: Literal["triangle", "quad"] = "triangle"

    def __post_init__(self):
        super().__post_init__()
        counts(self.cells, 1, "LShape cells")
        _check_kind(self, ("triangle", "quad"))

    def build(self) -> Mesh:
        """Make the mesh."""
        points, cells = _lattice_cells((2 * self.cells,) * 2, ((-1.0, 1.0), (-1.0, 1.0)), self.kind)
        centres = points[cells].mean(axis=1)
        cells = cells[~((centres[:, 0] > 0) & (centres[:, 1] < 0))]
        used, cells = np.unique(cells, return_inverse=True)
        points = points[used]
        x, y = points.T
        reentrant = ((x == 0) & (y <= 0)) | ((y == 0) & (x >= 0))
        mesh = Mesh(points, cells.reshape(-1, KINDS[self.kind].n_vertices), self.kind)
        return named_by_nodes(mesh, {"boundary": np.ones(len(points), dtype=bool), "reentrant": reentrant})


def _check(shape: Rectangle | Box, dim: int, kinds: tuple[str, ...]) -> None:
    name = type(shape).__name__
    counts(shape.cells, dim, f"{name} cells")
    if len(interval_ends(shape.box, f"{name} box")) != dim:
        raise InputError(f"{name} box has {len(shape.box)} axes; expected {dim}.")
    _check_kind(shape, kinds)


def _check_kind(shape: Rectangle | Box | LShape, kinds: tuple[str, ...]) -> None:
    if shape.kind not in kinds:
        raise InputError(f"{type(shape).__name__} kind {shape.kind!r} is unknown. {did_you_mean(shape.kind, kinds)}")


def _lattice(cells: tuple[int, ...], box: tuple[tuple[float, float], ...], kind: str) -> Mesh:
    points, nodes = _lattice_cells(cells, box, kind)
    places = np.indices([n + 1 for n in cells]).reshape(len(cells), -1)
    masks = {}
    for axis, n in enumerate(cells):
        masks |= {SIDES[axis][0]: places[axis] == 0, SIDES[axis][1]: places[axis] == n}
    return named_by_nodes(Mesh(points, nodes, kind), masks)


def _lattice_cells(cells: tuple[int, ...], box: tuple[tuple[float, float], ...], kind: str):
    axes = [np.linspace(low, high, n + 1) for n, (low, high) in zip(cells, box, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(cells))
    strides = np.cumprod([1, *(n + 1 for n in cells[:0:-1])])[::-1]
    origins = sum(np.indices(cells)[axis] * strides[axis] for axis in range(len(cells)))
    children = _CUTS[kind] @ strides
    return points, (np.asarray(origins).reshape(-1, 1, 1) + children).reshape(-1, children.shape[1])


def _kuhn() -> list[list[list[int]]]:
    """The six paths along the axes from one corner of the cube to the opposite one."""
    tetrahedra = []
    for path in itertools.permutations(np.eye(3, dtype=np.int64)):
        nodes = [np.zeros(3, dtype=np.int64), path[0], path[0] + path[1], path[0] + path[1] + path[2]]
        if np.linalg.det(np.stack(path).astype(float)) < 0:
            nodes[2], nodes[3] = nodes[3], nodes[2]
        tetrahedra.append([node.tolist() for node in nodes])
    return tetrahedra


# Corners of the cells that one lattice cell is cut into, (cells, vertices, dim).
_CUTS = {
    "line": np.array([[[0], [1]]]),
    "triangle": np.array([[[0, 0], [1, 0], [1, 1]], [[0, 0], [1, 1], [0, 1]]]),
    "quad": KINDS["quad"].corners[None].astype(np.int64),
    "tetra": np.array(_kuhn()),
    "hexahedron": KINDS["hexahedron"].corners[None].astype(np.int64),
}

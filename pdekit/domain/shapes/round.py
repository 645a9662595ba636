"""Disks, annuli and balls."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pdekit.core.errors import InputError, did_you_mean
from pdekit.domain.mesh import Mesh
from pdekit.domain.shapes.base import Shape, counts, named_by_nodes

__all__ = ["Annulus", "Ball", "Disk", "disk_rings"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Disk(Shape):
    """A disk in triangles: four around the centre, refined, the nodes equally spaced on rings.

    Ring k of 2^refinements holds 4k nodes, so that triangles have about the same size everywhere and no angle is
    obtuse (the P1 Laplacian is an M-matrix). Nodes are numbered from the centre outward. One boundary, ``boundary``.

    Args:
        refinements: of the four triangles; n give ``2 m (m + 1) + 1`` nodes with m = 2^n, 33,025 for 7.
        radius: of the circle that the boundary nodes lie on.
        centre: its centre.

    Raises:
        InputError: negative refinements, a radius that is not positive, or a centre that is no point.

    Example:
        >>> Disk(refinements=3).mesh()
        Mesh(145 nodes, 256 triangles, boundaries: boundary 32)
    """

    refinements: int = 5
    radius: float = 1.0
    centre: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self):
        super().__post_init__()
        _check(self, 2)

    def build(self) -> Mesh:
        """Make the mesh."""
        points, cells = disk_rings(2**self.refinements)
        mesh = Mesh(points * self.radius + np.array(self.centre), cells, "triangle")
        return mesh.with_names({"boundary": mesh.boundary("all")})


def disk_rings(rings: int) -> tuple[FloatArray, IntArray]:
    """The unit disk around its centre: 4k equally spaced nodes on ring k, no angle obtuse.

    Args:
        rings: their number, the last being the circle.

    Returns:
        Points ``(2 n (n + 1) + 1, 2)``, from the centre outward, and triangles ``(4 n^2, 3)``.
    """
    ring = np.repeat(np.arange(rings + 1), [1, *(4 * k for k in range(1, rings + 1))])
    first = np.array([0, *(1 + 2 * k * (k - 1) for k in range(1, rings + 1))])
    place = np.arange(len(ring)) - first[ring]
    quarter, step = np.divmod(place, np.maximum(ring, 1))
    angle = (math.pi / 2) * step / np.maximum(ring, 1)
    # By quarter turns of one quadrant, so that the mesh is symmetric to the last bit.
    x, y = np.cos(angle) * ring / rings, np.sin(angle) * ring / rings
    points = np.stack([np.choose(quarter, [x, -y, -x, y]), np.choose(quarter, [y, x, -y, -x])], axis=1)

    def node(k: IntArray, q: IntArray, s: IntArray) -> IntArray:
        return first[k] + (q * k + s) % np.maximum(4 * k, 1)

    # Between ring k and ring k + 1 of each quarter: k + 1 triangles that stand on the outer ring, k on the inner one.
    k = np.repeat(np.arange(rings), 4 * np.arange(1, rings + 1))
    q, s = np.divmod(np.arange(len(k)) - 2 * k * (k + 1), k + 1)
    outer = np.stack([node(k, q, s), node(k + 1, q, s), node(k + 1, q, s + 1)], axis=1)
    inside = s < k
    k, q, s = k[inside], q[inside], s[inside]
    inner = np.stack([node(k, q, s), node(k + 1, q, s + 1), node(k, q, s + 1)], axis=1)
    owner = np.concatenate([4 * outer.min(axis=1), 4 * inner.min(axis=1)])
    return points, np.concatenate([outer, inner])[np.argsort(owner, kind="stable")]


@dataclass(frozen=True)
class Annulus(Shape):
    """The ring between two circles; boundaries inner and outer.

    Triangles stand on rings that are turned by half a cell against each other, so that they are isosceles.

    Args:
        inner: radius of the inner circle.
        outer: radius of the outer circle.
        cells: along the radius and around; by default chosen for cells about as long as wide.
        centre: of both circles.
        kind: ``triangle`` or ``quad``.

    Raises:
        InputError: radii that make no ring, less than 1 cell along the radius or 3 around, or another kind.

    Example:
        >>> Annulus(cells=(2, 12)).mesh()
        Mesh(36 nodes, 48 triangles, boundaries: inner 12, outer 12)
    """

    inner: float = 0.5
    outer: float = 1.0
    cells: tuple[int, int] = (8, 72)
    centre: tuple[float, float] = (0.0, 0.0)
    kind: Literal["triangle", "quad"] = "triangle"

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.inner < self.outer < math.inf:
            raise InputError(f"Annulus radii are {self.inner} and {self.outer}; expected 0 < inner < outer.")
        if counts(self.cells, 2, "Annulus cells")[1] < 3:
            raise InputError(f"Annulus cells are {self.cells}; expected at least 3 around.")
        if self.kind not in ("triangle", "quad"):
            raise InputError(f"Annulus kind {self.kind!r} is unknown. {did_you_mean(self.kind, ('triangle', 'quad'))}")

    def build(self) -> Mesh:
        """Make the mesh."""
        radial, around = self.cells
        ring, place = np.indices((radial + 1, around)).reshape(2, -1)
        shift = ring / 2 if self.kind == "triangle" else 0.0
        angle = 2 * math.pi * (place + shift) / around
        radius = np.linspace(self.inner, self.outer, radial + 1)[ring]
        points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1) + np.array(self.centre)
        k, j = np.indices((radial, around)).reshape(2, -1)
        a, b = k * around + j, k * around + (j + 1) % around
        c, d = b + around, a + around
        if self.kind == "quad":
            cells = np.stack([a, d, c, b], axis=1)
        else:
            cells = np.stack([np.stack([a, d, b], axis=1), np.stack([b, d, c], axis=1)], axis=1).reshape(-1, 3)
        return named_by_nodes(Mesh(points, cells, self.kind), {"inner": ring == 0, "outer": ring == radial})


@dataclass(frozen=True)
class Ball(Shape):
    """A ball in tetrahedra: an octahedron, refined, its layers moved onto spheres; one boundary, ``boundary``.

    Args:
        refinements: of the octahedron; n give ``(2m + 1)(2m^2 + 2m + 3) / 3`` nodes with m = 2^n: 6,017 for 4 and
            45,825 for 5.
        radius: of the sphere that the boundary nodes lie on.
        centre: its centre.

    Raises:
        InputError: negative refinements, a radius that is not positive, or a centre that is no point.

    Example:
        >>> Ball(refinements=2).mesh()
        Mesh(129 nodes, 512 tetrahedra, boundaries: boundary 128)
    """

    refinements: int = 3
    radius: float = 1.0
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self):
        super().__post_init__()
        _check(self, 3)

    def build(self) -> Mesh:
        """Make the mesh."""
        points = np.concatenate([np.zeros((1, 3)), np.eye(3), -np.eye(3)])
        cells = [
            [0, 1 + 3 * i, 2 + 3 * j, 3 + 3 * k] if (i + j + k) % 2 == 0 else [0, 2 + 3 * j, 1 + 3 * i, 3 + 3 * k]
            for i in (0, 1) for j in (0, 1) for k in (0, 1)
        ]  # fmt: skip
        mesh = Mesh(points, cells, "tetra")
        for _ in range(self.refinements):
            # Refined where it lies in the ball, so that diagonals are short there.
            mesh, prolongation = mesh.refine()
            points = prolongation @ points
            mesh = mesh.with_points(_onto_spheres(points))
        mesh = mesh.with_points(mesh.points.numpy() * self.radius + np.array(self.centre))
        return mesh.with_names({"boundary": mesh.boundary("all")})


def _onto_spheres(x: FloatArray) -> FloatArray:
    """Map each octahedron ``|x| + |y| + |z| = r`` along its rays onto the sphere of radius r."""
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return x * (np.abs(x).sum(axis=1, keepdims=True) / np.where(length > 0, length, 1.0))


def _check(shape: Disk | Ball, dim: int) -> None:
    name = type(shape).__name__
    counts(shape.refinements, 1, f"{name} refinements", least=0)
    if not 0 < shape.radius < math.inf:
        raise InputError(f"{name} radius is {shape.radius}; expected a positive number.")
    if len(shape.centre) != dim or not np.isfinite(shape.centre).all():
        raise InputError(f"{name} centre is {shape.centre}; expected {dim} finite coordinates.")

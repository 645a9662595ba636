"""Where fields live: grids, meshes, boundary conditions, transforms."""

from pdekit.domain import shapes
from pdekit.domain.boundary import Boundary, resolve_boundaries
from pdekit.domain.grid import AXES, SIDES, Grid
from pdekit.domain.mesh import Mesh
from pdekit.domain.random_shapes import RandomShape, Star
from pdekit.domain.shapes import Annulus, Ball, Box, Disk, Interval, LShape, MeshFile, Rectangle, Shape

__all__ = [
    "AXES", "SIDES", "Annulus", "Ball", "Boundary", "Box", "Disk", "Grid", "Interval", "LShape", "Mesh", "MeshFile",
    "RandomShape", "Rectangle", "Shape", "Star", "resolve_boundaries", "shapes",
]  # fmt: skip

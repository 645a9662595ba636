"""Recipes of meshes: :class:`Shape` and its kinds; of random ones :class:`RandomShape` and :class:`Star`."""

from pdekit.domain.random_shapes import RandomShape, Star
from pdekit.domain.shapes.base import Shape
from pdekit.domain.shapes.boxes import Box, Interval, LShape, Rectangle
from pdekit.domain.shapes.files import MeshFile
from pdekit.domain.shapes.round import Annulus, Ball, Disk

__all__ = [
    "Annulus", "Ball", "Box", "Disk", "Interval", "LShape", "MeshFile", "RandomShape", "Rectangle", "Shape", "Star",
]  # fmt: skip

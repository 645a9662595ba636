"""Surfaces of bodies in three dimensions, seen from far away: projected, lit, painted from back to front."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["BACK", "FRONT", "Surface", "View", "see"]

FloatArray = npt.NDArray[np.float64]
DARKEST = 0.65
"""Brightness of a face that turns its side to the light."""


class View(NamedTuple):
    """From where a body is seen.

    Args:
        azimuth: of the eye around z, in degrees from x.
        elevation: of the eye above the plane of x and y, in degrees.
    """

    azimuth: float
    elevation: float

    def frame(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Unit vectors to the right and up in the picture, and towards the eye."""
        a, e = np.radians(self.azimuth), np.radians(self.elevation)
        right = np.array([-np.sin(a), np.cos(a), 0.0])
        towards = np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
        return right, np.cross(towards, right), towards


FRONT, BACK = View(-60.0, 28.0), View(120.0, -28.0)


class Surface(NamedTuple):
    """The faces that can be seen, those farther away first.

    Args:
        faces: ``(m,)`` which of the faces given.
        corners: ``(m, k, 2)`` in the picture.
        light: ``(m,)`` brightness between :data:`DARKEST` and 1.
    """

    faces: npt.NDArray[np.int64]
    corners: FloatArray
    light: FloatArray


def see(corners: FloatArray, view: View) -> Surface:
    """The faces that turn towards the eye.

    Args:
        corners: ``(m, k, 3)`` of triangles or quads; the right-hand normal points outward.
        view: from where.
    """
    right, up, towards = view.frame()
    ends = corners if corners.shape[1] == 4 else corners[:, [0, 1, 2, 0]]
    normals = np.cross(ends[:, 2] - ends[:, 0], ends[:, 3] - ends[:, 1])  # of the diagonals
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), np.finfo(float).tiny)
    seen = np.flatnonzero(normals @ towards > 1e-9)
    order = seen[np.argsort(corners[seen].mean(axis=1) @ towards, kind="stable")]
    lamp = towards + 0.5 * up - 0.4 * right
    brightness = np.clip(normals[order] @ (lamp / np.linalg.norm(lamp)), 0.0, 1.0)
    flat = np.stack([corners[order] @ right, corners[order] @ up], axis=-1)
    return Surface(order, flat, DARKEST + (1 - DARKEST) * brightness)

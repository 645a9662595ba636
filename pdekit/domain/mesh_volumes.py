"""Volumes of cells and integrals of their shape functions."""

import itertools
import math

import numpy as np
import numpy.typing as npt

from pdekit.domain.mesh_checks import corner_jacobians, determinant
from pdekit.domain.topology import CellKind

__all__ = ["cell_volumes", "nodal_weights"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def cell_volumes(points: FloatArray, cells: IntArray, kind: CellKind) -> FloatArray:
    """Length, area or volume of each cell, ``(cells,)``."""
    if kind.simplex:
        return corner_jacobians(points, cells, kind)[:, 0] / math.factorial(kind.dim)
    return _shape_integrals(points, cells, kind).sum(axis=1)


def nodal_weights(points: FloatArray, cells: IntArray, kind: CellKind) -> FloatArray:
    """Integrals of the P1 or Q1 shape functions, ``(nodes,)``."""
    if kind.simplex:
        share = cell_volumes(points, cells, kind) / kind.n_vertices
        integrals = np.broadcast_to(share[:, None], cells.shape)
    else:
        integrals = _shape_integrals(points, cells, kind)
    weights = np.zeros(len(points))
    np.add.at(weights, cells.reshape(-1), integrals.reshape(-1))
    return weights


def _shape_integrals(points: FloatArray, cells: IntArray, kind: CellKind) -> FloatArray:
    """Integrals of the multilinear shape functions over each cell, by two Gauss points along each axis of [-1, 1]^dim.

    The Jacobian determinant times a shape function has degree 2 along each axis in 2-D and 3 in 3-D: the rule is exact.
    """
    out = np.zeros(cells.shape)
    signs = 2 * kind.corners - 1
    for place in itertools.product((-1 / math.sqrt(3), 1 / math.sqrt(3)), repeat=kind.dim):
        factors = (1 + signs * np.array(place)) / 2
        shape = factors.prod(axis=1)
        gradient = np.stack(
            [signs[:, a] / 2 * np.delete(factors, a, axis=1).prod(axis=1) for a in range(kind.dim)], axis=1
        )
        out += determinant([np.einsum("cvd,v->cd", points[cells], slope) for slope in gradient.T])[:, None] * shape
    return out

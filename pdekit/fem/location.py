"""Which cell a point lies in, and where in it."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from scipy.spatial import KDTree

from pdekit.core.errors import InputError
from pdekit.domain import Mesh
from pdekit.fem.elements import FloatArray, first_order, reference

if TYPE_CHECKING:
    from pdekit.fem.space import Space

__all__ = ["Located", "evaluate", "locate"]

_OUTSIDE = 1e-9
"""How far outside a cell, in reference coordinates, a point still counts as on its boundary."""
_NEAREST = (4, 32)
"""Cells around a point that are tried, by the distance of their centres, before all that might hold it."""
_STEPS = 20


class Located(NamedTuple):
    """Points in cells.

    Args:
        cells: ``(m,)`` cell numbers.
        places: ``(m, dim)`` reference coordinates in them.
    """

    cells: np.ndarray
    places: FloatArray


def locate(mesh: Mesh, points: FloatArray) -> Located:
    """Find the cell of each point.

    Raises:
        InputError: a point outside the mesh, with its index and the distance to the nearest node.
    """
    corners = mesh.points.numpy()[mesh.cells.numpy()]
    tree = KDTree(corners.mean(axis=1))
    found = np.full(len(points), -1)
    places = np.zeros_like(points)
    for count in _NEAREST:
        missing = np.flatnonzero(found < 0)
        if len(missing) == 0:
            break
        _, near = tree.query(points[missing], k=min(count, mesh.n_cells))
        for column in np.reshape(near, (len(missing), -1)).T:
            left = found[missing] < 0
            _try(mesh, corners, points, missing[left], column[left], found, places)
    low, high = corners.min(axis=1), corners.max(axis=1)
    slack = 1e-9 * (high - low).max(axis=1, keepdims=True)
    for i in np.flatnonzero(found < 0):
        cells = np.flatnonzero(((points[i] >= low - slack) & (points[i] <= high + slack)).all(axis=1))
        for cell in cells:
            if found[i] < 0:
                _try(mesh, corners, points, np.array([i]), np.array([cell]), found, places)
    outside = np.flatnonzero(found < 0)
    if len(outside):
        i = int(outside[0])
        distance = np.linalg.norm(mesh.points.numpy() - points[i], axis=1).min()
        raise InputError(
            f"points[{i}] = {points[i].tolist()} lies in no cell ({len(outside)} of {len(points)} do not); the "
            f"nearest node is {distance:.3g} away."
        )
    return Located(found, places)


def _try(
    mesh: Mesh, corners: FloatArray, points: FloatArray, which: np.ndarray, cells: np.ndarray, found: np.ndarray,
    places: FloatArray,
) -> None:  # fmt: skip
    """Note those points that lie in the cells proposed for them."""
    place = _inverse(mesh, corners[cells], points[which])
    excess = np.maximum(-place, place - 1).max(axis=1)
    if mesh.cell_kind.simplex:
        excess = np.maximum((-place).max(axis=1), place.sum(axis=1) - 1)
    inside = excess <= _OUTSIDE
    found[which[inside]], places[which[inside]] = cells[inside], place[inside]


def _inverse(mesh: Mesh, corners: FloatArray, points: FloatArray) -> FloatArray:
    """Reference coordinates of points in cells, by Newton's method; one step where the map is affine."""
    kind = mesh.cell_kind
    element = reference(first_order(mesh.kind), mesh.kind)
    place = np.full_like(points, 1 / (kind.dim + 1) if kind.simplex else 0.5)
    for _ in range(1 if kind.simplex else _STEPS):
        values, gradients = element.tabulate(place)
        missed = points - np.einsum("mk,mkd->md", values, corners)
        jacobian = np.einsum("mkd,mkb->mdb", corners, gradients)
        jacobian[np.linalg.det(jacobian) == 0] = np.eye(kind.dim)
        step = np.linalg.solve(jacobian, missed[..., None])[..., 0]
        # Outside a cell its map may fold; what does not come back to the cell is not in it.
        place = place + step if kind.simplex else np.clip(place + step, -0.25, 1.25)
    return place


def evaluate(space: "Space", u: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """See :meth:`Space.evaluate`."""
    located = locate(space.mesh, points.detach().cpu().to(torch.float64).numpy())
    values = torch.from_numpy(space.reference.tabulate(located.places)[0]).to(u.device)
    nodes = space.node_dofs[torch.from_numpy(located.cells)].to(u.device)
    batch = u.ndim - 1
    table = u.unflatten(-1, (-1, space.components)) if space.rank else u[..., None]
    local = table.index_select(batch, nodes.reshape(-1)).unflatten(batch, tuple(nodes.shape))
    total = (local * values[..., None]).sum(-2)
    return total if space.rank else total[..., 0]

"""Uniform refinement: every cell into 2^dim cells of half the size.

A tetrahedron is cut into its four corners and an octahedron, which the shortest of its three diagonals splits into
four (of equally short ones, that with the most equal children). The tetrahedra of :class:`Box` then make children that
are similar to them.

Source: Bey, "Tetrahedral grid refinement", Computing 55 (1995); Zhang, "Successive subdivisions of tetrahedra and
multigrid methods on tetrahedral meshes", Houston J. Math. 21 (1995), for the shortest diagonal.
"""

import itertools
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import scipy.sparse
from torch import Tensor

from pdekit.core.errors import InputError
from pdekit.domain.topology import KINDS

if TYPE_CHECKING:
    from pdekit.domain.mesh import Mesh

__all__ = ["MOST_CELLS", "refine"]

MOST_CELLS = 50_000_000
"""Beyond these a refinement is refused, because it would only fill the memory."""

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


def refine(mesh: "Mesh", times: int = 1) -> "tuple[Mesh, scipy.sparse.csr_array]":
    """See :meth:`Mesh.refine`."""
    if isinstance(times, bool) or not isinstance(times, int | np.integer) or times < 0:
        raise InputError(f"refine was asked for {times!r} refinements; expected an integer, 0 or more.")
    # The exponent is bounded first: a power of a huge one would never end.
    if times > 60 or mesh.n_cells * 2 ** (mesh.dim * int(times)) > MOST_CELLS:
        count = f"{mesh.n_cells * 2 ** (mesh.dim * int(times)):,}" if times <= 20 else "far more"
        raise InputError(f"{times} refinements would make {count} cells; expected at most {MOST_CELLS:,}.")
    prolongation = scipy.sparse.eye_array(mesh.n_nodes, format="csr")
    for _ in range(times):
        mesh, step = _refine_once(mesh)
        prolongation = step @ prolongation
    return mesh, scipy.sparse.csr_array(prolongation)


def _refine_once(mesh: "Mesh") -> "tuple[Mesh, scipy.sparse.csr_array]":
    kind, cells = mesh.cell_kind, mesh.cells.numpy()
    prolongation, first = _prolongation(mesh)
    points = prolongation @ mesh.points.numpy()
    local = [cells, first["edge"] + mesh.cell_edges.numpy()]
    if kind.name == "hexahedron":
        local.append(first["face"] + mesh.cell_facets.numpy())
    if not kind.simplex:
        local.append(first["cell"] + np.arange(len(cells))[:, None])
    nodes = np.concatenate(local, axis=1)
    if kind.name == "tetra":
        children = _tetra_children(points, nodes)
    else:
        children = nodes[:, _CHILDREN[kind.name]]
    fine = type(mesh)(points, children.reshape(-1, kind.n_vertices), kind.name, allow_duplicates=mesh.allow_duplicates)
    boundaries = {name: _facet_children(mesh, fine, facets, first) for name, facets in mesh.boundaries.items()}
    per_cell = np.arange(children.shape[1])
    regions = {
        name: (zone.numpy()[:, None] * len(per_cell) + per_cell).reshape(-1) for name, zone in mesh.regions.items()
    }
    return fine.with_names(boundaries, regions), prolongation


def _prolongation(mesh: "Mesh") -> tuple[scipy.sparse.csr_array, dict[str, int]]:
    """The averages that make the new nodes, and the number of the first node of each sort."""
    sorts = [("vertex", np.arange(mesh.n_nodes)[:, None]), ("edge", mesh.edges.numpy())]
    if mesh.kind == "hexahedron":
        sorts.append(("face", mesh.facets.numpy()))
    if not mesh.cell_kind.simplex:
        sorts.append(("cell", mesh.cells.numpy()))
    first, count = {}, 0
    for name, parents in sorts:
        first[name] = count
        count += len(parents)
    widths = np.concatenate([np.full(len(parents), parents.shape[1]) for _, parents in sorts])
    indptr = np.concatenate([[0], np.cumsum(widths)])
    indices = np.concatenate([parents.reshape(-1) for _, parents in sorts])
    matrix = scipy.sparse.csr_array((np.repeat(1 / widths, widths), indices, indptr), shape=(count, mesh.n_nodes))
    matrix.sort_indices()
    return matrix, first


def _facet_children(mesh: "Mesh", fine: "Mesh", facets: Tensor, first: dict[str, int]) -> Tensor:
    nodes = mesh.facets[facets].numpy()
    if nodes.shape[1] == 1:
        return fine.find_facets(nodes)
    kind = KINDS[mesh.cell_kind.facet_kind]
    pairs = nodes[:, kind.edges].reshape(-1, 2)
    local = [nodes, first["edge"] + mesh.find_edges(pairs).numpy().reshape(len(nodes), -1)]
    if kind.name == "quad":
        local.append(first["face"] + facets.numpy()[:, None])
    children = np.concatenate(local, axis=1)[:, _CHILDREN[kind.name]]
    return fine.find_facets(children.reshape(-1, nodes.shape[1]))


def _hexahedron_children() -> list[list[int]]:
    """Children in the lattice of 27 nodes: vertices, then edges, faces and the centre, found by their coordinates."""
    kind = KINDS["hexahedron"]
    places = [
        kind.corners,
        kind.corners[kind.edges].mean(axis=1),
        kind.corners[kind.facets].mean(axis=1),
        kind.corners.mean(axis=0, keepdims=True),
    ]
    number = {tuple(place): k for k, place in enumerate(2 * np.concatenate(places))}
    return [[number[tuple(child + corner)] for corner in kind.corners] for child in kind.corners]


# Local nodes: the vertices, the midpoints of the edges, (of a hexahedron's faces,) of the cell.
_CHILDREN: dict[str, IntArray] = {
    "line": np.array([[0, 2], [2, 1]]),
    "triangle": np.array([[0, 3, 5], [3, 1, 4], [5, 4, 2], [3, 4, 5]]),
    "quad": np.array([[0, 4, 8, 7], [4, 1, 5, 8], [8, 5, 2, 6], [7, 8, 6, 3]]),
    "hexahedron": np.array(_hexahedron_children()),
}


def _tetra_tables() -> IntArray:
    """``(3 diagonals, 8 children, 4)`` local nodes; edges are numbered 4..9 as in ``KINDS``."""
    kind = KINDS["tetra"]
    places = np.concatenate([kind.corners, kind.corners[kind.edges].mean(axis=1)])
    e01, e12, e02, e03, e13, e23 = range(4, 10)
    corners = [[0, e01, e02, e03], [e01, 1, e12, e13], [e02, e12, 2, e23], [e03, e13, e23, 3]]
    tables = []
    for (p, q), ring in (
        ((e01, e23), (e02, e03, e13, e12)),
        ((e02, e13), (e01, e03, e23, e12)),
        ((e03, e12), (e01, e02, e23, e13)),
    ):
        inner = [[p, q, a, b] for a, b in itertools.pairwise((*ring, ring[0]))]
        for child in inner:
            if np.linalg.det(places[child[1:]] - places[child[0]]) < 0:
                child[2], child[3] = child[3], child[2]
        tables.append(corners + inner)
    return np.array(tables)


_TETRA_TABLES = _tetra_tables()


def _tetra_children(points: FloatArray, nodes: IntArray) -> IntArray:
    def squares(of: IntArray, pairs: IntArray) -> FloatArray:
        return ((points[of[:, pairs[..., 0]]] - points[of[:, pairs[..., 1]]]) ** 2).sum(axis=-1)

    lengths = squares(nodes, _TETRA_TABLES[:, 4, :2])
    shortest = lengths <= lengths.min(axis=1, keepdims=True) * (1 + 1e-9)
    choice = np.argmax(shortest, axis=1)
    # Between diagonals of one length, the one whose largest child is smallest, up to rounding always the first.
    tied = np.flatnonzero(shortest.sum(axis=1) > 1)
    edges = _TETRA_TABLES[:, 4:][:, :, KINDS["tetra"].edges]
    sizes = np.stack([squares(nodes[tied], edges[d]).sum(axis=-1).max(axis=-1) for d in range(3)], axis=1)
    sizes[~shortest[tied]] = np.inf  # longer diagonals
    choice[tied] = np.argmax(sizes <= sizes.min(axis=1, keepdims=True) * (1 + 1e-9), axis=1)
    children = _TETRA_TABLES[choice].reshape(len(nodes), -1)
    return np.take_along_axis(nodes, children, axis=1).reshape(-1, 8, 4)

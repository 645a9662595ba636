"""What the five kinds of cells look like, and the tables of facets and edges that follow from a list of cells."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from pdekit.core.errors import InputError

__all__ = ["KINDS", "CellKind", "Entities", "KindName", "entity_keys", "find_entities", "unique_entities"]

KindName = Literal["line", "triangle", "quad", "tetra", "hexahedron"]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class CellKind:
    """The local numbering of one kind of cell, VTK's (and meshio's) order of vertices.

    Args:
        name: meshio's name.
        dim: its dimension.
        facets: ``(facets, nodes of a facet)`` local nodes; the right-hand normal of each points outward.
        edges: ``(edges, 2)`` local nodes.
        facet_kind: meshio's name of a facet.
        corners: ``(vertices, dim)`` coordinates of the vertices in the reference cell, 0 or 1.
        plural: for messages.
    """

    name: KindName
    dim: int
    facets: IntArray
    edges: IntArray
    facet_kind: str
    corners: npt.NDArray[np.float64]
    plural: str

    @property
    def n_vertices(self) -> int:
        """Vertices of a cell."""
        return len(self.corners)

    @property
    def simplex(self) -> bool:
        """Whether the map from the reference cell is affine."""
        return self.n_vertices == self.dim + 1


def _kind(name: KindName, facets: list, edges: list, facet_kind: str, corners: list, plural: str) -> CellKind:
    tables = (np.array(facets, dtype=np.int64), np.array(edges, dtype=np.int64))
    return CellKind(name, len(corners[0]), *tables, facet_kind, np.array(corners, dtype=np.float64), plural)


KINDS: dict[str, CellKind] = {
    kind.name: kind
    for kind in (
        _kind("line", [[0], [1]], [[0, 1]], "vertex", [[0], [1]], "lines"),
        _kind(
            "triangle", [[0, 1], [1, 2], [2, 0]], [[0, 1], [1, 2], [2, 0]], "line",
            [[0, 0], [1, 0], [0, 1]], "triangles",
        ),
        _kind(
            "quad", [[0, 1], [1, 2], [2, 3], [3, 0]], [[0, 1], [1, 2], [2, 3], [3, 0]], "line",
            [[0, 0], [1, 0], [1, 1], [0, 1]], "quads",
        ),
        _kind(
            "tetra", [[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]],
            [[0, 1], [1, 2], [2, 0], [0, 3], [1, 3], [2, 3]], "triangle",
            [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], "tetrahedra",
        ),
        _kind(
            "hexahedron",
            [[0, 3, 2, 1], [4, 5, 6, 7], [0, 1, 5, 4], [1, 2, 6, 5], [2, 3, 7, 6], [3, 0, 4, 7]],
            [[0, 1], [1, 2], [2, 3], [3, 0], [4, 5], [5, 6], [6, 7], [7, 4], [0, 4], [1, 5], [2, 6], [3, 7]], "quad",
            [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]], "hexahedra",
        ),
    )
}  # fmt: skip


class Entities(NamedTuple):
    """The distinct facets (or edges) of a list of cells.

    Args:
        nodes: ``(entities, k)``, in the order of the cell that was met first; sorted by their keys.
        of_cell: ``(cells, per cell)`` entity numbers.
        cells: ``(entities, 2)`` the first two cells that hold the entity, -1 where there is none.
        most: cells that share the entity that is shared most.
        keys: ``(entities,)`` sorted, see :func:`entity_keys`.
    """

    nodes: IntArray
    of_cell: IntArray
    cells: IntArray
    most: int
    keys: npt.NDArray


def entity_keys(nodes: IntArray, n_nodes: int) -> npt.NDArray:
    """One sortable key for each set of nodes, whatever their order: the sorted nodes packed into an integer.

    Args:
        nodes: ``(m, k)`` node numbers.
        n_nodes: of the mesh.

    Returns:
        ``(m,)`` int64, or bytes where the numbers do not fit.
    """
    ordered = _sorted_columns(nodes)
    bits = max(1, int(n_nodes - 1).bit_length())
    if bits * len(ordered) <= 63:
        keys = ordered[0].copy()
        for column in ordered[1:]:
            keys <<= bits
            keys |= column
        return keys
    # Big-endian bytes compare like the tuples of numbers they hold.
    stacked = np.ascontiguousarray(np.stack(ordered, axis=1).astype(">i8"))
    return stacked.view(f"S{8 * len(ordered)}").reshape(-1)


def _sorted_columns(nodes: IntArray) -> list[IntArray]:
    """Columns with each row sorted, by a network of comparisons: faster than a sort of short rows."""
    columns = [nodes[:, k] for k in range(nodes.shape[1])]
    pairs = {1: (), 2: ((0, 1),), 3: ((0, 1), (1, 2), (0, 1)), 4: ((0, 1), (2, 3), (0, 2), (1, 3), (1, 2))}
    if len(columns) not in pairs:
        return list(np.sort(nodes, axis=1).T)
    for i, j in pairs[len(columns)]:
        columns[i], columns[j] = np.minimum(columns[i], columns[j]), np.maximum(columns[i], columns[j])
    return columns


def unique_entities(cells: IntArray, local: IntArray, n_nodes: int) -> Entities:
    """The distinct facets or edges of all cells.

    Args:
        cells: ``(cells, vertices)`` node numbers.
        local: ``(per cell, k)`` local nodes of each entity, of :class:`CellKind`.
        n_nodes: of the mesh.

    Returns:
        The :class:`Entities`.
    """
    per_cell, width = local.shape
    nodes = cells[:, local].reshape(-1, width)
    keys = entity_keys(nodes, n_nodes)
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.ones(len(keys), dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=starts[1:])
    places = np.flatnonzero(starts)
    of_cell = np.empty(len(keys), dtype=np.int64)
    of_cell[order] = np.cumsum(starts) - 1
    counts = np.diff(places, append=len(keys))
    first = order[places]
    owners = np.full((len(places), 2), -1, dtype=np.int64)
    owners[:, 0] = first // per_cell
    shared = counts > 1
    owners[shared, 1] = order[places[shared] + 1] // per_cell
    most = int(counts.max()) if len(counts) else 0
    return Entities(nodes[first], of_cell.reshape(-1, per_cell), owners, most, ordered[places])


def find_entities(entities: Entities, nodes: IntArray, n_nodes: int, what: str) -> IntArray:
    """Numbers of the entities with given nodes, in any order of the nodes.

    Args:
        entities: where to look.
        nodes: ``(m, k)`` node numbers.
        n_nodes: of the mesh.
        what: ``facet`` or ``edge``, for the message.

    Returns:
        ``(m,)`` entity numbers.

    Raises:
        InputError: nodes that no entity has.
    """
    keys = entity_keys(nodes, n_nodes)
    places = np.searchsorted(entities.keys, keys)
    places[places == len(entities.keys)] = 0
    missing = np.flatnonzero(entities.keys[places] != keys) if len(entities.keys) else np.arange(len(keys))
    if len(missing):
        raise InputError(
            f"{len(missing)} of {len(nodes)} {what}s are no {what}s of the mesh, the first with the nodes "
            f"{nodes[missing[0]].tolist()}; expected nodes that make one {what} of a cell."
        )
    return places

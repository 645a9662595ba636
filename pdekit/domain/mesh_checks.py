"""What makes a mesh unusable, found before anything is computed on it; every message names the elements."""

import numpy as np
import numpy.typing as npt
from torch import Tensor

from pdekit.core.errors import InputError
from pdekit.domain.topology import KINDS, CellKind, Entities, entity_keys

__all__ = [
    "as_numbers",
    "check_cells",
    "check_distinct",
    "check_facets",
    "check_nodes",
    "check_orientation",
    "corner_jacobians",
    "determinant",
    "duplicate_nodes",
    "inverted_cells",
    "kind_of",
    "listing",
    "node_table",
    "orphaned_nodes",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_FLAT = 1e-12
"""A corner whose Jacobian is below this share of (longest edge)^dim has no volume in double precision."""


def as_numbers(values: npt.ArrayLike | Tensor, dtype: type, what: str) -> np.ndarray:
    """An own, contiguous copy; refuses numbers that the type cannot hold."""
    try:
        array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
        kinds = "iu" if dtype is np.int64 else "iuf"
        if array.dtype.kind not in kinds and array.size:
            raise InputError(
                f"Mesh {what} are {array.dtype}; expected {'integers' if kinds == 'iu' else 'real numbers'}."
            )
        return np.array(array, dtype=dtype, order="C")
    except (TypeError, ValueError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"Mesh {what} are no array of numbers: {error}.") from None


def kind_of(points: FloatArray, cells: IntArray) -> str:
    """The kind of cell that has as many vertices as cells has columns, in the dimension of the points."""
    dim, columns = (array.shape[1] if array.ndim == 2 else 0 for array in (points, cells))
    for kind in KINDS.values():
        if (kind.n_vertices, kind.dim) == (columns, dim):
            return kind.name
    known = ", ".join(f"{kind.n_vertices} in {kind.dim}-D ({kind.plural})" for kind in KINDS.values())
    raise InputError(
        f"Mesh cells have the shape {cells.shape} and points {points.shape}, which is no kind of cell; expected "
        f"columns: {known}."
    )


def listing(numbers: npt.ArrayLike, most: int = 5) -> str:
    """The first few of some numbers and how many there are.

    Example:
        >>> listing(range(10), 3)
        '0, 1, 2, ... (10 in all)'
        >>> listing([7])
        '7'
    """
    array = np.asarray(numbers).reshape(-1)
    head = ", ".join(str(int(n)) for n in array[:most])
    return head if len(array) <= most else f"{head}, ... ({len(array)} in all)"


def check_nodes(points: FloatArray, cells: IntArray, kind: CellKind) -> None:
    """Refuse points that are not finite or of another dimension, and cells naming nodes that do not exist."""
    if points.ndim != 2 or points.shape[1] != kind.dim:
        raise InputError(
            f"Mesh points have the shape {points.shape}; {kind.plural} need (nodes, {kind.dim})."
            + (" Surfaces in space are not supported." if points.ndim == 2 and points.shape[1] > kind.dim else "")
        )
    if cells.ndim != 2 or cells.shape[1] != kind.n_vertices:
        raise InputError(f"Mesh cells have the shape {cells.shape}; {kind.plural} need (cells, {kind.n_vertices}).")
    if len(cells) == 0:
        raise InputError("The mesh has no cells; expected one at least.")
    bad = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if len(bad):
        raise InputError(f"Nodes {listing(bad)} have coordinates that are NaN or infinite; expected finite points.")
    low, high = int(cells.min()), int(cells.max())
    if low < 0 or high >= len(points):
        bad = np.flatnonzero(((cells < 0) | (cells >= len(points))).any(axis=1))
        raise InputError(
            f"Cells {listing(bad)} name nodes that do not exist; expected numbers from 0 to {len(points) - 1}, "
            f"but they reach from {low} to {high}" + (" (counted from 1?)." if high == len(points) else ".")
        )


def corner_jacobians(points: FloatArray, cells: IntArray, kind: CellKind) -> FloatArray:
    """Jacobian determinants ``(cells, corners)`` at the vertices of each cell; one column where they are constant."""
    x = points[cells]
    if kind.dim == 1:
        return x[:, 1, 0:1] - x[:, 0, 0:1]
    columns = [0] if kind.simplex else range(kind.n_vertices)
    out = np.empty((len(cells), len(columns)))
    for column, vertex in enumerate(columns):
        out[:, column] = determinant([x[:, n] - x[:, vertex] for n in _NEIGHBOURS[kind.name][vertex]])
    return out


# Neighbours of each vertex, in an order that makes the determinant of their directions positive.
_NEIGHBOURS = {
    "triangle": ((1, 2),),
    "quad": ((1, 3), (2, 0), (3, 1), (0, 2)),
    "tetra": ((1, 2, 3),),
    "hexahedron": (
        (1, 3, 4), (2, 0, 5), (3, 1, 6), (0, 2, 7), (7, 5, 0), (4, 6, 1), (5, 7, 2), (6, 4, 3),
    ),
}  # fmt: skip


def determinant(rows: list[FloatArray]) -> FloatArray:
    """Determinants ``(m,)`` of 2 by 2 or 3 by 3 matrices given as rows ``(m, dim)``."""
    if len(rows) == 2:
        a, b = rows
        return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    a, b, c = rows
    return (
        a[:, 0] * (b[:, 1] * c[:, 2] - b[:, 2] * c[:, 1])
        - a[:, 1] * (b[:, 0] * c[:, 2] - b[:, 2] * c[:, 0])
        + a[:, 2] * (b[:, 0] * c[:, 1] - b[:, 1] * c[:, 0])
    )


def _flat_limit(points: FloatArray, cells: IntArray, kind: CellKind) -> FloatArray:
    longest = np.zeros(len(cells))
    for i, j in kind.edges:
        np.maximum(longest, ((points[cells[:, i]] - points[cells[:, j]]) ** 2).sum(axis=1), out=longest)
    return (_FLAT * longest ** (kind.dim / 2))[:, None]


def inverted_cells(points: FloatArray, cells: IntArray, kind: CellKind) -> tuple[IntArray, IntArray, IntArray]:
    """Cells that are turned inside out, cells with folded corners, and cells with flat ones.

    Returns:
        Numbers of the cells whose corners are all inverted (another order of the nodes repairs them), of those that
        have good and inverted corners (nothing does), and of those with a corner that has no volume.
    """
    jacobians = corner_jacobians(points, cells, kind)
    limit = _flat_limit(points, cells, kind)
    flat = (np.abs(jacobians) <= limit).any(axis=1)
    negative = jacobians < -limit
    turned = negative.all(axis=1)
    folded = negative.any(axis=1) & ~turned & ~flat
    return np.flatnonzero(turned), np.flatnonzero(folded), np.flatnonzero(flat)


def node_table(nodes: npt.ArrayLike | Tensor, entities: Entities, what: str) -> IntArray:
    """Node numbers ``(m, k)`` of facets or edges; refuses other shapes and what is no integer."""
    array, width = as_numbers(nodes, np.int64, f"nodes of {what}s"), entities.nodes.shape[1]
    if array.size == 0:
        return array.reshape(0, width)
    if array.ndim != 2 or array.shape[1] != width:
        raise InputError(f"The nodes of {what}s have the shape {array.shape}; expected (m, {width}).")
    return array


def check_orientation(points: FloatArray, cells: IntArray, kind: CellKind) -> None:
    """Refuse cells that are degenerate, folded or inverted."""
    turned, folded, flat = inverted_cells(points, cells, kind)
    if len(flat):
        where = "no volume" if kind.simplex else "a corner with no volume"
        raise InputError(
            f"{_cells(kind, flat)} {listing(flat)} degenerate: {where} (the first has the nodes "
            f"{cells[flat[0]].tolist()}); expected distinct nodes in general position. Remove such cells."
        )
    if len(folded):
        raise InputError(
            f"{_cells(kind, folded)} {listing(folded)} inverted at some corners and not at others (the first has the "
            f"nodes {cells[folded[0]].tolist()}); expected convex cells with VTK's order of vertices."
        )
    if len(turned):
        order = {1: "from left to right", 2: "counter-clockwise", 3: "so that the volume is positive"}[kind.dim]
        raise InputError(
            f"{_cells(kind, turned)} {listing(turned)} inverted (the first has the nodes "
            f"{cells[turned[0]].tolist()}); expected vertices {order}, in VTK's order. "
            "Mesh.read(..., reorient=True) turns them when a file is read."
        )


def _cells(kind: CellKind, numbers: IntArray) -> str:
    return "Cell" if len(numbers) == 1 else kind.plural.capitalize()


def orphaned_nodes(n_nodes: int, cells: IntArray) -> IntArray:
    """Nodes of no cell."""
    used = np.zeros(n_nodes, dtype=bool)
    used[cells.reshape(-1)] = True
    return np.flatnonzero(~used)


def duplicate_nodes(points: FloatArray) -> IntArray:
    """Pairs ``(m, 2)`` of nodes at one place, the lower number first.

    One place means within rounding of the coordinates. Nodes are sorted along a direction that no regular mesh is
    aligned with, so that only neighbours in that order can coincide.
    """
    if len(points) < 2:
        return np.empty((0, 2), dtype=np.int64)
    low, high = points.min(axis=0), points.max(axis=0)
    tolerance = 1e-12 * float(np.linalg.norm(high - low)) + 4e-16 * float(np.abs(points).max())
    along = (points - low) @ np.array([1.0, 0.6180339887, 0.4142135624])[: points.shape[1]]
    order = np.argsort(along)
    pairs, step = [], 1
    while step < len(order):
        near = np.flatnonzero(along[order[step:]] - along[order[:-step]] <= 2 * tolerance)
        if len(near) == 0:
            break
        i, j = order[near], order[near + step]
        same = np.abs(points[i] - points[j]).max(axis=1) <= tolerance
        pairs.append(np.sort(np.stack([i[same], j[same]], axis=1), axis=1))
        step += 1
    found = np.concatenate(pairs) if pairs else np.empty((0, 2), dtype=np.int64)
    return found[np.lexsort((found[:, 1], found[:, 0]))]


def check_cells(points: FloatArray, cells: IntArray, *, allow_duplicates: bool) -> None:
    """Refuse nodes of no cell and, unless allowed, two nodes at one place."""
    orphans = orphaned_nodes(len(points), cells)
    if len(orphans):
        raise InputError(
            f"Nodes {listing(orphans)} are orphaned: no cell has them, so that their equations would be empty. "
            "Mesh.read(..., drop_orphans=True) leaves them out when a file is read."
        )
    if allow_duplicates:
        return
    pairs = duplicate_nodes(points)
    if len(pairs):
        i, j = pairs[0]
        raise InputError(
            f"{len(pairs)} pair{'s' * (len(pairs) > 1)} of nodes lie at one place, the first being {i} and {j} at "
            f"{points[i].tolist()}: the mesh is torn there. Mesh.read(..., merge_duplicates=True) joins them when a "
            "file is read; a crack that is meant to be open needs allow_duplicates=True."
        )


def check_distinct(cells: IntArray, n_nodes: int) -> None:
    """Refuse cells with the same nodes, in whatever order."""
    keys = entity_keys(cells, n_nodes)
    ordered = np.sort(keys)
    if not (ordered[1:] == ordered[:-1]).any():
        return
    order = np.argsort(keys, kind="stable")
    twice = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
    i, j = order[twice[0]], order[twice[0] + 1]
    raise InputError(
        f"{len(twice)} cell{'s' * (len(twice) > 1)} given twice, the first as cells {i} and {j} with the nodes "
        f"{cells[j].tolist()}; expected distinct cells, as what lies on them would be counted twice."
    )


def check_facets(facets: Entities, cells: IntArray, kind: CellKind) -> None:
    """Refuse facets that belong to more than two cells, and neighbours on the same side of their facet."""
    if facets.most > 2:
        counts = np.bincount(facets.of_cell.reshape(-1), minlength=len(facets.nodes))
        bad = int(np.argmax(counts > 2))
        owners = np.flatnonzero((facets.of_cell == bad).any(axis=1))
        raise InputError(
            f"{int((counts > 2).sum())} facets belong to more than two cells, the first (nodes "
            f"{facets.nodes[bad].tolist()}) to the cells {listing(owners)}; expected cells that do not overlap. "
            "Is a cell given twice?"
        )
    bad = _same_side(facets, cells, kind)
    if len(bad):
        i, j = facets.cells[bad[0]].tolist()
        raise InputError(
            f"Cells {i} and {j} overlap: both lie on one side of the facet with the nodes "
            f"{facets.nodes[bad[0]].tolist()} ({len(bad)} such facet{'s' * (len(bad) > 1)}); expected cells that meet "
            "from both sides. Is the mesh folded?"
        )


def _same_side(facets: Entities, cells: IntArray, kind: CellKind) -> IntArray:
    """Facets that both of their cells see with the same orientation."""
    shared = np.flatnonzero(facets.cells[:, 1] >= 0)
    local = [np.argmax(facets.of_cell[facets.cells[shared, side]] == shared[:, None], axis=1) for side in (0, 1)]
    if kind.dim == 1:
        return shared[local[0] == local[1]]
    first = facets.nodes[shared]
    second = cells[facets.cells[shared, 1][:, None], kind.facets[local[1]]]
    same = np.zeros(len(shared), dtype=bool)
    width = first.shape[1]
    for turn in range(1 if width == 2 else width):
        same |= (first == np.roll(second, turn, axis=1)).all(axis=1)
    return shared[same]

"""From what a mesh file holds, whatever its format, to a :class:`Mesh`."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse

from pdekit.core.errors import InputError
from pdekit.domain.mesh import Mesh
from pdekit.domain.mesh_checks import duplicate_nodes, inverted_cells, listing, orphaned_nodes
from pdekit.domain.topology import KINDS, CellKind

__all__ = ["MeshContents", "NamedCells", "Repairs", "to_mesh"]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


class NamedCells(NamedTuple):
    """A named set of cells of any dimension.

    Args:
        name: of the set.
        members: numbers within each block, by the number of the block.
    """

    name: str
    members: dict[int, IntArray]


class MeshContents(NamedTuple):
    """What a mesh file holds.

    Args:
        points: ``(nodes, 1..3)``.
        blocks: meshio's name of a kind and ``(cells, nodes)``, in the order of the file.
        sets: named cells and facets.
        node_sets: node numbers by name.
    """

    points: FloatArray
    blocks: list[tuple[str, IntArray]]
    sets: list[NamedCells]
    node_sets: dict[str, IntArray]


class Repairs(NamedTuple):
    """What the caller allows, see :meth:`Mesh.read`."""

    drop_orphans: bool = False
    merge_duplicates: bool = False
    reorient: bool = False
    straighten: bool = False
    unnamed: bool = False


# Cells of second order: the straight cell with their corners. The corners come first in all of them.
_STRAIGHT = {
    "line3": "line", "triangle6": "triangle", "triangle7": "triangle", "quad8": "quad", "quad9": "quad",
    "tetra10": "tetra", "hexahedron20": "hexahedron", "hexahedron24": "hexahedron", "hexahedron27": "hexahedron",
}  # fmt: skip
_DIMENSIONS = {"vertex": 0, **{name: kind.dim for name, kind in KINDS.items()}}
_FLIPS = {
    "line": [1, 0], "triangle": [0, 2, 1], "quad": [0, 3, 2, 1], "tetra": [0, 2, 1, 3],
    "hexahedron": [4, 5, 6, 7, 0, 1, 2, 3],
}  # fmt: skip


def to_mesh(contents: MeshContents, repairs: Repairs) -> Mesh:
    """Cells of the highest dimension become the mesh, those of one less its boundaries, names their names.

    Raises:
        InputError: what :class:`Mesh` refuses, and whatever keeps the contents from being one.
    """
    _check_numbers(contents)
    blocks = _straight_blocks(contents.blocks, repairs.straighten)
    dim = max((_DIMENSIONS[kind] for kind, nodes in blocks if len(nodes)), default=0)
    if dim == 0:
        raise InputError("it holds no cells; expected lines, triangles, quads, tetrahedra or hexahedra")
    chosen = [k for k, (kind, nodes) in enumerate(blocks) if _DIMENSIONS[kind] == dim and len(nodes)]
    kind = _one_kind(blocks, chosen)
    cells = np.concatenate([blocks[k][1] for k in chosen])
    points, cells, renumber = _repaired_nodes(contents.points, cells, kind, repairs)
    cells = _oriented(points, cells, kind, repairs.reorient)
    mesh = Mesh(points, cells, kind.name)
    boundaries, regions = {}, {}
    offsets = dict(zip(chosen, np.cumsum([0, *(len(blocks[k][1]) for k in chosen[:-1])]), strict=True))
    for name, members in contents.sets:
        inside = [offsets[k] + numbers for k, numbers in members.items() if k in offsets and len(numbers)]
        if inside:
            regions[name] = np.unique(np.concatenate([regions.get(name, inside[0]), *inside]))
        facets = [blocks[k][1][n] for k, n in members.items() if _DIMENSIONS[blocks[k][0]] == dim - 1 and len(n)]
        if facets:
            found = _facet_numbers(mesh, name, renumber[np.concatenate(facets)])
            boundaries[name] = np.unique(np.concatenate([boundaries.get(name, found), found]))
    for name, nodes in contents.node_sets.items():
        found = _facets_of_nodes(mesh, renumber[nodes])
        if len(found):
            boundaries.setdefault(name, found)
    if not boundaries and not repairs.unnamed:
        raise InputError(
            f"no part of its boundary has a name: the {len(mesh.boundary('all'))} {_facet_plural(kind)} on it are in "
            'no physical group or set, and conditions are given by name. In Gmsh: Physical Curve("wall") = {1, 2}; '
            "(Physical Surface in 3-D). Or Mesh.read(..., unnamed=True) and mesh.with_boundary(name, where)"
        )
    return mesh.with_names(boundaries, regions)


def _check_numbers(contents: MeshContents) -> None:
    count = len(contents.points)
    if count == 0:
        raise InputError("it holds no nodes: is it of the format that its extension names?")
    if contents.points.ndim != 2 or not 1 <= contents.points.shape[1] <= 3:
        raise InputError(f"its points have the shape {contents.points.shape}; expected (nodes, 1 to 3)")
    for kind, nodes in contents.blocks:
        bad = np.flatnonzero(((nodes < 0) | (nodes >= count)).any(axis=1))
        if len(bad):
            raise InputError(f"its {kind} cells {listing(bad)} name nodes that do not exist (it holds {count})")


def _facet_plural(kind: CellKind) -> str:
    return "points" if kind.dim == 1 else KINDS[kind.facet_kind].plural


def _straight_blocks(blocks: list[tuple[str, IntArray]], straighten: bool) -> list[tuple[str, IntArray]]:
    straight = []
    for number, (kind, nodes) in enumerate(blocks):
        if kind in _STRAIGHT:
            corner_kind = _STRAIGHT[kind]
            if not straighten:
                raise InputError(
                    f"its {len(nodes)} cells of block {number} are {kind}, second-order cells that may be curved; "
                    "cells here are straight. Mesh again with first order (gmsh -order 1), or Mesh.read(..., "
                    "straighten=True) keeps their corners only (P2 needs no such mesh, it makes its own midpoints)"
                )
            kind, nodes = corner_kind, nodes[:, : KINDS[corner_kind].n_vertices]
        elif kind not in _DIMENSIONS and len(nodes):
            raise InputError(f"its {len(nodes)} cells of block {number} are {kind}; expected {', '.join(KINDS)}")
        if kind in _DIMENSIONS:
            straight.append((kind, nodes))
        else:
            straight.append(("vertex", np.empty((0, 1), dtype=np.int64)))
    return straight


def _one_kind(blocks: list[tuple[str, IntArray]], chosen: list[int]) -> CellKind:
    kinds: dict[str, list[int]] = {}
    for k in chosen:
        kinds.setdefault(blocks[k][0], []).append(k)
    if len(kinds) > 1:
        starts = np.cumsum([0, *(len(nodes) for _, nodes in blocks)])
        parts = " and ".join(
            f"{sum(len(blocks[k][1]) for k in where)} {KINDS[name].plural} (from element {starts[where[0]]} on)"
            for name, where in kinds.items()
        )
        raise InputError(
            f"its cells are of mixed types: {parts}; expected one. In Gmsh: recombine all surfaces, or none"
        )
    return KINDS[next(iter(kinds))]


def _repaired_nodes(points: FloatArray, cells: IntArray, kind: CellKind, repairs: Repairs):
    """Points of the dimension of the mesh, its cells, and the new number of each node of the file (-1: left out)."""
    points = np.asarray(points, dtype=np.float64)
    renumber = np.arange(len(points))
    keep = np.ones(len(points), dtype=bool)
    if repairs.drop_orphans or repairs.straighten:
        keep[orphaned_nodes(len(points), cells)] = False
    flat = _without_constant_coordinates(points, keep, kind)
    if repairs.merge_duplicates and np.isfinite(flat).all():
        pairs = duplicate_nodes(flat)
        graph = scipy.sparse.coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(points),) * 2)
        _, label = scipy.sparse.csgraph.connected_components(graph, directed=False)
        _, first = np.unique(label, return_index=True)
        renumber = first[label]
        # The first of a group stands for it as soon as any of the group is kept, itself or not.
        keep = np.bincount(renumber[keep], minlength=len(points)) > 0
    place = np.where(keep, np.cumsum(keep) - 1, -1)
    renumber = place[renumber]
    return flat[keep], renumber[cells], renumber


def _without_constant_coordinates(points: FloatArray, used: npt.NDArray[np.bool_], kind: CellKind) -> FloatArray:
    if points.shape[1] <= kind.dim or not used.any():
        return points
    spread = np.ptp(points[used], axis=0) if np.isfinite(points).all() else np.zeros(points.shape[1])
    flat = spread <= 1e-9 * spread.max()
    if flat[kind.dim :].all():
        return np.ascontiguousarray(points[:, : kind.dim])
    varying = [axis for axis, constant in zip("xyz", flat, strict=False) if not constant]
    wanted = "x alone" if kind.dim == 1 else "x and y alone"
    raise InputError(
        f"its {kind.plural} vary along {', '.join(varying)}; expected {wanted}, with the others constant: surfaces and "
        "curves in space are not supported"
    )


def _oriented(points: FloatArray, cells: IntArray, kind: CellKind, reorient: bool) -> IntArray:
    """Cells turned where that is wanted, where all are turned (then it is the convention of the file), and simplices.

    The order of the nodes of a simplex says nothing but on which side it is seen from; boundaries are found by the
    nodes of their facets.
    """
    if not np.isfinite(points).all():
        return cells
    turned, _, _ = inverted_cells(points, cells, kind)
    if len(turned) and (reorient or kind.simplex or len(turned) == len(cells)):
        cells = cells.copy()
        cells[turned] = cells[turned][:, _FLIPS[kind.name]]
    return cells


def _facet_numbers(mesh: Mesh, name: str, nodes: IntArray) -> IntArray:
    try:
        return mesh.find_facets(nodes).numpy()
    except InputError as error:
        raise InputError(f"its boundary {name!r} does not fit its cells: {error}") from None


def _facets_of_nodes(mesh: Mesh, nodes: IntArray) -> IntArray:
    """Boundary facets all of whose nodes are in a set."""
    mask = np.zeros(mesh.n_nodes, dtype=bool)
    mask[nodes[nodes >= 0]] = True
    facets = mesh.boundary("all").numpy()
    return facets[mask[mesh.facets.numpy()[facets]].all(axis=1)]

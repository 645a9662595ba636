"""Columns over aggregates of unknowns that reproduce what a matrix nearly annihilates."""

import math

import numpy as np
import scipy.sparse

from pdekit.solvers.operators.csr import CSR
from pdekit.solvers.operators.pattern import Pattern

__all__ = ["aggregates"]


def aggregates(A: CSR, aggregate: int) -> scipy.sparse.csr_array:
    """Orthonormal columns, each over the unknowns of one aggregate, whose span contains the near null space.

    Where the points of the matrix's geometry, or its pattern, are a box-shaped lattice, aggregates are boxes: of 8 x 8
    nodes for 64. Otherwise neighbours in the graph of the matrix are joined, and these aggregates again.

    Args:
        A: with a symmetric pattern.
        aggregate: of about so many nodes one is made.

    Returns:
        ``(n, columns)``, by aggregates.
    """
    from pdekit.kernels.sparse.aggregation import fit_columns  # compiled code is loaded on first use
    from pdekit.solvers.amg.hierarchy import near_nullspace, nodes_of

    nodes = nodes_of(A)
    group = _boxes(A, aggregate)
    if group is None:
        group = _joined(A.pattern, nodes, aggregate)
    near = near_nullspace(A)
    near = np.ones((A.shape[0], 1)) if near is None else np.ascontiguousarray(near)
    members = np.argsort(group, kind="stable").astype(np.int32)
    sizes = np.bincount(group)
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    (n, k), groups = near.shape, len(sizes)
    column, value = np.empty((n, k), dtype=np.int32), np.empty((n, k))
    count = np.empty(groups, dtype=np.int32)
    columns = fit_columns(members, starts, near, 1e-8, column, value, np.zeros((groups * k, k)), count)
    used = np.arange(k) < np.repeat(count, sizes)[:, None]
    rows = np.broadcast_to(members[:, None], (n, k))[used]
    return scipy.sparse.coo_array((value[used], (rows, column[used])), shape=(n, columns)).tocsr()


def _boxes(A: CSR, aggregate: int) -> np.ndarray | None:
    """The box of each unknown on a lattice; None where there is no lattice to be seen."""
    places = _lattice_of_points(A) if A.geometry is not None else _lattice_of_pattern(A.pattern)
    if places is None:
        return None
    width = max(1, round(aggregate ** (1 / len(places))))
    # Boxes of equal sizes: a last one of a few nodes would hardly help.
    boxes = [(axis, max(1, round((axis.max() + 1) / width))) for axis in places]
    group = np.zeros(A.shape[0], dtype=np.int64)
    for axis, count in boxes:
        group = group * count + axis * count // (axis.max() + 1)
    return group


def _lattice_of_points(A: CSR) -> list[np.ndarray] | None:
    """Where each unknown is on each axis of a lattice that its points fill."""
    assert A.geometry is not None
    points = A.geometry.points.detach().cpu().numpy()
    axes = [np.unique(coordinates, return_inverse=True) for coordinates in points.T]
    components = int(A.geometry.component.max()) + 1 if len(points) else 1
    filled = math.prod(len(values) for values, _ in axes) * components == len(points)
    return [place for _, place in axes] if filled else None


def _lattice_of_pattern(pattern: Pattern) -> list[np.ndarray] | None:
    """Where each unknown is on each axis of a lattice, numbered row by row, whose neighbours the pattern couples."""
    indptr, indices = pattern.arrays
    rows = np.repeat(np.arange(pattern.n), np.diff(indptr))
    offsets = np.flatnonzero(np.bincount(np.maximum(indices - rows, 0)))[1:].tolist()
    sizes = [*offsets[1:], pattern.n]
    if not 0 < len(offsets) <= 3 or offsets[0] != 1 or any(b % a for a, b in zip(offsets, sizes, strict=True)):
        return None
    number = np.arange(pattern.n)
    return [number // stride % (size // stride) for stride, size in zip(offsets[::-1], sizes[::-1], strict=True)]


def _joined(pattern: Pattern, nodes: np.ndarray | None, aggregate: int) -> np.ndarray:
    """Aggregates by the pattern: neighbours are joined, then these aggregates, until one holds about so many nodes."""
    from pyamg.aggregation.aggregate import standard_aggregation

    indptr, indices = pattern.arrays
    group = np.arange(pattern.n) if nodes is None else nodes.astype(np.int64)
    graph = scipy.sparse.csr_array((np.ones(pattern.nnz), indices, indptr), shape=(pattern.n, pattern.n))
    count = finest = int(group.max(initial=-1)) + 1
    graph = _quotient(graph, group, count)
    while count > 1:
        owner = standard_aggregation(graph)[0].tocoo()
        of_node = np.full(count, -1, dtype=np.int64)
        of_node[owner.row] = owner.col
        # Nodes without neighbours belong to none; each is one by itself.
        alone = np.flatnonzero(of_node < 0)
        fewer = int(of_node.max(initial=-1)) + 1
        of_node[alone] = fewer + np.arange(len(alone))
        fewer += len(alone)
        if fewer == count or abs(math.log(finest / fewer / aggregate)) > abs(math.log(finest / count / aggregate)):
            break
        graph, group, count = _quotient(graph, of_node, fewer), of_node[group], fewer
    return group


def _quotient(graph: scipy.sparse.csr_array, group: np.ndarray, count: int) -> scipy.sparse.csr_array:
    """The graph whose nodes are groups of those of another."""
    coo = graph.tocoo()
    ones = np.ones(coo.nnz)
    return scipy.sparse.coo_array((ones, (group[coo.row], group[coo.col])), shape=(count, count)).tocsr()

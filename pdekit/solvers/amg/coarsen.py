"""Which unknowns of a level are coarse, or which are aggregated; by PyAMG's algorithms."""

from typing import NamedTuple

import numpy as np
import scipy.sparse

from pdekit.kernels.sparse.aggregation import fit_columns
from pdekit.kernels.sparse.galerkin import product_pattern
from pdekit.kernels.sparse.interpolation import Interpolation, interpolation_pattern

__all__ = ["Aggregates", "Splitting", "aggregate", "split"]

_SHRINK = 0.9
"""A coarser level with more than this part of the unknowns is not worth having."""


class Splitting(NamedTuple):
    """Coarse and fine unknowns, and how the fine ones are interpolated."""

    coarse: np.ndarray
    """(n,) bool"""
    pattern: Interpolation


class Aggregates(NamedTuple):
    """Columns T over aggregates, and the pattern of P, which smoothing makes of them."""

    t_ptr: np.ndarray
    """(n + 1,) int32, rows of T"""
    values: np.ndarray
    """entries of T"""
    indptr: np.ndarray
    """(n + 1,) int32, rows of P"""
    indices: np.ndarray
    """int32 columns of P"""
    slot: np.ndarray
    """for each product a_ij t_jl, in order, where it goes in row i of P"""
    home: np.ndarray
    """where each entry of T lies in its row of P"""
    near: np.ndarray
    """(columns, k) the near null space in terms of the columns"""
    nodes: np.ndarray
    """(columns,) int32, the aggregate of each column"""
    group: np.ndarray
    """(n,) int32, the aggregate of each unknown, -1 for none"""


def split(matrix: scipy.sparse.csr_array, theta: float) -> Splitting | None:
    """Ruge-Stuben splitting with the second pass, and the pattern of classical interpolation.

    Args:
        matrix: with columns in order and the diagonal stored.
        theta: an entry is a strong connection if it is negative and of at least this part of the size of the most
            negative one of its row.

    Returns:
        None where the matrix cannot be coarsened.
    """
    from pyamg.classical.split import RS

    sizes = np.where(matrix.data < 0, _off_diagonal(matrix), 0.0)
    largest = np.maximum.reduceat(sizes, matrix.indptr[:-1])
    strong = (sizes > 0) & (sizes >= theta * np.repeat(largest, np.diff(matrix.indptr)))
    coarse = RS(_graph(matrix, strong), second_pass=True).astype(bool)
    if not 0 < coarse.sum() <= _SHRINK * len(coarse):
        return None
    return Splitting(coarse, interpolation_pattern(matrix.indptr, matrix.indices, strong, coarse))


def aggregate(
    matrix: scipy.sparse.csr_array, theta: float, near: np.ndarray | None, nodes: np.ndarray | None
) -> Aggregates | None:
    """Aggregates of nodes, and columns over them that reproduce the near null space.

    Args:
        matrix: with columns in order and the diagonal stored.
        theta: two nodes are strongly connected if the block between them is at least this part of the geometric mean of
            their diagonal blocks, in the Frobenius norm.
        near: ``(n, k)``; None for constants.
        nodes: ``(n,)`` int32, the node of each unknown; None where each is one.

    Returns:
        None where the matrix cannot be coarsened.
    """
    from pyamg.aggregation.aggregate import standard_aggregation

    n = len(matrix.indptr) - 1
    blocks = matrix if nodes is None else _blocks(matrix, nodes)
    sizes, root = np.abs(blocks.data), np.sqrt(np.abs(blocks.diagonal()))
    rows = _rows(blocks)
    strong = (sizes >= theta * root[rows] * root[blocks.indices]) & (_off_diagonal(blocks) > 0)
    if not strong.any():
        return None
    owner = standard_aggregation(_graph(blocks, strong))[0].tocoo()
    of_node = np.full(len(root), -1, dtype=np.int32)
    of_node[owner.row] = owner.col
    mine = of_node if nodes is None else of_node[nodes]
    members = np.flatnonzero(mine >= 0)
    members = members[np.argsort(mine[members], kind="stable")].astype(np.int32)
    groups = int(of_node.max()) + 1
    starts = np.concatenate([[0], np.cumsum(np.bincount(mine[members], minlength=groups))]).astype(np.int32)
    near = np.ones((n, 1)) if near is None else np.ascontiguousarray(near)
    k = near.shape[1]
    column, value = np.empty((len(members), k), dtype=np.int32), np.empty((len(members), k))
    fitted, count = np.zeros((groups * k, k)), np.empty(groups, dtype=np.int32)
    columns = fit_columns(members, starts, near, 1e-8, column, value, fitted, count)
    if not 0 < columns <= _SHRINK * n:
        return None
    used = np.arange(k) < np.repeat(count, np.diff(starts))[:, None]
    width = np.zeros(n, dtype=np.int64)
    width[members] = used.sum(1)
    t_ptr = np.concatenate([[0], np.cumsum(width)]).astype(np.int32)
    order = np.argsort(members, kind="stable")
    t_ind, values = column[order][used[order]], value[order][used[order]]
    product = product_pattern(matrix.indptr, matrix.indices, t_ptr, t_ind, columns)
    p_ptr = np.concatenate([[0], np.cumsum(product.width)]).astype(np.int32)
    of_column = np.repeat(np.arange(groups), count).astype(np.int32)
    return Aggregates(
        t_ptr, values, p_ptr, product.columns, product.slot, product.home, fitted[:columns],
        of_column, mine,
    )  # fmt: skip


def _rows(matrix: scipy.sparse.csr_array) -> np.ndarray:
    """The row of each entry."""
    return np.repeat(np.arange(len(matrix.indptr) - 1), np.diff(matrix.indptr))


def _off_diagonal(matrix: scipy.sparse.csr_array) -> np.ndarray:
    """Sizes of entries, 0 on the diagonal."""
    return np.where(_rows(matrix) == matrix.indices, 0.0, np.abs(matrix.data))


def _graph(matrix: scipy.sparse.csr_array, strong: np.ndarray) -> scipy.sparse.csr_array:
    starts = np.concatenate([[0], np.cumsum(strong)])[matrix.indptr].astype(np.int32)
    return scipy.sparse.csr_array((np.ones(starts[-1]), matrix.indices[strong], starts), shape=matrix.shape)


def _blocks(matrix: scipy.sparse.csr_array, nodes: np.ndarray) -> scipy.sparse.csr_array:
    """Frobenius norms of the blocks between nodes."""
    count = int(nodes.max()) + 1
    rows = nodes[_rows(matrix)]
    summed = scipy.sparse.coo_array((matrix.data**2, (rows, nodes[matrix.indices])), shape=(count, count)).tocsr()
    summed.data = np.sqrt(summed.data)
    summed.sort_indices()
    return summed

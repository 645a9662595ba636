"""Matrices scaled to a unit diagonal, which networks see in place of entries in any units."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pdekit.learned.algebra import symmetric
from pdekit.learned.graphs import MatrixGraph

__all__ = ["beside_diagonal", "bounded", "lengths", "roots", "row_sums", "scaled_entries"]


def roots(graph: MatrixGraph) -> Float[Tensor, " nodes"]:
    """The roots of the diagonal, sqrt(a_ii)."""
    return graph.entries.index_select(0, graph.diagonal).sqrt()


def scaled_entries(graph: MatrixGraph) -> Float[Tensor, " edges"]:
    """a_ij / sqrt(a_ii a_jj): the same for every matrix S A S with a diagonal S, and 1 on the diagonal.

    Example:
        >>> import scipy.sparse
        >>> from pdekit.solvers import CSR
        >>> graph = MatrixGraph.of(CSR.from_scipy(scipy.sparse.csr_array([[4.0, -1.0], [-1.0, 1.0]])))
        >>> scaled_entries(graph).tolist(), row_sums(graph).tolist()
        ([1.0, -0.5, 1.0], [0.75, 0.0])
    """
    root = roots(graph)
    return graph.entries / (root.index_select(0, graph.rows) * root.index_select(0, graph.cols))


def row_sums(graph: MatrixGraph) -> Float[Tensor, " nodes"]:
    """The sum of each row over its diagonal entry: for diffusion 0 inside, more beside Dirichlet walls and for mass."""
    diagonal = graph.entries.index_select(0, graph.diagonal)
    return symmetric(graph, graph.entries, torch.ones_like(diagonal)) / diagonal


def beside_diagonal(graph: MatrixGraph) -> Int[Tensor, " others"]:
    """The numbers of the edges that are no loops."""
    return torch.nonzero_static(graph.rows != graph.cols, size=graph.edges - graph.nodes)[:, 0]


def lengths(graph: MatrixGraph) -> Float[Tensor, " edges"]:
    """The length of each edge over the mean of its matrix; 0 where the matrices do not tell."""
    if graph.points is None:
        return torch.zeros_like(graph.entries)
    ends = graph.points.index_select(0, graph.rows) - graph.points.index_select(0, graph.cols)
    length = torch.linalg.vector_norm(ends, dim=-1)
    owner = graph.owner.index_select(0, graph.rows)
    zeros = length.new_zeros(graph.count)
    total, number = (zeros.index_add(0, owner, part) for part in (length, (length > 0).to(length.dtype)))
    mean = total / number.clamp(min=1)
    return length / mean.clamp(min=torch.finfo(mean.dtype).tiny).index_select(0, owner)


def bounded(x: Float[Tensor, "..."], limit: float) -> Float[Tensor, "..."]:
    """``limit * tanh(x / limit)`` in float64, with 0 for NaN: close to x where it is small, finite for any weights."""
    return limit * torch.tanh(torch.nan_to_num(x.double(), 0.0, torch.inf, -torch.inf) / limit)

"""What networks are told of the entries of matrices."""

import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.core.checks import is_fake
from pdekit.learned.graphs import MatrixGraph

__all__ = ["edge_features", "largest", "start_values"]


def edge_features(graph: MatrixGraph) -> Float[Tensor, "edges 5"]:
    """Five numbers of each entry (i, j), the same for a matrix and its multiples.

    With s the largest ``|l|`` of the matrix, they are l_ij / s, l_ii / s, l_jj / s, a_ij / s^2, and whether it is on
    the diagonal. On the CPU one compiled kernel makes them, a matrix a thread.

    Args:
        graph: with a start l; without one, l_ii stands for the root of a_ii, and l_ij is 0 beside the diagonal.

    Returns:
        float32, on the device of the graph.

    Example:
        >>> import scipy.sparse
        >>> from pdekit.solvers import CSR
        >>> A = CSR.from_scipy(scipy.sparse.csr_array([[4.0, -1.0], [-1.0, 1.0]]))
        >>> edge_features(MatrixGraph.of(A))
        tensor([[ 1.0000,  1.0000,  1.0000,  1.0000,  1.0000],
                [ 0.0000,  0.5000,  1.0000, -0.2500,  0.0000],
                [ 0.5000,  0.5000,  0.5000,  0.2500,  1.0000]])

    Source:
        Scaling by the largest entry: Trifonov et al., arXiv 2405.15557, section 3.
    """
    if graph.device.type != "cpu" or is_fake(graph.entries):
        return _on_any_device(graph)
    from pdekit.kernels.learned import features  # compiled code is loaded on first use
    from pdekit.kernels.threads import for_each_sample

    out = torch.empty(graph.edges, 5)
    start = graph.entries.new_empty(0) if graph.start is None else graph.start
    arrays = [part.numpy() for part in (graph.rows, graph.cols, graph.entries, start, graph.diagonal)]
    bounds, into = graph.edge_starts, out.numpy()

    def one(i: int, _: dict) -> None:
        features.edge_features(*arrays, bounds[i], bounds[i + 1], into)

    for_each_sample(one, graph.count, None if graph.edges > _SMALL else 1)
    return out


def start_values(graph: MatrixGraph) -> Float[Tensor, " edges"]:
    """The start; without one, the roots of the diagonal, and 0 beside it."""
    if graph.start is not None:
        return graph.start
    root = graph.entries[graph.diagonal].sqrt()
    return torch.zeros_like(graph.entries).index_copy(0, graph.diagonal, root)


def largest(graph: MatrixGraph) -> Float[Tensor, " matrices"]:
    """The largest ``|l|`` of each matrix."""
    values, owner = start_values(graph).abs(), graph.owner.index_select(0, graph.rows)
    return values.new_zeros(graph.count).scatter_reduce(0, owner, values, "amax")


def _on_any_device(graph: MatrixGraph) -> Tensor:
    scale = largest(graph).reciprocal().index_select(0, graph.owner.index_select(0, graph.rows))
    start = start_values(graph)
    root = start.index_select(0, graph.diagonal)
    features = [
        start * scale,
        root.index_select(0, graph.rows) * scale,
        root.index_select(0, graph.cols) * scale,
        graph.entries * scale * scale,
        graph.rows == graph.cols,
    ]
    return torch.stack([feature.to(torch.float32) for feature in features], 1)


_SMALL = 20_000
"""Edges below which starting threads does not pay."""

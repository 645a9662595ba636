"""Products and solves with the factors and matrices of a graph, differentiable in entries and vectors.

Vectors are ``(*k, nodes)``, the unknowns of all matrices one after the other; each matrix meets its own part.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.core.checks import is_fake
from pdekit.learned.graphs import MatrixGraph
from pdekit.solvers.operators.csr import CSR

__all__ = ["factored", "factors", "lower", "lower_transposed", "solve", "symmetric"]


def lower(
    graph: MatrixGraph, values: Float[Tensor, " edges"], x: Float[Tensor, "*k nodes"]
) -> Float[Tensor, "*k nodes"]:
    """L x.

    Args:
        graph: on the device of the rest.
        values: l_ij of each edge.
        x: vectors.

    Example:
        >>> import scipy.sparse
        >>> graph = MatrixGraph.of(CSR.from_scipy(scipy.sparse.csr_array([[4.0, -2.0], [-2.0, 5.0]])))
        >>> L = torch.tensor([2.0, -1.0, 2.0], dtype=torch.float64)  # by row: (0, 0), (1, 0), (1, 1)
        >>> x = torch.tensor([1.0, 2.0], dtype=torch.float64)
        >>> [y.tolist() for y in (lower(graph, L, x), factored(graph, L, x), symmetric(graph, graph.entries, x))]
        [[2.0, 3.0], [0.0, 8.0], [0.0, 8.0]]
    """
    if _compiled(values):
        return CSR(graph.pattern, None, values).matvec(x)
    return _sums(values * x.index_select(-1, graph.cols), graph.rows, x)


def lower_transposed(
    graph: MatrixGraph, values: Float[Tensor, " edges"], x: Float[Tensor, "*k nodes"]
) -> Float[Tensor, "*k nodes"]:
    """L^T x; arguments as of :func:`lower`."""
    if _compiled(values):
        turned, order = graph.pattern.transposed
        return CSR(turned, None, values.index_select(-1, order)).matvec(x)
    return _sums(values * x.index_select(-1, graph.rows), graph.cols, x)


def factored(
    graph: MatrixGraph, values: Float[Tensor, " edges"], x: Float[Tensor, "*k nodes"]
) -> Float[Tensor, "*k nodes"]:
    """L L^T x; arguments as of :func:`lower`."""
    return lower(graph, values, lower_transposed(graph, values, x))


def symmetric(
    graph: MatrixGraph, entries: Float[Tensor, " edges"], x: Float[Tensor, "*k nodes"]
) -> Float[Tensor, "*k nodes"]:
    """A x of the symmetric matrices with these entries in their lower triangles.

    Args:
        graph: on the device of the rest.
        entries: a_ij of each edge, such as ``graph.entries``.
        x: vectors.
    """
    beside = lower(graph, entries, x) + lower_transposed(graph, entries, x)
    return beside - entries.index_select(-1, graph.diagonal) * x


def solve(
    graph: MatrixGraph, values: Float[Tensor, " edges"], r: Float[Tensor, "*k nodes"]
) -> Float[Tensor, "*k nodes"]:
    """(L L^T)^-1 r, by compiled kernels.

    Unknowns wait for each other in a triangle, so that it is solved on the CPU, wherever the tensors are.

    Args:
        graph: on the device of the rest.
        values: l_ij of each edge, not 0 on the diagonal.
        r: vectors.

    Returns:
        float64.

    Example:
        >>> import scipy.sparse
        >>> graph = MatrixGraph.of(CSR.from_scipy(scipy.sparse.csr_array([[4.0, -2.0], [-2.0, 5.0]])))
        >>> L = torch.tensor([2.0, -1.0, 2.0], dtype=torch.float64, requires_grad=True)
        >>> z = solve(graph, L, torch.tensor([0.0, 8.0], dtype=torch.float64))
        >>> z.tolist(), torch.autograd.grad(z.sum(), L)[0].tolist()
        ([1.0, 2.0], [-0.5, -1.0, -3.0])
    """
    return _Solve.apply(values, r, graph)  # pyright: ignore[reportReturnType]


def factors(graph: MatrixGraph, values: Float[Tensor, " edges"]) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The factor of each matrix as the compiled solves and :class:`Factored` take it.

    Args:
        graph: of any device.
        values: l_ij of each edge, not 0 on the diagonal.
    """
    from pdekit.kernels.learned.factors import scaled_columns  # compiled code is loaded on first use

    turned, order = graph.pattern.transposed
    (indptr, indices), packed = turned.arrays, np.empty(graph.edges)
    scaled_columns(indptr, order.cpu().numpy(), values.detach().cpu().to(torch.float64).numpy(), packed)
    if graph.count == 1:
        return [(indptr, indices, packed)]
    nodes, edges = graph.node_starts, graph.edge_starts
    return [
        (indptr[n : m + 1] - np.int32(e), indices[e:f] - np.int32(n), packed[e:f])
        for n, m, e, f in zip(nodes[:-1], nodes[1:], edges[:-1], edges[1:], strict=True)
    ]


class _Solve(torch.autograd.Function):
    """z = (L L^T)^-1 r; its gradients are made of functions of this file, so that they have gradients too."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, r: Tensor, graph: MatrixGraph) -> Tensor:
        z = _substitute(graph, values, r)
        ctx.save_for_backward(values, z)
        ctx.graph = graph
        return z

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor):
        (g,), (values, z), graph = cotangents, ctx.saved_tensors, ctx.graph
        to_r, to_values = solve(graph, values, g), None
        if ctx.needs_input_grad[0]:
            # From z = M^-1 r: dz = -M^-1 (dL L^T + L dL^T) z.
            y, v = lower_transposed(graph, values, z), lower_transposed(graph, values, to_r)
            one = to_r.index_select(-1, graph.rows) * y.index_select(-1, graph.cols)
            two = z.index_select(-1, graph.rows) * v.index_select(-1, graph.cols)
            to_values = -(one + two).sum_to_size(values.shape)
        return to_values, to_r if ctx.needs_input_grad[1] else None, None


def _substitute(graph: MatrixGraph, values: Tensor, r: Tensor) -> Tensor:
    """The triangular solves, without a gradient."""
    if is_fake(values):
        return torch.empty_like(r, dtype=torch.float64)
    from pdekit.kernels.sparse.triangular import solve_factored  # compiled code is loaded on first use
    from pdekit.kernels.threads import for_each_sample

    blocks, bounds = factors(graph, values), graph.node_starts
    rows = r.detach().cpu().to(torch.float64).reshape(-1, graph.nodes).contiguous().numpy()
    out = np.empty_like(rows)

    def one(task: int, _: dict) -> None:
        k, i = divmod(task, graph.count)
        mine = slice(bounds[i], bounds[i + 1])
        solve_factored(*blocks[i], rows[k, mine], out[k, mine])

    for_each_sample(one, len(rows) * graph.count, None if len(rows) * graph.edges > _SMALL else 1)
    return torch.from_numpy(out).reshape(r.shape).to(r.device)


def _compiled(values: Tensor) -> bool:
    return values.device.type == "cpu" and not is_fake(values)


def _sums(messages: Tensor, places: Tensor, x: Tensor) -> Tensor:
    """The sums of messages at each node, of the shape of x."""
    return messages.new_zeros(*messages.shape[:-1], x.shape[-1]).index_add(-1, places, messages)


_SMALL = 100_000
"""Entries below which starting threads does not pay."""

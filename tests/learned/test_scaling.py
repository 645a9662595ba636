"""Scaled matrices against dense algebra."""

import numpy as np
import pytest
import torch
from solvers.mesh_problems import elasticity
from solvers.sparse_problems import dense, laplacian, networks

from pdekit.learned.graphs import MatrixGraph
from pdekit.learned.scaling import beside_diagonal, bounded, lengths, roots, row_sums, scaled_entries
from pdekit.solvers import CSR


def test_scaled_entries_and_sums_of_rows():
    A, other = networks(), CSR.from_scipy(laplacian(3) * 7)
    graph = MatrixGraph.of([A, other])
    for first, matrix in ((0, dense(A)), (30, dense(other))):
        mine = (graph.rows >= first) & (graph.rows < first + len(matrix))
        rows, cols = graph.rows[mine] - first, graph.cols[mine] - first
        root = np.sqrt(np.diag(matrix))
        np.testing.assert_allclose(roots(graph)[first : first + len(matrix)], root)
        np.testing.assert_allclose(scaled_entries(graph)[mine], (matrix / np.outer(root, root))[rows, cols])
        sums = row_sums(graph)[first : first + len(matrix)]
        np.testing.assert_allclose(sums, matrix.sum(1) / np.diag(matrix), atol=1e-13)
    beside = beside_diagonal(graph)
    assert len(beside) == graph.edges - graph.nodes
    assert (graph.rows[beside] != graph.cols[beside]).all()


def test_lengths_are_relative_to_each_matrix():
    """Against distances of all pairs; without geometry 0."""
    A, _ = elasticity(1)
    wide = CSR(A.pattern, None, A.entries, geometry=A.geometry._replace(points=A.geometry.points * 1e3))
    graph = MatrixGraph.of([A, wide])
    found = lengths(graph).reshape(2, -1)
    torch.testing.assert_close(found[0], found[1])
    half = MatrixGraph.of(A)
    distances = torch.cdist(half.points, half.points)[half.rows, half.cols]
    torch.testing.assert_close(found[0], distances / distances[distances > 0].mean())
    assert not lengths(MatrixGraph.of(networks())).any()


def test_bounded_is_close_to_the_identity_and_finite():
    x = torch.tensor([0.0, 1e-3, -1e-3, torch.inf, -torch.inf, torch.nan, 3e38])
    found = bounded(x, 2.0)
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found, [0, 1e-3, -1e-3, 2, -2, 0, 2], rtol=1e-6)


@pytest.mark.parametrize("limit", [1.0, 8.0])
def test_bounded_has_the_slope_of_the_identity_at_zero(limit):
    x = torch.zeros(1, requires_grad=True)
    bounded(x, limit).backward()
    assert float(x.grad) == 1

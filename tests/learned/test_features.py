"""What networks are told of edges, against the formulas written out."""

import pytest
import torch
from solvers.sparse_problems import laplacian, networks

from pdekit.learned import MatrixGraph, edge_features, features
from pdekit.solvers import CSR, IC0, ICT


@pytest.mark.parametrize("start", [None, IC0(relaxation=0.9), ICT(1e-3)])
def test_features_are_those_of_the_formulas(start):
    graph = MatrixGraph.of([networks(12, (2,)), 1e6 * CSR.from_scipy(laplacian(3))], start)
    L = graph.entries.sqrt().nan_to_num() * (graph.rows == graph.cols) if start is None else graph.start
    found = edge_features(graph)
    assert found.dtype == torch.float32
    for e in range(graph.edges):
        i, j = int(graph.rows[e]), int(graph.cols[e])
        s = L[graph.owner[graph.rows] == graph.owner[i]].abs().max()
        diagonal = L[graph.diagonal]
        expected = [L[e] / s, diagonal[i] / s, diagonal[j] / s, graph.entries[e] / s**2, float(i == j)]
        torch.testing.assert_close(found[e].double(), torch.tensor(expected).double(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("start", [None, ICT(1e-3)])
def test_the_kernel_and_the_tensors_agree_on_large_graphs(start):
    graph = MatrixGraph.of([CSR.from_scipy((k + 1.0) * laplacian(60 + k)) for k in range(5)], start)
    assert graph.edges > features._SMALL  # on threads
    torch.testing.assert_close(edge_features(graph), features._on_any_device(graph), rtol=1e-6, atol=0)


def test_multiples_of_a_matrix_look_the_same():
    A = networks(20)
    for start in (None, IC0()):
        one, other = (edge_features(MatrixGraph.of(factor * A, start)) for factor in (1.0, 1e8))
        torch.testing.assert_close(one, other, rtol=1e-6, atol=0)

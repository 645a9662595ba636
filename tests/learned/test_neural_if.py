"""NeuralIF."""

import numpy as np
import pytest
import torch
from learned.recipes import recipe_of
from learned.systems import batched, lognormal, randomised
from learned.training import trained
from solvers.sparse_problems import dense, networks, on_pattern

from pdekit.core.errors import InputError
from pdekit.learned.graphs import MatrixGraph
from pdekit.learned.losses import LowFrequency
from pdekit.learned.neural_if import NeuralIF, NeuralIFNetwork, row_features
from pdekit.learned.scaling import scaled_entries
from pdekit.solvers import CG, Jacobi, solve


def test_row_features_are_those_of_the_dense_matrix():
    """Local degree profile and dominance, written out with NumPy; of two matrices, the second diagonal."""
    A = networks(20)
    graph = MatrixGraph.of([A, on_pattern(np.diag([1.0, 2, 3, 4]), np.eye(4, dtype=bool))])
    matrix = dense(A)
    beside = matrix - np.diag(np.diag(matrix))
    degree = np.count_nonzero(beside, axis=1)
    expected = []
    for i in range(20):
        near = degree[np.nonzero(beside[i])]
        sizes, diagonal = np.abs(beside[i]), matrix[i, i]
        shares = diagonal / (diagonal + sizes.sum()), diagonal / (diagonal + sizes.max())
        expected.append([degree[i], near.min(), near.max(), near.mean(), near.std(), *shares])
    found = row_features(graph)
    np.testing.assert_allclose(found[:20], expected, rtol=1e-4, atol=2e-3)
    np.testing.assert_allclose(found[20:], [[0, 0, 0, 0, 0, 1, 1]] * 4, atol=2e-3)


def test_a_block_sweeps_along_and_against_the_edges():
    """Against loops over edges: forwards with means, backwards with sums."""
    graph = MatrixGraph.of(networks(9))
    network = randomised(NeuralIFNetwork(blocks=1, width=4))
    (forwards,), (backwards,) = network.forwards, network.backwards
    edges, nodes = scaled_entries(graph).float()[:, None], row_features(graph)
    pairs = list(zip(graph.cols.tolist(), graph.rows.tolist(), strict=True))
    edges = torch.stack([forwards.edge(torch.cat([edges[k], nodes[j], nodes[i]])) for k, (j, i) in enumerate(pairs)])
    means = torch.stack([edges[graph.rows == i].mean(0) for i in range(9)])
    nodes = forwards.node(torch.cat([means, nodes], 1))
    edges = torch.stack([backwards.edge(torch.cat([edges[k], nodes[i], nodes[j]])) for k, (j, i) in enumerate(pairs)])
    torch.testing.assert_close(network(graph), edges[:, 0], rtol=1e-4, atol=1e-5)


def test_the_diagonal_is_an_exponential():
    A = networks()
    recipe = recipe_of("NeuralIF", 0.1)
    graph = recipe.graph(A)
    out, values = (part.detach()[graph.diagonal] for part in (recipe.network(graph), recipe.values(graph)))
    assert float(out.abs().max()) > 0.01
    np.testing.assert_allclose(values, (A.diagonal() * out.double().exp()).sqrt(), rtol=1e-2)


def test_arguments_are_checked():
    with pytest.raises(InputError, match="blocks=0"):
        NeuralIFNetwork(blocks=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_trained_on_solutions_it_needs_fewer_iterations_than_jacobi(seed):
    """400 steps of the low-frequency loss at 32 squared; held-out matrices, 1e-8."""
    torch.manual_seed(seed)
    matrices = lognormal(32, 40, seed=seed)
    recipe = trained(NeuralIF(), matrices[:32], LowFrequency(), 400)
    held_out = batched(matrices[32:])
    b = torch.randn(8, 32**2, dtype=torch.float64)
    counts = [solve(held_out, b, CG(P)).iterations.double().mean() for P in (recipe, Jacobi())]
    assert counts[0] < 0.35 * counts[1]

"""The factor of Li et al."""

import numpy as np
import pytest
import torch
from learned.recipes import recipe_of
from learned.systems import batched, lognormal, randomised
from learned.training import trained
from solvers.sparse_problems import laplacian, networks

from pdekit.core.errors import InputError
from pdekit.learned.graph_factor import GraphFactor, GraphFactorNetwork
from pdekit.learned.graphs import MatrixGraph
from pdekit.learned.losses import DataWeighted
from pdekit.solvers import CG, CSR, Jacobi, solve


@pytest.mark.parametrize("size", [0.3, 300.0])
def test_the_diagonal_rule(size):
    """l_ii = sqrt(a_ii), to the last digit and whatever the weights."""
    A = networks(batch=(2,))
    recipe = recipe_of("graph factor", size)
    graph = recipe.graph(A)
    assert torch.equal(recipe.values(graph)[graph.diagonal], A.diagonal().flatten().sqrt())


def test_what_the_network_gives_belongs_to_pairs_of_unknowns():
    """Unknowns in another order: the same number for each pair, as the two directions of an edge are averaged."""
    A = CSR.from_scipy(laplacian(4))
    order = np.random.default_rng(0).permutation(16)
    other = CSR.from_scipy(A.to_scipy()[order][:, order])
    network = randomised(GraphFactorNetwork(width=8, steps=3))
    tables = []
    for matrix, places in ((A, np.arange(16)), (other, order)):
        graph = MatrixGraph.of(matrix)
        table = np.zeros((16, 16))
        rows, cols = places[graph.rows], places[graph.cols]
        table[rows, cols] = table[cols, rows] = network(graph).detach()
        tables.append(table)
    assert np.abs(tables[0]).max() > 0.1
    np.testing.assert_allclose(tables[1], tables[0], rtol=1e-4, atol=1e-5)


def test_arguments_are_checked():
    with pytest.raises(InputError, match="steps=0"):
        GraphFactorNetwork(steps=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_trained_on_solutions_it_needs_fewer_iterations_than_jacobi(seed):
    """400 steps of the data-weighted loss at 32 squared; held-out matrices, 1e-8."""
    torch.manual_seed(seed)
    matrices = lognormal(32, 40, seed=seed)
    recipe = trained(GraphFactor(), matrices[:32], DataWeighted(), 400)
    held_out = batched(matrices[32:])
    b = torch.randn(8, 32**2, dtype=torch.float64)
    counts = [solve(held_out, b, CG(P)).iterations.double().mean() for P in (recipe, Jacobi())]
    assert counts[0] < 0.4 * counts[1]

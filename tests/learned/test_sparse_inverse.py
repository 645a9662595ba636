"""The learned sparse inverse."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from learned.recipes import recipe_of
from learned.training import trained
from solvers.mesh_problems import elasticity, lognormal
from solvers.sparse_problems import dense, networks, tridiagonal

from pdekit.core.errors import InputError
from pdekit.learned.losses import TwoLevelEnergy
from pdekit.learned.sparse_inverse import SparseInverse, SparseInverseNetwork
from pdekit.solvers import CG, CSR, Jacobi, solve
from pdekit.solvers.operators.csr import Points


def general(recipe: SparseInverse, A: CSR) -> np.ndarray:
    """G of one matrix, dense, from what the network gives for each edge."""
    graph = recipe.graph(A)
    there, back = recipe.values(graph).detach().unbind(1)
    G = np.zeros(A.shape)
    G[graph.cols, graph.rows] = back
    G[graph.rows, graph.cols] = there
    return G


@pytest.mark.parametrize(
    ("name", "A"), [("sparse inverse", networks()), ("sparse inverse in blocks", elasticity(1)[0])]
)
def test_it_is_g_times_its_transpose_and_a_share_of_jacobi(name, A):
    recipe = recipe_of(name, 0.3)
    G = general(recipe, A)
    assert np.abs(G - G.T).max() > 0.1 * np.abs(G).max(), "G is no symmetric matrix"
    assert np.count_nonzero(G) == A.pattern.nnz
    graph = recipe.graph(A)
    P = recipe.operator(A, graph, recipe.values(graph).detach(), "")
    x = torch.randn(A.shape[0], dtype=torch.float64)
    expected = G @ (G.T @ x.numpy()) + recipe.shift * (x / A.diagonal()).numpy()
    np.testing.assert_allclose(P.matvec(x), expected, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(P.transpose().matvec(x), expected, rtol=1e-11, atol=1e-14)


def test_blocks_know_which_components_are_unknowns():
    """Without the sums of rows, a component eliminated at a neighbour still changes what the network gives."""
    A, _ = elasticity(1)
    kept = np.delete(np.arange(A.shape[0]), 3)
    less = CSR.from_scipy(A.to_scipy()[kept][:, kept])
    less.geometry = A.geometry[torch.from_numpy(kept)]
    recipe = recipe_of("sparse inverse in blocks", 0.3)
    recipe.network.node_encoder[0].weight.data[:, :2] = 0
    whole, part = general(recipe, A)[np.ix_(kept, kept)], general(recipe, less)
    near = dense(A)[3, kept] != 0
    assert np.abs(whole - part)[near].max() > 1e-3 * np.abs(part).max()


def test_networks_for_fewer_components_are_refused():
    A, _ = elasticity(1)
    A.geometry = Points(torch.rand(A.shape[0], 3, dtype=torch.float64), torch.arange(A.shape[0]) % 3)
    with pytest.raises(InputError, match=r"3 components and the network's blocks hold 2; .*components=3"):
        SparseInverse(SparseInverseNetwork(components=2)).setup(A)


def test_patterns_that_are_not_symmetric_are_refused():
    matrix = tridiagonal(6).tolil()
    matrix[0, 5] = 1.0
    matrix = sp.csr_array(matrix)
    matrix.data[matrix.indices == 5] *= np.array([0.0, 1, 1])[: np.count_nonzero(matrix.indices == 5)]
    A = CSR.from_scipy(matrix)
    assert A.pattern.nnz == 17
    with pytest.raises(InputError, match="symmetric pattern"):
        SparseInverse().setup(A)


@pytest.mark.parametrize("shift", [0.0, -1.0, float("inf"), "a"])
def test_shifts_are_positive(shift):
    with pytest.raises(InputError, match="shift="):
        SparseInverse(shift=shift)


def test_arguments_are_checked():
    with pytest.raises(InputError, match="components=0"):
        SparseInverseNetwork(components=0)


def test_a_few_steps_of_training_help():
    """40 steps of the energy loss on small meshes of the disk: fewer iterations than Jacobi on others, to 1e-8."""
    matrices = lognormal(3, 0.5, 12)
    recipe = SparseInverse(SparseInverseNetwork(width=12, steps=2))
    trained(recipe, [matrices[k] for k in range(8)], TwoLevelEnergy(steps=4), 40, batch=4)
    b = torch.randn(4, matrices.shape[0], dtype=torch.float64)
    counts = [solve(matrices[8:], b, CG(P)).iterations.double().mean() for P in (recipe, Jacobi())]
    assert counts[0] < 0.7 * counts[1]

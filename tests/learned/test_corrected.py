"""Corrected factors against dense algebra; never worse than the classical part, whatever the network says."""

import numpy as np
import pytest
import scipy.sparse
import torch
from learned.systems import Given, batched, lognormal, randomised
from learned.training import trained
from solvers.sparse_problems import applied, dense, networks, nonsymmetric
from torch import nn

from pdekit.core.errors import InputError
from pdekit.learned import algebra
from pdekit.learned.corrected import CorrectedFactor, corrected
from pdekit.learned.features import largest
from pdekit.learned.graphs import MatrixGraph
from pdekit.learned.lean import LeanNet
from pdekit.learned.losses import LowFrequency
from pdekit.learned.published import PublishedCorrection
from pdekit.solvers import CG, CSR, IC0, ICT, Jacobi, solve
from pdekit.solvers.preconditioners.coarse_space import coarse_space
from pdekit.solvers.preconditioners.factored import Factored
from pdekit.solvers.preconditioners.two_level import TwoLevel
from pdekit.testing import check_device, check_preconditioner

HELPFUL = IC0(relaxation=0.97)


def towards(A: CSR, goal: IC0, times: float = 1.0) -> Given:
    """A network that knows how IC(0) becomes another factor of this matrix, of smaller diagonal."""
    graph, wanted = MatrixGraph.of(A, IC0()), MatrixGraph.of(A, goal).start
    step, root = wanted - graph.start, graph.start[graph.diagonal]
    step[graph.diagonal] = 0.9 * root * torch.log((wanted[graph.diagonal] / root - 0.1) / 0.9)
    return Given(times * step / largest(graph)[graph.owner[graph.rows]])


def lower(P: Factored, i: int = 0) -> np.ndarray:
    return P.lower(i).toarray()


def iterations(A: CSR, recipe, rtol: float = 1e-8) -> int:
    b = torch.randn(A.shape[0], generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return int(solve(A, b, CG(recipe), rtol=rtol).iterations)


def test_before_training_it_is_the_classical_factor():
    A = networks(batch=(2,))
    for recipe in (CorrectedFactor(), CorrectedFactor(PublishedCorrection())):
        P = recipe.setup(A)
        np.testing.assert_allclose(applied(P), applied(IC0().setup(A)), rtol=1e-12)
        assert P.name == f"corrected {IC0().setup(A).name}, alpha 0"
        graph = recipe.graph(A)
        torch.testing.assert_close(recipe.values(graph), graph.start, rtol=1e-15, atol=0)


def test_a_correction_that_helps_is_taken_in_full():
    A = lognormal(32)[0]
    recipe = CorrectedFactor(towards(A, HELPFUL))
    P = recipe.setup(A)
    assert P.name.endswith("alpha 1")
    np.testing.assert_allclose(lower(P), lower(HELPFUL.setup(A)), rtol=1e-9, atol=1e-9)
    assert iterations(A, recipe) == iterations(A, HELPFUL) < 0.7 * iterations(A, IC0())


@pytest.mark.parametrize(("times", "alpha"), [(4.0, "0.25"), (2.0, "0.5"), (-1.0, "0"), (np.nan, "0"), (1e200, "0")])
def test_of_a_correction_that_harms_only_what_helps_is_taken(times, alpha):
    """Beyond the relaxation of 1 the factor of a diffusion becomes useless."""
    A = lognormal(32)[0]
    recipe = CorrectedFactor(towards(A, HELPFUL, times))
    assert recipe.setup(A).name.endswith(f"alpha {alpha}")
    assert iterations(A, recipe) <= iterations(A, IC0())


def test_each_matrix_of_a_batch_has_its_own_alpha():
    matrices = lognormal(24, count=3)
    signs = [1.0, -1.0, 1.0]
    network = Given(torch.cat([towards(A, HELPFUL, sign).values for A, sign in zip(matrices, signs, strict=True)]))
    P = CorrectedFactor(network).setup(batched(matrices))
    assert P.name.endswith("alpha 1 in 2 matrices, 0 in 1")
    for i, (A, sign) in enumerate(zip(matrices, signs, strict=True)):
        expected = (HELPFUL if sign > 0 else IC0()).setup(A)
        np.testing.assert_allclose(lower(P, i), lower(expected), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("size", [1e-2, 0.3, 3.0, 1e4, 1e18])
@pytest.mark.parametrize("network", [LeanNet, PublishedCorrection])
def test_it_is_positive_definite_and_solves_whatever_the_weights(network, size):
    A = networks(n=60)
    recipe = CorrectedFactor(randomised(network(), size))
    graph = recipe.graph(A)
    diagonal = recipe.values(graph).detach()[graph.diagonal]
    assert (diagonal >= 0.0999 * graph.start[graph.diagonal]).all()
    assert np.linalg.eigvalsh(applied(recipe.setup(A))).min() > 0
    b = torch.ones(60, dtype=torch.float64)
    solution = solve(A, b, CG(recipe), rtol=1e-12)
    np.testing.assert_allclose(solution.x, np.linalg.solve(dense(A), b), rtol=1e-9)


def test_a_diagonal_that_shrinks_stays_above_a_tenth():
    """The rule is the identity to first order at 0, so that small corrections do what the network says."""
    A = CSR.from_scipy(scipy.sparse.diags_array([4.0, 4.0, 4.0, 4.0]).tocsr())
    graph, step = MatrixGraph.of(A, IC0()), torch.tensor([0.5, -1e-4, -1.8, -1e9], dtype=torch.float64)
    step.requires_grad_()
    found = corrected(graph, step)
    shrunk = [2.5, 2 - 1e-4, 2 * (0.1 + 0.9 / np.e), 0.2]
    np.testing.assert_allclose(found.detach(), shrunk, rtol=1e-8)
    np.testing.assert_allclose(torch.autograd.grad(found.sum(), step)[0], [1, 1, 1 / np.e, 0], rtol=1e-4)


@pytest.mark.parametrize("start", [IC0(), IC0(relaxation=0.9), ICT(threshold=1e-2)])
def test_the_kernels_make_the_factor_that_training_saw(start):
    A = networks(n=80, batch=(2,))
    network = randomised(LeanNet(), 0.1)
    recipe, slow = CorrectedFactor(network, start), CorrectedFactor(Uncompiled(network), start)
    graph = recipe.graph(A)
    values = recipe.values(graph).detach()
    with torch.no_grad():
        fused, plain = (each._columns(A, start.setup(A)) for each in (recipe, slow))
    L = np.zeros((160, 160))
    L[graph.rows, graph.cols] = values
    for i, block in enumerate((slice(0, 80), slice(80, 160))):
        expected = np.linalg.inv(L[block, block] @ L[block, block].T)
        for columns in (fused, plain):
            P = Factored(A[i], [columns[i].factor(1.0)], "")
            np.testing.assert_allclose(applied(P), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


class Uncompiled(nn.Module):
    """A network without its kernel."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, graph: MatrixGraph) -> torch.Tensor:
        return self.network(graph)


@pytest.mark.parametrize("coarse", ["additive", "balanced"])
def test_the_coarse_space_joins_as_in_dense_algebra(coarse):
    A = lognormal(16)[0]
    recipe = CorrectedFactor(towards(A, HELPFUL), coarse=coarse)
    found, matrix, Z = applied(recipe.setup(A)), dense(A), coarse_space(A).basis.toarray()
    Q, M = (
        Z @ np.linalg.solve(Z.T @ matrix @ Z, Z.T),
        np.linalg.inv(lower(HELPFUL.setup(A)) @ lower(HELPFUL.setup(A)).T),
    )
    if coarse == "additive":
        expected = M + Q
    else:
        deflate = np.eye(256) - Q @ matrix
        expected = deflate @ M @ deflate.T + Q
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8 * np.abs(expected).max())
    graph, r = recipe.graph(A), torch.randn(256, dtype=torch.float64)
    z = recipe.inverse(graph, recipe.values(graph), r)
    np.testing.assert_allclose(z, expected @ r.numpy(), rtol=1e-7, atol=1e-9 * np.abs(expected).max())


@pytest.mark.parametrize("coarse", ["additive", "balanced"])
def test_with_the_coarse_space_it_is_not_worse_than_the_classical_part(coarse):
    A = lognormal(32)[0]
    for times in (1.0, -1.0, 5.0):
        recipe = CorrectedFactor(towards(A, HELPFUL, times), coarse=coarse)
        assert recipe.classical == TwoLevel(IC0(), form=coarse)
        assert iterations(A, recipe) <= iterations(A, recipe.classical) < iterations(A, IC0())
    assert CorrectedFactor(start=HELPFUL).classical == HELPFUL


@pytest.mark.parametrize("coarse", [None, "additive", "balanced"])
def test_gradients_reach_the_weights(coarse):
    """Central differences along a random direction of the weights, in float64."""
    matrices = lognormal(8, count=2)
    network = randomised(LeanNet(), 0.2).double()
    network.forward = lambda graph: _in_double(network, graph)
    recipe = CorrectedFactor(network, coarse=coarse)
    graph, r = recipe.graph(matrices), torch.randn(128, dtype=torch.float64)
    weights = list(network.parameters())

    def loss() -> torch.Tensor:
        values = recipe.values(graph)
        return recipe.inverse(graph, values, r).square().sum() + algebra.factored(graph, values, r).square().mean()

    along = [torch.randn(weight.shape, dtype=torch.float64) for weight in weights]
    found = sum((g * d).sum() for g, d in zip(torch.autograd.grad(loss(), weights), along, strict=True))
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            [weight.add_(sign * 1e-6 * d) for weight, d in zip(weights, along, strict=True)]
            ends.append(float(loss()))
            [weight.sub_(sign * 1e-6 * d) for weight, d in zip(weights, along, strict=True)]
    np.testing.assert_allclose(float(found), (ends[0] - ends[1]) / 2e-6, rtol=1e-5)


def _in_double(network: LeanNet, graph: MatrixGraph) -> torch.Tensor:
    from pdekit.learned.features import edge_features

    edges = network.encoder(edge_features(graph).double())
    for step in network.passes:
        edges = edges + step(edges, graph)
    return network.scale * network.decoder(edges)[:, 0]


def test_it_is_a_preconditioner_in_good_standing():
    A = networks(batch=(2,))
    check_preconditioner(CorrectedFactor(randomised(LeanNet(), 0.1)), A)
    check_preconditioner(CorrectedFactor(randomised(LeanNet(), 0.1), coarse="additive"), A)


def test_results_do_not_depend_on_threads():
    matrices = lognormal(32, count=4)
    recipe, threads = CorrectedFactor(randomised(LeanNet(), 0.05)), torch.get_num_threads()
    found = []
    for count in (1, 2):
        torch.set_num_threads(count)
        P = recipe.setup(batched(matrices))
        found.append([P.factors(i)[2] for i in range(4)])
    torch.set_num_threads(threads)
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start": Jacobi()}, r"start=Jacobi\(\); expected IC0"),
        ({"start": IC0(ordering="cuthill-mckee")}, "an order of its own"),
        ({"coarse": "both"}, "form='both'; expected one of balanced, additive"),
        ({"probes": 0}, "probes=0"),
        ({"network": LeanNet}, "expected a module such as LeanNet"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        CorrectedFactor(**arguments)


def test_matrices_without_a_factor_are_refused():
    with pytest.raises(InputError, match="CorrectedFactor takes symmetric matrices"):
        CorrectedFactor().setup(nonsymmetric())
    with pytest.raises(InputError, match="A graph is made of symmetric matrices"):
        CorrectedFactor().graph(nonsymmetric())
    empty = CSR.from_scipy(scipy.sparse.csr_array((np.ones(2), ([0, 2], [0, 2])), shape=(3, 3)))
    for use in (CorrectedFactor().setup, CorrectedFactor().graph):
        with pytest.raises(InputError, match=r"[rR]ow 1 "):
            use(empty)


def train_a_step(device: torch.device) -> None:
    """Two unknowns in each of two matrices."""
    ints = [
        torch.tensor(each).to(device) for each in ([0, 1, 1, 2, 3, 3], [0, 0, 1, 2, 2, 3], [0, 2, 3, 5], [0, 0, 1, 1])
    ]
    entries = torch.tensor([4.0, -1, 4, 2, -1, 2], dtype=torch.float64).to(device)
    graph = MatrixGraph(ints[0], ints[1], entries, entries / 2, ints[2], ints[3], 2)
    for network in (LeanNet, PublishedCorrection):
        with device:
            recipe = CorrectedFactor(network())
        optimizer = torch.optim.Adam(recipe.network.parameters())
        values = recipe.values(graph)
        x = torch.ones(4, dtype=torch.float64, device=device)
        loss = (algebra.factored(graph, values, x) - x).square().sum()
        loss.backward()
        optimizer.step()


def test_a_training_step_stays_on_the_device():
    check_device(train_a_step)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_trained_on_small_grids_it_needs_fewer_iterations_on_larger_ones(seed):
    """reference/solvers.md 10: 32 squared alone gave 44 of the 74 iterations of IC(0) at 64 squared."""
    torch.manual_seed(seed)
    recipe = trained(CorrectedFactor(), lognormal(32, 64, seed=seed), LowFrequency(), 800)
    held_out = batched(lognormal(64, 3, seed=seed + 100))
    b = torch.randn(3, 64**2, dtype=torch.float64)
    counts = [solve(held_out, b, CG(P)).iterations.double().mean() for P in (recipe, IC0())]
    assert counts[0] < 0.65 * counts[1]

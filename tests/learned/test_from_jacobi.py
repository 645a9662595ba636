"""What the preconditioners that start from Jacobi share: all that must hold whatever the weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from learned.recipes import RECIPES, dense_inverse, recipe_of
from solvers.mesh_problems import elasticity
from solvers.sparse_problems import dense, laplacian, networks, nonsymmetric, on_pattern, tridiagonal

from pdekit.core.errors import InputError
from pdekit.learned.base import TrainedOn
from pdekit.learned.files import load
from pdekit.learned.graphs import MatrixGraph
from pdekit.learned.losses import TwoLevelEnergy
from pdekit.solvers import CG, CSR, DenseMatrix, Jacobi, solve
from pdekit.solvers.operators.csr import Points
from pdekit.solvers.preconditioners.two_level import TwoLevel
from pdekit.testing import check_device, check_preconditioner

each_recipe = pytest.mark.parametrize("name", RECIPES)


def spd(n: int, batch: tuple[int, ...] = (), seed: int = 0) -> CSR:
    """Random definite matrices with entries of both signs, on one random pattern."""
    rng = np.random.default_rng(seed)
    mask = np.tril(rng.random((n, n)) < 0.4)
    mask = mask | mask.T | np.eye(n, dtype=bool)
    half = rng.standard_normal((*batch, n, n)) * mask
    matrix = half + half.swapaxes(-1, -2)
    least = np.linalg.eigvalsh(matrix)[..., :1, None]
    return on_pattern(matrix + (0.1 - least) * np.eye(n), mask)


@each_recipe
def test_untrained_it_is_jacobi(name):
    A, recipe = networks(batch=(2,)), recipe_of(name)
    shift = getattr(recipe, "shift", 0.0)
    P = recipe.setup(A)
    x = torch.randn(2, 30, dtype=torch.float64)
    np.testing.assert_allclose(P.matvec(x), (1 + shift) * x / A.diagonal(), rtol=1e-14)
    assert P.name.endswith("alpha 0")
    assert recipe.classical == Jacobi()


@each_recipe
@pytest.mark.parametrize("size", [0.3, 3.0, 300.0])
def test_it_is_positive_definite_whatever_the_weights(name, size):
    """Eigenvalues of dense inverses, of random definite matrices; those of factors by the singular values of L^-1."""
    for seed in range(3):
        A, recipe = spd(9, seed=seed), recipe_of(name, size, seed)
        inverse = dense_inverse(recipe, A)
        assert torch.isfinite(inverse).all()
        np.testing.assert_allclose(inverse, inverse.T, rtol=1e-9, atol=1e-12 * float(inverse.abs().max()))
        graph = recipe.graph(A)
        values = recipe.values(graph).detach()
        if values.ndim == 1:
            L = torch.zeros(9, 9, dtype=torch.float64).index_put((graph.rows, graph.cols), values)
            assert (L.diagonal() > 0).all()
            half = torch.linalg.solve_triangular(L, torch.eye(9, dtype=torch.float64), upper=False)
            np.testing.assert_allclose(inverse, half.T @ half, rtol=1e-6, atol=1e-10 * float(inverse.abs().max()))
            least = torch.linalg.svdvals(half).min()
        else:
            least = torch.linalg.eigvalsh(inverse).min()
        assert least > 0


@each_recipe
def test_the_operator_is_the_inverse_that_is_trained(name):
    A, recipe = spd(12, (3,)), recipe_of(name, 0.3)
    graph = recipe.graph(A)
    values = recipe.values(graph).detach()
    P, x = recipe.operator(A, graph, values, ""), torch.randn(3, 12, dtype=torch.float64)
    np.testing.assert_allclose(P.matvec(x).flatten(), recipe.inverse(graph, values, x.flatten()), rtol=1e-11)
    np.testing.assert_allclose(P[(1,)].matvec(x[1]), P.matvec(x)[1], rtol=1e-12)


@each_recipe
def test_matrices_of_different_sizes_do_not_see_each_other(name):
    """Of several matrices at once comes the same as of each alone, but for rounding of float32 sums."""
    matrices, recipe = [spd(9), CSR.from_scipy(laplacian(4)), spd(13, seed=1)], recipe_of(name, 0.3)
    together = recipe.values(recipe.graph(matrices)).detach()
    apart = torch.cat([recipe.values(recipe.graph(A)).detach() for A in matrices])
    np.testing.assert_allclose(together, apart, rtol=1e-4, atol=1e-5)


@each_recipe
def test_it_follows_the_units_of_the_matrix(name):
    """M(c A)^-1 = M(A)^-1 / c."""
    A, recipe = spd(10), recipe_of(name, 0.3)
    multiple = A.with_values([A.entries * 1e9])
    np.testing.assert_allclose(dense_inverse(recipe, multiple), dense_inverse(recipe, A) / 1e9, rtol=1e-4, atol=1e-14)


@each_recipe
def test_gradients_reach_every_weight(name):
    A, recipe = spd(12, (2,)), recipe_of(name, 0.3)
    graph, r = recipe.graph(A), torch.randn(24, dtype=torch.float64)
    recipe.inverse(graph, recipe.values(graph), r).square().sum().backward()
    for weight_name, weight in recipe.network.named_parameters():
        assert weight.grad is not None, weight_name
        assert torch.isfinite(weight.grad).all(), weight_name
    assert sum(bool((weight.grad != 0).any()) for weight in recipe.network.parameters()) > 4


@each_recipe
def test_the_gradient_is_that_of_finite_differences(name):
    """Of the inverse along a random direction of all weights; central differences in float32, so to a few digits."""
    A, recipe = spd(12), recipe_of(name, 0.2)
    graph, r = recipe.graph(A), torch.randn(12, dtype=torch.float64)
    weights = list(recipe.network.parameters())
    directions = [torch.randn_like(weight) for weight in weights]

    def found() -> torch.Tensor:
        return recipe.inverse(graph, recipe.values(graph), r) @ r

    slopes = torch.autograd.grad(found(), weights)
    slope = sum(float((s * d).sum()) for s, d in zip(slopes, directions, strict=True))
    ends, step = [], 1e-3
    with torch.no_grad():
        for sign in (1, -2):
            for weight, direction in zip(weights, directions, strict=True):
                weight += sign * step * direction
            ends.append(float(found()))
    np.testing.assert_allclose((ends[0] - ends[1]) / (2 * step), slope, rtol=0.05)


@each_recipe
@pytest.mark.parametrize("weight", [30.0, torch.nan, torch.inf])
def test_useless_networks_leave_jacobi(name, weight):
    A, recipe = CSR.from_scipy(laplacian(12)), recipe_of(name, 30.0)
    next(recipe.network.parameters()).data.fill_(weight)
    b = torch.randn(144, dtype=torch.float64)
    found, classical = solve(A, b, CG(recipe), rtol=1e-10), solve(A, b, CG(Jacobi()), rtol=1e-10)
    assert bool(found.converged)
    assert int(found.iterations) <= int(classical.iterations) + 1
    np.testing.assert_allclose(found.x, np.linalg.solve(dense(A), b), rtol=1e-7, atol=1e-9)


@each_recipe
@pytest.mark.parametrize("form", ["additive", "balanced"])
def test_two_level_forms(name, form):
    """Against TwoLevel with the same fine part; untrained, with TwoLevel(Jacobi())."""
    A = CSR.from_scipy(laplacian(10))
    recipe = replace(recipe_of(name), coarse=form)
    assert recipe.classical == TwoLevel(Jacobi(), form=form)
    x = torch.randn(100, dtype=torch.float64)
    if not hasattr(recipe, "shift"):
        np.testing.assert_allclose(recipe.setup(A).matvec(x), recipe.classical.setup(A).matvec(x), rtol=1e-11)
    check_preconditioner(recipe, A)
    fine = recipe_of(name, 0.1)
    recipe = replace(fine, coarse=form)
    graph = recipe.graph(A)
    values = recipe.values(graph).detach()
    fine_inverse, E = dense_inverse(fine, A), torch.from_numpy(dense(A))
    Q = graph.coarse.apply(torch.eye(100, dtype=torch.float64))
    P = torch.eye(100, dtype=torch.float64) - Q @ E
    expected = fine_inverse + Q if form == "additive" else Q + P @ fine_inverse @ P.T
    np.testing.assert_allclose(recipe.inverse(graph, values, x), expected @ x, rtol=1e-9, atol=1e-12)


@each_recipe
def test_saved_and_loaded_it_is_the_same(name, tmp_path):
    A, recipe = spd(12), replace(recipe_of(name, 0.2), coarse="additive", trained_on=TrainedOn("Darcy", 2))
    recipe.save(tmp_path / "model")
    same = load(tmp_path / "model")
    assert type(same) is type(recipe)
    assert (same.coarse, same.trained_on) == ("additive", TrainedOn("Darcy", 2))
    graph = recipe.graph(A)
    assert torch.equal(same.values(graph), recipe.values(graph))


@each_recipe
def test_conformance(name):
    check_preconditioner(recipe_of(name, 0.1), networks(batch=(2,)))


def graph_on(device: torch.device) -> MatrixGraph:
    """A tridiagonal matrix of 5 unknowns, made on the device."""
    numbers = torch.arange(9, device=device)
    rows, cols, diagonal = (numbers + 1) // 2, numbers // 2, 2 * numbers[:5]
    entries = 1.0 + 3.0 * (rows == cols).double()
    return MatrixGraph(rows, cols, entries, None, diagonal, torch.zeros_like(diagonal), 1)


def training_steps(device: torch.device) -> None:
    """Of all but blocks, which are looked for, by their number: an accelerator has to wait for it."""
    for name, make in RECIPES.items():
        if "blocks" not in name:
            with device:
                recipe = make()
            graph, x = graph_on(device), torch.ones(2, 5, dtype=torch.float64, device=device)
            optimizer = torch.optim.Adam(recipe.network.parameters(), lr=1e-3)
            TwoLevelEnergy(steps=2)(recipe, graph, x, x).backward()
            optimizer.step()


def test_training_follows_the_device():
    check_device(training_steps)


@each_recipe
@pytest.mark.parametrize(
    ("A", "message"),
    [
        (nonsymmetric(), "symmetric"),
        (nonsymmetric(complex_=True), "complex|symmetric"),
        (DenseMatrix(torch.eye(3, dtype=torch.float64)), "needs a CSR"),
        (on_pattern(np.diag([1.0, 0, 1]), np.diag([True, False, True])), "row 1|Row 1"),
        (on_pattern(np.diag([1.0, -2, 1]), np.eye(3, dtype=bool)), "Row 1 has -2"),
    ],
)
def test_matrices_it_cannot_take_are_refused(name, A, message):
    with pytest.raises(InputError, match=message):
        recipe_of(name).setup(A)


@each_recipe
def test_matrices_of_another_dimension_are_refused(name):
    recipe = replace(recipe_of(name), trained_on=TrainedOn("Poisson", 3))
    A = CSR.from_scipy(tridiagonal(8))
    assert bool(solve(A, torch.ones(8, dtype=torch.float64), CG(recipe)).converged)
    A.geometry = Points(torch.rand(8, 2, dtype=torch.float64), torch.zeros(8, dtype=torch.int64))
    with pytest.raises(InputError, match=r"Poisson in 3 dimensions .* lie in 2 dimensions"):
        recipe.setup(A)


def test_settings_out_of_range_are_refused():
    with pytest.raises(InputError, match="form='sideways'"):
        replace(recipe_of("NeuralIF"), coarse="sideways")
    with pytest.raises(InputError, match="probes=0"):
        replace(recipe_of("NeuralIF"), probes=0)


@each_recipe
def test_elasticity_with_geometry(name):
    """The conformance suite on unknowns with places and components, some of whose components are eliminated."""
    A, _ = elasticity(2)
    check_preconditioner(recipe_of(name, 0.1), A)

"""Losses against dense algebra, and what they are for."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from learned.recipes import dense_inverse, recipe_of
from learned.systems import batched
from learned.systems import lognormal as lognormal_squares
from learned.training import trained
from solvers.sparse_problems import dense, laplacian, networks

from pdekit.core.errors import InputError
from pdekit.learned import algebra
from pdekit.learned.corrected import CorrectedFactor
from pdekit.learned.losses import DataWeighted, Frobenius, LowFrequency, ScaledInverse, TwoLevelEnergy
from pdekit.solvers import CG, CSR, IC0, solve
from pdekit.solvers.krylov.cg import conjugate_gradients
from pdekit.solvers.preconditioners.factored import Factored

A, B = networks(12, (2,)), CSR.from_scipy(laplacian(4) * 50)
MATRICES = [*dense(A), dense(B)]
SPANS = [slice(0, 12), slice(12, 24), slice(24, 40)]


def system(recipe):
    """Graph, solutions and right-hand sides of three matrices of two sizes; dense L L^T of each, where there is one."""
    graph = recipe.graph([A, B])
    b = torch.randn(5, 40, dtype=torch.float64)
    x = torch.cat([b[:, span] @ torch.from_numpy(np.linalg.inv(M)) for span, M in zip(SPANS, MATRICES, strict=True)], 1)
    values = recipe.values(graph).detach()
    if values.ndim > 1:
        return graph, x, b, None
    L = torch.zeros(40, 40, dtype=torch.float64).index_put((graph.rows, graph.cols), values)
    return graph, x, b, [(L @ L.T)[span, span].numpy() for span in SPANS]


def test_low_frequency():
    """|L L^T x - b|^2 / |b|^2, the mean over three matrices and five vectors."""
    recipe = recipe_of("NeuralIF", 0.2)
    graph, x, b, factored = system(recipe)
    ratios = [
        ((x[:, span].numpy() @ M - b[:, span].numpy()) ** 2).sum(1) / (b[:, span].numpy() ** 2).sum(1)
        for span, M in zip(SPANS, factored, strict=True)
    ]
    np.testing.assert_allclose(float(LowFrequency()(recipe, graph, x, b).detach()), np.mean(ratios), rtol=1e-10)


def test_data_weighted():
    """The sum of squares over all unknowns; large systems weigh more."""
    recipe = recipe_of("graph factor", 0.2)
    graph, x, b, factored = system(recipe)
    missed = np.concatenate(
        [x[:, span].numpy() @ M - b[:, span].numpy() for span, M in zip(SPANS, factored, strict=True)], 1
    )
    expected = (missed**2).sum() / float(b.square().sum())
    np.testing.assert_allclose(float(DataWeighted()(recipe, graph, x, b).detach()), expected, rtol=1e-10)


def test_frobenius_is_unbiased():
    """20,000 probes against |L L^T - A|_F^2 / |A|_F^2, within 4 standard errors of a sum of so many."""
    recipe = recipe_of("NeuralIF", 0.2)
    graph, x, b, factored = system(recipe)
    expected = np.mean([((M - N) ** 2).sum() / (N**2).sum() for M, N in zip(factored, MATRICES, strict=True)])
    found = float(Frobenius(20_000)(recipe, graph, x, b).detach())
    np.testing.assert_allclose(found, expected, rtol=4 * np.sqrt(2 / 20_000))


@pytest.mark.parametrize("name", ["NeuralIF", "sparse inverse"])
def test_scaled_inverse_is_unbiased(name):
    """20,000 probes against |A M^-1 - I|_F^2 / n of the matrices scaled to a unit diagonal."""
    recipe = recipe_of(name, 0.2)
    graph, x, b, _ = system(recipe)
    inverse, expected = dense_inverse(recipe, [A, B]).numpy(), []
    for span, M in zip(SPANS, MATRICES, strict=True):
        root = np.sqrt(np.diag(M))
        scaled = M @ inverse[span, span] * root / root[:, None] - np.eye(len(M))
        expected.append((scaled**2).sum() / len(M))
    found = float(ScaledInverse(20_000)(recipe, graph, x, b).detach())
    np.testing.assert_allclose(found, np.mean(expected), rtol=4 * np.sqrt(2 / 20_000))


@pytest.mark.parametrize("coarse", [None, "additive", "balanced"])
def test_two_level_energy(coarse):
    """Three steps with dense inverses: the ratio of the A-norms of errors after and before each, and their mean."""
    recipe = replace(recipe_of("NeuralIF", 0.2), coarse=coarse)
    graph, x, b, _ = system(recipe)
    inverse, ratios = dense_inverse(recipe, [A, B]).numpy(), []
    projection = graph.coarse.apply(torch.eye(40, dtype=torch.float64)).numpy()
    for span, M in zip(SPANS, MATRICES, strict=True):
        errors = x[:, span].numpy()
        if coarse == "balanced":
            errors = errors - b[:, span].numpy() @ projection[span, span]
        for error in errors:
            for _ in range(3):
                d = inverse[span, span] @ M @ error
                after = error - (d @ M @ error) / (d @ M @ d) * d
                ratios.append(np.sqrt((after @ M @ after) / (error @ M @ error)))
                error = after
    ratios = np.reshape(ratios, (3, 5, 3))
    found = float(TwoLevelEnergy(steps=3)(recipe, graph, x, b).detach())
    np.testing.assert_allclose(found, ratios.mean(), rtol=1e-6)


def test_the_balanced_form_starts_outside_of_the_coarse_space():
    """The residuals of errors left are orthogonal to it, as those of conjugate gradients are."""
    recipe = CorrectedFactor(coarse="balanced")
    graph, x, b, _ = system(recipe)
    error = x - graph.coarse.apply(b)
    residual = torch.cat([error[:, span] @ torch.from_numpy(M) for span, M in zip(SPANS, MATRICES, strict=True)], 1)
    assert float(graph.coarse.apply(residual).abs().max()) < 1e-12 * float(x.abs().max())


@pytest.mark.parametrize("loss", [LowFrequency(), DataWeighted(), Frobenius(3), ScaledInverse(3), TwoLevelEnergy(4)])
@pytest.mark.parametrize("name", ["corrected", "NeuralIF", "sparse inverse"])
def test_gradients_reach_the_weights(loss, name):
    recipe = CorrectedFactor() if name == "corrected" else recipe_of(name, 0.2)
    graph, x, b, _ = system(recipe)
    if name == "sparse inverse" and isinstance(loss, LowFrequency | DataWeighted | Frobenius):
        with pytest.raises(InputError, match=r"SparseInverse gives an inverse without one. Use ScaledInverse\(\)"):
            loss(recipe, graph, x, b)
        return
    loss(recipe, graph, x, b).backward()
    slopes = [weight.grad for weight in recipe.network.parameters() if weight.grad is not None]
    assert all(bool(torch.isfinite(slope).all()) for slope in slopes)
    assert any(bool(slope.any()) for slope in slopes)


@pytest.mark.parametrize("loss", [LowFrequency(), DataWeighted(), Frobenius(), ScaledInverse(), TwoLevelEnergy(2)])
def test_right_hand_sides_of_zero_give_no_nan(loss):
    recipe = recipe_of("NeuralIF", 0.2)
    graph, zero = recipe.graph([A, B]), torch.zeros(1, 40, dtype=torch.float64)
    found = loss(recipe, graph, zero, zero)
    found.backward()
    assert bool(torch.isfinite(found))
    assert all(bool(torch.isfinite(weight.grad).all()) for weight in recipe.network.parameters())


@pytest.mark.parametrize(
    ("loss", "name"), [(Frobenius, "probes"), (ScaledInverse, "probes"), (TwoLevelEnergy, "steps")]
)
def test_numbers_are_checked(loss, name):
    with pytest.raises(InputError, match=f"{loss.__name__} has {name}=0"):
        loss(**{name: 0})


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_low_frequency_loss_helps_and_the_frobenius_loss_does_not(seed):
    """Corrected IC(0) on 32 squared, 400 steps each: iterations to 1e-8 on held-out matrices, relative to IC(0).

    alpha stays 1, so that what the losses do is seen.
    """
    torch.manual_seed(seed)
    matrices = lognormal_squares(32, 40, seed=seed)
    held_out, b = batched(matrices[32:]), torch.randn(8, 32**2, dtype=torch.float64)
    counts = {}
    for loss in (LowFrequency(), Frobenius()):
        recipe = trained(CorrectedFactor(), matrices[:32], loss, 400)
        graph = recipe.graph(held_out)
        factors = algebra.factors(graph, recipe.values(graph))
        wanted = 1e-8 * torch.linalg.vector_norm(b, dim=-1)
        found = conjugate_gradients(held_out, Factored(held_out, factors, "corrected"), b, None, wanted, 500)
        counts[type(loss).__name__] = float(found.iterations.double().mean())
    classical = float(solve(held_out, b, CG(IC0())).iterations.double().mean())
    assert counts["LowFrequency"] < 0.75 * classical
    assert counts["Frobenius"] > 0.97 * classical

"""Oracle: the Matern covariance by scipy.special.kv, and its closed forms for half-integer smoothness."""

import math

import numpy as np
import pytest
import torch
from scipy.special import gamma, kv

from pdekit.core.random import Keys
from pdekit.domain import Grid
from pdekit.fields import Matern
from pdekit.fields.matern import _coefficients, _enlarged, matern_correlation
from pdekit.fields.series import _table


def analytic(distance, length, smoothness):
    x = math.sqrt(2 * smoothness) * np.maximum(distance, 1e-9) / length
    return 2 ** (1 - smoothness) / gamma(smoothness) * x**smoothness * kv(smoothness, x)


def covariance(field: Matern, points: np.ndarray) -> np.ndarray:
    """Of the series that is drawn, exactly: the sum over all modes."""
    box = ((0.0, 1.0),) * points.shape[1]
    coefficients, _ = _coefficients(field, box)
    waves = np.ones((len(points), 1))
    for axis, sides in enumerate(_enlarged(field, box)):
        table = _table(points[:, axis], "periodic", sides, coefficients.shape[axis])
        waves = np.einsum("pa,pb->pab", waves, table).reshape(len(points), -1)
    return (waves * coefficients.ravel() ** 2) @ waves.T


@pytest.mark.parametrize("smoothness", [0.5, 1.5, 2.5])
def test_correlation_closed_forms(smoothness):
    r = np.linspace(0, 3, 50)
    x = math.sqrt(2 * smoothness) * r
    polynomial = {0.5: 1 + 0 * x, 1.5: 1 + x, 2.5: 1 + x + x**2 / 3}[smoothness]
    np.testing.assert_allclose(matern_correlation(r, 1.0, smoothness), polynomial * np.exp(-x), atol=1e-7)


@pytest.mark.parametrize(
    ("field", "dim"),
    [
        (Matern(0.1, 0.5), 1),
        (Matern(0.1, 0.5, 4.0), 2),
        (Matern(0.2, 1.5), 2),
        (Matern(1.0, 1.0, 0.3), 2),
        (Matern(0.3, 2.5), 3),
    ],
)
def test_covariance_is_the_matern_function_to_the_stated_accuracy(field, dim):
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.random((24, dim)), np.zeros((1, dim)), np.ones((1, dim))])  # corners included
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
    ours = covariance(field, points) / field.variance
    np.testing.assert_allclose(ours.diagonal(), 1.0, atol=1e-12)
    lost = field.truncation(Grid((4,) * dim))
    assert 0 <= lost < 0.03
    error = np.abs(ours - analytic(distance, field.length, field.smoothness)).max()
    assert error <= lost + 2e-3
    assert error > 1e-8  # the bound is not idle


def test_truncation_falls_with_modes_and_is_what_the_default_states():
    grid = Grid((8, 8))
    shares = [Matern(0.1, 0.5, modes=m).truncation(grid) for m in (64, 128, 256, 512)]
    assert shares == sorted(shares, reverse=True)
    assert Matern(0.1, 0.5).truncation(grid) == pytest.approx(0.02, abs=0.005)


def test_mean_and_variance_of_samples():
    field = Matern(0.1, 0.5, 4.0, mean=2.0, modes=64)
    values = field.sample(Keys(0, "train", range(3000)).named("a"), Grid((3, 3)))
    assert float((values.mean(0) - 2).abs().max()) < 4.5 * 2 / math.sqrt(3000)
    variance = values.var(0)
    assert float((variance / 4 - 1).abs().max()) < 4.5 * math.sqrt(2 / 3000)  # on corners and edges as inside
    assert torch.isfinite(values).all()

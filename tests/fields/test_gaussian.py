"""Oracles: scipy.fft.idctn of the published recipe; numpy's FFT of the periodic one; sums of eigenfunctions by hand."""

import math

import numpy as np
import pytest
import scipy.fft
import torch

from pdekit.core.random import Keys, normal_lattice
from pdekit.domain import Grid
from pdekit.fields import GaussianField

KEYS = Keys(0, "train", range(3)).named("coefficient")


def test_neumann_is_the_published_recipe():
    """K idct2(coef xi) at the K cell centres with coef = tau^(a-1) (pi^2 |k|^2 + tau^2)^(-a/2), mean removed."""
    size, alpha, tau = 32, 2.0, 3.0
    k = np.arange(size)
    coef = tau ** (alpha - 1) * (math.pi**2 * (k[:, None] ** 2 + k**2) + tau**2) ** (-alpha / 2)
    coef[0, 0] = 0
    expected = size * scipy.fft.idctn(coef * normal_lattice(KEYS, (size, size)), axes=(1, 2), norm="ortho")
    centres = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    points = torch.cartesian_prod(centres, centres)
    ours = GaussianField(alpha, tau, modes=size).sample(KEYS, points).reshape(3, size, size)
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-12)


def exact_covariance(field: GaussianField, x: np.ndarray, y: np.ndarray) -> float:
    """Of the field in one dimension on (0, 1), by its eigenfunctions one by one."""
    total, modes = 0.0, field.modes
    for j in range(modes + 1):
        kappa = 2 * math.pi * j if field.boundary == "periodic" else math.pi * j
        variance = field.tau ** (2 * field.alpha - 1) * (kappa**2 + field.tau**2) ** (-field.alpha)
        if j == 0 or (field.boundary == "neumann" and j == modes):
            continue
        if field.boundary == "periodic":
            total += 2 * variance * math.cos(kappa * (x - y)) if j <= modes // 2 else 0
        else:
            wave = math.cos if field.boundary == "neumann" else math.sin
            total += 2 * variance * wave(kappa * x) * wave(kappa * y)
    return total


@pytest.mark.parametrize("boundary", ["neumann", "dirichlet", "periodic"])
def test_covariance_of_many_samples(boundary):
    field = GaussianField(1.5, 4.0, boundary, modes=20)
    grid = Grid((9,))
    count = 20_000
    values = field.sample(Keys(0, "train", range(count)).named("a"), grid).numpy()
    x = grid.coordinates(0).numpy()
    expected = np.array([[exact_covariance(field, a, b) for b in x] for a in x])
    # Isserlis: the standard error of an entry of a sample covariance is sqrt((C_ii C_jj + C_ij^2) / N)
    error = np.sqrt((np.outer(expected.diagonal(), expected.diagonal()) + expected**2) / count)
    assert (np.abs(values.T @ values / count - expected) <= 4.5 * error + 1e-14).all()


def test_periodic_has_the_law_of_the_published_recipe():
    """Real part of ifftn of sqrt(2) n^d sigma (4 pi^2 |k|^2 + tau^2)^(-a/2) times complex normals."""
    size, alpha, tau = 12, 2.5, 7.0
    k = np.fft.fftfreq(size, 1 / size)
    spectrum = (4 * math.pi**2 * (k[:, None] ** 2 + k**2) + tau**2) ** (-alpha / 2)
    spectrum[0, 0] = 0
    spectrum[size // 2] = spectrum[:, size // 2] = 0  # the lone highest wave number has no partner
    sigma = tau ** (0.5 * (2 * alpha - 2))
    # variance of Re ifft(c z) with E|z|^2 = 1: each wave number adds c_k^2 / 2 times 1/n^(2d)
    expected = float((2 * sigma**2 * spectrum**2).sum() / 2)
    field = GaussianField(alpha, tau, "periodic", modes=size - 1)
    values = field.sample(Keys(0, "train", range(4000)).named("a"), Grid((4, 4), closed=False))
    assert abs(float(values.var()) / expected - 1) < 0.05


def test_dirichlet_vanishes_and_neumann_is_flat_on_the_boundary():
    grid = Grid((5, 401), box=((0.0, 2.0), (-1.0, 1.0)))
    sine = GaussianField(2, 3, "dirichlet", modes=16).sample(KEYS, grid)
    for edge in (sine[:, 0], sine[:, -1], sine[:, :, 0], sine[:, :, -1]):
        assert float(edge.abs().max()) < 1e-12
    cosine = GaussianField(2, 3, modes=16).sample(KEYS, grid)
    assert float((cosine[:, :, 1] - cosine[:, :, 0]).abs().max()) < 2e-3 * float(cosine.std())


def test_periodic_closes():
    values = GaussianField(2, 3, "periodic").sample(KEYS, Grid((9, 9)))
    torch.testing.assert_close(values[:, 0], values[:, -1], rtol=0, atol=1e-12)


def test_stretching_the_box_stretches_the_function():
    """With tau L fixed the field on (0, L) is the field on (0, 1), L^0 higher: the default scale keeps its variance."""
    small = GaussianField(2, 3).sample(KEYS, Grid((17, 17)))
    large = GaussianField(2, 1.5).sample(KEYS, Grid((17, 17), box=((0.0, 2.0), (4.0, 6.0))))
    torch.testing.assert_close(large, small, rtol=1e-11, atol=1e-12)

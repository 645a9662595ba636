"""Oracles: scipy.fft with norm="ortho"; dense second differences with half cells at Neumann ends."""

import numpy as np
import pytest
import scipy.fft
import torch

from pdekit.core import InputError
from pdekit.domain import transforms
from pdekit.domain.transforms import AxisTransform

SCIPY = {
    "dst1": lambda x, axis: scipy.fft.dst(x, 1, axis=axis, norm="ortho"),
    "dst2": lambda x, axis: scipy.fft.dst(x, 2, axis=axis, norm="ortho"),
    "dst3": lambda x, axis: scipy.fft.dst(x, 3, axis=axis, norm="ortho"),
    "dct1": lambda x, axis: scipy.fft.dct(x, 1, axis=axis, norm="ortho", orthogonalize=True),
    "dct2": lambda x, axis: scipy.fft.dct(x, 2, axis=axis, norm="ortho"),
    "dct3": lambda x, axis: scipy.fft.dct(x, 3, axis=axis, norm="ortho"),
    "hartley": lambda x, axis: (lambda f: f.real - f.imag)(np.fft.fft(x, axis=axis, norm="ortho")),
}
INVERSE = {"dst2": "dst3", "dst3": "dst2", "dct2": "dct3", "dct3": "dct2"}


@pytest.mark.parametrize("name", SCIPY)
@pytest.mark.parametrize("n", [2, 3, 7, 64, 101])
def test_equals_scipy_and_inverts(name, n):
    x = np.random.default_rng(n).standard_normal((3, n, 5))
    ours = getattr(transforms, name)(torch.from_numpy(x), 1)
    np.testing.assert_allclose(ours.numpy(), SCIPY[name](x, 1), atol=1e-13 * np.sqrt(n))
    back = getattr(transforms, INVERSE.get(name, name))(ours, 1)
    np.testing.assert_allclose(back.numpy(), x, atol=1e-13 * np.sqrt(n))


@pytest.mark.parametrize("name", SCIPY)
def test_several_axes_float32_and_gradient(name):
    x = torch.randn(2, 6, 9, dtype=torch.float32, generator=torch.Generator().manual_seed(0))
    both = getattr(transforms, name)(x, (-2, -1))
    assert both.dtype == torch.float32
    assert both.shape == x.shape
    np.testing.assert_allclose(both.numpy(), SCIPY[name](SCIPY[name](x.numpy(), 1), 2), atol=1e-5)
    y = x[0].double().requires_grad_()
    assert torch.autograd.gradcheck(lambda t: getattr(transforms, name)(t, 0), (y,))


PAIRS = [
    ("dirichlet", "dirichlet"),
    ("neumann", "neumann"),
    ("dirichlet", "neumann"),
    ("neumann", "dirichlet"),
    ("periodic", "periodic"),
]


def second_difference(lower: str, upper: str, n: int, h: float) -> np.ndarray:
    """A chain of resistors, its ends grounded (Dirichlet), free (Neumann) or joined (periodic)."""
    a = np.zeros((n, n))
    links = [(i, i + 1) for i in range(n - 1)] + ([(n - 1, 0)] if lower == "periodic" else [])
    for i, j in links:
        a[[i, j], [i, j]] += 1
        a[i, j] -= 1
        a[j, i] -= 1
    a[0, 0] += lower == "dirichlet"
    a[-1, -1] += upper == "dirichlet"
    return a / h**2


@pytest.mark.parametrize("ends", PAIRS)
@pytest.mark.parametrize("n", [4, 9])
def test_diagonalises_the_second_difference(ends, n):
    axis, h = AxisTransform(*ends), 0.3
    root = axis.weights(n).sqrt().numpy()
    a = second_difference(*ends, n, h) / np.outer(root, root)
    q = axis.forward(torch.eye(n, dtype=torch.float64), 0).numpy()  # column i: the coefficients of unit vector i
    np.testing.assert_allclose(q @ a @ q.T, np.diag(axis.eigenvalues(n, h).numpy()), atol=1e-11)
    np.testing.assert_allclose(axis.inverse(torch.from_numpy(q), 0).numpy(), np.eye(n), atol=1e-13)
    null = ends in (("neumann", "neumann"), ("periodic", "periodic"))
    assert (float(axis.eigenvalues(n, h)[0]) == 0.0) == null


def test_refusals():
    with pytest.raises(InputError, match="periodic at both"):
        AxisTransform("periodic", "neumann")
    with pytest.raises(InputError, match="real floating-point"):
        transforms.dst1(torch.arange(3))
    with pytest.raises(InputError, match="at least 2"):
        transforms.dct1(torch.ones(1))

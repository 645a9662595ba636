"""Spectral convolutions by real matrix products equal those by fast transforms."""

import numpy as np
import pytest
import scipy.fft
import torch

from pdekit.core.errors import InputError
from pdekit.nn.bases import AxisBasis
from pdekit.nn.spectral import SpectralConvolution, transform_matrices


def convolve(layer: SpectralConvolution, x: torch.Tensor) -> torch.Tensor:
    return layer(x, transform_matrices(layer.bases, x.shape[1:-1], x))


def make(*bases: AxisBasis, inputs=3, outputs=2) -> SpectralConvolution:
    return SpectralConvolution(inputs, outputs, bases)


def fft_reference(layer: SpectralConvolution, x: torch.Tensor, kept: int) -> torch.Tensor:
    """The layer on an open grid by torch.fft: wave numbers -kept..kept, the last axis 0..kept."""
    axes = tuple(range(1, x.ndim - 1))
    spectrum = torch.fft.rfftn(x, dim=axes, norm="forward")
    full = torch.zeros(*spectrum.shape[:-1], layer.weight.shape[-1], dtype=torch.complex64)
    modes = layer.bases[0].modes
    real, imaginary = layer.weight.unbind(-3)
    weight = torch.complex(real, imaginary)
    for index in np.ndindex(*(2 * kept + 1,) * (len(axes) - 1), kept + 1):
        waves = [i if i <= kept else kept - i for i in index[:-1]] + [index[-1]]
        stored = tuple(k if k >= 0 else modes - k for k in waves)
        full[:, *waves] = spectrum[:, *waves] @ weight[stored]
    for axis in axes[:-1]:
        full = torch.fft.ifft(full, dim=axis, norm="forward")
    return torch.fft.irfft(full, n=x.shape[-2], dim=axes[-1], norm="forward")


def near(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool((a - b).abs().max() <= 1e-5 * b.abs().max())


@pytest.mark.parametrize(
    ("shape", "modes", "kept"),
    [((64,), 12, 12), ((31,), 15, 15), ((24, 30), 5, 5), ((33, 16), 7, 7), ((8, 9, 10), 3, 3), ((6, 6), 5, 2)],
)
def test_fourier_equals_the_fft(shape, modes, kept):
    """Oracle: torch.fft with truncation; the last case is a grid too coarse for the modes."""
    layer = make(*[AxisBasis("fourier", modes)] * len(shape))
    x = torch.randn(2, *shape, 3)
    assert near(convolve(layer, x), fft_reference(layer, x, kept))


def scipy_reference(layer: SpectralConvolution, x: np.ndarray) -> np.ndarray:
    """Sine and cosine bases by scipy.fft, type 1, on fields whose coefficients the modes hold in full."""
    axes = range(1, x.ndim - 1)
    for axis, basis in zip(axes, layer.bases, strict=True):
        if basis.kind == "sine":
            inside = np.take(x, range(1, x.shape[axis] - 1), axis)
            x = scipy.fft.dst(inside, type=1, axis=axis) / (2**0.5 * (inside.shape[axis] + 1))
        else:
            x = scipy.fft.dct(x, type=1, axis=axis) / (x.shape[axis] - 1)  # twice the mean against cos
            x *= np.where(np.arange(x.shape[axis]) == 0, 0.5, 0.5**0.5).reshape(-1, *[1] * (x.ndim - axis - 1))
        x = np.take(x, range(layer._count(axis - 1, basis.modes)), axis)
    y = np.einsum("b...i,...io->b...o", x, layer.weight.detach().numpy())
    for axis, basis in zip(axes, layer.bases, strict=True):
        points = SHAPE[axis - 1]
        k = np.arange(y.shape[axis])
        t = np.linspace(0, 1, points)[:, None]
        if basis.kind == "sine":
            functions = 2**0.5 * np.sin(np.pi * t * (k + 1))
        else:
            functions = np.where(k == 0, 1, 2**0.5) * np.cos(np.pi * t * k)
        y = np.moveaxis(np.tensordot(functions, y, (1, axis)), 0, axis)
    return y


SHAPE = (17, 22, 9)


@pytest.mark.parametrize("kinds", [("sine",), ("cosine",), ("sine", "sine"), ("cosine", "cosine"), ("sine", "cosine"),
                                   ("cosine", "sine", "sine")])  # fmt: skip
def test_sine_and_cosine_equal_the_dst_and_dct(kinds):
    """Oracle: scipy.fft.dst and dct of type 1."""
    layer = make(*[AxisBasis(kind, 6) for kind in kinds])
    x = torch.randn(2, *SHAPE[: len(kinds)], 3)
    expected = torch.from_numpy(scipy_reference(layer, x.double().numpy()))
    assert near(convolve(layer, x).double(), expected)


@pytest.mark.parametrize(("points", "padding", "period"), [(65, 0.125, 72), (33, 1.0, 64), (17, 0.5, 24)])
def test_padding_equals_the_fft_of_the_zero_padded_field(points, padding, period):
    """Oracle: torch.fft on the whole period; the period is an exact fraction, here a whole number of cells."""
    layer = make(AxisBasis("fourier", 7, padding))
    x = torch.randn(2, points, 3)
    padded = torch.zeros(2, period, 3)
    padded[:, :points] = x
    padded[:, [0, points - 1]] *= 0.5
    expected = fft_reference(layer, padded, 7)[:, :points]
    assert near(convolve(layer, x), expected)


def test_mixed_axes_equal_one_transform_after_the_other():
    """Oracle: a sine expansion by hand of an FFT layer's coefficients, mode by mode."""
    layer = make(AxisBasis("sine", 4), AxisBasis("fourier", 3))
    x = torch.randn(2, 9, 16, 3)
    t = torch.linspace(0, 1, 9)
    expected = torch.zeros(2, 9, 16, 2)
    for k in range(4):
        sine = 2**0.5 * torch.sin(torch.pi * (k + 1) * t)
        sine[[0, -1]] = 0
        line = torch.einsum("x,bxyc->byc", sine / 8, x)
        single = make(AxisBasis("fourier", 3))
        single.weight.data = layer.weight.data[k]
        expected += torch.einsum("x,byc->bxyc", sine, fft_reference(single, line, 3))
    assert near(convolve(layer, x), expected)


def test_the_order_of_axes_does_not_matter():
    first = make(AxisBasis("fourier", 3), AxisBasis("cosine", 4))
    second = make(AxisBasis("cosine", 4), AxisBasis("fourier", 3))
    second.weight.data = first.weight.data.transpose(0, 1).contiguous()
    x = torch.randn(2, 10, 12, 3)
    assert near(convolve(first, x), convolve(second, x.transpose(1, 2).contiguous()).transpose(1, 2))


@pytest.mark.parametrize("kind", ["fourier", "sine", "cosine"])
def test_the_gradient_is_right(kind):
    """Oracle: finite differences in float64."""
    layer = make(AxisBasis(kind, 2), AxisBasis(kind, 2), inputs=2).double()
    x = torch.randn(1, 6, 7, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w: torch.func.functional_call(Wrapped(layer), {"layer.weight": w}, (x,)),
                                    (x, layer.weight.detach().requires_grad_()))  # fmt: skip


class Wrapped(torch.nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return convolve(self.layer, x)


@pytest.mark.parametrize("basis", [AxisBasis("fourier", 5), AxisBasis("sine", 5), AxisBasis("cosine", 5)])
def test_analysis_undoes_synthesis(basis):
    analysis, synthesis = basis.matrices(24, torch.device("cpu"), torch.float64)
    product = analysis @ synthesis
    off = product - torch.diag(product.diagonal())
    assert off.abs().max() < 1e-14
    assert set(product.diagonal().mul(2).round().tolist()) <= {1.0, 2.0}


def test_coefficients_do_not_depend_on_the_resolution():
    """Oracle: the integral of a smooth function against each basis function, by a fine grid."""
    for basis in (AxisBasis("fourier", 4), AxisBasis("fourier", 4, 0.25), AxisBasis("sine", 4), AxisBasis("cosine", 4)):
        found = []
        for points in (129, 1025):
            t = basis.coordinates(points, torch.device("cpu"), torch.float64)
            analysis, _ = basis.matrices(points, torch.device("cpu"), torch.float64)
            found.append(analysis @ torch.exp(torch.cos(2 * torch.pi * t)))
        assert torch.allclose(found[0], found[1], atol=5e-4)  # trapezoid, order 2, h = 1/128


def test_impossible_bases_are_refused():
    with pytest.raises(InputError, match="'chebyshev' is unknown; choose one of fourier, sine, cosine"):
        AxisBasis("chebyshev")
    with pytest.raises(InputError, match="modes must be a whole number of at least 1, got 0"):
        AxisBasis(modes=0)
    with pytest.raises(InputError, match="padding belongs to the fourier basis"):
        AxisBasis("sine", 4, 0.1)
    with pytest.raises(InputError, match="between 0 and 10, got -1"):
        AxisBasis(padding=-1)
    with pytest.raises(InputError, match="2 points is too short for a sine basis"):
        AxisBasis("sine").kept(2)

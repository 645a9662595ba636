"""Orthonormal trigonometric transforms: the eigenvectors of second differences, one kind for each pair of ends.

The table gives, for one axis with spacing h, the transform that diagonalises the second difference and what it does to
the unknowns. Dirichlet nodes are no unknowns; a Neumann node is one, with half a cell, so ``W`` below is the identity
with 1/2 at each Neumann end. ``W^-1/2 A W^-1/2``, with A the symmetric operator of half cells, has the eigenvalues
``(2/h sin(theta_k / 2))^2``, k = 0..n-1, and the rows of the transform as eigenvectors:

=========  =========  ===================  ====================  ======================  =========================
lower      upper      unknowns             forward               inverse                 theta_k
=========  =========  ===================  ====================  ======================  =========================
Dirichlet  Dirichlet  n inside             :func:`dst1`          :func:`dst1`            pi (k + 1) / (n + 1)
Neumann    Neumann    n with both ends     :func:`dct1`          :func:`dct1`            pi k / (n - 1)
Dirichlet  Neumann    n with the upper     :func:`dst3`          :func:`dst2`            pi (k + 1/2) / n
Neumann    Dirichlet  n with the lower     :func:`dct3`          :func:`dct2`            pi (k + 1/2) / n
periodic   periodic   n                    :func:`hartley`       :func:`hartley`         2 pi k / n
=========  =========  ===================  ====================  ======================  =========================

All are real and orthogonal (``norm="ortho"`` of SciPy), keep shape, dtype and device, and are differentiable. Each
runs through the FFT of an extension of the data, along the given axes; all other axes are batch.
"""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.core.errors import InputError

__all__ = ["AxisTransform", "dct1", "dct2", "dct3", "dst1", "dst2", "dst3", "hartley"]

Line = Callable[[Tensor], Tensor]


def dst1(x: Float[Tensor, "*shape"], dims: int | Sequence[int] = -1) -> Float[Tensor, "*shape"]:
    """Orthonormal DST-I, its own inverse: the values between two Dirichlet ends.

    Args:
        x: values at the interior nodes, real.
        dims: one axis or several.

    Returns:
        ``y_k = sqrt(2/(n+1)) sum_i x_i sin(pi (i+1)(k+1)/(n+1))`` along each of ``dims``.

    Raises:
        InputError: x is not real.

    Example:
        >>> x = torch.tensor([[1.0, 2.0, 3.0]])
        >>> torch.allclose(dst1(dst1(x)), x)
        True
    """
    return _along(x, dims, _dst1, 1, "dst1")


def dct1(x: Float[Tensor, "*shape"], dims: int | Sequence[int] = -1) -> Float[Tensor, "*shape"]:
    """Orthonormal DCT-I, its own inverse: the values on the nodes of a closed axis between two Neumann ends.

    Args:
        x: values at the nodes, both ends included, times ``W^1/2`` (see the module).
        dims: one axis or several, each of at least 2 points.

    Returns:
        ``y_k = sqrt(2/(n-1)) s_k sum_i s_i x_i cos(pi i k/(n-1))`` with s = 1/sqrt(2) at both ends and 1 inside.

    Raises:
        InputError: x is not real, or an axis has fewer than 2 points.
    """
    return _along(x, dims, _dct1, 2, "dct1")


def dst3(x: Float[Tensor, "*shape"], dims: int | Sequence[int] = -1) -> Float[Tensor, "*shape"]:
    """Orthonormal DST-III, the inverse of :func:`dst2`: from nodes between a Dirichlet lower and a Neumann upper end.

    Args:
        x: values at the n nodes behind the Dirichlet end, the Neumann end last, times ``W^1/2``.
        dims: one axis or several.

    Returns:
        ``y_k = sqrt(2/n) sum_i s_i x_i sin(pi (k+1/2)(i+1)/n)`` with s = 1/sqrt(2) at the last node and 1 elsewhere.
    """
    return _along(x, dims, _dst3, 1, "dst3")


def dst2(x: Float[Tensor, "*shape"], dims: int | Sequence[int] = -1) -> Float[Tensor, "*shape"]:
    """Orthonormal DST-II, the inverse and the transpose of :func:`dst3`."""
    return _along(x, dims, _dst2, 1, "dst2")


def dct3(x: Float[Tensor, "*shape"], dims: int | Sequence[int] = -1) -> Float[Tensor, "*shape"]:
    """Orthonormal DCT-III, the inverse of :func:`dct2`: from nodes between a Neumann lower and a Dirichlet upper end.

    Args:
        x: values at the n nodes before the Dirichlet end, the Neumann end first, times ``W^1/2``.
        dims: one axis or several.

    Returns:
        ``y_k = sqrt(2/n) sum_i s_i x_i cos(pi (k+1/2) i/n)`` with s = 1/sqrt(2) at the first node and 1 elsewhere.
    """
    return _along(x, dims, _dct3, 1, "dct3")


def dct2(x: Float[Tensor, "*shape"], dims: int | Sequence[int] = -1) -> Float[Tensor, "*shape"]:
    """Orthonormal DCT-II, the inverse and the transpose of :func:`dct3`."""
    return _along(x, dims, _dct2, 1, "dct2")


def hartley(x: Float[Tensor, "*shape"], dims: int | Sequence[int] = -1) -> Float[Tensor, "*shape"]:
    """Orthonormal discrete Hartley transform, its own inverse: the real eigenvectors of a periodic axis.

    Args:
        x: values at the nodes of an open axis.
        dims: one axis or several.

    Returns:
        ``y_k = 1/sqrt(n) sum_i x_i (cos + sin)(2 pi i k/n)`` along each of ``dims``.
    """
    return _along(x, dims, _hartley, 1, "hartley")


class AxisTransform:
    """The transform of one axis by its two ends, with the eigenvalues of the second difference.

    Args:
        lower: kind of the lower end, ``dirichlet``, ``neumann`` or ``periodic``.
        upper: kind of the upper end.

    Raises:
        InputError: another kind, or only one end periodic.

    Example:
        >>> axis = AxisTransform("dirichlet", "neumann")
        >>> x = torch.arange(4.0, dtype=torch.float64)
        >>> torch.allclose(axis.inverse(axis.forward(x)), x)
        True
        >>> axis.eigenvalues(4, 0.25).shape
        torch.Size([4])
    """

    def __init__(self, lower: str, upper: str):
        if (lower, upper) not in _PAIRS:
            raise InputError(
                f"No transform fits the ends {lower!r} and {upper!r}; expected dirichlet or neumann at each, or "
                "periodic at both."
            )
        self.lower, self.upper = lower, upper
        self._forward, self._inverse, self._theta = _PAIRS[lower, upper]

    def forward(self, x: Float[Tensor, "*shape"], dim: int = -1) -> Float[Tensor, "*shape"]:
        """From the nodes (times ``W^1/2``) to the coefficients."""
        return self._forward(x, dim)

    def inverse(self, x: Float[Tensor, "*shape"], dim: int = -1) -> Float[Tensor, "*shape"]:
        """From the coefficients to the nodes (times ``W^1/2``)."""
        return self._inverse(x, dim)

    def eigenvalues(self, n: int, spacing: float, *, device: torch.device | None = None) -> Float[Tensor, " n"]:
        """``(2/h sin(theta_k/2))^2`` for n unknowns, float64; exactly 0 for constants where they are an eigenvector."""
        k = torch.arange(n, dtype=torch.float64, device=device)
        return (2 / spacing * torch.sin(self._theta(k, n) / 2)) ** 2

    def weights(self, n: int, *, device: torch.device | None = None) -> Float[Tensor, " n"]:
        """The diagonal of W: 1/2 at each Neumann end, 1 elsewhere, float64."""
        w = torch.ones(n, dtype=torch.float64, device=device)
        if self.lower == "neumann":
            w[0] = 0.5
        if self.upper == "neumann":
            w[-1] = 0.5
        return w


_PAIRS: dict[tuple[str, str], tuple[Callable, Callable, Callable]] = {
    ("dirichlet", "dirichlet"): (dst1, dst1, lambda k, n: math.pi * (k + 1) / (n + 1)),
    ("neumann", "neumann"): (dct1, dct1, lambda k, n: math.pi * k / (n - 1)),
    ("dirichlet", "neumann"): (dst3, dst2, lambda k, n: math.pi * (k + 0.5) / n),
    ("neumann", "dirichlet"): (dct3, dct2, lambda k, n: math.pi * (k + 0.5) / n),
    ("periodic", "periodic"): (hartley, hartley, lambda k, n: 2 * math.pi * k / n),
}


def _along(x: Tensor, dims: int | Sequence[int], line: Line, least: int, name: str) -> Tensor:
    if not x.is_floating_point():
        raise InputError(f"{name} was given {x.dtype}; expected real floating-point numbers.")
    for dim in (dims,) if isinstance(dims, int) else dims:
        if x.shape[dim] < least:
            raise InputError(f"{name} was given {x.shape[dim]} points along axis {dim}; expected at least {least}.")
        # The FFT runs about three times faster along contiguous memory than across it.
        x = line(x.movedim(dim, -1).contiguous()).movedim(-1, dim)
    return x.contiguous()


def _dst1(x: Tensor) -> Tensor:
    n = x.shape[-1]
    zero = x.new_zeros((*x.shape[:-1], 1))
    odd = torch.cat([zero, x, zero, -x.flip(-1)], dim=-1)
    return torch.fft.rfft(odd).imag[..., 1 : n + 1] * (-1 / math.sqrt(2 * (n + 1)))


def _dct1(x: Tensor) -> Tensor:
    n = x.shape[-1]
    ends = x.new_ones(n)
    ends[0] = ends[-1] = math.sqrt(0.5)
    # The even extension counts an end once and every other node twice, hence the factor 2 on the ends.
    x = x * ends
    even = torch.cat([2 * x[..., :1], x[..., 1:-1], 2 * x[..., -1:], x[..., 1:-1].flip(-1)], dim=-1)
    return torch.fft.rfft(even).real * (ends / math.sqrt(2 * (n - 1)))


def _quarter_phase(x: Tensor, first: int) -> Tensor:
    """exp(-i pi j / (2n)), j = first..first+n-1."""
    n = x.shape[-1]
    angle = torch.arange(first, first + n, dtype=torch.float64, device=x.device) * (-math.pi / (2 * n))
    return torch.polar(torch.ones_like(angle), angle).to(x.dtype.to_complex())


def _dst3(x: Tensor) -> Tensor:
    n = x.shape[-1]
    x = torch.cat([x[..., :-1], x[..., -1:] * math.sqrt(0.5)], dim=-1)
    shifted = torch.nn.functional.pad(x * _quarter_phase(x, 1), (1, n - 1))
    return torch.fft.fft(shifted).imag[..., :n] * (-math.sqrt(2 / n))


def _dst2(x: Tensor) -> Tensor:
    n = x.shape[-1]
    waves = torch.fft.ifft(x, n=2 * n)[..., 1 : n + 1] * _quarter_phase(x, 1).conj()
    y = waves.imag * (2 * n * math.sqrt(2 / n))
    return torch.cat([y[..., :-1], y[..., -1:] * math.sqrt(0.5)], dim=-1)


def _dct3(x: Tensor) -> Tensor:
    n = x.shape[-1]
    x = torch.cat([x[..., :1] * math.sqrt(0.5), x[..., 1:]], dim=-1)
    return torch.fft.fft(x * _quarter_phase(x, 0), n=2 * n).real[..., :n] * math.sqrt(2 / n)


def _dct2(x: Tensor) -> Tensor:
    n = x.shape[-1]
    waves = torch.fft.ifft(x, n=2 * n)[..., :n] * _quarter_phase(x, 0).conj()
    y = waves.real * (2 * n * math.sqrt(2 / n))
    return torch.cat([y[..., :1] * math.sqrt(0.5), y[..., 1:]], dim=-1)


def _hartley(x: Tensor) -> Tensor:
    waves = torch.fft.fft(x, norm="ortho")
    return waves.real - waves.imag

"""Sequences of equations for which GMRES is made: indefinite, unsymmetric, nonlinear."""

from collections.abc import Iterator

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.solvers import CSR
from pdekit.solvers.operators.pattern import Pattern

__all__ = ["NonlinearDiffusion", "convection", "helmholtz", "impedance", "smooth"]

System = tuple[scipy.sparse.csr_array, np.ndarray]
"""A matrix, times h^2, and a right-hand side."""


def helmholtz(shape: tuple[int, ...], waves: float, vary: float, rng: np.random.Generator) -> Iterator[System]:
    """-Laplace(u) - k^2 u = a point-like source somewhere, u = 0 on the boundary of the unit cube or square.

    Args:
        shape: unknowns along each axis, all the same.
        waves: wavelengths along a side.
        vary: how far, relatively, wave numbers lie from that at most, drawn uniformly.
        rng: of wave numbers and sources.
    """
    size = shape[0]
    matrix, points = _laplacian(shape), np.arange(1, size + 1) / (size + 1)
    while True:
        k = 2 * np.pi * waves * (1 + vary * rng.uniform(-1, 1)) / (size + 1)
        yield (
            scipy.sparse.csr_array(matrix - k**2 * scipy.sparse.eye_array(size ** len(shape))),
            _source([points] * len(shape), rng),
        )


def impedance(size: int, waves: float, vary: float, rng: np.random.Generator) -> Iterator[System]:
    """-Laplace(u) - k^2 u = a point-like source, du/dn = i k u: waves leave the unit square. Complex symmetric.

    Args:
        size: cells along a side; the unknowns are at their centres.
        waves: wavelengths along a side.
        vary: how far wave numbers vary.
        rng: of wave numbers and sources.
    """
    line = _line(size).tolil()
    line[0, 0] = line[-1, -1] = 1.0
    ends = scipy.sparse.diags_array(np.r_[1.0, np.zeros(size - 2), 1.0])
    one, points = scipy.sparse.eye_array(size), (np.arange(size) + 0.5) / size
    laplacian, sides = (scipy.sparse.kron(part, one) + scipy.sparse.kron(one, part) for part in (line, ends))
    while True:
        k = 2 * np.pi * waves * (1 + vary * rng.uniform(-1, 1)) / size
        matrix = laplacian - k**2 * scipy.sparse.eye_array(size**2) - 1j * k * sides
        yield scipy.sparse.csr_array(matrix), _source([points] * 2, rng).astype(np.complex128)


def convection(size: int, peclet: float, correlation: float, rng: np.random.Generator) -> Iterator[System]:
    """-Laplace(u) + Pe w . grad u = 1 on the unit square, u = 0 on its boundary, by skew central differences.

    w is the curl of a smooth random stream function, of mean speed 1, that changes from system to system.

    Args:
        size: unknowns along a side.
        peclet: Pe.
        correlation: of the stream function with that of the system before.
        rng: of the stream functions.
    """
    laplacian, h = _laplacian((size, size)), 1 / (size + 1)
    one, next_one = scipy.sparse.eye_array(size), scipy.sparse.eye_array(size, k=1)
    step = 0.5 * (next_one - next_one.T)
    along = [scipy.sparse.kron(step, one), scipy.sparse.kron(one, step)]
    stream = smooth(size, rng)
    while True:
        flow = [part / h for part in np.gradient(stream)]
        speed = np.sqrt(np.mean(flow[0] ** 2 + flow[1] ** 2))
        matrix = laplacian.copy()
        for component, derivative in zip((flow[1], -flow[0]), along, strict=True):
            speeds = scipy.sparse.diags_array(peclet * h * component.ravel() / speed)
            matrix = matrix + 0.5 * (speeds @ derivative + derivative @ speeds)
        yield scipy.sparse.csr_array(matrix), np.full(size**2, h**2)
        stream = correlation * stream + np.sqrt(1 - correlation**2) * smooth(size, rng)


class NonlinearDiffusion:
    """-div(k(u) grad u) = f on the unit square, u = 0 on its boundary, by fluxes between neighbours.

    Args:
        size: unknowns along a side.
        exponential: k is exp(u); otherwise 1 + u^2.
    """

    def __init__(self, size: int, exponential: bool):
        self.n, self.h, self.exponential = size**2, 1 / (size + 1), exponential
        # Unknown n stands for the boundary, where u is 0.
        numbers = np.pad(np.arange(self.n).reshape(size, size), 1, constant_values=self.n)
        pairs = [(numbers[1:, 1:-1], numbers[:-1, 1:-1]), (numbers[1:-1, 1:], numbers[1:-1, :-1])]
        self.first, self.second = (torch.from_numpy(np.concatenate([p[i].ravel() for p in pairs])) for i in (0, 1))
        rows = torch.cat([torch.arange(self.n + 1), self.first, self.second])
        columns = torch.cat([torch.arange(self.n + 1), self.second, self.first])
        inside = (rows < self.n) & (columns < self.n)
        keys, self.inside = (rows * self.n + columns)[inside], inside
        order = torch.argsort(keys)
        indptr = torch.bincount(rows[inside], minlength=self.n).cumsum(0)
        self.pattern = Pattern(torch.cat([indptr.new_zeros(1), indptr]), columns[inside][order])
        self.order = order

    def _coefficient(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """k and its derivative."""
        return (u.exp(), u.exp()) if self.exponential else (1 + u * u, 2 * u)

    def _ends(self, u: Tensor) -> tuple[Tensor, ...]:
        u = torch.cat([u, u.new_zeros(1)])
        k, slope = self._coefficient(u)
        i, j = self.first, self.second
        return u[i] - u[j], 0.5 * (k[i] + k[j]), 0.5 * slope[i], 0.5 * slope[j]

    def residual(self, u: Float[Tensor, " n"], f: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Of u, times h^2."""
        difference, k, _, _ = self._ends(u)
        flux = k * difference
        total = torch.zeros(self.n + 1, dtype=u.dtype).index_add(0, self.first, flux)
        return total.index_add(0, self.second, -flux)[:-1] - self.h**2 * f

    def jacobian(self, u: Float[Tensor, " n"]) -> CSR:
        """Its derivative."""
        difference, k, slope_first, slope_second = self._ends(u)
        to_first, to_second = k + slope_first * difference, -k + slope_second * difference
        diagonal = torch.zeros(self.n + 1, dtype=u.dtype).index_add(0, self.first, to_first)
        diagonal = diagonal.index_add(0, self.second, -to_second)
        entries = torch.cat([diagonal, to_second, -to_first])
        return CSR(self.pattern, None, entries[self.inside][self.order])


def smooth(size: int, rng: np.random.Generator) -> np.ndarray:
    """A random field of standard deviation 1, ``(size, size)``: a periodic Gaussian one of which a quarter is taken."""
    k = np.fft.fftfreq(2 * size, 1 / (2 * size))
    amplitude = (np.pi**2 * (k[:, None] ** 2 + k**2) + 25.0) ** -1.25
    noise = rng.standard_normal((2, 2 * size, 2 * size))
    field = np.fft.ifft2(amplitude * (noise[0] + 1j * noise[1])).real * (2 * size) ** 2
    return field[:size, :size] / np.sqrt((amplitude**2).sum())


def _line(size: int) -> scipy.sparse.csr_array:
    one, next_one = scipy.sparse.eye_array(size), scipy.sparse.eye_array(size, k=1)
    return scipy.sparse.csr_array(2 * one - next_one - next_one.T)


def _laplacian(shape: tuple[int, ...]) -> scipy.sparse.csr_array:
    total, before = scipy.sparse.csr_array((1, 1)), 1
    for size in shape:
        old, new = scipy.sparse.eye_array(before), scipy.sparse.eye_array(size)
        total, before = scipy.sparse.kron(total, new) + scipy.sparse.kron(old, _line(size)), before * size
    return scipy.sparse.csr_array(total)


def _source(points: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """A narrow bell somewhere in the middle."""
    places = np.meshgrid(*points, indexing="ij")
    centre = rng.uniform(0.2, 0.8, len(points))
    return np.exp(-sum((x - c) ** 2 for x, c in zip(places, centre, strict=True)) / 0.01).ravel()

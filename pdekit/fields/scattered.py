"""Series at scattered points, such as the nodes of a mesh: summed on a uniform grid, then interpolated locally.

Summing at each point costs as many products as there are modes; here it is 16 an axis. The interpolation weighs 16
neighbours an axis by a Kaiser-Bessel window. It turns a wave into itself times the transform of the window at its wave
number, but for waves whose transform is below 1e-14 of that; so each mode is divided by its factor beforehand. The
values are those of the sum, up to rounding.

Source: Dutt, Rokhlin, "Fast Fourier transforms for nonequispaced data", SIAM J. Sci. Comput. 14, 1993; Barnett,
Magland, af Klinteberg, "A parallel nonuniform fast Fourier transform library", SIAM J. Sci. Comput. 41, 2019.
"""

import math
from collections.abc import Callable

import numpy as np
from scipy.special import i0

from pdekit.core.random import FloatArray
from pdekit.kernels.series import interpolate

__all__ = ["Scattered"]

_WIDTH = 16
_BETA = 0.98 * math.pi * _WIDTH * 0.75  # for grids twice as fine as the shortest wave needs


class Scattered:
    """Where a series is evaluated: the grid to sum on, and each point's neighbours with their weights.

    Args:
        points: ``(m, dim)``.
        waves: wave numbers of the basis functions of each axis.
        table: values ``(n, modes)`` of the basis functions of an axis at coordinates ``(n,)``.
    """

    def __init__(self, points: FloatArray, waves: list[FloatArray], table: Callable[[int, FloatArray], FloatArray]):
        self.tables: list[FloatArray] = []
        weights, starts = [], []
        for axis, kappa in enumerate(waves):
            spacing = math.pi / (2 * float(kappa.max()))
            place = points[:, axis] / spacing
            first = math.floor(place.min()) - _WIDTH // 2 + 1
            count = math.floor(place.max()) + _WIDTH // 2 - first + 1
            near = np.floor(place).astype(np.int64) - _WIDTH // 2 + 1
            starts.append(near - first)
            weights.append(_window(place[:, None] - (near[:, None] + np.arange(_WIDTH))))
            nodes = spacing * (first + np.arange(count))
            self.tables.append(np.ascontiguousarray(table(axis, nodes) / _transform(kappa * spacing)))
        missing = 3 - len(waves)
        self._weights = [np.ones((len(points), 1))] * missing + weights
        self._starts = np.stack([np.zeros(len(points), dtype=np.int64)] * missing + starts, axis=1)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the grid."""
        return tuple(len(table) for table in self.tables)

    @staticmethod
    def pays(points: FloatArray, waves: list[FloatArray]) -> bool:
        """Whether it takes fewer products than summing at each point."""
        modes = [len(kappa) for kappa in waves]
        reach = points.max(0) - points.min(0) if len(points) else np.zeros(len(waves))
        pairs = zip(waves, reach, strict=True)
        grid = [2 * float(kappa.max()) * float(r) / math.pi + _WIDTH for kappa, r in pairs]
        sums = sum(math.prod(grid[: axis + 1]) * math.prod(modes[axis:]) for axis in range(len(modes)))
        # The 2: a product of the interpolation costs more than one in a long sum.
        return sums + 2 * len(points) * _WIDTH ** len(modes) < len(points) * math.prod(modes)

    def at_points(self, values: FloatArray, out: FloatArray) -> None:
        """From the sums on the grid to the values at the points."""
        first, second, last = self._weights
        interpolate(values.reshape((1,) * (3 - values.ndim) + values.shape), self._starts, first, second, last, out)


def _window(distance: FloatArray) -> FloatArray:
    inside = np.maximum(1 - (2 * distance / _WIDTH) ** 2, 0.0)
    return i0(_BETA * np.sqrt(inside)) / i0(_BETA)


def _transform(angle: FloatArray) -> FloatArray:
    """The integral of the window times exp(i angle x)."""
    root = np.sqrt(_BETA**2 - (_WIDTH * angle / 2) ** 2)
    return _WIDTH * np.sinh(root) / (root * i0(_BETA))

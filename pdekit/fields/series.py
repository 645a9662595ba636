"""Random series in products of cosines and sines, summed to the same bits in any batch and on any number of threads.

A field is ``sum_j c_j xi_j phi_j0(x_0) phi_j1(x_1) ..`` with fixed coefficients c, standard normal xi that depend on
the key and j alone, and L2-orthonormal eigenfunctions of the Laplacian of a box. It is summed one axis at a time, by
matrix products of our own: those of a BLAS may change their last bits with the number of threads, and OpenBLAS
serialises callers on several threads.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.core.errors import InputError, did_you_mean
from pdekit.core.random import FloatArray, KeyArray, NormalLattice, as_keys, for_each
from pdekit.domain import AXES, Grid, Mesh
from pdekit.fields.base import PointSet
from pdekit.fields.scattered import Scattered
from pdekit.kernels.series import contract, multiply

__all__ = ["Basis", "Box", "check_basis", "domain_box", "sample_series", "wave_numbers"]

Basis = Literal["neumann", "dirichlet", "periodic"]
Box = tuple[tuple[float, float], ...]
_POINTS_AT_ONCE = 128


def check_basis(basis: str) -> None:
    """Refuse an unknown basis."""
    if basis not in get_args(Basis):
        raise InputError(f"The boundary {basis!r} of a field is unknown. {did_you_mean(str(basis), get_args(Basis))}")


def domain_box(
    domain: Grid | Mesh | PointSet | Float[Tensor, "points dim"], box: Sequence[Sequence[float]] | None
) -> Box:
    """The box a field lives on: the one given, else the domain's own, else (for points) the unit box.

    Raises:
        InputError: the box has another dimension than the domain, or does not contain it.
    """
    domain = PointSet.nodes(domain) if isinstance(domain, Mesh) else domain
    if isinstance(domain, Grid | PointSet):
        own: Box = domain.box or ()
        corners = own
    else:
        if domain.ndim != 2 or not 1 <= domain.shape[1] <= 3:
            raise InputError(f"The points have shape {tuple(domain.shape)}; expected (m, dim) with dim 1, 2 or 3.")
        own = ((0.0, 1.0),) * domain.shape[1]
        low, high = (domain.amin(0).tolist(), domain.amax(0).tolist()) if len(domain) else ([], [])
        corners = tuple(zip(low, high, strict=True)) or own
    if box is None:
        chosen = own
    else:
        chosen = tuple((float(a), float(b)) for a, b in box)
        if len(chosen) != len(own):
            raise InputError(f"The field's box has {len(chosen)} axes, the domain has {len(own)}; expected the same.")
    for axis, ((low, high), (first, last)) in enumerate(zip(chosen, corners, strict=True)):
        slack = 1e-9 * (high - low)
        if first < low - slack or last > high + slack:
            raise InputError(
                f"The domain reaches from {first} to {last} along {AXES[axis]}, outside the field's box "
                f"({low}, {high}); expected box=((low, high), ..) of the field to contain it."
            )
    return chosen


def wave_numbers(basis: Basis, modes: int, length: float) -> FloatArray:
    """Wave numbers (radians per length) of the basis functions of one axis.

    ``neumann``: pi j / L, j = 0..modes-1. ``dirichlet``: pi j / L, j = 1..modes. ``periodic``: 0, then each of
    2 pi k / L twice, for the cosine and the sine, k = 1..modes/2.
    """
    if basis == "neumann":
        return math.pi / length * np.arange(modes, dtype=np.float64)
    if basis == "dirichlet":
        return math.pi / length * np.arange(1, modes + 1, dtype=np.float64)
    return 2 * math.pi / length * ((np.arange(1 + 2 * (modes // 2), dtype=np.float64) + 1) // 2)


def sample_series(
    keys: KeyArray,
    coefficients: FloatArray,
    basis: Basis,
    box: Box,
    domain: Grid | Mesh | PointSet | Float[Tensor, "points dim"],
) -> Float[Tensor, "batch *shape"]:
    """Draw and sum one random series per key.

    Args:
        keys: ``(batch,)`` uint64.
        coefficients: standard deviation of each product of basis functions, one axis per dimension.
        basis: the eigenfunctions along every axis.
        box: where they live.
        domain: a grid, mesh or points inside the box.

    Returns:
        ``(batch, *grid.shape)`` or ``(batch, m)``, float64.
    """
    keys = as_keys(keys)
    lattice = NormalLattice(coefficients.shape)
    odd = lattice.padded[0] - coefficients.shape[0]
    coefficients = np.pad(coefficients, [(0, odd), *[(0, 0)] * (coefficients.ndim - 1)])
    modes = coefficients.shape
    scattered = None
    if isinstance(domain, Grid):
        tables = [_grid_table(domain, axis, basis, box[axis], modes[axis]) for axis in range(domain.dim)]
        out = np.empty((len(keys), *domain.shape))
    else:
        places = domain if isinstance(domain, Tensor) else domain.points
        points = places.detach().to("cpu", torch.float64).numpy()
        out = np.empty((len(keys), len(points)))
        waves = [wave_numbers(basis, modes[axis], high - low)[: modes[axis]] for axis, (low, high) in enumerate(box)]
        if Scattered.pays(points, waves):
            scattered = Scattered(points, waves, lambda axis, x: _table(x, basis, box[axis], modes[axis]))
            tables = scattered.tables
        else:
            tables = [_table(points[:, axis], basis, box[axis], modes[axis]) for axis in range(len(box))]

    def one(i: int) -> None:
        z = np.empty(lattice.padded)
        lattice.fill(keys[i], z)
        np.multiply(z, coefficients, out=z)
        if isinstance(domain, Grid):
            _sum_on_grid(z, tables, out[i])
        elif scattered is not None:
            summed = np.empty(scattered.shape)
            _sum_on_grid(z, tables, summed)
            scattered.at_points(summed, out[i])
        else:
            _sum_at_points(z, tables, out[i])

    for_each(one, len(keys), len(keys) * coefficients.size * (8e-9 + 1e-10 * out.shape[1]))
    return torch.from_numpy(out)


@lru_cache(maxsize=64)
def _grid_table(grid: Grid, axis: int, basis: Basis, sides: tuple[float, float], modes: int) -> FloatArray:
    table = _table(grid.coordinates(axis).numpy(), basis, sides, modes)
    table.flags.writeable = False
    return table


def _table(x: FloatArray, basis: Basis, sides: tuple[float, float], modes: int) -> FloatArray:
    """Values ``(points, modes)`` of the first basis functions of one axis, in the order of :func:`wave_numbers`."""
    low, high = sides
    position = ((x - low) / (high - low))[:, None]
    j = np.arange(modes)
    if basis == "neumann":
        half_turns, sine = j * position, np.zeros(modes, dtype=bool)
    elif basis == "dirichlet":
        half_turns, sine = (j + 1) * position, np.ones(modes, dtype=bool)
    else:
        half_turns, sine = 2 * ((j + 1) // 2) * position, (j % 2 == 0) & (j > 0)
    angle = np.pi * np.remainder(half_turns, 2.0)  # exact remainder: no digits are lost at high wave numbers
    table = np.sqrt(2 / (high - low)) * np.where(sine, np.sin(angle), np.cos(angle))
    if basis != "dirichlet":
        table[:, 0] = np.sqrt(1 / (high - low))
    return np.ascontiguousarray(table)


def _sum_on_grid(z: FloatArray, tables: list[FloatArray], out: FloatArray) -> None:
    """Sum over one axis after the other; ``out`` has the shape of the grid."""
    for axis, table in enumerate(tables[:-1]):
        before, after = math.prod(out.shape[:axis]), math.prod(z.shape[axis + 1 :])
        summed = np.empty((before, table.shape[0], after))
        for block, target in zip(z.reshape(before, table.shape[1], after), summed, strict=True):
            multiply(table, block, target)
        z = summed.reshape(*out.shape[: axis + 1], *z.shape[axis + 1 :])
    last = tables[-1]
    multiply(z.reshape(-1, last.shape[1]), np.ascontiguousarray(last.T), out.reshape(-1, last.shape[0]))


def _sum_at_points(z: FloatArray, tables: list[FloatArray], out: FloatArray) -> None:
    """Sum over the first axis for all points by a product, over the others point by point."""
    for start in range(0, len(out), _POINTS_AT_ONCE):
        part = slice(start, start + _POINTS_AT_ONCE)
        rows = [table[part] for table in tables]
        summed = np.empty((len(rows[0]), math.prod(z.shape[1:])))
        multiply(rows[0], z.reshape(z.shape[0], -1), summed)
        for table in rows[1:]:
            summed = contract(summed.reshape(len(table), table.shape[1], -1), table)
        out[part] = summed[:, 0]

"""Grids: points, spacing, quadrature. Oracles: numpy.linspace, integrals of polynomials and waves."""

import math

import numpy as np
import pytest
import torch

from pdekit.core import InputError
from pdekit.domain import Grid


def test_closed_axes_store_both_ends_and_open_ones_the_lower():
    grid = Grid((5, 4), ((-1.0, 1.0), (0.0, 2.0)), closed=(True, False))
    np.testing.assert_array_equal(grid.coordinates(0).numpy(), np.linspace(-1, 1, 5))
    np.testing.assert_array_equal(grid.coordinates(1).numpy(), np.linspace(0, 2, 4, endpoint=False))
    assert grid.spacing == (0.5, 0.5)
    assert (grid.dim, grid.size, grid.volume, grid.lengths) == (2, 20, 4.0, (2.0, 2.0))
    points = grid.points()
    assert points.shape == (5, 4, 2)
    assert points[3, 2].tolist() == [0.5, 1.0]


def test_defaults_are_the_closed_unit_box():
    grid = Grid((3, 4, 5))
    assert grid.box == ((0.0, 1.0),) * 3
    assert grid.closed_axes == (True, True, True)
    assert grid == Grid((3, 4, 5), closed=True)
    assert hash(grid) == hash(Grid((3, 4, 5)))
    assert grid.with_shape(7) == Grid((7, 7, 7))
    assert grid.with_shape((3, 3, 9)).shape == (3, 3, 9)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_quadrature_is_exact_for_products_of_linear_functions(dim):
    grid = Grid((4, 7, 3)[:dim], ((-1.0, 2.0), (0.0, 1.0), (2.0, 5.0))[:dim])
    integrand = (2 * grid.points() + 1).prod(-1)
    expected = math.prod((high**2 + high) - (low**2 + low) for low, high in grid.box)
    assert float((grid.quadrature() * integrand).sum()) == pytest.approx(expected, rel=1e-13)
    assert float(grid.quadrature().sum()) == pytest.approx(grid.volume, rel=1e-13)


def test_quadrature_on_open_axes_is_exact_for_waves():
    grid = Grid((8,), ((0.0, 3.0),), closed=False)
    wave = torch.cos(2 * math.pi * grid.coordinates(0) / 3) ** 2
    assert float((grid.quadrature() * wave).sum()) == pytest.approx(1.5, rel=1e-13)


def test_trapezoid_rule_has_order_two():
    errors = []
    for n in (9, 17, 33, 65):
        grid = Grid((n,))
        errors.append(abs(float((grid.quadrature() * grid.coordinates(0).exp()).sum()) - (math.e - 1)))
    slope = np.polyfit(np.log([8, 16, 32, 64]), np.log(errors), 1)[0]
    assert -2.1 < slope < -1.9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((),), "has 0 axes"),
        (((3, 3, 3, 3),), "has 4 axes"),
        (((2, 5),), "axis x has 2 points; a closed axis needs at least 3"),
        (((5, 1), None, False), "axis y has 1 points; an open axis needs at least 2"),
        (((5,), ((1.0, 0.0),)), r"box along x is \(1.0, 0.0\)"),
        (((5,), ((0.0, float("inf")),)), "expected finite ends"),
        (((5,), ((0.0, 1.0), (0.0, 1.0))), "names 2 axes|but shape"),
        (((5, 5), None, (True,)), "names 1 axes"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(InputError, match=message):
        Grid(*arguments)

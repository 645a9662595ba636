"""Metrics against integrals of functions known in closed form."""

import math

import pytest
import torch

from pdekit.core.errors import InputError
from pdekit.domain import Grid
from pdekit.samples import FieldSpec, Samples, Schema
from pdekit.train.metrics import boundary_error, measure, relative_h1, relative_l1, relative_l2


def fields(grid: Grid):
    """u = sin(pi x) sin(pi y), and an error e = 0.1 sin(2 pi x) sin(pi y)."""
    x, y = grid.points().unbind(-1)
    truth = torch.sin(math.pi * x) * torch.sin(math.pi * y)
    return (truth + 0.1 * torch.sin(2 * math.pi * x) * torch.sin(math.pi * y))[None], truth[None]


def test_l2_of_sines():
    """Oracle: both sines have the norm 1/2."""
    grid = Grid((41, 33))
    assert relative_l2(*fields(grid), grid).item() == pytest.approx(0.1, rel=1e-12)


def test_l1_of_sines():
    """Oracle: the mean of |sin| over half waves is 2/pi for both."""
    grid = Grid((401, 401))
    assert relative_l1(*fields(grid), grid).item() == pytest.approx(0.1, rel=1e-4)


def test_h1_of_sines_converges_with_order_two():
    """Oracle: (1 + 5 pi^2) / (1 + 2 pi^2) by hand; the slope is fitted over four grids."""
    exact = 0.1 * math.sqrt((1 + 5 * math.pi**2) / (1 + 2 * math.pi**2))
    sizes = (33, 65, 129, 257)
    errors = [abs(relative_h1(*fields(Grid((n, n))), Grid((n, n))).item() - exact) for n in sizes]
    slope = torch.linalg.lstsq(
        torch.tensor([[math.log(n - 1), 1] for n in sizes]), torch.tensor([[math.log(e)] for e in errors])
    ).solution[0, 0]
    assert 1.9 < -slope < 2.1


def test_h1_is_exact_for_quadratics_up_to_the_ends():
    """Oracle: second-order differences, one-sided too, are exact for x^2; only the quadrature errs."""
    grid = Grid((2001,))
    x = grid.coordinates(0)
    found = relative_h1((1.01 * x**2)[None], (x**2)[None], grid)
    assert found.item() == pytest.approx(0.01, rel=1e-9)
    bent = relative_h1((x**2 + x)[None], (x**2)[None], grid).item()
    assert bent == pytest.approx(math.sqrt((1 / 3 + 1) / (1 / 5 + 4 / 3)), rel=1e-6)


def test_h1_wraps_around_on_open_axes():
    """Oracle: a translation of a periodic field changes no norm; on a closed axis it would."""
    grid = Grid((32,), closed=False)
    t = grid.coordinates(0)
    truth, error = torch.sin(2 * math.pi * t), 0.1 * torch.cos(6 * math.pi * t)
    first = relative_h1((truth + error)[None], truth[None], grid)
    shifted = relative_h1((truth + error).roll(5)[None], truth.roll(5)[None], grid)
    assert torch.isclose(first, shifted, rtol=1e-12)


def test_boundary_error_sees_closed_sides_only():
    truth = torch.ones(1, 5, 4)
    prediction = truth.clone()
    prediction[0, 0, :] += 0.3  # the left side: 4 of 14 boundary points
    grid = Grid((5, 4))
    assert boundary_error(prediction, truth, grid).item() == pytest.approx(0.3 * math.sqrt(4 / 14))
    assert boundary_error(prediction, truth, Grid((5, 4), closed=(False, True))).item() == pytest.approx(
        0.3 * math.sqrt(2 / 10)
    )
    assert boundary_error(prediction, truth, Grid((5, 4), closed=False)).item() == 0
    prediction[0, 0, :] = 1
    prediction[0, 2, 2] = 7
    assert boundary_error(prediction, truth, grid).item() == 0


def test_measure_names_every_statistic():
    grid = Grid((5,))
    schema = Schema(grid, (FieldSpec("f", "input"), FieldSpec("u", "output")))
    truth = Samples(schema, {"f": torch.zeros(3, 5), "u": torch.ones(3, 5)})
    wrong = torch.tensor([1.1, 1.2, 1.6])[:, None].expand(3, 5)
    found = measure(Samples(schema, {"f": torch.zeros(3, 5), "u": wrong}), truth)["u"]
    assert found["rel_l2_mean"] == pytest.approx(0.3)
    assert found["rel_l2_median"] == pytest.approx(0.2)
    assert found["rel_l2_p95"] == pytest.approx(0.56)
    assert found["rel_l1_max"] == pytest.approx(0.6)
    metrics, statistics = ("rel_l2", "rel_l1", "rel_h1", "boundary"), ("mean", "median", "p95", "max")
    assert set(found) == {f"{metric}_{statistic}" for metric in metrics for statistic in statistics}


def test_other_grids_are_refused():
    with pytest.raises(InputError, match=r"prediction has shape \(1, 5\)"):
        relative_l2(torch.ones(1, 5), torch.ones(1, 4), Grid((4,)))
    schema = Schema(Grid((5,)), (FieldSpec("f", "input"), FieldSpec("u", "output")))
    samples = Samples(schema, {"f": torch.zeros(3, 5), "u": torch.ones(3, 5)})
    with pytest.raises(InputError, match=r"2 predictions .* cannot be compared with 3 solutions"):
        measure(samples[:2], samples)

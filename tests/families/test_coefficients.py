"""Coefficients that the equation cannot take are refused on meshes as on grids, by the user's names."""

from dataclasses import replace

import pytest
import torch

from pdekit.core import InputError
from pdekit.domain import Boundary, Grid, Rectangle
from pdekit.families import AdvectionDiffusion, Darcy, Elasticity, Helmholtz, NonlinearDiffusion
from pdekit.fields import Constant, GaussianField, Uniform

SQUARE = Rectangle(cells=8)
NODES = SQUARE.mesh().n_nodes
HELD = [Boundary("left", "dirichlet")]
SIGNED = GaussianField(2, 3)


def spoilt(inputs, name, value, index):
    values = inputs[name].clone()
    values[index] = value
    return replace(inputs, fields={**inputs.fields, name: values})


@pytest.mark.parametrize(
    ("family", "name"),
    [
        (lambda a: Darcy(Grid((9, 9)), a), "coefficient"),
        (lambda a: Darcy(SQUARE, a), "coefficient"),
        (lambda a: Darcy(SQUARE, a, coefficient_at="cells"), "coefficient"),
        (lambda a: Elasticity(SQUARE, a, body_force=(0, -1), boundaries=HELD), "young"),
        (lambda a: Helmholtz(SQUARE, 2.0, a), "index"),
        (lambda a: Helmholtz(SQUARE, 2.0, coefficient=a), "coefficient"),
        (lambda a: AdvectionDiffusion(SQUARE, (1.0, 0.0), 1.0, a), "coefficient"),
        (lambda a: NonlinearDiffusion(SQUARE, coefficient=a), "coefficient"),
    ],
)
def test_inputs_that_are_not_positive(family, name):
    bad = family(SIGNED)
    with pytest.raises(InputError, match=rf"^{name}\[\d+, \d+.*\] is -.* not positive.*not elliptic"):
        bad.solve(bad.draw(range(2), seed=0), rtol=1e-8)
    good = family(Constant(1.0))
    inputs = good.draw(range(2), seed=0)
    for value, said in ((-1.0, r"-1\.0 .* not positive"), (0.0, r"0\.0 .* not positive"), (float("nan"), "nan")):
        index = (1, 2, 4) if inputs[name].ndim == 3 else (1, 4)
        with pytest.raises(InputError, match=rf"^{name}\[{', '.join(map(str, index))}\] is {said}"):
            good.solve(spoilt(inputs, name, value, index), rtol=1e-8)


@pytest.mark.parametrize("number", [-1.0, 0, float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("family", "name"),
    [
        (lambda a: Elasticity(SQUARE, a, load=Uniform(1, 2), body_force=(0, -1), boundaries=HELD), "young"),
        (lambda a: Helmholtz(SQUARE, a, source=SIGNED), "wave_number"),
        (lambda a: Helmholtz(SQUARE, 1.0, a, source=SIGNED), "index"),
        (lambda a: Helmholtz(SQUARE, 1.0, coefficient=a, source=SIGNED), "coefficient"),
        (lambda a: AdvectionDiffusion(SQUARE, (1.0, 0.0), SIGNED, a), "coefficient"),
        (lambda a: NonlinearDiffusion(SQUARE, SIGNED, coefficient=a), "coefficient"),
    ],
)
def test_fixed_numbers_that_are_not_positive(family, name, number):
    with pytest.raises(InputError, match=rf"^{name} is .* expected (numbers greater than 0|finite)"):
        family(number)


def test_wave_numbers_that_are_not_positive():
    family = Helmholtz(SQUARE, Uniform(-2.0, -1.0))
    with pytest.raises(InputError, match=r"^wave_number\[0\] is -1\..*not positive"):
        family.solve(family.draw(range(2), seed=0), rtol=1e-8)


def test_loads_are_called_by_their_names():
    family = Elasticity(SQUARE, 1.0, load=Uniform(1, 2), body_force=(0, -1), boundaries=HELD)
    inputs = family.draw(range(2), seed=0)
    with pytest.raises(InputError, match=r"^load\[1\] is nan"):
        family.solve(spoilt(inputs, "load", float("nan"), (1,)), rtol=1e-8)
    with pytest.raises(InputError, match=r"^body_force\[1\] is inf"):
        Elasticity(SQUARE, Constant(1.0), body_force=(0, float("inf")), boundaries=HELD)
    darcy = Darcy(SQUARE, Constant(1.0), SIGNED)
    with pytest.raises(InputError, match=r"^source\[0, 3\] is nan"):
        darcy.solve(spoilt(darcy.draw(range(2), seed=0), "source", float("nan"), (0, 3)), rtol=1e-8)
    darcy = Darcy(SQUARE, Constant(1.0), float("nan"))
    with pytest.raises(InputError, match=r"^source is nan"):
        darcy.solve(darcy.draw(range(2), seed=0), rtol=1e-8)
    assert torch.isfinite(inputs["load"]).all()

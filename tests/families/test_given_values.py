"""What the user gives is what is solved: numbers to the last bit, values on boundaries in every form promised."""


import pytest
import torch

from pdekit.domain import Boundary, Disk, Interval, Rectangle
from pdekit.families import AdvectionDiffusion, Elasticity, Helmholtz
from pdekit.fields import Constant, Uniform

SQUARE = Rectangle(cells=4)
HELD = Boundary("left", "dirichlet")


def system(family):
    return family.system(family.draw([0], seed=0))


def test_a_traction_is_the_number_given():
    """Its integral over a side of length 1, summed over the basis, is the force."""
    family = Elasticity(SQUARE, Constant(1.0), boundaries=[HELD, Boundary("right", "neumann", (0.1, 0.0))])
    _, b = family.assembled(family.draw([0], seed=0))
    assert abs(float(b[::2].sum()) - 0.1) <= 1e-15


@pytest.mark.parametrize(
    "make",
    [
        lambda number: Helmholtz(Disk(refinements=2), number, source=Constant(1.0)),
        lambda number: Helmholtz(
            Interval(cells=8), number, boundaries=[Boundary("left", "impedance", 1.0)], index=Constant(1)
        ),
        lambda number: AdvectionDiffusion(SQUARE, (1.0, 0.0), Constant(1.0), speed=number),
        lambda number: Elasticity(SQUARE, Constant(1.0), body_force=(0, 1), load=number, boundaries=[HELD]),
    ],
)
def test_a_fixed_number_is_the_same_as_an_input(make):
    fixed, drawn = system(make(1.1)), system(make(Uniform(1.1, 1.1)))
    assert torch.allclose(fixed.operator.entries, drawn.operator.entries, rtol=1e-15, atol=1e-15)
    assert torch.allclose(fixed.rhs, drawn.rhs, rtol=1e-15, atol=0)


def test_numbers_beyond_single_precision_are_checked_as_they_are():
    family = Elasticity(SQUARE, 1e-60, body_force=(0.0, 1e60), load=Constant(1.0), boundaries=[HELD])
    assert bool((family.draw([0], seed=0)["load"] == 1).all())
    flow = AdvectionDiffusion(SQUARE, (1.0, 0.0), Constant(1.0), 0.1, 0.1, max_peclet=2.0)
    assert float(flow.peclet(flow.draw([0], seed=0))) == pytest.approx(0.25 * 2**0.5 / 2, rel=1e-14)

"""What the user gives is what is solved: numbers to the last bit, values on boundaries in every form promised."""

import pytest
import torch

from pdekit.core import InputError
from pdekit.domain import Boundary, Disk, Interval, Rectangle
from pdekit.families import AdvectionDiffusion, Elasticity, Helmholtz, NonlinearDiffusion
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


def on_right(family, f):
    """Values of a function at the degrees of freedom of the right side: P1 takes them for its boundary function."""
    space = family.on_mesh.space
    return f(space.dof_points[space.dofs("right")].T)


def waves(value):
    return Helmholtz(SQUARE, 2.0, source=Constant(1.0), boundaries=[Boundary("right", "impedance", value)])


def heat(value, coefficient):
    sides = [Boundary("left", "dirichlet", 1.0), Boundary("right", "robin", value, coefficient)]
    return NonlinearDiffusion(SQUARE, Constant(1.0), 0.1, boundaries=sides)


def body(value):
    return Elasticity(SQUARE, Constant(1.0), boundaries=[HELD, Boundary("right", "neumann", value)])


def solution(family, batch=2):
    samples = family.solve(family.draw(range(batch), seed=0), rtol=1e-12)
    return samples[family.output]


@pytest.mark.parametrize("make", [waves, lambda value: heat(value, 3.0), lambda value: heat(1.0, value)])
def test_boundary_values_are_tensors_too(make):
    """Constant ones are the number; one row a sample is each sample's own."""
    fives = torch.full((5,), 5.0)
    assert torch.allclose(solution(make(fives)), solution(make(5.0)), rtol=1e-10)
    each = solution(make(torch.stack([fives, 2 * fives])))
    assert torch.allclose(each[:1], solution(make(5.0), 1), rtol=1e-10)
    assert torch.allclose(each[1:], solution(make(10.0), 1), rtol=1e-10)
    with pytest.raises(InputError, match=r"boundary 'right' has shape \(4,\); expected \(\*batch, 5\)"):
        solution(make(fives[:4]))


def test_a_linear_traction_is_a_tensor_or_a_function():
    function = body(lambda x: (x[1], 2 - x[1]))
    values = on_right(function, lambda x: x[1]).clone()
    values[1::2] = 2 - values[1::2]
    expected = solution(function)
    assert torch.allclose(solution(body(values)), expected, rtol=1e-10, atol=1e-14)
    each = solution(body(torch.stack([values, 3 * values])))
    assert torch.allclose(each, expected * torch.tensor([1.0, 3.0])[:, None, None], rtol=1e-10, atol=1e-14)
    with pytest.raises(InputError, match=r"'right' has shape \(4,\).*or \(2,\) for all of them"):
        solution(body(values[:4]))


@pytest.mark.parametrize("coefficient", [-1.0, torch.tensor([1.0, 1.0, -1.0, 1.0, 1.0]), "y-0.5"])
def test_negative_robin_coefficients_are_refused(coefficient):
    with pytest.raises(InputError, match=r"coefficient of the boundary 'right' is .*negative"):
        solution(heat(1.0, coefficient))

"""The first families: conformance, known solutions, bad input, configuration, memory budgets."""

import json

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser

from pdekit.core import InputError
from pdekit.domain import Boundary, Grid
from pdekit.families import Darcy, Family, Poisson
from pdekit.fields import Constant, GaussianField, LogNormal, Threshold
from pdekit.samples import Inputs
from pdekit.solvers import CG, Direct, NotConverged, Reason
from pdekit.testing import check_family

TWO_MATERIALS = Threshold(GaussianField(alpha=2, tau=3), low=3, high=12)
MIXED = (
    Boundary("left", "neumann", 0.1),
    Boundary("right", "dirichlet", 0.5),
    Boundary("top", "robin", 2.0, coefficient=1.0),
)

FAMILIES = {
    "darcy": lambda: Darcy(Grid((17, 14)), TWO_MATERIALS),
    "darcy with every kind of side": lambda: Darcy(Grid((17, 14)), TWO_MATERIALS, boundaries=MIXED),
    "darcy with a random source": lambda: Darcy(
        Grid((12, 13)),
        LogNormal(GaussianField(alpha=2, tau=3)),
        source=GaussianField(alpha=2, tau=3),
        mean="arithmetic",
    ),
    "darcy without any ground": lambda: Darcy(
        Grid((12, 10), closed=False),
        LogNormal(GaussianField(alpha=2, tau=3, boundary="periodic")),
        source=GaussianField(alpha=2, tau=3, boundary="periodic"),
    ),
    "darcy in 3-D": lambda: Darcy(Grid((9, 8, 7)), TWO_MATERIALS),
    "darcy in 1-D": lambda: Darcy(Grid((30,)), TWO_MATERIALS),
    "poisson": lambda: Poisson(Grid((17, 14)), GaussianField(alpha=2, tau=3)),
    "poisson with every kind of side": lambda: Poisson(Grid((17, 14)), GaussianField(alpha=2, tau=3), MIXED),
    "poisson between Neumann sides": lambda: Poisson(
        Grid((17, 14)), GaussianField(alpha=2, tau=3), [Boundary("all", "neumann", 0.3)]
    ),
    "poisson on a torus": lambda: Poisson(Grid((8, 9, 7), closed=False), GaussianField(2, 3, boundary="periodic")),
    "poisson in 1-D": lambda: Poisson(Grid((30,)), GaussianField(alpha=2, tau=3)),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_conformance(name):
    check_family(FAMILIES[name]())


def test_pressure_is_positive_where_water_is_put_in():
    family = Darcy(Grid((33, 33)), TWO_MATERIALS)
    u = family.solve(family.draw(range(8), seed=3), rtol=1e-10)["solution"]
    assert (u[:, 1:-1, 1:-1] > 0).all()
    assert (u[:, 0] == 0).all()


def test_height_of_the_hill():
    # Oracle: the series solution of -Laplace u = 1 on the unit square, 0.0736713532 in the centre.
    family = Darcy(Grid((129, 129)), Constant(1.0))
    u = family.solve(family.draw([0], seed=0), rtol=1e-10)["solution"]
    assert float(u[0, 64, 64]) == pytest.approx(0.0736713532, rel=1e-4)


def test_poisson_on_a_torus_is_exact_for_waves():
    grid = Grid((32, 16), closed=False)
    x, y = grid.points().unbind(-1)
    wave = torch.sin(2 * torch.pi * x) * torch.cos(4 * torch.pi * y)
    # Oracle: the eigenvalue of the 5-point Laplacian.
    value = sum((2 / h * np.sin(k * np.pi * h)) ** 2 for h, k in zip(grid.spacing, (1, 2), strict=True))
    family = Poisson(grid, GaussianField(2, 3, boundary="periodic"))
    u = family.solve(family.inputs_from(wave + 5.0), rtol=1e-12)["solution"]
    assert torch.allclose(u[0], wave / value, atol=1e-13)


def test_samples_converge_under_refinement():
    # The same coefficient function on three grids; smooth, so order 2 (oracle: the finest grid, Richardson's 3 : 1).
    coarse = Grid((17, 17))
    made = []
    for n in (17, 33, 65):
        family = Darcy(coarse.with_shape(n), LogNormal(GaussianField(alpha=4, tau=3)))
        u = family.solve(family.draw([0, 1], seed=0), rtol=1e-11)["solution"]
        made.append(u[:, :: (n - 1) // 16, :: (n - 1) // 16])
    first, second = (made[0] - made[1]).norm(), (made[1] - made[2]).norm()
    assert 1.8 <= float(torch.log2(first / second)) <= 2.2


def test_solutions_without_ground_have_mean_zero():
    for name in ("poisson between Neumann sides", "poisson on a torus", "darcy without any ground"):
        family = FAMILIES[name]()
        u = family.solve(family.draw(range(3), seed=0), rtol=1e-8)["solution"]
        mean = (u * family.domain.quadrature()).flatten(1).sum(1) / family.domain.volume
        assert mean.abs().max() < 1e-12 * u.abs().max()


def test_residual_keeps_inside_and_sides_apart():
    family = Darcy(Grid((17, 14)), TWO_MATERIALS, boundaries=MIXED)
    inputs = family.draw(range(2), seed=0)
    u = family.solve(inputs, rtol=1e-11)["solution"]
    moved = family.residual(u + 0.25, inputs)
    assert moved.interior.abs().max() < 1e-6
    assert torch.allclose(moved.boundary["right"], torch.full((2, 14), 0.25, dtype=torch.float64))
    # The corner with the Robin side, which a shift does concern, belongs to both.
    assert moved.boundary["left"][:, :-1].abs().max() < 1e-6
    tilted = family.residual(u + 0.25 * family.domain.points()[..., 0], inputs)
    # u has the slope -0.25 in the outward direction at the left: the flux a * 0.25 is missing.
    expected = 0.25 * inputs["coefficient"][:, 0, 1:-1]
    assert tilted.boundary["left"][:, 1:-1].mean() == pytest.approx(float(expected.mean()), rel=0.2)


def test_residual_is_a_gradient_for_training():
    family = Darcy(Grid((9, 9)), TWO_MATERIALS)
    inputs = family.draw(range(2), seed=0)
    u = torch.zeros(2, 9, 9, dtype=torch.float32, requires_grad=True)
    family.residual(u, inputs).interior.square().mean().backward()
    assert u.grad is not None
    assert u.grad.dtype == torch.float32
    with pytest.raises(InputError, match=r"shape \(2, 8, 9\)"):
        family.residual(u[:, 1:], inputs)


def test_memory_budget_changes_nothing():
    family = Darcy(Grid((17, 14)), TWO_MATERIALS)
    inputs = family.draw(range(7), seed=0)
    whole = family.solve(inputs, rtol=1e-8)
    parts = family.solve(inputs, rtol=1e-8, memory="100kB", guess=None)
    assert torch.equal(whole["solution"], parts["solution"])
    assert torch.equal(whole.certificate.value, parts.certificate.value)
    assert parts.identity.indices.tolist() == list(range(7))
    with pytest.raises(NotConverged, match=r"7 of 7"):
        family.solve(inputs, rtol=1e-8, method=CG(max_iterations=2), memory="100kB")
    for bad in ("2 lumps", "0MB", "GB", -3):
        with pytest.raises(InputError, match="is no budget"):
            family.solve(inputs, rtol=1e-8, memory=bad)


def test_a_guess_saves_iterations():
    family = Darcy(Grid((33, 33)), TWO_MATERIALS, boundaries=MIXED)
    inputs = family.draw(range(3), seed=0)
    rough = family.solve(inputs, rtol=1e-4)
    fresh, guessed = family.solve(inputs, rtol=1e-8), family.solve(inputs, rtol=1e-8, guess=rough)
    assert (guessed.certificate.iterations < fresh.certificate.iterations).all()
    assert guessed.certificate.accepted.all()


def test_a_sample_that_misses_is_reported():
    family = Darcy(Grid((33, 33)), TWO_MATERIALS)
    inputs = family.draw(range(3), seed=0)
    with pytest.raises(NotConverged) as caught:
        family.solve(inputs, rtol=1e-8, method=CG(max_iterations=3))
    assert set(caught.value.solution.reason.tolist()) == {Reason.MAX_ITERATIONS}
    samples = family.solve(inputs, rtol=1e-8, method=CG(max_iterations=3), throw=False)
    assert not samples.certificate.accepted.any()


def test_fields_of_ones_own():
    family = Darcy(Grid((17, 14)), TWO_MATERIALS)
    drawn = family.draw(range(2), seed=0)
    own = family.inputs_from(drawn["coefficient"].numpy().astype(np.float32))
    assert own.identity is None
    one, other = (family.solve(inputs, rtol=1e-10, method=Direct())["solution"] for inputs in (drawn, own))
    assert torch.allclose(one, other, rtol=1e-9)
    assert len(family.inputs_from(drawn["coefficient"][0])) == 1


def spoiled(value):
    field = np.ones((17, 14))
    field[2, 5] = value
    return field


@pytest.mark.parametrize(
    ("field", "words"),
    [
        (spoiled(np.nan), r"coefficient\[2, 5\] is nan"),
        (spoiled(0.0), r"coefficient\[2, 5\] is 0.0.*greater than 0"),
        (spoiled(-1.0), r"coefficient\[2, 5\] is -1.0.*elliptic"),
        (np.stack([np.ones((17, 14)), spoiled(np.inf)]), r"coefficient\[1, 2, 5\] is inf"),
        (np.ones((14, 17)), r"shape \(14, 17\); expected .*17, 14.*swapped"),
        (np.ones(17), r"shape \(17,\)"),
        (np.ones((2, 2, 17, 14)), "one leading batch axis"),
        (np.ones((17, 14, 1)), "Drop the trailing axis"),
    ],
)
def test_bad_fields_are_named_with_their_index(field, words):
    with pytest.raises(InputError, match=words):
        Darcy(Grid((17, 14)), TWO_MATERIALS).inputs_from(field)


def test_bad_drawn_fields_are_named_too():
    family = Darcy(Grid((17, 14)), GaussianField(alpha=2, tau=3))
    with pytest.raises(InputError, match=r"coefficient\[0, .*not positive"):
        family.solve(family.draw([0], seed=0), rtol=1e-8)


def test_sources_of_ones_own():
    plain = Darcy(Grid((5, 5)), TWO_MATERIALS)
    random = Darcy(Grid((5, 5)), TWO_MATERIALS, source=Constant(1.0))
    ones = np.ones((5, 5))
    with pytest.raises(InputError, match="needs a family with a random source"):
        plain.inputs_from(ones, source=ones)
    with pytest.raises(InputError, match="expected source="):
        random.inputs_from(ones)
    assert isinstance(random.inputs_from(ones, source=2 * ones), Inputs)


@pytest.mark.parametrize("given", [3.0, np.ones((5, 5)), "GaussianField"])
def test_what_is_no_random_field(given):
    with pytest.raises(InputError, match="expected a random field"):
        Poisson(Grid((5, 5)), given)
    with pytest.raises(InputError, match="expected a random field"):
        Darcy(Grid((5, 5)), given)


def test_sides_that_do_not_fit_the_grid():
    with pytest.raises(InputError, match="no side 'front'"):
        Darcy(Grid((5, 5)), TWO_MATERIALS, boundaries=[Boundary("front", "neumann")])


@pytest.mark.parametrize("name", FAMILIES)
def test_configuration_files_make_the_same_family(name):
    family = FAMILIES[name]()
    parser = ArgumentParser()
    parser.add_argument("--family", type=Family)
    text = json.dumps({"family": family.describe()})
    assert parser.instantiate(parser.parse_string(text)).family == family


def test_a_short_configuration():
    parser = ArgumentParser()
    parser.add_argument("--family", type=Family)
    text = """
family: {class_path: pdekit.families.Darcy, init_args: {domain: {shape: [64, 64]}, coefficient: {class_path:
  pdekit.fields.Threshold, init_args: {field: {class_path: pdekit.fields.GaussianField, init_args: {alpha: 2, tau: 3}},
  low: 3, high: 12}}, boundaries: [{where: left, kind: neumann}]}}"""
    family = parser.instantiate(parser.parse_string(text)).family
    assert family == Darcy(Grid((64, 64)), TWO_MATERIALS, boundaries=[Boundary("left", "neumann")])


@pytest.mark.parametrize("indices", [[0.5], 3, None, ["a"], torch.tensor([0.5])])
def test_indices_that_are_no_integers_are_refused(indices):
    family = Darcy(Grid((9, 9)), Constant(1.0))
    with pytest.raises(InputError, match="expected a sequence of integers"):
        family.draw(indices, seed=0)


@pytest.mark.parametrize("kind", [bool, complex, object])
def test_own_fields_of_the_wrong_type_are_refused(kind):
    family = Darcy(Grid((9, 9)), Constant(1.0))
    with pytest.raises(InputError, match=r"coefficient .*expected"):
        family.inputs_from(np.ones((9, 9), dtype=kind))

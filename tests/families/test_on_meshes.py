"""Families on meshes: conformance, and solutions that are known in advance."""

import json
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser

from pdekit.core import InputError
from pdekit.core.expressions import Expression
from pdekit.domain import Annulus, Boundary, Box, Disk, Grid, Interval, LShape, Rectangle
from pdekit.families import AdvectionDiffusion, Darcy, Elasticity, Family, Helmholtz, NonlinearDiffusion, Poisson
from pdekit.fem import P1, P2, Q1, Q2
from pdekit.fields import Constant, GaussianField, LogNormal, Uniform
from pdekit.testing import check_family

NOISE = GaussianField(alpha=2, tau=3, modes=8)
MEDIUM = LogNormal(NOISE)
FREE = Boundary("all", "neumann", 0.0)

FAMILIES = {
    "poisson, disk": lambda: Poisson(Disk(refinements=2), NOISE),
    "poisson, nothing fixed": lambda: Poisson(Disk(refinements=2), NOISE, [FREE]),
    "poisson, hexahedra": lambda: Poisson(Box(cells=2, kind="hexahedron"), NOISE, element=Q2()),
    "poisson, interval": lambda: Poisson(Interval(cells=8), NOISE, [Boundary("right", "robin", 1.0, 2.0)]),
    "darcy, every kind of condition": lambda: Darcy(
        Rectangle(cells=4),
        MEDIUM,
        boundaries=[
            Boundary("left", "dirichlet", "y"),
            Boundary("right", "neumann", 1.0),
            Boundary("top", "robin", 1.0, 2.0),
        ],
    ),
    "darcy, cells": lambda: Darcy(LShape(cells=2), MEDIUM, coefficient_at="cells"),
    "darcy, quadratic": lambda: Darcy(LShape(cells=2, kind="quad"), MEDIUM, NOISE, element=Q2()),
    "helmholtz, walls": lambda: Helmholtz(Disk(refinements=3), Uniform(3, 4), source=NOISE),
    "helmholtz, impedance": lambda: Helmholtz(
        Annulus(cells=(4, 24)), 3.0, MEDIUM, 0.0, boundaries=[Boundary("outer", "impedance", 1 + 1j)]
    ),
    "advection-diffusion": lambda: AdvectionDiffusion(
        Rectangle(cells=6, kind="quad"), ("1-y**2", 0.5), NOISE, MEDIUM, Uniform(0.5, 1), 1.5,
        [Boundary("right", "neumann")],
    ),
    "elasticity, plane strain": lambda: Elasticity(
        Rectangle(cells=3), MEDIUM,
        boundaries=[Boundary("left", "dirichlet"), Boundary("right", "neumann", (1.0, 0.0))],
    ),
    "elasticity, rollers": lambda: Elasticity(
        Box(cells=2), 1.0, load=Uniform(1, 2), components={"left": [0]},
        boundaries=[Boundary("left", "dirichlet", 0.5), Boundary("all", "dirichlet")],
    ),
    "nonlinear diffusion": lambda: NonlinearDiffusion(Disk(2), GaussianField(2, 3, scale=1e3), Uniform(1, 3)),
    "elasticity, quadratic": lambda: Elasticity(
        Rectangle(cells=2, kind="quad"), MEDIUM, 0.3, (0, -1), boundaries=[Boundary("all", "dirichlet")], element=Q2()
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_conformance(name):
    check_family(FAMILIES[name]())


@pytest.mark.parametrize("name", FAMILIES)
def test_configuration_files_make_the_same_family(name):
    family = FAMILIES[name]()
    parser = ArgumentParser()
    parser.add_argument("--family", type=Family)
    text = json.dumps({"family": family.describe()})
    assert parser.instantiate(parser.parse_string(text)).family == family


def test_several_threads_may_solve_with_one_family():
    """Patterns and routing matrices are found on first use, here by all threads at once."""
    shared, own = (FAMILIES["darcy, every kind of condition"]() for _ in range(2))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda k: shared.solve(shared.draw([k], seed=0), rtol=1e-8)["solution"], range(4)))
    for k, solution in enumerate(found):
        assert torch.equal(solution, own.solve(own.draw([k], seed=0), rtol=1e-8)["solution"])


def order(errors) -> float:
    """The slope of the errors over meshes of half the size each."""
    return float(-np.polyfit(np.arange(len(errors)), np.log2(errors), 1)[0])


def error(family, samples, exact) -> float:
    """Root of the integral of |u - exact|^2, the exact solution being a function of points, coordinates first."""
    mesh = family.schema.domain
    u = samples[family.output][0, : mesh.n_nodes]
    return float(((u - exact(mesh.points.T)).abs().square() * mesh.quadrature()).sum().sqrt())


def bubble(x):
    """sin(pi x) sin(2 pi y)"""
    return torch.sin(math.pi * x[0]) * torch.sin(2 * math.pi * x[1])


@pytest.mark.parametrize(("kind", "element"), [("triangle", P1()), ("quad", Q1()), ("triangle", P2())])
def test_darcy_converges_to_a_manufactured_solution(kind, element):
    """-div((1 + x) grad u) = f by hand for u = sin(pi x) sin(2 pi y); data linear between nodes keep the order at 2."""
    errors = []
    for cells in (8, 16, 32):
        family = Darcy(Rectangle(cells=cells, kind=kind), Constant(1.0), Constant(1.0), element=element)
        x, y = family.schema.domain.points.T
        gradient = math.pi * torch.cos(math.pi * x) * torch.sin(2 * math.pi * y)
        source = 5 * math.pi**2 * (1 + x) * bubble((x, y)) - gradient
        errors.append(error(family, family.solve(family.inputs_from(1 + x, source), rtol=1e-10), bubble))
    assert order(errors) == pytest.approx(2, abs=0.15)


def test_elements_of_second_order_are_exact_for_quadratic_solutions():
    """-Laplace (x^2 + y^2) = -4 with Dirichlet, Neumann and Robin data of that function."""
    exact = lambda x: x[0] ** 2 + x[1] ** 2  # noqa: E731
    sides = [
        Boundary("left", "dirichlet", exact),
        Boundary("right", "neumann", 2.0),
        Boundary("top", "robin", lambda x: 2 + 3 * (x[0] ** 2 + 1), 3.0),
        Boundary("bottom", "neumann", 0.0),
    ]
    for kind, element in (("triangle", P2()), ("quad", Q2())):
        family = Poisson(Rectangle(cells=3, kind=kind), Constant(1.0), sides, element)
        samples = family.solve(family.inputs_from(torch.full((16,), -4.0)), rtol=1e-12)
        assert samples["solution"].shape == (1, 49)
        assert error(family, samples, exact) < 1e-11


def test_fluxes_are_multiplied_by_the_coefficient():
    """-(2 u')' = 0, u(0) = 0, u'(1) = 1 and u'(1) + 3 u(1) = 4 both have the solution x."""
    for end in (Boundary("right", "neumann", 1.0), Boundary("right", "robin", 4.0, 3.0)):
        family = Darcy(Interval(cells=5), Constant(2.0), 0.0, [end], coefficient_at="cells")
        samples = family.solve(family.draw([0], seed=0), rtol=1e-12)
        assert error(family, samples, lambda x: x[0]) < 1e-12


def test_without_anything_fixed_the_mean_is_zero_and_the_source_acts_without_its_mean():
    for element in (None, P2()):
        family = Poisson(Disk(refinements=3), NOISE, [FREE], element)
        inputs = family.draw(range(2), seed=0)
        samples = family.solve(inputs, rtol=1e-10)
        space = family.on_mesh.space
        assert float((samples["solution"] * family.on_mesh.weights).sum(-1).abs().max()) < 1e-12
        shifted = family.solve(family.inputs_from(inputs["source"] + 5.0), rtol=1e-10)
        assert torch.allclose(shifted["solution"], samples["solution"], atol=1e-10)
        assert samples["solution"].shape == (2, space.n_dofs)


def test_a_grid_and_the_same_nodes_as_a_mesh_give_nearly_the_same_solution():
    """P1 on right-angled triangles of a constant coefficient is the 5-point formula."""
    grid = Poisson(Grid((17, 17)), Constant(1.0))
    mesh = Poisson(Rectangle(cells=16), Constant(1.0))
    u, v = (f.solve(f.draw([0], seed=0), rtol=1e-12)["solution"].flatten() for f in (grid, mesh))
    assert torch.allclose(u, v, atol=1e-12)


def test_a_sample_is_the_same_function_on_a_grid_and_on_a_mesh():
    grid, mesh = Poisson(Grid((9, 9)), NOISE), Poisson(Rectangle(cells=8), NOISE)
    a, b = (family.draw([3], seed=1)["source"].flatten() for family in (grid, mesh))
    assert torch.allclose(a, b, atol=1e-12)


def test_a_plane_wave_leaves_through_impedance_boundaries():
    """exp(i k d.x) with du/dn - i k u = i k (d.n - 1) u on each side: order 2, and complex symmetric."""
    k, d = 6.0, (math.cos(0.4), math.sin(0.4))

    def wave(x):
        return torch.exp(1j * k * (d[0] * x[0] + d[1] * x[1]))

    normals = {"left": (-1, 0), "right": (1, 0), "bottom": (0, -1), "top": (0, 1)}
    sides = [
        Boundary(name, "impedance", lambda x, n=n: 1j * k * (d[0] * n[0] + d[1] * n[1] - 1) * wave(x))
        for name, n in normals.items()
    ]
    errors = []
    for cells in (12, 24, 48):
        family = Helmholtz(Rectangle(cells=cells), Constant(k), source=0.0, boundaries=sides)
        inputs = family.draw([0], seed=0)
        errors.append(error(family, family.solve(inputs, rtol=1e-10), wave))
        matrix = family.system(inputs).operator.to_scipy((0,))
        assert abs(matrix - matrix.T).max() < 1e-13
    assert order(errors) == pytest.approx(2, abs=0.15)


def test_standing_waves_between_walls():
    """-u'' - k^2 u = 1, u(0) = u(1) = 0, beyond the first eigenvalue: indefinite; analytic solution, order 2."""
    k = 7.0

    def standing(x):
        return (torch.cos(k * (x[0] - 0.5)) / math.cos(k / 2) - 1) / k**2

    errors = []
    for cells in (32, 64, 128):
        family = Helmholtz(Interval(cells=cells), Constant(k))
        errors.append(error(family, family.solve(family.draw([0], seed=0), rtol=1e-10), standing))
    assert order(errors) == pytest.approx(2, abs=0.15)
    values = np.linalg.eigvalsh(family.system(family.draw([0], seed=0)).operator.to_scipy((0,)).toarray())
    assert values[0] < 0 < values[-1]


def test_advection_diffusion_converges_to_a_manufactured_solution():
    """-0.5 Laplace u + (2 - y, 1 + x) . grad u + 3 u by hand for u = sin(pi x) sin(2 pi y)."""
    errors = []
    for cells in (16, 32, 64):
        family = AdvectionDiffusion(Rectangle(cells=cells), ("2 - y", "1 + x"), Constant(1.0), 0.5, reaction=3.0)
        x, y = family.schema.domain.points.T
        along = math.pi * torch.cos(math.pi * x) * torch.sin(2 * math.pi * y)
        across = 2 * math.pi * torch.sin(math.pi * x) * torch.cos(2 * math.pi * y)
        source = (2.5 * math.pi**2 + 3) * bubble((x, y)) + (2 - y) * along + (1 + x) * across
        errors.append(error(family, family.solve(family.inputs_from({"source": source}), rtol=1e-10), bubble))
    assert order(errors) == pytest.approx(2, abs=0.15)


def test_the_peclet_number_is_stated_and_bounded():
    """Cells of an interval of length 1/10, speed 4, a = 0.1: 4 / 10 / 0.2 = 2."""
    family = AdvectionDiffusion(Interval(cells=10), (1.0,), Constant(1.0), 0.1, Uniform(4.0, 4.0))
    inputs = family.draw([0, 1], seed=0)
    assert family.peclet(inputs).tolist() == pytest.approx([2, 2])
    with pytest.raises(
        InputError, match=r"Sample 0 has the Peclet number 2 in its worst cell.*mesh that is 2 times finer"
    ):
        family.solve(inputs, rtol=1e-8)
    loose = AdvectionDiffusion(Interval(cells=10), (1.0,), Constant(1.0), 0.1, Uniform(4.0, 4.0), max_peclet=3)
    assert loose.solve(inputs, rtol=1e-8).certificate.accepted.all()


def test_elasticity_of_a_quadratic_displacement():
    """-div sigma((x^2, 0)) = -2 (lam + 2 mu) e_x for constant E: exact with P2, order 2 with P1."""
    nu = 0.3
    lam, mu = nu / ((1 + nu) * (1 - 2 * nu)), 1 / (2 * (1 + nu))
    held = Boundary("all", "dirichlet", lambda x: (x[0] ** 2, 0 * x[0]))

    def miss(cells, element):
        family = Elasticity(
            Rectangle(cells=cells), Constant(1.0), nu, (-2 * (lam + 2 * mu), 0), 1.0, [held], {}, element
        )
        u = family.solve(family.draw([0], seed=0), rtol=1e-12)["displacement"]
        points = family.on_mesh.space.dof_points[::2]
        return float((u[0, :, 0] - points[:, 0] ** 2).abs().max() + u[0, :, 1].abs().max())

    assert miss(3, P2()) < 1e-12
    # P1 interpolates a quadratic of one variable exactly at the nodes of this lattice: take another load.
    assert miss(4, P1()) < 1e-12


def test_a_bar_under_tension():
    """Traction 1 on the right, rollers left and below: uniform stress; plane strain, E = 2, nu = 0.25, by hand."""
    young, nu = 2.0, 0.25
    sides = [
        Boundary("left", "dirichlet"), Boundary("bottom", "dirichlet"), Boundary("right", "neumann", (1.0, 0.0)), FREE,
    ]  # fmt: skip
    family = Elasticity(
        Rectangle(cells=(4, 2), box=((0.0, 2.0), (0.0, 1.0))), Constant(young), nu, (0, 0), 1.0, sides,
        {"left": [0], "bottom": [1]},
    )  # fmt: skip
    samples = family.solve(family.draw([0], seed=0), rtol=1e-12)
    strain = (1 - nu**2) / young, -nu * (1 + nu) / young
    expected = family.schema.domain.points * torch.tensor(strain)
    assert torch.allclose(samples["displacement"][0], expected, atol=1e-12)
    stress = np.array([1.0, 0.0, nu])
    yielding = math.sqrt(1.5 * ((stress - stress.mean()) ** 2).sum())
    assert torch.allclose(family.von_mises(samples), torch.full((1, 16), yielding, dtype=torch.float64), atol=1e-11)
    pulled = replace(family, boundaries=[*sides[:2], Boundary("right", "neumann", 1.0), FREE])
    again = pulled.solve(pulled.draw([0], seed=0), rtol=1e-12)
    assert torch.allclose(again["displacement"], samples["displacement"], atol=1e-12)


def test_elastic_systems_carry_rigid_body_modes():
    family = FAMILIES["elasticity, plane strain"]()
    assert family.system(family.draw([0], seed=0)).operator.near_nullspace.shape == (24, 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Poisson(Grid((9, 9)), NOISE, element=P1()), "element=P1 on a grid; element is an option of meshes"),
        (lambda: Darcy(Disk(2), MEDIUM, mean="arithmetic"), "mean=arithmetic on a mesh; mean is an option of grids"),
        (lambda: Darcy(Grid((9, 9)), MEDIUM, coefficient_at="cells"), "coefficient_at=cells on a grid"),
        (lambda: Poisson(Disk(2), NOISE, element=Q1()), "Q1 does not exist on triangles"),
        (
            lambda: Helmholtz(Grid((9, 9)), Uniform(1, 2)),
            r"Helmholtz lives on meshes; expected a Mesh.*Grid\(\(9, 9\)\)",
        ),
        (lambda: Helmholtz(Disk(2), 1.0), "Nothing of this Helmholtz is random"),
        (lambda: Helmholtz(Disk(2), NOISE), "wave_number is one number a sample, and a GaussianField is a field"),
        (lambda: Helmholtz(Disk(2), "3"), "wave_number is a str; expected a number or a random field"),
        (lambda: Elasticity(Disk(2), MEDIUM, 0.5), "poisson=0.5; expected"),
        (lambda: Elasticity(Disk(2), MEDIUM, body_force=(1, 2, 3)), "expected 2 numbers, one an axis"),
        (lambda: Elasticity(Disk(2), MEDIUM, body_force=Constant(-5.0)), r"body_force=Constant.*expected numbers, one"),
        (lambda: Elasticity(Disk(2), MEDIUM), "Nothing loads the body"),
        (lambda: Darcy(Grid((9, 9)), Expression("1+x"), NOISE), "an Expression is for meshes"),
        (lambda: Darcy(Disk(2), Expression("2+x")), "Nothing of this Darcy is random"),
        (lambda: Helmholtz(Disk(2), 1.0, source=Expression("x")), "source is a Expression; expected a number"),
        (
            lambda: Elasticity(Disk(2), MEDIUM, boundaries=[Boundary("all", "robin", 0, 1)]),
            "'all' is robin; Elasticity",
        ),
        (lambda: Darcy(Disk(2), MEDIUM, boundaries=[Boundary("all", "impedance")]), "'all' is impedance"),
        (lambda: AdvectionDiffusion(Disk(2), (1.0,), NOISE), "expected 2 numbers or expressions"),
        (lambda: AdvectionDiffusion(Disk(2), "xy", NOISE), "velocity='xy'; expected 2 numbers or expressions"),
        (lambda: AdvectionDiffusion(Disk(2), ("x", "import os"), NOISE), "import"),
        (lambda: AdvectionDiffusion(Disk(2), (0, 0), NOISE, reaction=-1.0), "reaction=-1"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_a_mesh_too_coarse_for_the_wave_is_refused():
    family = Helmholtz(Disk(refinements=1), Constant(8.0))
    with pytest.raises(InputError, match=r"Sample 0 has .* points a wave length .*expected at least 4, better 10"):
        family.solve(family.draw([0], seed=0), rtol=1e-8)


def test_own_fields_on_meshes():
    family = Helmholtz(Disk(refinements=2), Uniform(1, 2), source=NOISE)
    n = family.schema.domain.n_nodes
    assert len(family.inputs_from({"wave_number": [1.0, 2.0], "source": torch.ones(n)})) == 2
    with pytest.raises(InputError, match="expected wave_number, source"):
        family.inputs_from({"wave_number": 1.0})
    with pytest.raises(InputError, match="not positive"):
        family.inputs_from({"wave_number": [-1.0], "source": torch.ones(n)})
    with pytest.raises(InputError, match=r"source has shape"):
        family.inputs_from({"wave_number": [1.0], "source": torch.ones(n + 1)})


def test_gradients_flow_to_the_inputs():
    family = FAMILIES["helmholtz, impedance"]()
    inputs = family.draw([0], seed=0)
    index = inputs["index"].clone().requires_grad_()
    inputs = type(inputs)(inputs.schema, {"index": index})
    family.system(inputs).operator.entries.abs().sum().backward()
    assert index.grad is not None
    assert float(index.grad.abs().max()) > 0


def test_nonlinear_diffusion_is_a_transformed_potential():
    """Kirchhoff: with v = u + beta u^3 / 3 the equation is -Laplace v = f, here -v'' = f on an interval; order 2."""
    errors = []
    for cells in (8, 16, 32):
        family = NonlinearDiffusion(Interval(cells=cells), Constant(1.0), 2.0)
        x = family.schema.domain.points[:, 0]
        samples = family.solve(family.inputs_from({"source": 40 * math.pi**2 * torch.sin(math.pi * x)}), rtol=1e-10)
        u = samples["solution"][0]
        errors.append(float((u + 2 * u**3 / 3 - 40 * torch.sin(math.pi * x)).abs().max()))
        assert int(samples.certificate.iterations[0]) > 3
    assert order(errors) == pytest.approx(2, abs=0.15)


def test_nonlinear_boundary_terms_have_the_right_derivative():
    """Central differences of the residual, as the oracle of the assembled Jacobian."""
    sides = [Boundary("left", "dirichlet", 1.0), Boundary("right", "neumann", 2.0), Boundary("top", "robin", 1.0, 3.0)]
    family = NonlinearDiffusion(Rectangle(cells=2), NOISE, 1.5, MEDIUM, sides)
    inputs = family.draw([0, 1], seed=0)
    generator = torch.Generator().manual_seed(0)
    u, d = torch.randn(2, 2, 9, dtype=torch.float64, generator=generator)
    step = 1e-5
    slope = (family.missing(u + step * d, inputs) - family.missing(u - step * d, inputs)) / (2 * step)
    assert torch.allclose(family.tangent(u, inputs).matvec(d), slope, atol=1e-8)


def test_a_better_guess_has_the_same_goal():
    family = NonlinearDiffusion(Disk(refinements=2), GaussianField(2, 3, scale=1000.0, modes=8), 3.0)
    inputs = family.draw(range(3), seed=0)
    rough = family.solve(inputs, rtol=1e-4)
    fine = family.solve(inputs, rtol=1e-8, guess=rough)
    assert fine.certificate.accepted.all()
    assert (fine.certificate.iterations < family.solve(inputs, rtol=1e-8).certificate.iterations).all()
    assert fine.certificate.method.startswith("Newton")


def test_nonlinear_diffusion_refuses_what_has_no_solution():
    with pytest.raises(InputError, match="nothing fixes u"):
        NonlinearDiffusion(Disk(2), NOISE, boundaries=[FREE])
    with pytest.raises(InputError, match="nonlinearity=-1"):
        NonlinearDiffusion(Disk(2), NOISE, -1.0)

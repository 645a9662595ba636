"""diffusion(): second order for each kind of side, structure of the matrix, bad input.

The oracle of the orders is a manufactured solution whose source and boundary data come from automatic differentiation.
"""

import numpy as np
import pytest
import torch
from solvers.diffusion_problems import EVERY_KIND, grid_for, problem, sides

from pdekit.core import InputError
from pdekit.domain import SIDES, Boundary, Grid
from pdekit.solvers import Direct, diffusion, solve

PI = torch.pi


def coefficient_at(p):
    return 1.5 + 0.5 * torch.stack([torch.sin(2 * PI * x + 0.3 * k) for k, x in enumerate(p.unbind(-1))]).prod(0)


def solution_at(p):
    waves = torch.stack([torch.cos(2 * PI * x + 0.4 + k) + 1.2 for k, x in enumerate(p.unbind(-1))]).prod(0)
    return waves + 0.5 * torch.sin(2 * PI * p[..., 0])


def gradient(values, p):
    return torch.autograd.grad(values.sum(), p, create_graph=True)[0]


def manufactured(n: int, kinds: tuple[str, ...], mean: str, reaction: float | None = None) -> float:
    """L2 error of the solution on n cells a side."""
    grid = grid_for(tuple(n if pair == "pp" else n + 1 for pair in kinds), kinds)
    p = grid.points().requires_grad_()
    u = solution_at(p)
    flux = coefficient_at(p).unsqueeze(-1) * gradient(u, p)
    source = -sum(gradient(flux[..., k], p)[..., k] for k in range(grid.dim)) + (reaction or 0.0) * u

    def outward(axis, end):
        def slope(q):
            q = q.clone().requires_grad_()
            return (-1 + 2 * end) * gradient(solution_at(q), q)[..., axis].detach()

        return slope

    boundaries = []
    for axis, pair in enumerate(kinds):
        for end, letter in enumerate(pair):
            name, slope = SIDES[axis][end], outward(axis, end)
            if letter == "d":
                boundaries.append(Boundary(name, "dirichlet", solution_at))
            elif letter == "n":
                boundaries.append(Boundary(name, "neumann", slope))
            elif letter == "r":
                value = lambda q, slope=slope: slope(q) + 2.0 * solution_at(q)  # noqa: E731
                boundaries.append(Boundary(name, "robin", value, coefficient=2.0))
    system = diffusion(grid, coefficient_at(p).detach(), source.detach(), boundaries, mean=mean, reaction=reaction)
    u_h = system.restore(solve(system.operator, system.rhs, Direct(), rtol=1e-10).x)
    return float(((u_h - u.detach()).square() * grid.quadrature()).sum().sqrt())


def fitted_order(sizes, errors) -> float:
    return float(-np.polyfit(np.log(sizes), np.log(errors), 1)[0])


@pytest.mark.parametrize("mean", ["harmonic", "arithmetic"])
@pytest.mark.parametrize(
    "kinds",
    [("dd", "dd"), ("dn", "nd"), ("rr", "dd"), ("rr", "nr"), ("pp", "dn"), ("rd", "pp"), ("dr", "nn")],
)
def test_second_order_in_2d(kinds, mean):
    sizes = (16, 32, 64, 128)
    assert 1.9 <= fitted_order(sizes, [manufactured(n, kinds, mean) for n in sizes]) <= 2.1


@pytest.mark.parametrize("kinds", [("dd", "dd", "dd"), ("dn", "nd", "nn"), ("rr", "nr", "rd"), ("pp", "rd", "pp")])
def test_second_order_in_3d(kinds):
    sizes = (8, 12, 18)
    assert 1.9 <= fitted_order(sizes, [manufactured(n, kinds, "harmonic") for n in sizes]) <= 2.1


@pytest.mark.parametrize("kinds", [("dn",), ("rr",), ("nr",)])
def test_second_order_in_1d(kinds):
    sizes = (32, 64, 128)
    assert 1.9 <= fitted_order(sizes, [manufactured(n, kinds, "harmonic") for n in sizes]) <= 2.1


def test_second_order_with_reaction_and_periodic_sides():
    sizes = (16, 32, 64)
    errors = [manufactured(n, ("pp", "pp"), "harmonic", reaction=1.5) for n in sizes]
    assert 1.9 <= fitted_order(sizes, errors) <= 2.1


@pytest.mark.parametrize(("shape", "kinds"), EVERY_KIND)
def test_matrix_is_symmetric_and_semidefinite_with_positive_inverse(shape, kinds):
    # An M-matrix: off-diagonal entries <= 0; then u > 0 wherever f > 0 and the sides drive nothing negative.
    system = problem(shape, kinds)
    for row in range(2):
        matrix = system.operator.to_scipy((row,)).toarray()
        assert np.array_equal(matrix, matrix.T)
        assert (matrix - np.diag(np.diag(matrix)) <= 0).all()
        least = np.linalg.eigvalsh(matrix)[0]
        if system.operator.nullspace is None:
            assert least > 0
            assert (np.linalg.inv(matrix) > 0).all()
        else:
            assert abs(least) < 1e-9 * matrix.max()


@pytest.mark.parametrize(("shape", "kinds"), [c for c in EVERY_KIND if set("".join(c[1])) & set("dr")])
def test_solutions_are_positive(shape, kinds):
    system = problem(shape, kinds)
    assert (solve(system.operator, system.rhs).x > 0).all()


def test_exact_for_quadratics():
    # The scheme has no error on u = x^2 + y for a = 1, whatever the sides: a patch test.
    grid = Grid((9, 7))
    x, y = grid.points().unbind(-1)
    exact = x**2 + y
    boundaries = [
        Boundary("left", "neumann", 0.0),
        Boundary("right", "robin", lambda p: 2.0 + 3 * (1 + p[..., 1]), coefficient=3.0),
        Boundary("bottom", "dirichlet", lambda p: p[..., 0] ** 2),
        Boundary("top", "neumann", 1.0),
    ]
    system = diffusion(grid, 1.0, -2.0, boundaries)
    assert torch.allclose(system.restore(solve(system.operator, system.rhs, rtol=1e-12).x), exact, atol=1e-11)


def test_flux_through_layers_is_exact_with_harmonic_means():
    # Two layers in series, interface halfway between nodes: u is piecewise linear, its flux 1 / (0.5/1 + 0.5/100).
    n = 8
    a = torch.cat([torch.ones(n // 2), torch.full((n // 2,), 100.0)]).double()
    grid = Grid((n,))
    system = diffusion(grid, a, 0.0, [Boundary("right", "dirichlet", 1.0)])
    u = system.restore(solve(system.operator, system.rhs, rtol=1e-12).x)
    flux = (u[1] - u[0]) / grid.spacing[0]
    assert float(flux) == pytest.approx(1 / (0.5 / 1 + 0.5 / 100), rel=1e-10)


def test_values_of_sides_may_be_numbers_tensors_or_functions():
    grid = Grid((6, 5))
    y = grid.coordinates(1)
    forms = [lambda p: p[..., 1], y, y.expand(3, 5)]
    made = [diffusion(grid, 1.0, 0.0, [Boundary("left", "dirichlet", value)]) for value in forms]
    for system in made:
        u = system.restore(solve(system.operator, system.rhs).x)
        assert torch.allclose(u[..., 0, 1:-1], y[1:-1].expand_as(u[..., 0, 1:-1]))
    assert made[2].rhs.shape == (3, 12)
    assert torch.equal(made[0].rhs, made[1].rhs)
    assert torch.equal(made[2].rhs[1], made[1].rhs)


def test_restore_and_reduce_are_inverse():
    for shape, kinds in EVERY_KIND:
        system = problem(shape, kinds)
        x = torch.rand_like(system.rhs)
        assert torch.equal(system.reduce(system.restore(x)), x)


def test_reaction_moves_the_spectrum():
    grid = Grid((9, 9))
    plain, moved = diffusion(grid, 1.0, 1.0), diffusion(grid, 1.0, 1.0, reaction=2.5)
    gap = moved.operator.to_scipy() - plain.operator.to_scipy()
    assert np.allclose(gap.toarray(), 2.5 * np.eye(49), atol=1e-12)
    free = diffusion(grid, 1.0, 1.0, [Boundary("all", "neumann")], reaction=0.5)
    assert free.operator.nullspace is None


def test_bad_input_names_the_culprit():
    grid = Grid((6, 5))
    good = torch.ones(2, 6, 5, dtype=torch.float64)

    def spoiled(value):
        bad = good.clone()
        bad[1, 2, 3] = value
        return bad

    for value, words in ((float("nan"), "is nan"), (0.0, "is 0.0"), (-2.0, r"is -2.0.*not positive")):
        with pytest.raises(InputError, match=rf"coefficient\[1, 2, 3\] {words}"):
            diffusion(grid, spoiled(value), 1.0)
    with pytest.raises(InputError, match=r"source\[1, 2, 3\] is inf"):
        diffusion(grid, 1.0, spoiled(float("inf")))
    with pytest.raises(InputError, match=r"reaction\[1, 2, 3\] is -1"):
        diffusion(grid, 1.0, 1.0, reaction=spoiled(-1.0))
    with pytest.raises(InputError, match=r"coefficient has shape \(2, 5, 6\).*swapped"):
        diffusion(grid, good.mT, 1.0)
    with pytest.raises(InputError, match=r"value of the side 'left' is a tuple; expected a number, a tensor \(5,\)"):
        diffusion(grid, 1.0, 1.0, [Boundary("left", "dirichlet", (1.0, 2.0))])
    with pytest.raises(InputError, match=r"coefficient has shape \(30,\)"):
        diffusion(grid, torch.ones(30), 1.0)
    with pytest.raises(InputError, match=r"value of the side 'left' has shape \(6,\)"):
        diffusion(grid, 1.0, 1.0, [Boundary("left", "dirichlet", torch.ones(6))])
    with pytest.raises(InputError, match=r"value of the side 'top'\[4\] is nan"):
        diffusion(grid, 1.0, 1.0, [Boundary("top", "neumann", torch.tensor([0, 0, 0, 0, torch.nan, 0]))])
    with pytest.raises(InputError, match=r"coefficient of the robin side 'left'\[0\] is -1"):
        diffusion(grid, 1.0, 1.0, [Boundary("left", "robin", 1.0, coefficient=-1.0)])
    with pytest.raises(InputError, match=r"batch shapes \(2,\) of coefficient, \(3,\) of source do not go together"):
        diffusion(grid, good, torch.ones(3, 6, 5))
    with pytest.raises(InputError, match="complex"):
        diffusion(grid, good * 1j, 1.0)


def test_float32_numpy_and_integers_are_welcome():
    grid = Grid((6, 5))
    a = np.full((6, 5), 2, dtype=np.float32)
    system = diffusion(grid, a, np.ones((6, 5), dtype=np.int64))
    assert system.rhs.dtype == torch.float64
    assert torch.equal(system.operator.faces[0], diffusion(grid, 2, 1).operator.faces[0])


def test_sides_of_all_kinds_meet_at_corners():
    system = diffusion(Grid((5, 5)), 1.0, 0.0, sides("dd", "dd"))
    u = system.restore(solve(system.operator, system.rhs).x)
    assert u[0, 2] == 0.0
    assert u[-1, 2] == pytest.approx(0.3)
    assert u[2, 0] == pytest.approx(0.3)
    assert u[0, 0] == pytest.approx(0.3)
    assert u[-1, -1] == pytest.approx(0.6)

"""Patch tests, fitted orders, norms and values at points."""

import math

import numpy as np
import pytest
import torch
from fem.oracle import PAIRS, Oracle, distorted
from skfem import Functional

from pdekit.core.errors import InputError
from pdekit.core.expressions import Expression
from pdekit.domain import Boundary, Box, Disk, Interval, Rectangle
from pdekit.fem import (
    P1,
    P2,
    Q2,
    Space,
    Vector,
    assemble,
    eliminate,
    error_h1,
    error_l2,
    forms,
    natural,
    norm_h1,
    norm_l2,
)
from pdekit.solvers import Direct, solve

CONTINUOUS = [pair for pair in PAIRS if pair[1].degree]


def unit(kind, cells):
    if kind == "line":
        return Interval(cells).mesh()
    return (Rectangle if kind in ("triangle", "quad") else Box)(cells, kind=kind).mesh()


def solved(space, f, exact, k=1.0):
    A, b = assemble(forms.diffusion, space, k=k), assemble(forms.load, space, f=f)
    A, b, restore = eliminate(space, A, b, [Boundary("all", "dirichlet", exact)])
    return restore(solve(A, b, Direct()).x)


@pytest.mark.parametrize(("kind", "element"), CONTINUOUS, ids=str)
def test_polynomials_of_the_element_are_solved_exactly(kind, element):
    space = Space(distorted(kind, 3), element)

    def exact(x):
        u = 1 + sum((i + 1) * x[i] for i in range(len(x)))
        # On distorted quads and hexahedra, only P1 is in the space: x y is not bilinear in the reference cell.
        return u + (x[0] ** 2 - x[0] * x[-1] if element.degree == 2 and space.mesh.cell_kind.simplex else 0)

    d = space.mesh.dim
    curved = element.degree == 2 and space.mesh.cell_kind.simplex
    laplacian = (2.0 - (2.0 if d == 1 else 0.0)) if curved else 0.0
    u = solved(space, -laplacian, exact)
    torch.testing.assert_close(u, space.interpolate(exact), rtol=0, atol=1e-12)
    assert float(error_h1(space, u, exact)) < 1e-11


@pytest.mark.parametrize(("kind", "element"), CONTINUOUS, ids=str)
def test_orders_of_convergence(kind, element):
    d = {"line": 1, "triangle": 2, "quad": 2}.get(kind, 3)
    sizes = {1: (8, 16, 32), 2: (8, 16, 32), 3: (4, 6, 9) if element.degree == 2 else (6, 10, 16)}[d]

    def exact(x):
        return torch.sin(2 * x[0] + 0.3) * (torch.cos(x[1]) if d > 1 else 1) * (torch.exp(x[2]) if d > 2 else 1)

    def source(x):
        return (4 + (1 if d > 1 else 0) - (1 if d > 2 else 0)) * exact(x)

    errors = []
    for cells in sizes:
        space = Space(unit(kind, cells), element)
        u = solved(space, source, exact)
        errors.append((float(error_l2(space, u, exact)), float(error_h1(space, u, exact))))
    slopes = -np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    assert abs(slopes[0] - (element.degree + 1)) < 0.15
    assert abs(slopes[1] - element.degree) < 0.15


def test_elasticity_passes_the_patch_test():
    space = Space(distorted("tetra", 2), Vector(P1()))
    G = torch.tensor([[0.1, 0.2, 0.0], [0.0, -0.3, 0.4], [0.5, 0.0, 0.6]], dtype=torch.float64)

    def exact(x):
        return (G @ x).T

    A = assemble(forms.elasticity, space, lam=1.3, mu=0.7)
    b = assemble(forms.load, space, f=torch.zeros(3))
    A, b, restore = eliminate(space, A, b, [Boundary("all", "dirichlet", exact)])
    u = restore(solve(A, b, Direct()).x)
    torch.testing.assert_close(u, space.interpolate(exact), rtol=0, atol=1e-12)
    assert float(error_h1(space, u, exact)) < 1e-11


def test_neumann_and_robin_terms_solve_a_manufactured_problem():
    def exact(x):
        return 1 + x[0] ** 2 - x[0] * x[1]

    k = 2.5
    sides = [
        Boundary("right", "neumann", lambda x: _slope(x, 0)),
        Boundary("top", "robin", lambda x: _slope(x, 1) + 3 * exact(x), coefficient=3.0),
        Boundary("bottom", "robin", lambda x: -_slope(x, 1) + (1 + x[0]) * exact(x), coefficient=lambda x: 1 + x[0]),
    ]
    space = Space(Rectangle(3).mesh(), P2())
    A, b = assemble(forms.diffusion, space, k=k), assemble(forms.load, space, f=-k * 2.0)
    more, load = natural(space, sides, k=k)
    A, b, restore = eliminate(space, A + more, b + load, [Boundary("left", "dirichlet", exact)])
    u = restore(solve(A, b, Direct()).x)
    torch.testing.assert_close(u, space.interpolate(exact), rtol=0, atol=1e-12)


def _slope(x, axis):
    return 2 * x[0] - x[1] if axis == 0 else -x[0]


def test_all_is_what_the_other_parts_leave():
    space = Space(Rectangle(3).mesh(), P1())
    left, rest = Boundary("left", "neumann", 5.0), Boundary("all", "neumann", 1.0)
    _, b = natural(space, [rest, left])
    assert float(b.sum()) == pytest.approx(5 + 3)
    parts = [left, *(Boundary(name, "neumann", 1.0) for name in ("right", "bottom", "top"))]
    torch.testing.assert_close(b, natural(space, parts)[1])


def test_natural_terms_take_batches_tensors_and_tractions():
    space = Space(Rectangle(3).mesh(), P1())
    k = torch.rand(4, space.mesh.n_cells, dtype=torch.float64) + 1
    dofs = space.dofs("right")
    g = torch.rand(4, len(dofs), dtype=torch.float64)
    A, b = natural(space, [Boundary("right", "robin", g, coefficient=g[0])], k=k)
    assert A.batch_shape == (4,)
    # The trapezoidal weights do not do: the integrals of products are those of cubic polynomials, by Simpson's rule.
    cells = space.mesh.facet_cells[space.mesh.boundary("right"), 0]
    facets = space.mesh.facets[space.mesh.boundary("right")]
    expected = torch.zeros(4, space.n_dofs, dtype=torch.float64)
    whole = torch.zeros(4, space.n_dofs, dtype=torch.float64).index_copy(1, dofs, g)
    for cell, (i, j) in zip(cells.tolist(), facets.tolist(), strict=True):
        for a, c in ((i, j), (j, i)):
            expected[:, a] += k[:, cell] / 3 * (whole[:, a] / 3 + whole[:, c] / 6)
    torch.testing.assert_close(b, expected)
    vector = Space(space.mesh, Vector(P1()))
    _, traction = natural(vector, [Boundary("right", "neumann", torch.tensor([0.0, 2.0]))])
    assert torch.allclose(traction.reshape(-1, 2).sum(0), torch.tensor([0.0, 2.0], dtype=torch.float64))
    springs, _ = natural(vector, [Boundary("right", "robin", 0.0, coefficient=torch.full((4,), 5.0))])
    assert float(springs.matvec(vector.interpolate((1.0, 0.0))) @ vector.interpolate((1.0, 0.0))) == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("boundary", "message"),
    [
        (Boundary("left", "dirichlet"), "is dirichlet; natural takes neumann and robin: fem.eliminate"),
        (Boundary("left", "periodic"), "needs a Grid"),
        (Boundary("lef", "neumann"), "Did you mean left"),
        (Boundary("left", "robin", 1.0, coefficient=-2.0), "coefficient of the boundary 'left' is negative"),
        (Boundary("left", "neumann", torch.zeros(3)), r"has shape \(3,\); expected \(\*batch, 4\)"),
        (Boundary("left", "neumann", float("nan")), "is nan"),
        (Boundary("left", "neumann", lambda x: (x[0], x[1])), "vector"),
    ],
)
def test_conditions_that_are_no_natural_ones_are_explained(boundary, message):
    with pytest.raises(InputError, match=message):
        natural(Space(Rectangle(3).mesh(), P1()), [boundary])


def test_a_part_given_twice_is_refused():
    with pytest.raises(InputError, match="given twice"):
        natural(Space(Rectangle(3).mesh(), P1()), [Boundary("left", "neumann", 1.0)] * 2)


@pytest.mark.parametrize(("kind", "element"), PAIRS, ids=str)
def test_norms_equal_scikit_fem(kind, element):
    space = Space(distorted(kind), element)
    oracle = Oracle(space)
    u = torch.rand(2, space.n_dofs, dtype=torch.float64)
    theirs = np.empty(space.n_dofs)
    theirs[oracle.order] = u[1]
    at = oracle.basis.interpolate(theirs)
    square = Functional(lambda w: w["u"] ** 2).assemble(oracle.basis, u=at)
    slopes = Functional(lambda w: sum(g**2 for g in w["u"].grad)).assemble(oracle.basis, u=at)
    assert float(norm_l2(space, u)[1]) == pytest.approx(math.sqrt(square), rel=1e-12)
    assert float(norm_h1(space, u)[1]) == pytest.approx(math.sqrt(square + slopes), rel=1e-12)
    M = assemble(forms.mass, space)
    torch.testing.assert_close(norm_l2(space, u) ** 2, (u * M.matvec(u)).sum(-1))


def test_errors_of_vectors_and_of_wrong_functions():
    space = Space(Rectangle(4).mesh(), Vector(P2()))
    u = space.interpolate(lambda x: (x[0] ** 2, x[1]))
    assert float(error_h1(space, u, lambda x: (x[0] ** 2, x[1]))) < 1e-13
    assert float(error_l2(space, u, lambda x: (x[0] ** 2, x[1] + 2))) == pytest.approx(2.0)
    with pytest.raises(InputError, match=r"rank 0; .* needs dim components"):
        error_l2(space, u, lambda x: x[0])
    with pytest.raises(InputError, match=r"u has shape \(3,\)"):
        norm_l2(space, u[:3])


@pytest.mark.parametrize(("kind", "element"), PAIRS, ids=str)
def test_values_at_points_are_those_of_the_basis(kind, element):
    space = Space(distorted(kind, 3), element)
    places = torch.rand(40, space.mesh.dim, dtype=torch.float64) * 0.8 + 0.1
    straight = space.scalar.degree > 0
    u = space.interpolate(lambda x: 1 + 2 * x[0] - x[-1]) if straight else space.interpolate(3.0)
    expected = 1 + 2 * places[:, 0] - places[:, -1] if straight else torch.full((40,), 3.0, dtype=torch.float64)
    torch.testing.assert_close(space.evaluate(torch.stack([u, 2 * u]), places), torch.stack([expected, 2 * expected]))
    at_dofs = torch.rand(space.n_dofs, dtype=torch.float64)
    if straight:
        torch.testing.assert_close(space.evaluate(at_dofs, space.dof_points), at_dofs, rtol=1e-9, atol=1e-9)


def test_values_of_vectors_at_points_and_points_outside():
    space = Space(Disk(refinements=2).mesh(), Vector(P1()))
    u = space.interpolate(lambda x: (x[1], -x[0]))
    points = torch.tensor([[0.1, 0.2], [-0.5, 0.3]], dtype=torch.float64)
    torch.testing.assert_close(space.evaluate(u, points), torch.stack([points[:, 1], -points[:, 0]], -1))
    with pytest.raises(InputError, match=r"points\[1\] = \[2.0, 0.0\] lies in no cell \(1 of 2 do not\); .* 1 away"):
        space.evaluate(u, torch.tensor([[0.0, 0.0], [2.0, 0.0]], dtype=torch.float64))
    with pytest.raises(InputError, match=r"points has shape \(2,\); expected \(points, 2\)"):
        space.evaluate(u, torch.zeros(2, dtype=torch.float64))
    with pytest.raises(InputError, match="u has shape"):
        space.evaluate(u[:4], points)


def test_numpy_and_numbers_are_taken():
    space = Space(Rectangle(4).mesh(), P2())
    u = space.interpolate(lambda x: x[0] * x[1])
    places = np.array([[0.1, 0.2], [0.7, 0.3]])
    for points in (places, places.tolist(), torch.from_numpy(places)):
        torch.testing.assert_close(space.evaluate(u.numpy(), points), torch.tensor([0.02, 0.21], dtype=torch.float64))
    assert float(space.evaluate(u, [[1, 1]])) == pytest.approx(1.0)
    assert float(error_l2(space, u.numpy(), 0)) == pytest.approx(float(norm_l2(space, u)), rel=1e-12)
    assert float(error_h1(space, u, Expression("x * y"))) < 1e-13
    vector = Space(Rectangle(4).mesh(), Vector(P1()))
    w = vector.interpolate((3.0, 4.0))
    assert float(error_l2(vector, w, 0.0)) == pytest.approx(5.0)  # |(3, 4)| on the unit square
    assert float(error_l2(vector, w, (3.0, 4.0))) < 1e-14


def test_thin_cells_far_from_their_centres_are_found():
    # The nearest centres belong to small cells; the point lies in a long one.
    mesh = Rectangle(cells=(2, 40)).mesh()
    stretched = mesh.with_points(mesh.points * torch.tensor([400.0, 1.0], dtype=torch.float64))
    space = Space(stretched, P1())
    points = torch.tensor([[199.0, 0.51], [1.0, 0.01]], dtype=torch.float64)
    torch.testing.assert_close(space.evaluate(space.interpolate(lambda x: x[0]), points), points[:, 0])


def test_quadratic_elements_integrate_what_they_should():
    for mesh, element in ((Rectangle(3, kind="quad").mesh(), Q2()), (distorted("triangle", 3), P2())):
        space = Space(mesh, element)
        one = space.interpolate(1.0)
        M = assemble(forms.mass, space)
        assert float(one @ M.matvec(one)) == pytest.approx(float(mesh.volume), rel=1e-13)


def test_repeated_boundary_terms_use_the_same_plans():
    """Springs on a vector space make a scalar space a call: what is remembered must not depend on it."""
    space = Space(Rectangle(3).mesh(), Vector(P1()))
    springs = [Boundary("right", "robin", 0.0, coefficient=torch.full((4,), 5.0))]
    first, _ = natural(space, springs)
    kept = len(space.cache)
    again, _ = natural(space, springs)
    assert len(space.cache) == kept > 0
    assert torch.equal(first.entries, again.entries)

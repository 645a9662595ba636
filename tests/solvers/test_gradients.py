"""Implicit gradients: gradcheck (finite differences as oracle, along random directions) and dense algebra."""

from functools import partial

import pytest
import torch
from solvers.diffusion_problems import sides

from pdekit.domain import Boundary, Grid
from pdekit.solvers import CG, CSR, DenseMatrix, Direct, Multigrid, NotConverged, Stencil, diffusion, solve

gradcheck = partial(torch.autograd.gradcheck, fast_mode=True)
gradgradcheck = partial(torch.autograd.gradgradcheck, fast_mode=True)

# The lattices are large enough for the compiled kernel, which leaves tiny ones alone.
METHODS = [CG(Multigrid()), CG(), Direct()]


def random(*shape, low=0.5):
    return (torch.rand(*shape, dtype=torch.float64) + low).requires_grad_()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kinds", [("dd", "dd"), ("nd", "rr")])
def test_with_respect_to_coefficient_source_and_sides(method, kinds):
    grid = Grid((9, 8))

    def u(a, f, value, leak):
        given = [*sides(*kinds)[1:], Boundary("left", "robin", value, coefficient=leak)]
        system = diffusion(grid, a, f, given)
        return system.restore(solve(system.operator, system.rhs, method, rtol=1e-13).x)

    assert gradcheck(u, (random(2, 9, 8), random(9, 8), random(8), random(8)))


def test_with_respect_to_dirichlet_values_and_reaction():
    grid = Grid((5, 4))

    def u(a, c, value):
        system = diffusion(grid, a, 1.0, [Boundary("top", "dirichlet", value)], reaction=c, mean="arithmetic")
        return system.restore(solve(system.operator, system.rhs, Direct(), rtol=1e-13).x)

    assert gradcheck(u, (random(5, 4), random(2, 5, 4), random(5)))


@pytest.mark.parametrize("method", METHODS)
def test_with_respect_to_stored_conductances_and_sink(method):
    periodic = random(2, 1, 7)

    def x(lower, first, sink, b):
        faces = torch.cat([periodic, lower, periodic], dim=1)
        return solve(Stencil([faces, first], sink, (True, False)), b, method, rtol=1e-13).x

    assert gradcheck(x, (random(2, 7, 7), random(2, 8, 8), random(2, 8, 7), random(56)))


def test_in_one_and_three_dimensions():
    def line(a):
        system = diffusion(Grid((6,)), a, 1.0, [Boundary("right", "neumann", 1.0)])
        return solve(system.operator, system.rhs, rtol=1e-13).x

    def box(a, f):
        system = diffusion(Grid((6, 5, 6)), a, f)
        return solve(system.operator, system.rhs, rtol=1e-13).x

    assert gradcheck(line, (random(2, 6),))
    assert gradcheck(box, (random(6, 5, 6), random(6, 5, 6)))


@pytest.mark.parametrize("method", METHODS)
def test_of_a_singular_system(method):
    # The solution of mean zero of a balanced right-hand side.
    def open_only(a, f):
        system = diffusion(Grid((6, 7), closed=False), a, f).balanced()
        return solve(system.operator, system.rhs, method, rtol=1e-13).x

    assert gradcheck(open_only, (random(6, 7), random(2, 6, 7)))


def test_of_matrices_against_dense_algebra():
    A = (torch.rand(4, 4, dtype=torch.float64) + 4 * torch.eye(4)).requires_grad_()
    b = random(3, 4)
    expected = torch.autograd.grad(torch.linalg.solve(A, b.mT).square().sum(), (A, b))
    for operator, method in ((DenseMatrix(A), Direct()), (A, Direct())):
        found = torch.autograd.grad(solve(operator, b, method, rtol=1e-13).x.square().sum(), (A, b))
        for one, other in zip(found, expected, strict=True):
            assert torch.allclose(one, other, rtol=1e-10)


def test_of_stored_entries_of_a_sparse_matrix():
    indptr, indices = torch.tensor([0, 2, 4, 5]), torch.tensor([0, 1, 0, 1, 2])

    def x(entries, b):
        return solve(CSR(indptr, indices, entries), b, Direct(), rtol=1e-13).x

    entries = torch.tensor([3.0, 1.0, -1.0, 2.0, 4.0], dtype=torch.float64, requires_grad=True)
    assert gradcheck(x, (entries, random(2, 3)))


@pytest.mark.parametrize("method", [Direct(), CG(Multigrid())])
def test_second_derivatives(method):
    grid = Grid((9, 9))

    def u(a, f):
        system = diffusion(grid, a, f)
        return solve(system.operator, system.rhs, method, rtol=1e-13).x

    assert gradgradcheck(u, (random(9, 9), random(9, 9)))


def test_no_graph_where_none_is_wanted():
    a = random(5, 5)
    system = diffusion(Grid((5, 5)), a, 1.0)
    assert solve(system.operator, system.rhs).x.requires_grad
    with torch.no_grad():
        assert not solve(system.operator, system.rhs).x.requires_grad
    system = diffusion(Grid((5, 5)), a.detach(), 1.0)
    assert not solve(system.operator, system.rhs).x.requires_grad


def test_an_adjoint_that_misses_its_tolerance_raises():
    a = random(16, 16)
    system = diffusion(Grid((16, 16)), a, 1.0)
    start = solve(system.operator, system.rhs, Direct()).x.detach()
    solution = solve(system.operator, system.rhs, CG(max_iterations=3), x0=start)
    with pytest.raises(NotConverged, match="iteration limit"):
        solution.x.square().sum().backward()

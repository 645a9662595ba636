"""Gradients through assembly, elimination and solve equal finite differences."""

import pytest
import torch
from fem.oracle import distorted
from torch.autograd import gradcheck, gradgradcheck

from pdekit.domain import Boundary
from pdekit.fem import (
    P1,
    P2,
    Q1,
    Field,
    Space,
    Vector,
    assemble,
    cellwise,
    dot,
    eliminate,
    forms,
    natural,
    nodal,
    norm_l2,
    uniform,
)
from pdekit.solvers import CG, Direct, Jacobi, solve


def leaf(*shape):
    return (torch.rand(*shape, dtype=torch.float64) + 0.5).requires_grad_()


def bent(u, v, w):
    return torch.exp(w.k) * dot(u.grad, v.grad) + w.c**2 * u.value * v.value


@pytest.mark.parametrize(("kind", "element"), [("triangle", P1()), ("quad", Q1()), ("tetra", P1())], ids=str)
def test_assembly_is_differentiable_in_every_coefficient(kind, element):
    mesh = distorted(kind, 1)
    space = Space(mesh, element)
    k, c, z, u = leaf(2, mesh.n_cells), leaf(mesh.n_nodes), leaf(2), leaf(2, space.n_dofs)

    def linear(k, c, z):
        k = cellwise(k)
        A = assemble(forms.diffusion, space, k=k).entries + assemble(forms.mass, space, c=nodal(c)).entries
        return A + assemble(forms.mass, space, c=uniform(z)).entries, assemble(forms.load, space, f=k)

    # One random direction for each argument; every entry is compared below, through whole solutions.
    assert gradcheck(linear, (k, c, z), fast_mode=True)
    assert gradcheck(lambda k, c: assemble(bent, space, k=cellwise(k), c=nodal(c)).entries, (k, c), fast_mode=True)
    assert gradcheck(lambda u: assemble(bent, space, k=Field(space, u), c=Field(space, u)).entries, u, fast_mode=True)
    assert gradgradcheck(lambda c: assemble(bent, space, k=0.3, c=nodal(c)).entries, c, fast_mode=True)


def test_matrix_coefficients_and_boundary_terms_are_differentiable():
    mesh = distorted("triangle", 1)
    space = Space(mesh, P2())
    K, g, c, k = leaf(mesh.n_cells, 2, 2), leaf(2, 3), leaf(3), leaf(2, mesh.n_cells)
    assert gradcheck(lambda K: assemble(forms.diffusion, space, k=cellwise(K, rank=2)).entries, K)

    def terms(g, c, k):
        A, b = natural(space, [Boundary("right", "robin", g, coefficient=c)], k=cellwise(k))
        return A.entries, b

    assert gradcheck(terms, (g, c, k))


def test_chunks_that_are_made_again_have_the_gradients_of_the_whole():
    mesh = distorted("triangle", 3)
    space = Space(mesh, P1())
    k, gradients = leaf(3, mesh.n_cells), []
    for memory in ("1GiB", "5kB"):
        entries = assemble(bent, space, memory=memory, k=k, c=k).entries
        (gradient,) = torch.autograd.grad((entries**2).sum(), k)
        gradients.append((entries.detach(), gradient))
    assert torch.equal(gradients[0][0], gradients[1][0])
    torch.testing.assert_close(gradients[0][1], gradients[1][1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("method", [Direct(), CG(Jacobi())], ids=["direct", "cg"])
def test_gradients_of_a_solution_to_coefficients_loads_and_boundary_values(method):
    mesh = distorted("triangle", 2)
    space = Space(mesh, P1())
    k, f, g = leaf(2, mesh.n_cells), leaf(mesh.n_cells), leaf(2, 3)

    def solution(k, f, g):
        A, b = assemble(forms.diffusion, space, k=k), assemble(forms.load, space, f=f)
        sides = [Boundary("left", "dirichlet", g), Boundary("right", "dirichlet", 1.0)]
        A, b, restore = eliminate(space, A, b, sides)
        return restore(solve(A, b, method, rtol=1e-13).x)

    assert gradcheck(solution, (k, f, g), atol=1e-6)


def test_gradients_of_an_unsymmetric_solution_and_of_an_elastic_one():
    mesh = distorted("triangle", 1)
    space, vector = Space(mesh, P2()), Space(mesh, Vector(P1()))
    v, mu, g = leaf(2), leaf(mesh.n_cells), leaf(4)

    def carried(v):
        wind = assemble(forms.advection, space, velocity=uniform(v, rank=1))
        A, b = assemble(forms.diffusion, space, k=1.0) + wind, assemble(forms.load, space, f=1.0)
        A, b, restore = eliminate(space, A, b, [Boundary("left", "dirichlet", 0.0)])
        return restore(solve(A, b, Direct()).x)

    def bent(mu, g):
        A = assemble(forms.elasticity, vector, lam=1.0, mu=cellwise(mu))
        b = assemble(forms.load, vector, f=uniform([0.0, 1.0], rank=1))
        A, b, restore = eliminate(vector, A, b, [Boundary("left", "dirichlet", g)])
        return norm_l2(vector, restore(solve(A, b, Direct()).x))

    assert gradcheck(carried, v)
    assert gradcheck(bent, (mu, g))


def test_values_at_points_are_differentiable():
    space = Space(distorted("quad", 2), Q1())
    points = torch.tensor([[0.3, 0.4], [0.7, 0.2]], dtype=torch.float64)
    assert gradcheck(lambda u: space.evaluate(u, points), leaf(2, space.n_dofs))

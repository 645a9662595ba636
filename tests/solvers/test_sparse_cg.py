"""Conjugate gradients for CSR in one kernel: against the tensor loop, SciPy, and the promises of methods."""

import numpy as np
import pytest
import scipy.sparse as sp
import scipy.sparse.linalg as spla
import torch
from solvers.sparse_problems import dense, laplacian, networks, tridiagonal

from pdekit.solvers import AMG, CG, CSR, IC0, Jacobi, Reason, solve
from pdekit.solvers.krylov.cg import conjugate_gradients
from pdekit.solvers.krylov.sparse_cg import SparseCG, fits
from pdekit.solvers.preconditioners.ict import ICT
from pdekit.solvers.preconditioners.ssor import SSOR

RECIPES = [
    pytest.param(recipe, id=str(recipe))
    for recipe in (
        Jacobi(),
        SSOR(1.2),
        IC0(),
        IC0(ordering="cuthill-mckee"),
        ICT(0.05),
        AMG(coarse_size=5),
        AMG("aggregation", coarse_size=5),
    )
]


@pytest.mark.parametrize("recipe", RECIPES)
def test_it_is_the_iteration_of_the_tensor_loop(recipe):
    A = networks(60, (3,))
    b = torch.randn(2, 3, 60, dtype=torch.float64)
    prepared = CG(recipe).prepare(A)
    assert isinstance(prepared, SparseCG)
    found = prepared.run(b, None, 1e-8, 0.0)
    wanted = 1e-8 * torch.linalg.vector_norm(b, dim=-1)
    loop = conjugate_gradients(A, recipe.setup(A), b, None, wanted, 1000)
    assert found.iterations.tolist() == loop.iterations.tolist()
    torch.testing.assert_close(found.x, loop.x, rtol=1e-9, atol=1e-12)
    assert loop.history is not None
    assert found.history is not None
    torch.testing.assert_close(found.history, loop.history, rtol=1e-4, atol=0.0, equal_nan=True)
    residual = torch.linalg.vector_norm(b - A.matvec(found.x), dim=-1)
    torch.testing.assert_close(found.residual, residual, rtol=1e-6, atol=1e-14)


def test_iterations_are_those_of_scipy():
    A, b = laplacian(40), np.random.default_rng(0).standard_normal(1600)
    steps = []
    spla.cg(A, b, rtol=1e-8, M=sp.diags_array(1 / A.diagonal()), callback=steps.append)
    assert abs(int(solve(A, b, CG(Jacobi())).iterations) - len(steps)) <= 1


@pytest.mark.parametrize("recipe", RECIPES)
def test_batches_of_matrices_and_vectors(recipe):
    A = networks(30, (2, 1))
    b = torch.randn(3, 1, 4, 30, dtype=torch.float64)
    x = solve(A, b, CG(recipe), rtol=1e-12).x
    expected = np.linalg.solve(dense(A), b.numpy()[..., None])[..., 0]
    np.testing.assert_allclose(x.numpy(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_system_gives_the_same_bits_alone_in_a_batch_and_on_any_number_of_threads(recipe):
    matrix = networks(400, (6,))
    b = torch.randn(6, 400, dtype=torch.float64)
    if isinstance(recipe, AMG):  # shared transfers depend on the batch, by their rule
        recipe = AMG(recipe.kind, coarse_size=5, reuse=False)
    torch.set_num_threads(1)
    once = solve(matrix, b, CG(recipe))
    torch.set_num_threads(2)
    again = solve(matrix, b, CG(recipe))
    assert torch.equal(once.x, again.x)
    for i in (0, 3):
        alone = solve(matrix[i], b[i], CG(recipe))
        assert torch.equal(alone.x, once.x[i])
        assert int(alone.iterations) == int(once.iterations[i])


def test_a_first_guess_is_used_and_a_perfect_one_returned():
    A = CSR.from_scipy(laplacian(20))
    x = torch.randn(400, dtype=torch.float64)
    b = A.matvec(x)
    near = solve(A, b, CG(), x0=x + 1e-6 * torch.randn_like(x))
    assert 0 < int(near.iterations) < int(solve(A, b, CG()).iterations)
    exact = solve(A, b, CG(), x0=x)
    assert int(exact.iterations) == 0
    assert torch.equal(exact.x, x)
    start = torch.zeros(400, dtype=torch.float64)
    solve(A, b, CG(), x0=start)
    assert not start.any()


def test_zero_right_hand_sides_among_others():
    A = networks(30, (3,))
    b = torch.randn(3, 30, dtype=torch.float64)
    b[0] = b[2] = 0
    for recipe in (None, AMG(coarse_size=5)):
        solution = solve(A, b, CG(recipe))
        assert not solution.x[0].any()
        assert solution.iterations[0] == solution.iterations[2] == 0
        assert bool(solution.converged.all())


def test_atol_and_the_iteration_limit():
    A, b = CSR.from_scipy(laplacian(20)), torch.ones(400, dtype=torch.float64)
    assert 0 < int(solve(A, b, CG(), rtol=0.0, atol=1.0).iterations) < int(solve(A, b, CG()).iterations)
    few = solve(A, b, CG(max_iterations=3), throw=False)
    assert Reason(few.reason[()]) is Reason.MAX_ITERATIONS
    assert int(few.iterations) == 3
    assert few.history.shape == (4,)


@pytest.mark.parametrize("recipe", [Jacobi(), AMG(), AMG("aggregation", coarse_size=5), AMG(smoother="chebyshev")])
def test_a_matrix_that_is_not_definite_is_named(recipe):
    A = CSR.from_scipy(laplacian(30) - 0.5 * sp.eye_array(900))
    mixed = CSR(A.pattern, None, torch.stack([A.entries, CSR.from_scipy(laplacian(30)).entries]))
    solution = solve(mixed, torch.ones(900, dtype=torch.float64), CG(recipe), throw=False)
    assert solution.reason.tolist() == [Reason.NOT_DEFINITE, Reason.CONVERGED]


@pytest.mark.parametrize("recipe", [Jacobi(), AMG()])
def test_numbers_that_overflow_are_named(recipe):
    A = CSR.from_scipy(1e300 * tridiagonal(20))
    solution = solve(A, 1e300 * np.ones(20), CG(recipe), throw=False)
    assert not bool(solution.converged)
    assert solution.reason[()] in (Reason.NOT_FINITE, Reason.NOT_DEFINITE)


def test_gradients_flow_through_the_solve():
    A = networks(12, (2,))
    b = torch.randn(2, 12, dtype=torch.float64, requires_grad=True)
    upper = A.rows <= A.indices
    free = A.entries[:, upper].clone().requires_grad_()
    order = A.pattern.transposed[1]

    def solution(values, b):
        half = torch.zeros_like(A.entries).masked_scatter(upper.expand_as(A.entries), values)
        diagonal = A.rows == A.indices
        entries = half + torch.where(diagonal, 0.0, half[:, order])
        return solve(CSR(A.pattern, None, entries, tags=A.tags), b, CG(AMG(coarse_size=4)), rtol=1e-13).x

    assert torch.autograd.gradcheck(solution, (free, b))


def test_what_the_kernel_takes():
    A = networks(10)
    assert fits(A, None)
    assert fits(A, Jacobi().setup(A))
    assert not fits(CSR.from_scipy(tridiagonal(5, 1j, -1j)), None)
    assert not fits(A, A)

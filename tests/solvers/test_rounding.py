"""Residuals that rounding makes meaningless are not believed; those of ill-conditioned systems are."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from pdekit.solvers import AMG, CG, GMRES, MINRES, SSOR, Direct, Jacobi, Reason, solve
from pdekit.solvers.operators.csr import CSR
from pdekit.solvers.rounding import blurred

SINGULAR = {
    "ones": np.ones((64, 64)),
    "nearly": np.array([[1.0, 1.0], [1.0, 1.0 + 1e-15]]),
}


@pytest.mark.parametrize("preconditioner", [None, Jacobi(), SSOR(), AMG()], ids=str)
@pytest.mark.parametrize("kind", SINGULAR)
def test_no_useless_x_passes_for_a_solution(kind, preconditioner):
    dense = SINGULAR[kind]
    b = np.random.default_rng(0).standard_normal(len(dense))
    for matrix in (sp.csr_array(dense), dense):
        if isinstance(matrix, np.ndarray) and isinstance(preconditioner, SSOR | AMG):
            continue
        solution = solve(matrix, b, CG(preconditioner), throw=False)
        assert not bool(solution.converged)
        assert float(solution.residual) > 1e-4
        assert solution.reason.item() in (Reason.NOT_DEFINITE, Reason.STAGNATION)


@pytest.mark.parametrize("preconditioner", [None, Jacobi(), SSOR(), AMG()], ids=str)
def test_the_residual_of_the_compiled_cg_is_that_of_dense_algebra(preconditioner):
    line = sp.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(12, 12))
    A = sp.csr_array(sp.kron(line, sp.eye_array(12)) + sp.kron(sp.eye_array(12), line))
    b = np.random.default_rng(1).standard_normal(144)
    solution = solve(A, b, CG(preconditioner, max_iterations=3), throw=False)
    expected = np.linalg.norm(b - A.toarray() @ solution.x) / np.linalg.norm(b)
    assert float(solution.residual) == pytest.approx(expected, rel=1e-12)
    exact = solve(A, b, CG(preconditioner))
    assert np.linalg.norm(b - A.toarray() @ exact.x) <= 1e-8 * np.linalg.norm(b)


@pytest.mark.parametrize("method", [Direct(), CG(SSOR()), GMRES(), MINRES()], ids=str)
def test_ill_conditioned_systems_that_were_solved_are_believed(method):
    n = 10
    hilbert = 1 / (np.arange(n)[:, None] + np.arange(n) + 1.0)  # condition 1e13
    solution = solve(sp.csr_array(hilbert), hilbert @ np.ones(n), method)
    assert np.linalg.norm(hilbert @ solution.x - hilbert @ np.ones(n)) <= 1e-8 * np.linalg.norm(hilbert @ np.ones(n))


@pytest.mark.parametrize("rtol", [1e-8, 1e-10])
def test_high_contrast_is_believed(rtol):
    rng = np.random.default_rng(2)
    k = np.where(np.arange(201) % 40 < 20, 1e8, 1.0)
    A = sp.csr_array(sp.diags_array([-k[1:-1], k[:-1] + k[1:], -k[1:-1]], offsets=[-1, 0, 1]))
    b = A @ rng.standard_normal(200)
    for method in (Direct(), CG(SSOR())):
        solution = solve(A, b, method, rtol=rtol)
        assert np.linalg.norm(b - A @ solution.x) <= rtol * np.linalg.norm(b)


def test_the_blur_is_that_of_the_products():
    A = CSR.from_scipy(sp.csr_array([[1.0, -1.0], [0.0, 1.0]]))
    x = torch.tensor([[3e10, 4e10], [1.0, 1.0]], dtype=torch.float64)
    tolerance = torch.full((2,), 1e-9, dtype=torch.float64)
    found = blurred(A, x, torch.tensor([0.0, 1e-10], dtype=torch.float64), tolerance)
    assert found.tolist() == [pytest.approx(2.0**-52 * np.hypot(7e10, 4e10)), 1e-10]

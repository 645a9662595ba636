"""Conjugate gradients: the torch loop, what it refuses, how it fails."""

import numpy as np
import pytest
import torch
from solvers.diffusion_problems import problem

from pdekit.core import InputError
from pdekit.solvers import CG, DenseMatrix, Jacobi, LinearOperator, NotConverged, Preconditioner, solve
from pdekit.solvers.krylov.cg import conjugate_gradients


def test_known_iteration_counts():
    # Oracle: 5-point Laplacian on 32 x 32 unknowns, b = 1, measured with another implementation (38 / 51 / 62).
    from pdekit.domain import Grid
    from pdekit.solvers import diffusion

    A = diffusion(Grid((34, 34)), 1.0, 1.0).operator
    b = torch.ones(32 * 32, dtype=torch.float64)
    counts = [int(solve(A, b, CG(), rtol=rtol).iterations) for rtol in (1e-3, 1e-6, 1e-9)]
    assert counts == [38, 51, 62]


def test_finite_termination():
    # In exact arithmetic CG ends after as many steps as there are distinct eigenvalues.
    A = np.diag(np.repeat([1.0, 5.0, 9.0], 4)) + 0.0
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((12, 12)))[0]
    solution = solve(rotation @ A @ rotation.T, np.ones(12), CG(_Identity()), rtol=1e-12)
    assert int(solution.iterations) == 3


class _Identity(Preconditioner):
    def setup(self, A: LinearOperator) -> LinearOperator:
        return DenseMatrix(torch.eye(A.shape[0], dtype=A.dtype))


class _Skewed(_Identity):
    @property
    def symmetric(self) -> bool:
        return False


class _Negative(_Identity):
    def setup(self, A: LinearOperator) -> LinearOperator:
        return DenseMatrix(-torch.eye(A.shape[0], dtype=A.dtype))


def test_what_it_refuses():
    with pytest.raises(InputError, match=r"CG needs a symmetric matrix.*Use Direct\(\)"):
        solve(np.array([[2.0, 1.0], [0.0, 3.0]]), np.ones(2), CG())
    with pytest.raises(InputError, match="not symmetric"):
        CG(_Skewed())
    with pytest.raises(InputError, match="max_iterations"):
        CG(max_iterations=0)


@pytest.mark.parametrize("method", [CG(), CG(_Negative())])
def test_negative_curvature_is_named(method):
    sign = -1.0 if method == CG() else 1.0
    with pytest.raises(NotConverged, match="negative curvature"):
        solve(np.diag([1.0, sign, 3.0]) + 0.1, np.ones(3), method)


def test_zero_on_the_diagonal_meets_jacobi():
    with pytest.raises(NotConverged, match="zero on the diagonal"):
        solve(np.array([[0.0, 1.0], [1.0, 2.0]]), np.ones(2), CG(Jacobi()))


def test_a_fixed_number_of_steps_asks_nothing():
    system = problem((12, 12), ("dd", "dd"))
    P = Jacobi().setup(system.operator)
    wanted = torch.zeros(2, dtype=torch.float64)
    fixed = conjugate_gradients(system.operator, P, system.rhs, None, wanted, 25, check_every=None)
    asked = conjugate_gradients(system.operator, P, system.rhs, None, wanted, 25, check_every=1)
    assert torch.equal(fixed.x, asked.x)
    assert fixed.iterations.tolist() == [25, 25]

"""SOR, SSOR, block Jacobi and Chebyshev against dense algebra and the reference's table."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from solvers.sparse_problems import applied, dense, laplacian, networks, nonsymmetric, on_pattern

from pdekit.core.errors import InputError
from pdekit.solvers import CG, CSR, NotConverged, Stencil, solve
from pdekit.solvers.preconditioners.block_jacobi import BlockJacobi, _Blocks
from pdekit.solvers.preconditioners.chebyshev import Chebyshev, _Polynomial, largest_eigenvalue
from pdekit.solvers.preconditioners.ssor import SSOR
from pdekit.solvers.stationary.sor import SOR
from pdekit.testing import check_device, check_preconditioner

OMEGAS = (1, 1.2, 1.4, 1.5, 1.6, 1.7, 1.8, 1.95)


@pytest.mark.parametrize(
    ("c", "counts"),
    [
        (-0.15, (2630, 1753, 1126, 874, 653, 454, 266, 365)),
        (0.0, (201, 132, 80, 57, 41, 55, 86, 361)),
        (0.2, (94, 60, 32, 32, 41, 55, 86, 362)),
        (0.45, (58, 36, 26, 31, 41, 55, 87, 362)),
    ],
)
def test_sor_needs_the_sweeps_of_the_reference(c, counts):
    """reference/solvers.md 5c: the five-point Laplacian on 10 x 10 points + c I, relative residual 1e-8."""
    A = CSR.from_scipy(laplacian(10) + c * sp.eye_array(100))
    b = np.random.default_rng(0).standard_normal(100)
    found = [int(solve(A, b, SOR(omega)).iterations) for omega in OMEGAS]
    assert np.abs(np.subtract(found, counts)).max() <= 1


@pytest.mark.parametrize("complex_", [False, True])
def test_sor_of_a_batch_equals_its_definition(complex_):
    A = nonsymmetric(12, (2,), complex_=complex_)
    b = torch.randn(3, 2, 12, dtype=A.dtype, generator=torch.Generator().manual_seed(0))
    x = torch.ones_like(b)
    found = solve(A, b, SOR(0.8, max_iterations=2), x0=x, throw=False)
    for i in range(2):
        M = np.tril(dense(A)[i], -1) + np.diag(np.diag(dense(A)[i])) / 0.8
        for j in range(3):
            v = x[j, i].numpy()
            for _ in range(2):
                v = v + np.linalg.solve(M, b[j, i].numpy() - dense(A)[i] @ v)
            np.testing.assert_allclose(found.x[j, i].numpy(), v, rtol=1e-12, atol=1e-14)
    assert found.history.shape == (3, 3, 2)


def test_gradients_through_sor_sweep_over_the_transpose():
    A = nonsymmetric(6)
    b = torch.randn(6, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    entries = A.entries.clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda entries, b: solve(CSR(A.pattern, None, entries), b, SOR(), rtol=1e-12).x, (entries, b)
    )


def test_sor_reports_what_it_cannot_solve():
    A = np.array([[1.0, 3.0], [3.0, 1.0]])
    for limit, reason in ((10, "iteration limit"), (5000, "NaN or infinity")):
        with pytest.raises(NotConverged, match=reason):
            solve(on_pattern(A, A != 0), torch.ones(2, dtype=torch.float64), SOR(max_iterations=limit))
    zero = on_pattern(np.stack([np.eye(2), np.diag([1.0, 0.0])]), np.eye(2, dtype=bool))
    with pytest.raises(InputError, match=r"row 1 of matrix \[1\] is 0"):
        SOR().prepare(zero)
    for omega in (0.0, 2.0):
        with pytest.raises(InputError, match="between 0 and 2"):
            SOR(omega)
        with pytest.raises(InputError, match="between 0 and 2"):
            SSOR(omega)


@pytest.mark.parametrize("omega", [0.7, 1.0, 1.6])
def test_ssor_equals_its_definition(omega):
    A = networks(batch=(2,))
    P = SSOR(omega).setup(A)
    check_preconditioner(SSOR(omega), A)
    for i, matrix in enumerate(dense(A)):
        D, L = np.diag(np.diag(matrix)), np.tril(matrix, -1)
        M = omega / (2 - omega) * (D / omega + L) @ np.linalg.inv(D) @ (D / omega + L.T)
        np.testing.assert_allclose(applied(P)[i], np.linalg.inv(M), rtol=1e-11, atol=1e-13)


def test_ssor_needs_a_positive_diagonal():
    A = on_pattern(np.stack([np.eye(3), np.diag([1.0, 1.0, -1.0])]), np.eye(3, dtype=bool))
    with pytest.raises(InputError, match=r"row 2 of matrix \[1\] is -1"):
        SSOR().setup(A)
    with pytest.raises(InputError, match=r"row 2 of matrix \[1\] is -1"):
        Chebyshev().setup(A)


@pytest.mark.parametrize("complex_", [False, True])
def test_block_jacobi_inverts_the_blocks(complex_):
    A = nonsymmetric(30, (2,), complex_=complex_)
    P = BlockJacobi(3).setup(A)
    inside = np.kron(np.eye(10), np.ones((3, 3)))
    expected = np.linalg.inv(dense(A) * inside)
    np.testing.assert_allclose(applied(P), expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(applied(P.transpose()), expected.swapaxes(-1, -2), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(applied(P.adjoint()), expected.swapaxes(-1, -2).conj(), rtol=1e-12, atol=1e-14)
    x = torch.ones(2, 30, dtype=A.dtype, requires_grad=True)
    assert torch.autograd.gradcheck(P.matvec, x)


def test_block_jacobi_keeps_its_promises():
    check_preconditioner(BlockJacobi(3), networks(batch=(2,)))


def test_block_jacobi_refuses_what_does_not_fit():
    with pytest.raises(InputError, match="does not divide the 30 unknowns"):
        BlockJacobi(4).setup(networks())
    with pytest.raises(InputError, match=r"unknowns 2 to 3 of matrix \[1\]"):
        BlockJacobi(2).setup(on_pattern(np.stack([np.eye(4), np.diag([1.0, 1, 1, 0])]), np.eye(4, dtype=bool)))
    with pytest.raises(InputError, match="Jacobi"):
        BlockJacobi(2).setup(Stencil([torch.ones(3, dtype=torch.float64)]))
    with pytest.raises(InputError, match="size=0"):
        BlockJacobi(0)


@pytest.mark.parametrize("degree", [1, 2, 5])
def test_chebyshev_is_the_polynomial(degree):
    """I - P A has the eigenvalues T((b + a - 2 l) / (b - a)) / T((b + a) / (b - a)) by NumPy's Chebyshev series."""
    A = networks(batch=(2,))
    P = Chebyshev(degree, ratio=10.0).setup(A)
    check_preconditioner(Chebyshev(degree, ratio=10.0), A)
    bounds = largest_eigenvalue(A, A.diagonal())
    T = np.polynomial.chebyshev.Chebyshev.basis(degree)
    for i, (matrix, high) in enumerate(zip(dense(A), bounds.numpy(), strict=True)):
        low = high / 10
        found = np.sort(np.linalg.eigvals(np.eye(30) - applied(P)[i] @ matrix).real)
        scaled = np.linalg.eigvals(matrix / np.diag(matrix)[:, None]).real
        expected = np.sort(T((high + low - 2 * scaled) / (high - low)) / T((high + low) / (high - low)))
        np.testing.assert_allclose(found, expected, atol=1e-11)


def test_the_eigenvalue_bound_holds_and_is_close():
    for A in (networks(200, (4,)), networks(400, (2,), seed=1), CSR.from_scipy(laplacian(30))):
        bound = largest_eigenvalue(A, A.diagonal()).reshape(-1).numpy()
        for matrix, found in zip(dense(A).reshape(-1, *A.shape), bound, strict=True):
            exact = np.linalg.eigvals(matrix / np.diag(matrix)[:, None]).real.max()
            assert exact <= found <= 1.25 * exact


def test_chebyshev_saves_iterations_on_any_operator():
    b = torch.ones(99 * 99, dtype=torch.float64)
    A = Stencil([torch.ones(100, 99, dtype=torch.float64), torch.ones(99, 100, dtype=torch.float64)])
    plain, polynomial = (int(solve(A, b, CG(P)).iterations) for P in (None, Chebyshev(4)))
    assert polynomial < 0.35 * plain


def test_chebyshev_refuses_what_does_not_fit():
    with pytest.raises(InputError, match="real symmetric"):
        Chebyshev().setup(nonsymmetric(6))
    with pytest.raises(InputError, match="degree=0"):
        Chebyshev(0)
    with pytest.raises(InputError, match="ratio=1"):
        Chebyshev(ratio=1.0)
    x = torch.ones(30, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(Chebyshev(3).setup(networks()).matvec, x)


def _applications(device):
    A = Stencil(
        [torch.ones(6, 5, dtype=torch.float64, device=device), torch.ones(5, 6, dtype=torch.float64, device=device)]
    )
    diagonal = A.diagonal()
    bound = largest_eigenvalue(A, diagonal)
    z = _Polynomial(A, 1 / diagonal, bound, 4, 30.0).matvec(torch.ones(3, 25, dtype=torch.float64, device=device))
    _Blocks(torch.ones(5, 5, 5, dtype=torch.float64, device=device), frozenset()).adjoint().matvec(z)


def test_what_suits_accelerators_runs_there():
    check_device(_applications)

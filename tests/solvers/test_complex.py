"""Complex systems: real matrices with complex vectors, adjoints, gradients (oracles: dense algebra, gradcheck)."""

from functools import partial

import numpy as np
import pytest
import scipy.sparse
import torch
from solvers.diffusion_problems import problem
from solvers.matrices import KINDS, convection, dense, helmholtz, vectors

from pdekit.core import InputError
from pdekit.solvers import (
    CG,
    CSR,
    GMRES,
    ILU0,
    MINRES,
    Auto,
    BiCGStab,
    DenseMatrix,
    Direct,
    FlexibleCG,
    Jacobi,
    LinearOperator,
    Multigrid,
    Preconditioner,
    Reason,
    Stencil,
    solve,
)

gradcheck = partial(torch.autograd.gradcheck, fast_mode=True)
gradgradcheck = partial(torch.autograd.gradgradcheck, fast_mode=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", [np.asarray, torch.from_numpy, scipy.sparse.csr_array, scipy.sparse.coo_matrix])
def test_every_kind_of_matrix_with_every_kind_of_vector(kind, form):
    A = dense(kind)
    for b in (vectors("general"), vectors("complex")):
        x = solve(form(A), b).x
        assert np.abs(x - np.linalg.solve(A, b.T).T).max() < 1e-10
        assert x.dtype == (np.complex128 if np.iscomplexobj(A) or np.iscomplexobj(b) else np.float64)


@pytest.mark.parametrize("method", [Auto(), CG(Multigrid()), CG(), Direct()])
def test_a_real_operator_takes_complex_vectors_by_parts(method):
    system = problem((12, 11), ("dd", "dn"), batch=(3,))
    b = torch.complex(system.rhs, system.rhs.flip(-1))
    b[1] = b[1].real  # one part is 0
    solution = solve(system.operator, b, method, rtol=1e-9)
    for row in range(3):
        expected = np.linalg.solve(system.operator.to_scipy((row,)).toarray(), b[row].numpy())
        assert np.abs(solution.x[row].numpy() - expected).max() < 1e-7 * np.abs(expected).max()
    product = torch.complex(system.operator.matvec(solution.x.real), system.operator.matvec(solution.x.imag))
    true = torch.linalg.vector_norm(b - product, dim=-1) / torch.linalg.vector_norm(b, dim=-1)
    assert torch.allclose(solution.residual, true, rtol=1e-2, atol=1e-14)
    assert (solution.residual <= 1e-9).all()
    assert solution.reason.shape == (3,)
    assert torch.allclose(solution.history[0], torch.ones(3, dtype=torch.float64))
    last = [column[~column.isnan()][-1] for column in solution.history.T]
    assert torch.allclose(torch.stack(last), solution.residual, rtol=0.5, atol=1e-13)
    assert "apart" in solution.method


def test_a_complex_stencil_is_refused():
    with pytest.raises(InputError, match="complex conductances"):
        solve(Stencil([torch.ones(4, dtype=torch.complex128)]), torch.ones(3))


def test_parts_that_fail_are_named():
    A = convection(8)
    failed = solve(A, np.ones(64) * (1 + 2j), GMRES(max_iterations=3), throw=False)
    assert failed.reason == Reason.MAX_ITERATIONS
    assert failed.history.shape == (4,)
    start = solve(A, np.ones(64) * 1j, rtol=1e-12).x
    assert solve(A, np.ones(64) * 1j, GMRES(), x0=start).iterations == 0
    with pytest.raises(InputError, match="x0 is complex"):
        solve(A, np.ones(64), x0=start)


def impedance(size: int = 12, waves: float = 1.5) -> scipy.sparse.csr_array:
    """Helmholtz with absorption at the rim: complex symmetric, indefinite, not Hermitian."""
    rim = np.ones((size, size))
    rim[1:-1, 1:-1] = 0
    return scipy.sparse.csr_array(helmholtz(size, waves) + 0.3j * scipy.sparse.diags_array(rim.ravel()))


@pytest.mark.parametrize("method", [Auto(), Direct(), GMRES(restart=144), BiCGStab()])
def test_impedance(method):
    A, b = impedance(), np.random.default_rng(0).standard_normal(144)
    solution = solve(A, b, method, rtol=1e-10)
    assert np.abs(solution.x - np.linalg.solve(A.toarray(), b)).max() < 1e-7 * np.abs(solution.x).max()
    assert solution.residual.dtype == solution.history.dtype == torch.float64


# ----------------------------------------------------------------------------------------------- gradients


class _Spied(Preconditioner):
    """The inverse of the lower triangle: linear, not symmetric; notes which of its two maps were applied."""

    applied: list[str] = []  # noqa: RUF012 - shared on purpose

    @property
    def symmetric(self) -> bool:
        return False

    def setup(self, A: LinearOperator) -> LinearOperator:
        entries = torch.from_numpy(A.to_scipy().toarray())
        return _SpiedMap(torch.linalg.inv(torch.tril(entries)), "inverse")


class _SpiedMap(DenseMatrix):
    def __init__(self, matrix, label):
        super().__init__(matrix)
        self.label = label

    def matvec(self, x):
        _Spied.applied.append(self.label)
        return super().matvec(x)

    def transpose(self):
        return _SpiedMap(self.matrix.mT, "transposed")

    def adjoint(self):
        return _SpiedMap(self.matrix.mH, "adjoint") if self.matrix.is_complex() else LinearOperator.adjoint(self)


def entries_of(A: scipy.sparse.csr_array) -> CSR:
    return CSR.from_scipy(A)


PRECONDITIONED = [GMRES(_Spied()), BiCGStab(_Spied())]


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("method", PRECONDITIONED)
def test_the_backward_pass_applies_the_adjoint_preconditioner(method, kind):
    sparse = convection(4) if kind == "real" else convection(4) + 0.5j * scipy.sparse.eye_array(16)
    A = entries_of(scipy.sparse.csr_array(sparse))
    b = torch.ones(16, dtype=A.dtype, requires_grad=True)
    _Spied.applied.clear()
    x = solve(A, b, method, rtol=1e-12).x
    assert set(_Spied.applied) == {"inverse"}
    _Spied.applied.clear()
    x.abs().square().sum().backward()
    assert set(_Spied.applied) == {"transposed" if kind == "real" else "adjoint"}
    forward = int(solve(A, b.detach(), method, rtol=1e-12).iterations)
    turned = entries_of(scipy.sparse.csr_array(sparse.conj().T))
    apart = solve(turned, 2 * x.detach(), type(method)(), rtol=1e-12)
    assert torch.allclose(b.grad, apart.x, rtol=1e-9)
    assert forward < int(apart.iterations)


@pytest.mark.parametrize("method", [*PRECONDITIONED, GMRES(Jacobi()), Direct()])
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_gradients_of_systems_that_are_not_symmetric(method, kind):
    sparse = convection(3) if kind == "real" else convection(3) + 0.5j * scipy.sparse.eye_array(9)
    A = entries_of(scipy.sparse.csr_array(sparse))
    weights = 1 + torch.rand(2, A.pattern.nnz, dtype=torch.float64) if method == Direct() else 1.0
    entries = (A.entries * weights).requires_grad_()
    b = torch.rand(2, 9, dtype=A.dtype, requires_grad=True)

    def x(entries, b):
        return solve(CSR(A.pattern, None, entries), b, method, rtol=1e-13).x

    assert gradcheck(x, (entries, b))
    assert gradgradcheck(x, (entries, b))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_against_dense_algebra(kind):
    A = torch.from_numpy(dense(kind, 6)).requires_grad_()
    b = torch.from_numpy(vectors(kind, 6, 2)).requires_grad_()
    expected = torch.autograd.grad(torch.linalg.solve(A, b.mT).abs().square().sum(), (A, b))
    pattern = CSR.from_scipy(scipy.sparse.csr_array(np.ones((6, 6)))).pattern
    for make in (DenseMatrix, lambda A: CSR(pattern, None, A.reshape(36))):
        found = torch.autograd.grad(solve(make(A), b, Direct(), rtol=1e-13).x.abs().square().sum(), (A, b))
        for one, other in zip(found, expected, strict=True):
            assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("method", [CG(), FlexibleCG(), MINRES()])
def test_gradients_of_a_hermitian_matrix_by_short_recurrences(method):
    shift = torch.from_numpy(dense("hermitian definite", 5))

    def x(scale, b):
        matrix = torch.complex(scale, torch.zeros_like(scale)) * torch.eye(5) + shift
        return solve(matrix, b, method, rtol=1e-13).x

    scale = torch.rand(5, dtype=torch.float64, requires_grad=True)
    b = torch.rand(2, 5, dtype=torch.complex128, requires_grad=True)
    assert gradcheck(x, (scale, b))


def test_gradients_to_a_real_matrix_and_a_real_vector_of_a_complex_system():
    A = entries_of(convection(3))
    entries = A.entries.clone().requires_grad_()
    b = torch.rand(9, dtype=torch.complex128, requires_grad=True)
    assert gradcheck(lambda e, b: solve(CSR(A.pattern, None, e), b, GMRES(), rtol=1e-13).x, (entries, b))
    turned = CSR(A.pattern, None, A.entries * (1 + 0.5j))
    real = torch.rand(9, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda b: solve(turned, b, Direct(), rtol=1e-13).x, (real,))


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("method", [GMRES(ILU0()), BiCGStab(ILU0())])
def test_gradients_with_incomplete_factors(method, kind):
    sparse = convection(4) if kind == "real" else convection(4) + 0.5j * scipy.sparse.eye_array(16)
    A = entries_of(scipy.sparse.csr_array(sparse))
    entries = A.entries.clone().requires_grad_()
    b = torch.rand(16, dtype=A.dtype, requires_grad=True)

    def x(entries, b):
        return solve(CSR(A.pattern, None, entries), b, method, rtol=1e-13).x

    assert gradcheck(x, (entries, b))
    larger = entries_of(scipy.sparse.csr_array(convection(20) * (1 if kind == "real" else 1 + 0.5j)))
    load = torch.rand(400, dtype=larger.dtype)
    few, plain = (int(solve(larger, load, m, rtol=1e-10).iterations) for m in (method, type(method)()))
    back = int(method.prepare(larger).adjoint().run(load, None, 1e-10, 0.0).iterations)
    assert max(few, back) < 0.6 * plain  # the adjoint factors serve the adjoint as the factors serve the matrix

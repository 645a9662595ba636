"""Krylov methods against dense algebra and SciPy's own, real and complex; what they refuse; how they fail."""

from functools import partial

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
import torch
from solvers.matrices import convection, dense, helmholtz, laplacian, vectors

from pdekit.core import InputError
from pdekit.solvers import (
    CG,
    CSR,
    GCRODR,
    GMRES,
    ILU0,
    MINRES,
    BiCGStab,
    BlockJacobi,
    DeflatedCG,
    DenseMatrix,
    FlexibleCG,
    Jacobi,
    LinearOperator,
    NotConverged,
    Preconditioner,
    Reason,
    Stencil,
    TunedSSOR,
    solve,
)
from pdekit.solvers.krylov.arnoldi import Arnoldi, orthogonalise
from pdekit.solvers.krylov.bicgstab import stabilised_bi_conjugate_gradients
from pdekit.solvers.krylov.cg import conjugate_gradients
from pdekit.solvers.krylov.directions import DeflatedDirections, OrthogonalDirections, ShortRecurrence
from pdekit.solvers.krylov.gmres import generalised_minimal_residuals
from pdekit.solvers.krylov.minres import minimal_residuals
from pdekit.testing import check_device

FITTING = {
    "definite": [
        CG(),
        FlexibleCG(),
        FlexibleCG(memory=4),
        MINRES(),
        MINRES(Jacobi()),
        GMRES(),
        BiCGStab(Jacobi()),
        DeflatedCG(Jacobi(), 5),
    ],
    "symmetric": [MINRES(), GMRES(), GMRES(restart=25), BiCGStab(), GCRODR(restart=12, vectors=4)],
    "general": [GMRES(), GMRES(Jacobi(), restart=10), BiCGStab(), BiCGStab(Jacobi()), GCRODR(Jacobi(), 12, 4)],
    "hermitian definite": [
        CG(),
        FlexibleCG(),
        MINRES(),
        MINRES(Jacobi()),
        GMRES(Jacobi()),
        BiCGStab(),
        DeflatedCG(Jacobi(), 5),
    ],
    "hermitian": [MINRES(), GMRES()],
    "complex symmetric": [GMRES(), GMRES(Jacobi(), restart=10), BiCGStab(Jacobi()), GCRODR(restart=12, vectors=4)],
    "complex": [GMRES(), GMRES(Jacobi(), restart=10), BiCGStab(Jacobi()), GCRODR(restart=12, vectors=4)],
}


@pytest.mark.parametrize(("kind", "method"), [(kind, m) for kind, methods in FITTING.items() for m in methods])
def test_methods_agree_with_dense_algebra(kind, method):
    A, b = dense(kind), vectors(kind)
    solution = solve(A, b, method, rtol=1e-11)
    assert np.abs(solution.x - np.linalg.solve(A, b.T).T).max() < 1e-9
    assert solution.converged.all()
    sparse = solve(scipy.sparse.csr_array(A), b[0], method, rtol=1e-11)
    assert np.abs(sparse.x - solution.x[0]).max() < 1e-9


@pytest.mark.parametrize(
    ("kind", "method"), [(k, m) for k in ("definite", "complex", "hermitian") for m in FITTING[k][:3]]
)
def test_a_batch_gives_what_its_systems_give_alone(kind, method):
    A = torch.from_numpy(np.stack([dense(kind, seed=seed) for seed in range(3)]))
    b = torch.from_numpy(vectors(kind))
    together = solve(A, b, method, rtol=1e-9)
    for row in range(3):
        alone = solve(A[row], b[row], method, rtol=1e-9)
        assert together.iterations[row] == alone.iterations
        # Sums in another order, which a Lanczos process amplifies; a tenth of the tolerance at most.
        assert torch.allclose(together.x[row], alone.x, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "method", [MINRES(), GMRES(restart=7), BiCGStab(), FlexibleCG(), DeflatedCG(), GCRODR(), TunedSSOR()]
)
def test_systems_that_have_stopped_are_frozen(method):
    A, b = laplacian(12), np.random.default_rng(0).standard_normal((2, 144))
    good = solve(A, b, method, rtol=1e-10)
    start = np.stack([good.x[0], np.zeros(144)])
    again = solve(A, b, method, rtol=1e-10, x0=start)
    assert again.iterations[0] == 0
    assert np.array_equal(again.x[0], good.x[0])
    assert again.history[1:, 0].isnan().all()
    assert again.converged.all()
    assert (solve(A, 0 * b, method, x0=start).x == 0).all()


# ------------------------------------------------------------------------------------- iteration counts


@pytest.mark.parametrize(("size", "counts"), [(32, (38, 51, 62)), (64, (77, 101, 127))])
@pytest.mark.parametrize("method", [CG(), FlexibleCG()])
def test_reference_iterations_of_the_laplacian(method, size, counts):
    # Oracle: another implementation without preconditioner (Jacobi changes nothing on a constant diagonal).
    A, b = laplacian(size), np.ones(size**2)
    found = [int(solve(A, b, method, rtol=rtol).iterations) for rtol in (1e-3, 1e-6, 1e-9)]
    assert np.abs(np.array(found) - counts).max() <= 1


def scipy_history(method, A, b, rtol, **options) -> list[float]:
    """The oracle: residual norms of the iterates of SciPy's method."""
    norms = []
    method(A, b, rtol=rtol, callback=lambda x: norms.append(np.linalg.norm(b - A @ x)), maxiter=1000, **options)
    return norms


@pytest.mark.parametrize("method", ["cg", "minres", "bicgstab"])
def test_residuals_are_those_of_scipy(method):
    A = {"cg": laplacian(20), "minres": helmholtz(20, 1.3), "bicgstab": convection(20)}[method]
    b = np.random.default_rng(0).standard_normal(400)
    ours = {"cg": CG(), "minres": MINRES(), "bicgstab": BiCGStab()}[method]
    expected = scipy_history(getattr(scipy.sparse.linalg, method), A, b, 1e-9)
    history = solve(A, b, ours, rtol=1e-6).history.numpy()[1:] * np.linalg.norm(b)
    steps = min(len(history), 30)
    assert np.allclose(history[:steps], expected[:steps], rtol=1e-6)
    reached = int(np.argmax(np.array(expected) <= 1e-6 * np.linalg.norm(b))) + 1
    assert abs(len(history) - reached) <= 2


def test_gmres_takes_the_iterations_of_scipy():
    A, b = convection(20), np.ones(400)
    norms: list[float] = []
    scipy.sparse.linalg.gmres(A, b, rtol=1e-8, restart=15, maxiter=100, callback=norms.append, callback_type="pr_norm")
    solution = solve(A, b, GMRES(restart=15), rtol=1e-8)
    assert abs(int(solution.iterations) - len(norms)) <= 1
    assert np.allclose(solution.history[1:16].numpy(), np.array(norms[:15]) / norms[0] * float(solution.history[1]))


def test_full_gmres_has_the_least_residual_of_its_space():
    # Oracle: least squares over the dense Krylov basis.
    A, b = dense("complex"), vectors("complex")[0]
    history = solve(A, b, GMRES(), rtol=1e-10).history.numpy()
    powers = [b]
    for steps in range(1, 6):
        powers.append(A @ powers[-1])
        basis = np.linalg.qr(np.stack(powers[:-1], 1))[0]
        y = np.linalg.lstsq(A @ basis, b)[0]
        least = np.linalg.norm(b - A @ basis @ y) / np.linalg.norm(b)
        assert least == pytest.approx(float(history[steps]), rel=1e-9)


def test_minres_stops_by_the_true_residual_whatever_norm_the_preconditioner_defines():
    scale = np.geomspace(1, 1e4, 40)
    A = dense("symmetric") * scale[:, None] * scale
    b = vectors("symmetric")[0]
    solution = solve(A, b, MINRES(_Scaling()), rtol=1e-6)
    assert np.linalg.norm(b - A @ solution.x) <= 1e-6 * np.linalg.norm(b)
    last = solution.history[~solution.history.isnan()][-1]
    assert float(last) == pytest.approx(float(solution.residual), rel=0.5)


class _Scaling(Preconditioner):
    """Division by the absolute diagonal."""

    def setup(self, A: LinearOperator) -> LinearOperator:
        return DenseMatrix(torch.diag(1 / A.diagonal().abs()))


# --------------------------------------------------------------------------------------- preconditioners


class _Wandering(Preconditioner):
    """Jacobi with an exponent that changes from call to call: no linear map."""

    @property
    def linear(self) -> bool:
        return False

    def setup(self, A: LinearOperator) -> LinearOperator:
        return _WanderingMap(A)


class _WanderingMap(DenseMatrix):
    def __init__(self, A: LinearOperator):
        super().__init__(torch.diag(A.diagonal()))
        self.calls = 0

    def matvec(self, x):
        self.calls += 1
        return x / self.diagonal() ** (1 + 0.5 * (self.calls % 3))


class _LowerTriangle(Preconditioner):
    """Gauss-Seidel: linear, not symmetric."""

    @property
    def symmetric(self) -> bool:
        return False

    def setup(self, A: LinearOperator) -> LinearOperator:
        entries = torch.from_numpy(A.to_scipy().toarray())
        return DenseMatrix(torch.linalg.inv(torch.tril(entries)))


@pytest.mark.parametrize("method", [FlexibleCG(_Wandering(), memory=3), GMRES(_Wandering()), GCRODR(_Wandering())])
def test_a_preconditioner_that_changes(method):
    scale = np.random.default_rng(0).uniform(1, 100, 40)
    A = dense("definite") + np.diag(scale)
    b = vectors("definite")
    solution = solve(A, b, method, rtol=1e-10)
    assert np.abs(solution.x - np.linalg.solve(A, b.T).T).max() < 1e-9
    assert "GMRES" not in solution.method or "flexible" in solution.method


@pytest.mark.parametrize("method", [GMRES(_LowerTriangle()), BiCGStab(_LowerTriangle()), GCRODR(_LowerTriangle())])
def test_a_preconditioner_that_is_not_symmetric_speeds_up(method):
    A, b = convection(16), np.ones(256)
    plain = solve(A, b, type(method)())
    assert int(solve(A, b, method).iterations) < 0.8 * int(plain.iterations)


def test_what_they_refuse():
    with pytest.raises(InputError, match=r"not linear.*FlexibleCG takes it"):
        CG(_Wandering())
    with pytest.raises(InputError, match=r"not symmetric.*FlexibleCG"):
        CG(_LowerTriangle())
    with pytest.raises(InputError, match=r"not symmetric.*GMRES takes it"):
        MINRES(_LowerTriangle())
    with pytest.raises(InputError, match=r"not linear: it needs a linear one. GMRES takes it"):
        BiCGStab(_Wandering())
    for method in (CG(), FlexibleCG(), MINRES()):
        with pytest.raises(InputError, match=r"needs a symmetric matrix.*Use Direct\(\) or GMRES\(\)"):
            solve(dense("general"), np.ones(40), method)
        with pytest.raises(InputError, match=r"needs a Hermitian matrix.*one that equals its transpose does not"):
            solve(dense("complex symmetric"), np.ones(40), method)
    for build in (
        lambda: GMRES(restart=0),
        lambda: FlexibleCG(memory=0),
        lambda: BiCGStab(max_iterations=0),
        lambda: MINRES(max_iterations=-1),
    ):
        with pytest.raises(InputError, match="expected at least 1"):
            build()


# ----------------------------------------------------------------------------------------------- failures


class _Negative(Preconditioner):
    def setup(self, A: LinearOperator) -> LinearOperator:
        return DenseMatrix(torch.diag(torch.linspace(-1, 1, A.shape[0], dtype=A.dtype)))


def test_minres_names_a_preconditioner_that_is_not_definite():
    failed = solve(dense("symmetric"), vectors("symmetric"), MINRES(_Negative()), throw=False)
    assert set(failed.reason.tolist()) == {Reason.PRECONDITIONER_NOT_DEFINITE}
    assert np.isfinite(failed.x).all()


@pytest.mark.parametrize("method", [CG(), FlexibleCG(), DeflatedCG(Jacobi())])
def test_indefinite_matrices_are_named(method):
    A = helmholtz(12, 1.5)
    with pytest.raises(NotConverged, match="negative curvature"):
        solve(A, np.ones(144), method)
    assert solve(A, np.ones(144), MINRES()).converged


def test_a_breakdown_is_named():
    rotation = np.array([[0.0, 1.0], [-1.0, 0.0]])  # <r, A r> = 0 for every r
    with pytest.raises(NotConverged, match="broke down"):
        solve(rotation, np.array([1.0, 0.0]), BiCGStab())
    assert np.allclose(solve(rotation, np.array([1.0, 0.0]), GMRES()).x, [0.0, 1.0])


def test_restarts_that_stall_are_named():
    shift = np.roll(np.eye(8), 1, axis=0)  # full GMRES gains nothing before step 8
    with pytest.raises(NotConverged, match="a larger restart") as caught:
        solve(shift, np.eye(8)[0], GMRES(restart=4))
    assert int(caught.value.solution.iterations) == 4
    assert solve(shift, np.eye(8)[0], GMRES(restart=8)).iterations == 8


@pytest.mark.parametrize("kind", [MINRES, GMRES, BiCGStab, GCRODR])
def test_the_limit_is_kept(kind):
    failed = solve(laplacian(16), np.ones(256), kind(max_iterations=7), throw=False)
    assert failed.reason == Reason.MAX_ITERATIONS
    assert failed.iterations == 7
    assert failed.history.shape == (8,)


@pytest.mark.parametrize("method", [MINRES(), GMRES(), BiCGStab(), GCRODR()])
def test_singular_and_inconsistent(method):
    A, b = np.diag([1.0, 2.0, 0.0]) + 0.0, np.ones(3)
    A[2, :2] = A[:2, 2] = 0.0
    A = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    A = A @ np.diag([1.0, 2.0, 0.0]) @ A.T
    failed = solve((A + A.T) / 2, b, method, throw=False)
    assert not failed.converged
    assert np.isfinite(failed.x).all()


@pytest.mark.parametrize("method", [MINRES(), GMRES(), BiCGStab(), GCRODR()])
def test_overflow_is_named(method):
    A = np.diag([1e200, 1.0, 2.0])
    failed = solve(A, np.array([1e200, 1.0, 1.0]), method, throw=False)
    assert failed.reason in (Reason.NOT_FINITE, Reason.BREAKDOWN)
    assert np.isfinite(failed.x).all()


@pytest.mark.parametrize("method", [MINRES(), GMRES(restart=60), BiCGStab(), FlexibleCG(), DeflatedCG(), GCRODR()])
def test_an_unreachable_tolerance_is_named(method):
    A = laplacian(8)
    with pytest.raises(NotConverged, match="below what float64 can attain") as caught:
        solve(A, np.ones(64), method, rtol=1e-18)
    assert caught.value.solution.residual < 1e-13
    assert "Little is missing" not in str(caught.value)


def test_where_little_is_missing_the_tolerance_is_named():
    A = laplacian(64)
    with pytest.raises(NotConverged, match=r"stopped falling before .* Little is missing: rtol=\S+ would") as caught:
        solve(A, np.ones(64**2), CG(), rtol=5e-15)
    rtol = float(str(caught.value).split("rtol=")[1].split()[0])
    assert solve(A, np.ones(64**2), CG(), rtol=rtol).converged


# ----------------------------------------------------------------------------------------------- Arnoldi


def test_arnoldi_relation():
    # Oracle: A V_k = V_k+1 H, with H rebuilt from the inner products.
    A = torch.from_numpy(np.stack([dense("complex", seed=s) for s in range(2)]))
    r = torch.from_numpy(vectors("complex", count=2))
    beta = torch.linalg.vector_norm(r, dim=-1)
    arnoldi = Arnoldi(r, beta, 10)
    for _ in range(10):
        estimate = arnoldi.extend((A @ arnoldi.last.unsqueeze(-1)).squeeze(-1))
    V = arnoldi.basis
    assert torch.allclose(V.conj() @ V.mT, torch.eye(11, dtype=V.dtype), atol=1e-13)
    images = (A.unsqueeze(1) @ V[:, :10].unsqueeze(-1)).squeeze(-1)
    H = V.conj() @ images.mT
    assert torch.allclose(V.mT @ H, images.mT, atol=1e-13)
    y = arnoldi.coefficients(torch.tensor([10, 10]))
    right = torch.zeros(2, 11, dtype=V.dtype)
    right[:, 0] = beta.to(V.dtype)
    assert torch.allclose(y, torch.linalg.lstsq(H, right.unsqueeze(-1)).solution.squeeze(-1), atol=1e-12)
    assert torch.allclose(estimate, torch.linalg.vector_norm(right - (H @ y.unsqueeze(-1)).squeeze(-1), dim=-1))


def test_orthogonalise_keeps_digits_that_one_pass_loses():
    basis = torch.linalg.qr(torch.rand(50, 8, dtype=torch.float64))[0].mT
    w = basis.sum(0) + 1e-9 * torch.rand(50, dtype=torch.float64)
    _, rest = orthogonalise(basis, w)
    assert (basis @ rest).abs().max() < 1e-15 * torch.linalg.vector_norm(rest) * 10


# ----------------------------------------------------------------------------------------------- devices


def test_runs_where_the_tensors_are():
    check_device(_steps)


def _steps(device):
    A = DenseMatrix(torch.rand(2, 3, 3, dtype=torch.complex128, device=device))
    b, wanted = A.matrix[:, 0], torch.zeros(2, dtype=torch.float64, device=device)
    P = Jacobi().setup(A)
    minres, gmres, bicgstab = minimal_residuals, generalised_minimal_residuals, stabilised_bi_conjugate_gradients
    for iterate in (conjugate_gradients, minres, gmres, bicgstab):
        iterate(A, P, b, None, wanted, 3, check_every=None)

    def random(*shape):
        return torch.rand(*shape, dtype=torch.float64, device=device)

    grid = Stencil([random(2, 17, 16), random(2, 16, 17)], random(2, 16, 16), grounded=True)
    W, inverse = random(3, 256), random(2, 3, 3)
    rules = (
        ShortRecurrence,
        partial(OrthogonalDirections, 2),
        partial(DeflatedDirections, grid, W, inverse),
    )
    for rule in rules:
        P = Jacobi().setup(grid)
        conjugate_gradients(grid, P, random(2, 256), None, wanted, 5, check_every=None, directions=rule)


@pytest.mark.parametrize("method", [CG, FlexibleCG, DeflatedCG, MINRES, GMRES, BiCGStab, GCRODR])
def test_what_is_no_preconditioner_and_no_limit_is_refused(method):
    name = method.__name__
    with pytest.raises(InputError, match=rf"{name} has preconditioner='AMG'; expected None or an object"):
        method("AMG")
    with pytest.raises(InputError, match=rf"{name} has the class Jacobi as preconditioner; .* {name}\(Jacobi\(\)\)"):
        method(Jacobi)
    for value in ("9", 9.0, True, None):
        with pytest.raises(InputError, match=rf"{name} has max_iterations={value!r}; expected a whole number"):
            method(max_iterations=value)


def test_limits_far_above_the_need_cost_no_memory():
    A, b = laplacian(6), np.ones(36)
    for method in (
        CG(max_iterations=10**12),
        DeflatedCG(max_iterations=10**12),
        GCRODR(restart=10**12, max_iterations=10**12),
        GMRES(restart=10**12, max_iterations=10**12),
    ):
        solution = solve(A, b, method)
        assert len(solution.history) <= 37
        assert np.linalg.norm(b - A @ solution.x) <= 1e-8 * 6
    short = solve(CSR.from_scipy(A), torch.stack([torch.zeros(36), torch.ones(36)]).double(), CG(max_iterations=10**12))
    assert torch.isnan(short.history[1:, 0]).all()
    assert torch.isfinite(short.history[:, 1]).all()


@pytest.mark.parametrize(
    "method",
    [MINRES(), MINRES(Jacobi()), GMRES(), BiCGStab(), FlexibleCG(), CG(), DeflatedCG(Jacobi()), GCRODR()],
    ids=str,
)
@pytest.mark.parametrize("size", [1e-300, 1e-160, 1e160, 1e300])
@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_array])
def test_matrices_whose_squares_vanish_or_overflow(method, size, form):
    # Oracle: the same system in a sane unit, by dense algebra.
    A = laplacian(3).toarray()
    b = np.random.default_rng(4).standard_normal(9)
    start = np.linalg.solve(A, b) + 0.1
    for x0 in (None, start / size):
        solution = solve(form(A * size), b, method, rtol=1e-10, x0=x0)
        assert np.abs(solution.x * size - np.linalg.solve(A, b)).max() < 1e-8


@pytest.mark.parametrize("preconditioner", [None, Jacobi(), ILU0(), BlockJacobi(2)])
def test_large_systems_of_a_batch_are_iterated_on_apart(preconditioner):
    """Oracle: each system in a call of its own; two right-hand sides for each of two matrices, and gradients."""
    n = 2100
    tridiagonal = scipy.sparse.diags_array([-1.3, 4.0, -1.0], offsets=[-1, 0, 1], shape=(n, n))
    one = CSR.from_scipy(tridiagonal.tocsr())
    A = one.with_values([one.entries * torch.tensor([[[1.0]], [[2.0]]], dtype=torch.float64)])
    b = torch.randn(2, 2, n, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    together = solve(A, b, GMRES(preconditioner, restart=5))
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        alone = solve(A[i, 0], b[i, j].detach(), GMRES(preconditioner, restart=5))
        torch.testing.assert_close(together.x[i, j], alone.x, rtol=0, atol=1e-12)
        torch.testing.assert_close(together.history[: len(alone.history), i, j], alone.history, rtol=1e-6, atol=0)
        assert int(together.iterations[i, j]) == int(alone.iterations)
    (gradient,) = torch.autograd.grad(together.x.sum(), b)
    factors = scipy.sparse.linalg.splu(tridiagonal.T.tocsc())
    np.testing.assert_allclose(gradient[1, 0].numpy(), factors.solve(np.ones(n)) / 2, rtol=1e-6)

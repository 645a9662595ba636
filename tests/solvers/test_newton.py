"""Newton's method: roots against SciPy, gradients against finite differences, each failure by name."""

from functools import partial

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse
import torch
from solvers.matrices import laplacian

from pdekit.core import InputError
from pdekit.solvers import CG, CSR, GMRES, Auto, DenseMatrix, Direct, NotConverged, Reason, newton

LAPLACE = CSR.from_scipy(laplacian(9))
DIAGONAL = LAPLACE.pattern.diagonal[0]


def bratu(u, strength):
    """-Laplace u = strength exp(u) on 9 x 9 points."""
    return 100 * LAPLACE.matvec(u) - strength * torch.exp(u)


def bratu_jacobian(u, strength):
    entries = (100 * LAPLACE.entries).expand(*u.shape[:-1], -1).clone()
    entries[..., DIAGONAL] -= (strength * torch.exp(u)).detach()
    return CSR(LAPLACE.pattern, None, entries)


@pytest.mark.parametrize("method", [Auto(), Direct(), CG(), GMRES()])
def test_a_batch_of_nonlinear_problems(method):
    # Oracle: SciPy's hybrid Powell method, a system at a time.
    strength = torch.tensor([[0.5], [3.0], [6.0]], dtype=torch.float64)
    solution = newton(
        partial(bratu, strength=strength),
        torch.zeros(3, 81, dtype=torch.float64),
        partial(bratu_jacobian, strength=strength),
        method=method,
        rtol=1e-10,
    )
    for row in range(3):
        s = float(strength[row])
        found = scipy.optimize.root(lambda u, s=s: 100 * laplacian(9) @ u - s * np.exp(u), np.zeros(81), tol=1e-12)
        assert np.abs(solution.x[row].numpy() - found.x).max() < 1e-8
    assert solution.converged.all()
    assert (solution.iterations <= 6).all()
    assert (solution.linear_iterations > 0).all() == (method in (CG(), GMRES()))
    true = torch.linalg.vector_norm(bratu(solution.x, strength), dim=-1)
    true = true / torch.linalg.vector_norm(bratu(torch.zeros_like(solution.x), strength), dim=-1)
    assert torch.allclose(true, solution.residual, rtol=1e-6, atol=1e-15)
    assert torch.allclose(solution.history[0], torch.ones(3, dtype=torch.float64))
    for part in ("3 systems", "81 unknowns", "Newton, ", "Newton steps", "linear iterations", "3 of 3"):
        assert part in str(solution)


def test_a_batch_gives_what_its_systems_give_alone():
    strength = torch.tensor([[0.5], [6.0]], dtype=torch.float64)
    start = torch.zeros(2, 81, dtype=torch.float64)
    together = newton(partial(bratu, strength=strength), start, partial(bratu_jacobian, strength=strength), rtol=1e-9)
    for row in range(2):
        options = {"strength": strength[row]}
        alone = newton(partial(bratu, **options), start[row], partial(bratu_jacobian, **options), rtol=1e-9)
        assert together.iterations[row] == alone.iterations
        assert torch.allclose(together.x[row], alone.x, rtol=1e-10)


def test_convergence_is_quadratic():
    solution = newton(lambda u: torch.exp(u) - 2, np.array([1.0]), rtol=1e-14)
    errors = solution.history.log().numpy()
    assert errors[-2] / errors[-3] == pytest.approx(2, abs=0.4)


def test_the_line_search_tames_a_far_guess():
    """Full Newton steps for atan diverge from |u| > 1.39."""
    solution = newton(torch.atan, np.array([[5.0], [0.5]]), rtol=1e-10, max_steps=30)
    assert np.abs(solution.x).max() < 1e-8
    assert solution.iterations[0] > solution.iterations[1]
    assert solution.history[1:, 1].isnan().any()


def test_steps_out_of_the_domain_are_shortened():
    solution = newton(lambda u: torch.log(u) + 3, np.array([2.0]), rtol=1e-12)
    assert solution.x[0] == pytest.approx(np.exp(-3.0), rel=1e-10)


def test_a_root_to_start_from_takes_no_step():
    solution = newton(lambda u: u - 1, np.ones(3))
    assert solution.converged
    assert solution.iterations == 0
    assert "no step" in solution.method


def test_complex_systems_take_a_jacobian():
    solution = newton(lambda u: u**2 + 1, np.full(2, 1.0 + 2j), lambda u: DenseMatrix(torch.diag(2 * u)), rtol=1e-12)
    assert np.abs(solution.x - 1j).max() < 1e-11
    with pytest.raises(InputError, match="complex unknowns; automatic Jacobians"):
        newton(lambda u: u**2 + 1, np.full(2, 1.0 + 2j))


# ---------------------------------------------------------------------------------------------- gradients


@pytest.mark.parametrize("method", [Direct(), GMRES()])
def test_gradients_to_what_the_residual_depends_on(method):
    start = torch.zeros(2, 81, dtype=torch.float64)

    def u(strength, load):
        def residual(u):
            return bratu(u, strength) - load

        jacobian = partial(bratu_jacobian, strength=strength.detach())
        return newton(residual, start, jacobian, method=method, rtol=1e-13).x

    strength = torch.tensor([[1.0], [4.0]], dtype=torch.float64, requires_grad=True)
    load = torch.rand(2, 81, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(u, (strength, load), fast_mode=True)


def test_gradients_use_the_adjoint_of_the_jacobian():
    # Oracle: dense algebra; the Jacobian is not symmetric.
    M = torch.rand(4, 4, dtype=torch.float64) + 3 * torch.eye(4)
    c = torch.rand(4, dtype=torch.float64, requires_grad=True)
    x = newton(lambda u: M @ u + u**3 - c, torch.zeros(4, dtype=torch.float64), rtol=1e-13).x
    g = torch.rand(4, dtype=torch.float64)
    x.backward(g)
    J = M + torch.diag(3 * x.detach() ** 2)
    assert torch.allclose(c.grad, torch.linalg.solve(J.mT, g), rtol=1e-9)
    with torch.no_grad():
        assert not newton(lambda u: u - c, torch.zeros(4, dtype=torch.float64)).x.requires_grad


# ----------------------------------------------------------------------------------------------- failures


def failing(residual, x0, jacobian=None, **options):
    with pytest.raises(NotConverged) as caught:
        newton(residual, x0, jacobian, **options)
    return caught.value


def test_failures_are_named():
    few = failing(torch.atan, np.array([1.3]), max_steps=1)
    assert few.solution.reason == Reason.MAX_STEPS
    assert "limit of Newton steps" in str(few)
    assert "1 iterations" in str(few)
    hill = failing(lambda u: u**2 + 1, np.array([2.0]), max_steps=60)
    assert hill.solution.reason in (Reason.LINE_SEARCH, Reason.SINGULAR_JACOBIAN)
    assert hill.solution.residual < 1
    flat = failing(lambda u: u * torch.tensor([1.0, 0.0]) + 1, np.ones(2))
    assert flat.solution.reason == Reason.SINGULAR_JACOBIAN
    wrong = failing(lambda u: u - 1, np.zeros(2), lambda u: DenseMatrix(-torch.eye(2).double()))
    assert wrong.solution.reason == Reason.LINE_SEARCH
    assert "not the derivative" in str(wrong)
    indefinite = failing(lambda u: u * torch.tensor([1.0, -1.0]) - 1, np.zeros(2), method=CG())
    assert indefinite.solution.reason == Reason.LINEAR_SOLVE
    cliff = failing(lambda u: torch.where(u == 0, u + 1, torch.nan), np.zeros(1))
    assert cliff.solution.reason == Reason.NOT_FINITE
    assert np.isfinite(cliff.solution.x).all()


def test_one_failure_leaves_the_others_alone():
    target = torch.tensor([[2.0], [-1.0]], dtype=torch.float64)
    solution = newton(lambda u: u**2 - target, np.full((2, 1), 3.0), throw=False, max_steps=60, rtol=1e-10)
    assert solution.converged.tolist() == [True, False]
    assert solution.x[0, 0] == pytest.approx(2**0.5, rel=1e-9)
    assert solution.reason[1] in (Reason.LINE_SEARCH, Reason.SINGULAR_JACOBIAN)


def test_a_sparse_jacobian_with_a_row_of_zeros():
    def jacobian(u):
        return CSR.from_scipy(scipy.sparse.csr_array(np.diag([1.0, 0.0])))

    assert failing(lambda u: u - 1, np.zeros(2), jacobian).solution.reason == Reason.SINGULAR_JACOBIAN


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"residual": lambda u: u[:1]}, r"residual returned the shape \(1,\) for u of \(2,\)"),
        ({"residual": lambda u: u / 0}, r"residual\(x0\)\[0\] is nan"),
        ({"x0": np.array([0.0, np.nan])}, r"x0\[1\] is nan"),
        ({"jacobian": lambda u: np.eye(3)}, "jacobian returned a dense matrix of order 3, for 2 unknowns"),
        ({"jacobian": lambda u: np.eye(2) * np.nan}, r"jacobian\(u\)\[0, 0\] is nan"),
        ({"rtol": -1.0}, "at least 0"),
        ({"max_steps": 0}, "max_steps=0"),
        ({"x0": np.zeros(2001), "residual": lambda u: u - 1}, "2001 real unknowns; automatic Jacobians are dense"),
    ],
)
def test_bad_input(given, message):
    options = {"residual": lambda u: u - 1, "x0": np.zeros(2), **given}
    with pytest.raises(InputError, match=message):
        newton(options.pop("residual"), options.pop("x0"), options.pop("jacobian", None), **options)


ONES = np.ones(3)


@pytest.mark.parametrize(
    ("residual", "given", "said"),
    [
        (lambda u: None, {}, "residual returned a NoneType; expected a tensor"),
        (lambda u: np.sin(u.detach().numpy()), {}, "residual returned a ndarray; expected a tensor"),
        (lambda u: u.sum(), {}, r"residual returned the shape \(\) for u of \(3,\)"),
        (lambda u: (u - 1.5).detach(), {}, "residual does not depend on u by torch operations"),
        (lambda u: torch.ones(3), {}, "residual does not depend on u by torch operations"),
        (None, {}, "residual is a NoneType; expected a function"),
        (lambda u: u, {"x0": torch.tensor(1.0)}, "x0 is a single number"),
        (lambda u: u, {"jacobian": torch.eye(3)}, "jacobian is a Tensor; expected a function"),
        (lambda u: u, {"method": "CG"}, "method is 'CG'; expected an object"),
        (lambda u: u, {"method": CG}, "method is the class CG; expected an object"),
        (lambda u: u, {"rtol": "1e-8"}, "rtol='1e-8'; expected a number"),
        (lambda u: u, {"rtol": 2.0}, "rtol=2.0; expected a number below 1"),
        (lambda u: u, {"max_steps": 2.5}, "newton has max_steps=2.5; expected a whole number"),
    ],
)
def test_arguments_of_the_wrong_kind_are_named(residual, given, said):
    with pytest.raises(InputError, match=said):
        newton(residual, **{"x0": ONES, **given})


def test_a_residual_may_write_to_what_it_is_given():
    solution = newton(lambda u: u.sub_(2.0).mul_(3.0), ONES)
    assert np.abs(solution.x - 2).max() < 1e-12


def test_a_residual_too_large_for_a_norm_says_so():
    start = torch.tensor([[100.0], [1.0]], dtype=torch.float64)
    solution = newton(lambda u: torch.exp(u) - torch.tensor([[1e300], [1.0]], dtype=torch.float64), start, throw=False)
    assert solution.reason.tolist() == [Reason.NOT_FINITE, Reason.CONVERGED]
    assert float(solution.x[1]) == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize("method", [Auto(), CG(), Direct()])
def test_a_real_jacobian_serves_complex_unknowns(method):
    A = CSR.from_scipy(laplacian(4))
    z = torch.linspace(-1, 1, 16, dtype=torch.float64) * (1 + 2j)
    solution = newton(lambda u: A.matvec(u) - z, torch.zeros_like(z), lambda u: A, method=method)
    assert torch.linalg.vector_norm(A.matvec(solution.x) - z) <= 1e-8 * torch.linalg.vector_norm(z)

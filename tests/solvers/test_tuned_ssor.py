"""Conjugate gradients with SSOR whose omega a bandit chooses."""

import numpy as np
import pytest
import scipy.sparse
import torch

from pdekit.core import InputError
from pdekit.solvers import CG, CSR, SOR, SSOR, ChebyshevBandit, TsallisINF, TunedSSOR, memories, solve
from pdekit.solvers.bandits.tuned_ssor import looseness


def heat(sides, sinks):
    """-Laplacian + c on a square, a matrix a sink."""
    second = scipy.sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(sides, sides))
    eye = scipy.sparse.eye_array(sides)
    laplacian = CSR.from_scipy(scipy.sparse.kron(second, eye) + scipy.sparse.kron(eye, second))
    unit = (laplacian.rows == laplacian.indices).double()
    return CSR(laplacian.pattern, None, laplacian.entries + torch.tensor(sinks).double()[:, None] * unit)


def test_tuned_ssor_solves():
    """Oracle: dense elimination, of a batch of matrices with two right-hand sides each."""
    A = heat(9, [0.0, 0.1, 5.0])
    b = torch.randn(2, 3, 81, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    solution = solve(A, b, TunedSSOR(), rtol=1e-10)
    for k in range(3):
        expected = np.linalg.solve(A.to_scipy((k,)).toarray(), b[:, k].numpy().T).T
        np.testing.assert_allclose(solution.x[:, k], expected, atol=1e-8)
    assert solution.iterations.shape == (2, 3)
    assert bool((solution.residual <= 1e-10).all())
    assert "omega chosen by ChebyshevBandit" in solution.method


def test_the_loss_are_the_iterations_with_the_omega_chosen():
    """Oracle: CG(SSOR(omega)) alone."""
    A = heat(20, [0.01, 0.01, 0.01])
    bandit = TsallisINF(3, seed=5)
    method, b = TunedSSOR(bandit, omegas=(1.0, 1.5, 1.9)), np.ones(400)
    for k in range(3):
        arm = bandit.choose()
        before = bandit.state_dict()["losses"]
        solution = solve(A[k], b, method)
        alone = solve(A[k], b, CG(SSOR(method.omegas[arm])))
        assert f"SSOR({method.omegas[arm]:g})" in solution.method
        assert int(solution.iterations) == int(alone.iterations)
        assert float(bandit.state_dict()["losses"] - before) == int(alone.iterations)
    assert bandit.draws == 3


def test_it_gets_as_fast_as_the_best_omegas_and_without_a_bandit_forgets():
    """Oracle: each of ten matrices, which come again and again, with each omega."""
    A, b = heat(24, [10 ** -(3 * (k % 10) / 10) for k in range(120)]), torch.ones(576, dtype=torch.float64)
    table = torch.stack([solve(A[:10], b, CG(SSOR(omega))).iterations for omega in TunedSSOR().choices])
    learnt = solve(A, b, TunedSSOR())
    late = int(learnt.iterations[60:].sum())
    assert late < 1.06 * 6 * int(table.amin(0).sum())
    assert late < 0.75 * 6 * int(table[0].sum())
    again = solve(A, b, TunedSSOR())
    assert torch.equal(learnt.x, again.x)
    bandit = ChebyshevBandit(20)
    assert memories(TunedSSOR(bandit)) == (bandit,)
    one_by_one = torch.cat([solve(A[k : k + 40], b, TunedSSOR(bandit)).iterations for k in (0, 40, 80)])
    assert torch.equal(one_by_one, learnt.iterations)


def test_right_hand_sides_of_zero_and_solved_guesses_teach_nothing():
    bandit = TsallisINF(20)
    A = heat(9, [0.5])[0]
    b = torch.ones(81, dtype=torch.float64)
    assert not solve(A, torch.zeros_like(b), TunedSSOR(bandit)).x.any()
    x = solve(A, b, CG(SSOR(1.2)), rtol=1e-12).x
    assert int(solve(A, b, TunedSSOR(bandit), x0=x).iterations) == 0
    assert bandit.draws == 0


def test_systems_that_fail_are_reported_and_learnt_from():
    bandit = TsallisINF(20)
    solution = solve(heat(9, [0.1, 0.2]), np.ones(81), TunedSSOR(bandit, max_iterations=2), throw=False)
    assert not bool(solution.converged.any())
    assert solution.iterations.tolist() == [2, 2]
    assert bandit.draws == 2


def test_singular_matrices_and_complex_right_hand_sides():
    """Oracles: the pseudo-inverse; dense elimination."""
    path = np.diag([1.0] + 28 * [2.0] + [1.0]) - np.eye(30, k=1) - np.eye(30, k=-1)
    b = np.linspace(-1, 1, 30)
    found = solve(scipy.sparse.csr_array(path), b, TunedSSOR(), rtol=1e-11)
    np.testing.assert_allclose(found.x, np.linalg.pinv(path) @ b, atol=1e-8)
    assert "constants" in found.nullspace
    both = b + 1j * b**2
    held = path + 0.1 * np.eye(30)
    x = solve(scipy.sparse.csr_array(held), both, TunedSSOR(), rtol=1e-11).x
    np.testing.assert_allclose(x, np.linalg.solve(held, both), atol=1e-8)


def test_gradients_pass():
    """Oracle: the derivative of sum(A^-1 b), by dense elimination."""
    A = heat(5, [0.3])[0]
    b = torch.ones(25, dtype=torch.float64, requires_grad=True)
    solve(A, b, TunedSSOR(), rtol=1e-12).x.sum().backward()
    np.testing.assert_allclose(b.grad, np.linalg.solve(A.to_scipy().toarray(), np.ones(25)), rtol=1e-9)


def test_the_context_is_a_number_or_a_function_of_the_matrix():
    seen = []

    def context(A):
        seen.append(A.batch_shape)
        return 0.3

    A, b = heat(9, [0.5, 0.7]), np.ones(81)
    solve(A, b, TunedSSOR(context=context))
    assert seen == [(), ()]
    fixed, computed = ChebyshevBandit(20), ChebyshevBandit(20)
    for _ in range(3):
        solve(A, b, TunedSSOR(fixed, context=0.3))
        solve(A, b, TunedSSOR(computed, context=context))
    assert torch.equal(fixed.state_dict()["moments"], computed.state_dict()["moments"])


def test_looseness_is_that_of_youngs_omega():
    """Oracle: the omega for which SOR takes the fewest sweeps, on a torus: Jacobi's spectral radius is 4 / (4 + c)."""
    line = scipy.sparse.diags_array([-1.0, -1.0, -1.0, -1.0], offsets=[-1, 1, -39, 39], shape=(40, 40))
    ring = scipy.sparse.kronsum(line, line) + (4 + 0.04) * scipy.sparse.eye_array(1600)
    A = CSR.from_scipy(ring)
    omegas = 1 + np.arange(40) / 40
    sweeps = [int(solve(A, np.ones(1600), SOR(omega)).iterations) for omega in omegas]
    assert abs(1 + looseness(A) - omegas[np.argmin(sweeps)]) <= 0.05
    assert looseness(A) == pytest.approx(looseness(A * 1e9), rel=1e-12)
    assert 0 < looseness(heat(12, [1.0])[0]) < looseness(heat(12, [0.02])[0]) < 1
    assert looseness(CSR.from_scipy(scipy.sparse.eye_array(3))) == 0.0


def asked(context):
    return solve(heat(3, [0.5])[0], np.ones(9), TunedSSOR(context=context))


def test_contexts_may_be_numbers_of_numpy_and_torch():
    for context in (np.float32(0.5), torch.tensor(0.5), np.array([0.5])):
        assert asked(lambda A, context=context: context).converged


def test_without_omegas_it_takes_the_published_ones():
    assert TunedSSOR(omegas=None).choices == tuple(round(1 + 0.05 * k, 4) for k in range(20))
    assert repr(TunedSSOR()) == "TunedSSOR(bandit=None, omegas=None, context=None, max_iterations=1000)"
    assert TunedSSOR(omegas=[1.0, 1.5]) == TunedSSOR(omegas=(1.0, 1.5))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: TunedSSOR(TsallisINF(3)), r"20 omegas and a bandit with 3 arms.*as TsallisINF\(20\) has"),
        (lambda: TunedSSOR(TsallisINF), "expected None or one such as TsallisINF"),
        (lambda: TunedSSOR(omegas=(1.0, 2.0)), "SSOR has omega=2.0"),
        (lambda: TunedSSOR(omegas=()), "TunedSSOR has no omegas"),
        (lambda: TunedSSOR(omegas=1.5), r"TunedSSOR has omegas=1.5; expected numbers such as \(1.0,"),
        (lambda: TunedSSOR(omegas="12"), "TunedSSOR has omegas='12'; expected numbers"),
        (lambda: TunedSSOR(omegas=(1.0, None)), "SSOR has omega=None; expected a number"),
        (lambda: TunedSSOR(context=float("nan")), "TunedSSOR has the context NaN"),
        (lambda: asked(lambda A: "x"), "TunedSSOR has context='x'; expected a number"),
        (lambda: asked(lambda A: None), "TunedSSOR has context=None; expected a number"),
        (lambda: asked(lambda A: 1j), "TunedSSOR has context=1j; expected a number"),
        (lambda: asked(lambda A: A.diagonal()), "TunedSSOR has context=tensor"),
        (lambda: asked(lambda A: float("nan")), "TunedSSOR has the context NaN"),
        (lambda: TunedSSOR(context="sink"), "TunedSSOR has context='sink'; expected a number"),
        (lambda: solve(np.eye(3), np.ones(3), TunedSSOR()), "SSOR .* needs a CSR"),
    ],
)
def test_messages(make, said):
    with pytest.raises(InputError, match=said):
        make()


def test_its_description_does_not_depend_on_what_was_learnt():
    bandit = ChebyshevBandit(3, interval=(0.0, 2.0))
    before = repr(TunedSSOR(bandit, omegas=(1.0, 1.2, 1.4)))
    bandit.learn(1, 3.0, 0.4)
    assert repr(TunedSSOR(bandit, omegas=(1.0, 1.2, 1.4))) == before

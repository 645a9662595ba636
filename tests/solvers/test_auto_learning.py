"""Auto(learn=True): which method it takes, what it never does, and that it can be saved and repeated.

Seconds are those of a clock of the tests, which methods of the tests advance.
"""

import io
import math
from dataclasses import dataclass, field

import numpy as np
import pytest
import scipy.sparse
import torch
from solvers.matrices import convection, laplacian

from pdekit.core import InputError
from pdekit.domain import Grid
from pdekit.solvers import (
    CG,
    CSR,
    IC0,
    SSOR,
    Auto,
    Direct,
    Memory,
    Method,
    diffusion,
    memories,
    solve,
)  # fmt: skip
from pdekit.solvers.bandits.tsallis_inf import TsallisINF
from pdekit.solvers.learning import choosing
from pdekit.solvers.learning.experience import Experience
from pdekit.solvers.learning.kind import CUT, PULLS
from pdekit.solvers.method import Prepared
from pdekit.solvers.solution import Reason

SIZE = 6


@pytest.fixture(autouse=True)
def trials_at_any_price(monkeypatch):
    """So that a few systems show what otherwise takes hundreds."""
    monkeypatch.setattr("pdekit.solvers.learning.kind._BUDGET", math.inf)


class Clock:
    """Seconds that pass only where a method of the tests says so."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


CLOCK = Clock()


@dataclass(frozen=True)
class Costly(Method):
    """Solves exactly; takes so many seconds a system, of so many iterations."""

    seconds: float
    iterations: int = 100
    seed: int = 0
    scatter: float = 0.0
    max_iterations: int = 1000
    accepts: bool = field(default=True)

    def prepare(self, A):
        if not self.accepts:
            raise InputError("Costly does not take this matrix. Take another one.")
        return _Costly(A, self)


class _Costly(Prepared):
    def __init__(self, A, method):
        super().__init__(A)
        self.method, self.exact = method, Direct().prepare(A)

    def run(self, b, x0, rtol, atol):
        method, count = self.method, b.shape[:-1].numel()
        outcome = self.exact.run(b, None, rtol, atol)
        done = method.iterations <= method.max_iterations
        share = min(1.0, method.max_iterations / method.iterations)
        rng = np.random.default_rng(int(1e6 * CLOCK.now) + method.seed)
        CLOCK.now += method.seconds * share * count * float(np.exp(method.scatter * rng.standard_normal()))
        steps = torch.full_like(outcome.iterations, min(method.iterations, method.max_iterations))
        if not done:
            return choosing.Outcome(
                outcome.x * 0.9, steps, torch.full_like(steps, Reason.MAX_ITERATIONS.code), None, None, "slow"
            )
        return choosing.Outcome(outcome.x, steps, outcome.reason, None, None, f"Costly({method.seconds:g})")


@dataclass(frozen=True)
class Unstoppable(Method):
    """The same without iterations."""

    seconds: float

    def prepare(self, A):
        return _Costly(A, Costly(self.seconds))


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(choosing, "time", CLOCK)
    monkeypatch.setattr(choosing, "product_seconds", lambda A: 1e-6)
    return CLOCK


def among(monkeypatch, *arms):
    """Only these are to be chosen from."""
    monkeypatch.setattr(choosing, "arms_for", lambda *_: arms)
    return Auto(learn=True)


def matrices(count=8, seed=0) -> CSR:
    one = CSR.from_scipy(laplacian(SIZE))
    shift = CSR.from_scipy(scipy.sparse.eye_array(SIZE**2))
    return one + shift * torch.rand(count, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def ticket(auto, seed=0, count=8):
    A = matrices(count, seed)
    b = torch.rand(count, SIZE**2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    solution = solve(A, b, auto)
    # Oracle: the residual by SciPy.
    for i in range(count):
        left = b[i].numpy() - A.to_scipy((i,)) @ solution.x[i].numpy()
        assert np.linalg.norm(left) <= 1.01e-8 * np.linalg.norm(b[i])
    return solution


def arm_named(auto, kind=0):
    kind = auto.experience.kinds[kind]
    return kind.arms[kind.incumbent]


def test_the_fastest_is_found_and_exploring_stays_cheap(clock, monkeypatch):
    """Oracle: the seconds of the best arm for all systems, which the clock's laws tell."""
    ratios = []
    for seed in range(5):
        arms = [Costly(s, seed=seed + k, scatter=0.1) for k, s in enumerate((1.5e-2, 1e-2, 1.2e-2, 2.5e-2, 9e-2))]
        auto, began = among(monkeypatch, *arms), clock.now
        for call in range(25):
            ticket(auto, call, count=20)
        assert arm_named(auto) == arms[1]
        ratios.append((clock.now - began) / (500 * 1e-2))
    assert np.median(ratios) < 1.1


def test_a_trial_is_cut_off_and_finished_by_the_incumbent(clock, monkeypatch):
    slow = Costly(1.0, iterations=100)
    auto = among(monkeypatch, Costly(1e-2), slow)
    for call in range(3):
        solution = ticket(auto, call)
        assert solution.converged.all()
    record = auto.experience.kinds[0].records[1]
    assert record.cut >= 1
    assert record.pulls <= PULLS + 1
    measured = [pull for pull in auto.experience.pulls if pull.arm == 1 and pull.how == "cut"]
    assert measured
    # The trial itself ends at twice the incumbent's seconds, the incumbent needs them once more.
    assert all(pull.loss <= (CUT + 1.05) * 1e-2 for pull in measured)
    assert "cut" not in solution.method
    assert arm_named(auto) == Costly(1e-2)


def test_what_one_call_has_shown_to_be_hopeless_is_not_tried_again(clock, monkeypatch):
    auto = among(monkeypatch, Costly(1e-2), Unstoppable(1.0))
    for call in range(6):
        ticket(auto, call)
    told = [(pull.how, pull.systems) for pull in auto.experience.pulls if pull.arm == 1]
    assert [how for how, systems in told if systems] == ["first", "measured"][: sum(s > 0 for _, s in told)]
    assert ("predicted", 0) in told
    assert "times slower" in str(auto.experience)


def test_three_warm_pulls_decide(clock, monkeypatch):
    auto = among(monkeypatch, Costly(1.2e-2), Costly(1e-2), Costly(1.1e-2))
    for call in range(6):
        ticket(auto, call)
    measured = [sum(p.how == "measured" and p.arm == arm for p in auto.experience.pulls) for arm in range(3)]
    assert min(measured) >= PULLS


def test_an_arm_that_refuses_is_left_out(clock, monkeypatch):
    auto = among(monkeypatch, Costly(1e-2), Costly(1e-3, accepts=False))
    for call in range(4):
        ticket(auto, call)
    assert arm_named(auto) == Costly(1e-2)
    assert "does not take these matrices: Costly does not take this matrix" in str(auto.experience)


def test_rivals_are_tried_again_when_the_incumbent_becomes_slower(clock, monkeypatch):
    @dataclass(frozen=True)
    class Tiring(Method):
        """Fast until a second has passed."""

        def prepare(self, A):
            return _Costly(A, Costly(1e-3 if CLOCK.now < end else 1e-1))

    end = clock.now + 1.0
    auto = among(monkeypatch, Tiring(), Costly(1e-2))
    methods = [ticket(auto, call, count=20).method for call in range(80)]
    assert isinstance(arm_named(auto), Costly)
    assert "Costly(0.01) (learnt" in methods[-1]
    assert auto.experience.kinds[0].reopened == 1
    assert "had become slower" in str(auto.experience)


def test_trials_cost_no_more_than_their_share(clock, monkeypatch):
    """Oracle: the seconds of the first arm, which is the best, for all systems."""
    monkeypatch.setattr("pdekit.solvers.learning.kind._BUDGET", 0.05)
    auto, began = among(monkeypatch, Costly(1e-2), *(Costly(s) for s in (1.8e-2, 1.9e-2, 2e-2, 2.5e-2))), clock.now
    for call in range(40):
        ticket(auto, call, count=20)
        assert clock.now - began <= 1.1 * 1e-2 * 20 * (call + 1)  # the warm-up of the first arm is on top
    assert arm_named(auto) == Costly(1e-2)
    assert auto.experience.kinds[0].records[1].pulls > 0


def test_a_lone_slow_call_changes_nothing(clock, monkeypatch):
    auto = among(monkeypatch, Costly(1e-2), Costly(1.5e-2))
    for call in range(12):
        if call == 6:
            monkeypatch.setattr(CLOCK, "now", CLOCK.now)
        ticket(auto, call)
    kind = auto.experience.kinds[0]
    before = kind.bandit.means[0]
    kind.tell(auto.experience.pulls[-1]._replace(loss=50.0))
    assert kind.incumbent == 0
    assert kind.bandit.means[0] < 1.3 * before
    assert not kind.reopened


def saved(experience):
    file = io.BytesIO()
    torch.save(experience.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("bandit", [None, TsallisINF])
def test_replayed_losses_lead_to_the_same_choices(bandit):
    """With the clock of the machine: what it says must not matter."""

    def run(auto, calls):
        return [ticket(auto, call) for call in calls]

    auto = Auto(learn=True, arms=[CG(SSOR(1.5))], experience=Experience(bandit))
    run(auto, range(2))
    state, known = saved(auto.experience), len(auto.experience.pulls)
    first = run(auto, range(2, 6))
    again = Auto(learn=True, arms=[CG(SSOR(1.5))], experience=Experience(bandit))
    again.experience.load_state_dict(state)
    again.experience.replay(auto.experience.pulls[known:])
    second = run(again, range(2, 6))
    assert [s.method for s in first] == [s.method for s in second]
    assert all(torch.equal(s.x, t.x) for s, t in zip(first, second, strict=True))
    assert again.experience.pulls == auto.experience.pulls
    assert again.experience.coming is None


def test_the_whole_run_can_be_replayed():
    auto, again = Auto(learn=True), Auto(learn=True)
    first = [ticket(auto, call).method for call in range(4)]
    again.experience.replay(auto.experience.pulls)
    assert [ticket(again, call).method for call in range(4)] == first


def test_losses_of_another_sequence_are_refused():
    auto, again = Auto(learn=True), Auto(learn=True)
    ticket(auto)
    again.experience.replay([pull._replace(arm=5) for pull in auto.experience.pulls])
    with pytest.raises(InputError, match="another sequence"):
        ticket(again)


def test_an_experience_with_other_arms_is_refused():
    auto = Auto(learn=True, arms=[CG(SSOR(1.5))])
    ticket(auto)
    other = Auto(learn=True)
    other.experience.load_state_dict(saved(auto.experience))
    with pytest.raises(InputError, match=r"gathered with the arms .*CG\(SSOR\(1.5\)\)"):
        ticket(other)
    with pytest.raises(InputError, match="no state of an Experience"):
        Experience().load_state_dict({})


def test_one_matrix_is_recognised_in_call_after_call():
    A, rng = laplacian(40), np.random.default_rng(0)
    auto = Auto(learn=True)
    for _ in range(12):
        b = rng.standard_normal(A.shape[0])
        solution = solve(A, b, auto)
        assert np.linalg.norm(b - A @ solution.x) <= 1e-8 * np.linalg.norm(b)
    kinds = auto.experience.kinds
    assert [kind.context.same for kind in kinds] == [False, True]
    assert isinstance(kinds[1].arms[0], Direct)
    assert kinds[1].arms[0].kept is not None
    assert "the same matrix again" in str(auto.experience)
    solve(A * 1.0001, b, auto)
    assert len(kinds) == 2
    assert kinds[0].systems == 2


def test_kinds_are_apart():
    auto = Auto(learn=True)
    ticket(auto)
    flow = CSR.from_scipy(convection(SIZE))
    solve(flow * torch.linspace(1, 2, 4, dtype=torch.float64), torch.ones(SIZE**2, dtype=torch.float64), auto)
    system = diffusion(Grid((17, 17)), coefficient=torch.rand(4, 17, 17, dtype=torch.float64) + 1, source=1.0)
    solve(system.operator, system.rhs, auto)
    jump = torch.where(torch.rand(SIZE**2) > 0.5, 1e4, 1.0).double()
    rough = laplacian(SIZE) + scipy.sparse.diags_array(jump.numpy())
    solve(CSR.from_scipy(rough) * torch.ones(8, dtype=torch.float64), torch.ones(SIZE**2, dtype=torch.float64), auto)
    assert len(auto.experience.kinds) == 4
    ticket(auto, 1)
    assert auto.experience.kinds[0].systems == 16


@pytest.mark.parametrize("make", [laplacian, convection])
def test_gradients(make):
    """Oracle: the same by the direct solver."""
    A = CSR.from_scipy(make(6))
    entries = (A.entries * torch.linspace(1, 2, 4, dtype=torch.float64)[:, None]).requires_grad_()
    b = torch.rand(4, 36, dtype=torch.float64, requires_grad=True)

    def gradients(method):
        x = solve(CSR(A.pattern, None, entries), b, method, rtol=1e-12).x
        return torch.autograd.grad(x.square().sum(), (entries, b))

    for ours, theirs in zip(gradients(Auto(learn=True)), gradients(Direct()), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)


def test_right_hand_sides_that_share_their_matrix():
    A = laplacian(20)
    b = np.random.default_rng(0).standard_normal((3, 2, 400))
    x = solve(A, b, Auto(learn=True)).x
    assert np.abs(np.einsum("ij,abj->abi", A.toarray(), x) - b).max() < 1e-6
    assert solve(A, np.zeros(400), Auto(learn=True)).converged


def test_guesses_are_taken():
    A = matrices(6)
    b = torch.rand(6, SIZE**2, dtype=torch.float64)
    x = solve(A, b).x
    solution = solve(A, b, Auto(learn=True), x0=x)
    assert int(solution.iterations.max()) == 0


def test_prepared_once_for_many_right_hand_sides():
    A = matrices(6)
    prepared = Auto(learn=True).prepare(A)
    for seed in range(3):
        b = torch.rand(6, SIZE**2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        solution = solve(A, b, prepared)
        assert (b - A.matvec(solution.x)).norm() < 1e-7


def test_what_auto_is_given():
    assert Auto() == Auto()
    assert repr(Auto()) == "Auto()"
    assert hash(Auto()) == hash(Auto())
    auto = Auto(learn=True, arms=[CG(SSOR(1.5))])
    assert isinstance(auto.experience, Memory)
    assert memories(auto) == (auto.experience,)
    assert repr(auto).startswith("Auto(learn=True, arms=[CG(")
    with pytest.raises(InputError, match="go with learn=True"):
        Auto(arms=[Direct()])
    with pytest.raises(InputError, match="go with learn=True"):
        Auto(experience=Experience())
    with pytest.raises(InputError, match="expected methods"):
        Auto(learn=True, arms=[IC0()])
    with pytest.raises(InputError, match="expected methods"):
        Auto(learn=True, arms=Direct())
    with pytest.raises(InputError, match="expected an Experience"):
        Auto(learn=True, experience={})
    with pytest.raises(InputError, match="makes a bandit"):
        Experience(bandit=3)
    assert repr(Experience(TsallisINF)) == "Experience(bandit=TsallisINF)"


def test_further_arms_are_tried():
    auto = Auto(learn=True, arms=[CG(SSOR(1.5))])
    for call in range(8):
        ticket(auto, call)
    records = auto.experience.kinds[0].records
    assert records[-1].arm == "CG(SSOR(1.5))"
    assert records[-1].pulls or records[-1].predicted

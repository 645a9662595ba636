"""Auto(learn=True) with arms that raise, states that are malformed, and losses of another run."""

import copy
import io
import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from solvers.matrices import laplacian

from pdekit.core import InputError
from pdekit.domain import Grid
from pdekit.families import Darcy
from pdekit.fields import GaussianField, LogNormal
from pdekit.solvers import CG, CSR, IC0, SSOR, Auto, ChebyshevBandit, DeflatedCG, Direct, Method, RecycleSpace, solve
from pdekit.solvers.bandits.elimination import SuccessiveElimination
from pdekit.solvers.bandits.tsallis_inf import TsallisINF
from pdekit.solvers.learning import choosing
from pdekit.solvers.learning.context import Context
from pdekit.solvers.learning.experience import Experience
from pdekit.solvers.learning.kind import Kind, Pull
from pdekit.solvers.learning.report import verdict
from pdekit.solvers.method import Prepared

SIZE = 6
TABLE = (CG(), Direct())


@dataclass(frozen=True)
class Raising(Method):
    """Direct, until it raises in `prepare` or in `run`."""

    error: Exception
    where: str = "run"

    def prepare(self, A):
        if self.where == "prepare":
            raise self.error
        return _Raising(A, self)


@pytest.fixture(autouse=True)
def trials_at_any_price(monkeypatch):
    """So that a few systems show what otherwise takes hundreds."""
    monkeypatch.setattr("pdekit.solvers.learning.kind._BUDGET", math.inf)


class _Raising(Prepared):
    def __init__(self, A, method):
        super().__init__(A)
        self.method = method

    def run(self, b, x0, rtol, atol):
        raise self.method.error


@dataclass(frozen=True)
class Timed(Method):
    """Direct, with seconds of NumPy."""

    def prepare(self, A):
        return _Timed(A)


class _Timed(Prepared):
    def run(self, b, x0, rtol, atol):
        outcome = Direct().prepare(self.operator).run(b, x0, rtol, atol)
        return replace(outcome, setup_seconds=np.float64(1e-4), iterations=outcome.iterations + 3)


def ticket(auto, seed=0, count=4):
    """Systems of one kind; oracle: their residuals."""
    generator = torch.Generator().manual_seed(seed)
    A = CSR.from_scipy(laplacian(SIZE)) * (1 + torch.rand(count, dtype=torch.float64, generator=generator))
    b = torch.rand(count, SIZE**2, dtype=torch.float64, generator=generator)
    solution = solve(A, b, auto)
    assert bool((torch.linalg.vector_norm(b - A.matvec(solution.x), dim=-1) <= 1.01e-8 * b.norm(dim=-1)).all())
    return solution


def among(monkeypatch, *arms, table=TABLE, experience=None):
    """Only these are to be chosen from."""
    monkeypatch.setattr(choosing, "arms_for", lambda *_: arms)
    monkeypatch.setattr(Auto, "candidates", lambda self, A: tuple(table))
    return Auto(learn=True, experience=experience)


def known(bandit=None, calls=6):
    """An experience of some calls."""
    auto = Auto(learn=True, experience=Experience(bandit))
    for call in range(calls):
        ticket(auto, call)
    return auto.experience


def plain(value):
    """Whether a state holds only what any Python reads."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and plain(entry) for key, entry in value.items())
    if isinstance(value, list | tuple):
        return all(map(plain, value))
    return type(value) in (int, float, str, bool, type(None), torch.Tensor)


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


# States that can be saved


def test_an_experience_of_stencils_can_be_saved():
    auto = Auto(learn=True)
    family = Darcy(Grid((33, 33)), LogNormal(GaussianField(alpha=2, tau=3)))
    for call in range(3):
        family.solve(family.draw(range(4 * call, 4 * call + 4), seed=0), rtol=1e-8, method=auto)
    state = auto.experience.state_dict()
    assert plain(state)
    again = Experience()
    again.load_state_dict(through_a_file(state))
    assert str(again) == str(auto.experience)


def test_seconds_of_any_type_are_saved_as_numbers(monkeypatch):
    auto = among(monkeypatch, Direct(), Timed())
    for call in range(6):
        ticket(auto, call)
    assert auto.experience.kinds[0].records[1].setup == pytest.approx(1e-4, rel=4)
    assert plain(auto.experience.state_dict())


# Replaying


def test_a_refused_replay_runs_nothing_and_leaves_nothing_queued(monkeypatch):
    for arms in ((Direct(), CG()), (CG(), Direct())):
        auto = among(monkeypatch, *arms)
        for call in range(4):
            ticket(auto, call)
        again = Auto(learn=True)
        again.experience.replay([pull._replace(arm=1 - pull.arm, limit=3) for pull in auto.experience.pulls])
        with pytest.raises(InputError, match="another sequence"):
            ticket(again)
        assert again.experience.coming is None
        assert again.experience.pulls == ()
        ticket(again)


def test_a_limit_that_an_arm_cannot_have_is_refused():
    auto = Auto(learn=True)
    for call in range(3):
        ticket(auto, call)
    for limit in (-1, 7):
        again = Auto(learn=True)
        again.experience.replay([
            pull if pull.how == "first" else pull._replace(limit=limit) for pull in auto.experience.pulls
        ])  # fmt: skip
        with pytest.raises(InputError, match=f"a limit of {limit} iterations, where it has none"):
            ticket(again)
        ticket(again)


@pytest.mark.parametrize(
    "pulls",
    [
        None, 3, [1], [None], ["abcdef"], [(0, 0, 1.0)], [(0, 0, "x", "measured", 1, 0)],
        [(0, 0, float("nan"), "measured", 1, 0)], [(0, 0, -1.0, "measured", 1, 0)], [(0, 0, 1.0, "guessed", 1, 0)],
        [(0, 0, 1.0, "measured", 1, -5)], [(0, -1, 1.0, "measured", 1, 0)], [(0.5, 0, 1.0, "measured", 1, 0)],
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_loss_cannot_be_replayed(pulls):
    experience = Experience()
    with pytest.raises(InputError, match=r"to replay|expected one of those"):
        experience.replay(pulls)
    assert experience.coming is None


# Other arms


def test_other_arms_are_refused_before_and_after_saving():
    experience, other = known(calls=2), [CG(SSOR(1.3))]
    loaded = Experience()
    loaded.load_state_dict(through_a_file(experience.state_dict()))
    for each in (experience, loaded):
        for _ in range(2):
            with pytest.raises(InputError, match=r"there are now .*CG\(SSOR\(1.3\)\).*Give Auto the arms it had"):
                ticket(Auto(learn=True, arms=other, experience=each))
        ticket(Auto(learn=True, experience=each))
        ticket(Auto(learn=True, arms=[Direct()], experience=each))  # it is among the arms anyway


def test_other_arms_are_refused_for_a_matrix_that_stays_the_same():
    auto, A, b = Auto(learn=True), laplacian(20), np.ones(400)
    for _ in range(3):
        solve(A, b, auto)
    with pytest.raises(InputError, match="Give Auto the arms it had"):
        solve(A, b, Auto(learn=True, arms=[CG(SSOR(1.3))], experience=auto.experience))


# Arms that raise


@pytest.mark.parametrize("where", ["prepare", "run"])
@pytest.mark.parametrize(
    "error",
    [
        InputError("no such matrix"), RuntimeError("broken"), ValueError("broken"), MemoryError(),
        ZeroDivisionError("0"), np.linalg.LinAlgError("singular"), InputError(""),
    ],
    ids=repr,
)  # fmt: skip
def test_a_trial_that_raises_is_refused_and_the_incumbent_solves(monkeypatch, error, where):
    auto = among(monkeypatch, Direct(), Raising(error, where))
    for call in range(6):
        assert ticket(auto, call).converged.all()
    kind = auto.experience.kinds[0]
    assert kind.incumbent == 0
    assert [pull.how for pull in auto.experience.pulls if pull.arm == 1] == ["refused"]
    assert f"does not take these matrices: {kind.records[1].refused}" in str(auto.experience)
    assert (str(error) or type(error).__name__) in kind.records[1].refused
    # The same again from what was recorded.
    again = among(monkeypatch, Direct(), Raising(error, where))
    again.experience.replay(auto.experience.pulls)
    for call in range(6):
        ticket(again, call)
    assert again.experience.pulls == auto.experience.pulls


def test_errors_that_are_mistakes_of_the_program_go_through(monkeypatch):
    auto = among(monkeypatch, Direct(), Raising(TypeError("a mistake")))
    with pytest.raises(TypeError, match="a mistake"):
        [ticket(auto, call) for call in range(6)]


@pytest.mark.parametrize("where", ["prepare", "run"])
def test_where_the_incumbent_raises_the_table_is_tried_before_its_error_goes_through(monkeypatch, where):
    broken = Raising(RuntimeError("the first"), where)
    auto = among(monkeypatch, broken, table=(broken, CG(), Direct()))
    auto_of_two = among(monkeypatch, broken, CG(), table=(broken, Direct()))
    for each in (auto, auto_of_two):
        for call in range(3):
            ticket(each, call)
    worse = Raising(RuntimeError("the second"), where)
    for table in ((broken,), (broken, worse)):
        auto = among(monkeypatch, broken, CG(), table=table)
        with pytest.raises(RuntimeError, match="the first"):
            ticket(auto)


@pytest.mark.parametrize("make", [SuccessiveElimination, TsallisINF])
def test_an_arm_that_was_refused_never_becomes_the_incumbent(make):
    kind = Kind(0, Context("", "", 9, 1.0, 1, 0.0, None), (CG(), Direct(), CG(IC0())), make(3))
    for arm, seconds in enumerate((1.0, 1.1, 1.2)):
        for how in ("first", "measured", "measured", "measured"):
            kind.tell(Pull(0, arm, seconds, how, 1, 0))
    assert kind.incumbent == 0
    kind.records[0].refused = "no"
    kind.tell(Pull(0, 0, 7.0, "refused", 0, 0))
    assert kind.incumbent == 1
    if make is TsallisINF:
        return
    # The rivals are tried again; this one is none.
    kind.extra, kind.settled = 0.0, 1.0
    for _ in range(3):
        kind.tell(Pull(0, 1, 9.0, "measured", 1, 0))
    assert kind.reopened == 1
    assert kind.incumbent == 1
    assert kind.left == (1, 2)


def test_an_auto_cannot_choose_among_itself():
    experience = Experience()
    inner = Auto(learn=True, experience=experience)
    with pytest.raises(InputError, match="the experience of this Auto itself"):
        Auto(learn=True, arms=[inner], experience=experience)
    ticket(Auto(learn=True, arms=[Auto(learn=True)]))


def test_learn_is_yes_or_no():
    with pytest.raises(InputError, match="learn='no'; expected True or False"):
        Auto(learn="no")


def test_the_report_says_how_arms_stand():
    kind = Kind(0, Context("", "", 9, 1.0, 1, 0.0, None), (CG(), Direct(), CG(IC0())), TsallisINF(3))
    for arm, seconds in enumerate((1.0, 1.3)):
        for how in ("first", "measured", "measured", "measured"):
            kind.tell(Pull(0, arm, seconds, how, 1, 0))
    kind.tell(Pull(0, 2, 9.0, "first", 1, 0))
    kind.tell(Pull(0, 2, 9.0, "predicted", 0, 0))
    assert [verdict(kind, arm) for arm in range(3)] == [
        "chosen: 1.30 times faster than the next",
        "in the running: 1.30 times slower so far",
        "not tried again: predicted to take over 3 times longer",
    ]


# Malformed states


def changed(state, *place, to):
    state = copy.deepcopy(state)
    inner = state
    for key in place[:-1]:
        inner = inner[key]
    if to is KeyError:
        del inner[place[-1]]
    else:
        inner[place[-1]] = to
    return state


MALFORMED = [
    (("kinds",), 3), (("kinds",), KeyError), (("kinds", 0), None), (("kinds", 0, "number"), 7), (("seen",), 3),
    (("kinds", 0, "memories"), []), (("kinds", 0, "memories"), None), (("kinds", 0, "records"), []),
    (("kinds", 0, "records", 0, "seconds"), "x"), (("kinds", 0, "records", 0, "arm"), 3),
    (("kinds", 0, "records", 0, "losses"), [float("nan")]), (("kinds", 0, "records", 0, "told"), KeyError),
    (("kinds", 0, "records", 0, "told"), -1), (("kinds", 0, "seconds"), [1.0]), (("kinds", 0, "systems"), "x"),
    (("kinds", 0, "settled"), float("nan")), (("kinds", 0, "bandit"), None), (("kinds", 0, "bandit"), {}),
    (("kinds", 0, "context", "sharing"), 0), (("kinds", 0, "context", "row"), "x"), (("kinds", 0, "context"), 3),
    (("kinds", 0, "context", "unknowns"), 2.5), (("kinds", 0, "context", "change"), float("nan")),
    (("pulls",), None), (("pulls",), torch.zeros(3)), (("pulls",), torch.full((1, 6), torch.nan)),
    (("pulls",), torch.tensor([[0.0, 0, 1, 99, 1, 0]])), (("pulls",), torch.tensor([[0.0, 77, 1, 1, 1, 0]])),
    (("pulls",), torch.tensor([[5.0, 0, 1, 1, 1, 0]])), (("pulls",), torch.tensor([[0.0, 0, -1, 1, 1, 0]])),
]  # fmt: skip


def test_malformed_states_are_refused_and_what_was_there_stays():
    experience = known(calls=3)
    good, report, pulls = experience.state_dict(), str(experience), experience.pulls
    malformed = [None, 3, [], {}, {"experience": 1}, *(changed(good, *place, to=to) for place, to in MALFORMED)]
    for state in malformed:
        with pytest.raises(InputError):
            experience.load_state_dict(state)
        assert str(experience) == report
        assert experience.pulls == pulls
    experience.load_state_dict(good)
    assert str(experience) == report


def test_memories_that_do_not_fit_are_refused_in_every_call():
    space = RecycleSpace()
    arms = [DeflatedCG(IC0(), space=space), Direct()]
    auto = Auto(learn=True, arms=arms)
    for call in range(3):
        ticket(auto, call)
    good = auto.experience.state_dict()
    held = [place for place, states in enumerate(good["kinds"][0]["memories"]) if states]
    before = str(space.state_dict())
    for to in ([], [{}], [3]):
        auto.experience.load_state_dict(changed(good, "kinds", 0, "memories", held[-1], to=to))
        for _ in range(2):
            with pytest.raises(InputError, match="state"):
                ticket(auto)
            assert str(space.state_dict()) == before
    auto.experience.load_state_dict(good)
    ticket(auto)


# Bandits


@pytest.mark.parametrize(
    ("bandit", "said"),
    [
        (lambda arms: 3, "gave 3 for 2 arms"),
        (lambda: TsallisINF(3), "failed with 2 arms"),
        (lambda arms: TsallisINF(3), "when asked for 2 arms"),
        (ChebyshevBandit, "does not choose without a context"),
        (lambda arms: TsallisINF(arms, bins=3), "does not choose without a context"),
        (lambda arms: TsallisINF(arms, bins=0), "bins=0"),
    ],
)
def test_what_makes_no_bandits_is_refused_at_once(bandit, said):
    with pytest.raises(InputError, match=said):
        Experience(bandit)


@pytest.mark.parametrize("arms", [None, 5, "CG", [None], {"CG": CG()}], ids=repr)
def test_what_is_no_list_of_methods_is_refused(arms):
    with pytest.raises(InputError, match="expected methods"):
        Auto(learn=True, arms=arms)


# The report


def test_systems_count_once_and_names_are_short():
    auto = Auto(learn=True)
    generator = torch.Generator().manual_seed(0)
    for _ in range(30):
        A = CSR.from_scipy(laplacian(20)) * (1 + float(torch.rand(1, generator=generator)))
        solve(A, torch.rand(400, dtype=torch.float64, generator=generator), auto)
    kinds = auto.experience.kinds
    assert [sum(record.pulls for record in kind.records) for kind in kinds] == [kind.systems for kind in kinds]
    assert sum(pull.systems for pull in auto.experience.pulls) > 30, "there were warm-ups"
    rows = [line for line in str(auto.experience).splitlines() if line.startswith("  arm")]
    assert rows
    assert max(line.index("pulls") for line in rows) < 60
    assert "CG(IC0(...))" in str(auto.experience)

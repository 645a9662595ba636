"""Bandits find the best arm, and forget nothing when saved."""

import io

import numpy as np
import pytest
import scipy.optimize
import torch

from pdekit.core import InputError
from pdekit.solvers import ChebyshevBandit, SuccessiveElimination, TsallisINF
from pdekit.solvers.bandits.tsallis_inf import follow_the_leader

BANDITS = [
    lambda: TsallisINF(4, seed=3),
    lambda: TsallisINF(4, bins=3, seed=3),
    lambda: ChebyshevBandit(4, seed=3),
    lambda: SuccessiveElimination(4),
]
NAMES = ["TsallisINF", "TsallisINF in bins", "ChebyshevBandit", "SuccessiveElimination"]


def play(bandit, losses, contexts=None):
    """Let it choose among the columns of a table of losses; the arms it took."""
    taken = []
    for t, row in enumerate(losses):
        context = None if contexts is None else float(contexts[t])
        arm = bandit.choose(context)
        bandit.learn(arm, float(row[arm]), context)
        taken.append(arm)
    return np.array(taken)


def noisy(count, means, seed, scatter=0.3):
    return np.random.default_rng(seed).lognormal(np.log(means) - scatter**2 / 2, scatter, (count, len(means)))


# Probabilities and estimates


@pytest.mark.parametrize("spread", [0.0, 1e-9, 1.0, 1e4, 1e12])
def test_probabilities_of_the_regularised_leader(spread):
    """Oracle: the root of the sum, by bisection."""
    losses = spread * np.random.default_rng(0).random(20)
    p = follow_the_leader(losses)
    assert abs(p.sum() - 1) <= 1e-12
    least = losses.min()
    x = scipy.optimize.brentq(lambda y: (4 / (losses - least + y) ** 2).sum() - 1, 1.0, 10.0, xtol=1e-14)
    np.testing.assert_allclose(p, 4 / (losses - least + x) ** 2, rtol=1e-10)


@pytest.mark.parametrize("make", BANDITS[:3], ids=NAMES[:3])
def test_probabilities_sum_to_one(make):
    bandit, rng = make(), np.random.default_rng(1)
    for _ in range(200):
        context = float(rng.random())
        p = bandit.probabilities(context)
        assert abs(p.sum() - 1) <= 1e-12
        assert (p >= 0).all()
        bandit.learn(bandit.choose(context), float(rng.exponential()), context)


@pytest.mark.parametrize("make", BANDITS[:3], ids=NAMES[:3])
def test_arms_are_drawn_with_their_probabilities(make):
    """Counts of first draws over 2,000 seeds within four standard deviations; by hand after some losses."""
    counts = np.zeros(4)
    bandit = make()
    play(bandit, noisy(12, [1.0, 2.0, 2.0, 2.0], 5), np.full(12, 0.4))
    for seed in range(2000):
        bandit.seed = seed
        counts[bandit.choose(0.4)] += 1
    p = bandit.probabilities(0.4)
    assert (np.abs(counts - 2000 * p) <= 4 * np.sqrt(2000 * p * (1 - p)) + 1e-9).all()


def test_weighted_losses_are_unbiased():
    """Exactly: the change of the sums, averaged over the arms with their probabilities, is the row of losses."""
    bandit = TsallisINF(5, seed=2)
    play(bandit, noisy(300, [1.0, 2.0, 3.0, 4.0, 5.0], 0))
    state, p = bandit.state_dict(), bandit.probabilities()
    assert p.min() < 16 / 301 < p.max(), "some arms are measured from half the mean, others from 0"
    losses, mean = np.array([3.0, 1.0, 4.0, 1.5, 9.0]), np.zeros(5)
    for arm in range(5):
        bandit.load_state_dict(state)
        bandit.learn(arm, losses[arm])
        mean += p[arm] * (bandit.state_dict()["sums"] - state["sums"])[0].numpy()
    np.testing.assert_allclose(mean, losses, rtol=1e-10)


# Learning


def test_regret_of_tsallis_inf_grows_like_the_root_of_time():
    """Theory: 4 sqrt(arms t) at most; the growth is fitted between t = 250 and 4,000."""
    means, horizon = np.array([0.8, 1.0, 1.0, 1.0, 1.2]), 4000
    regret = np.mean(
        [np.cumsum((means - 0.8)[play(TsallisINF(5, seed=s), noisy(horizon, means, s))]) for s in range(3)], axis=0
    )
    times = np.array([250, 500, 1000, 2000, 4000])
    slope = np.polyfit(np.log(times), np.log(regret[times - 1]), 1)[0]
    assert slope < 0.6
    assert regret[-1] < 0.5 * 4 * np.sqrt(5 * horizon)


def test_tsallis_inf_follows_a_best_arm_that_changes():
    """An adversary's sequence: the arm that is best over all is not best at first."""
    losses = np.ones((6000, 3))
    losses[:1500, 0], losses[1500:, 1] = 0.2, 0.2
    taken = play(TsallisINF(3, seed=1), losses)
    cost = losses[np.arange(6000), taken].sum()
    assert cost < losses.sum(0).min() + 4 * np.sqrt(3 * 6000)
    assert (taken[-500:] == 1).mean() > 0.8


def test_losses_may_have_any_scale():
    losses = noisy(300, [1.0, 1.5, 2.0], 4)
    for make in (lambda: TsallisINF(3), lambda: SuccessiveElimination(3)):
        assert np.array_equal(play(make(), losses), play(make(), 2.0**40 * losses))
    contexts = np.random.default_rng(0).random(300)
    assert np.array_equal(
        play(ChebyshevBandit(3), losses, contexts), play(ChebyshevBandit(3), 2.0**-30 * losses, contexts)
    )


def test_bins_learn_apart():
    rng = np.random.default_rng(0)
    contexts = rng.random(4000)
    best = np.where(contexts < 0.5, 0, 2)
    losses = 1.0 + (np.arange(3) != best[:, None]) + 0.2 * rng.standard_normal((4000, 3))
    taken = play(TsallisINF(3, bins=2, seed=1), losses, contexts)
    assert (taken[2000:] == best[2000:]).mean() > 0.85
    alone = play(TsallisINF(3, seed=1), losses, contexts)
    assert (alone[2000:] == best[2000:]).mean() < 0.7


@pytest.mark.parametrize("seed", range(3))
def test_the_chebyshev_bandit_finds_the_best_arm_of_each_context(seed):
    """Oracle: the losses themselves, 1 + (arm / 9 - s(context))^2 with noise of 10 %."""
    rng = np.random.default_rng(seed)
    contexts = rng.random(1500) * 6 - 3
    wanted = (np.sin(contexts) + 1) / 2

    def means(s):
        return 1 + 4 * (np.arange(10) / 9 - s[:, None]) ** 2

    losses = means(wanted) * (1 + 0.1 * rng.standard_normal((1500, 10)))
    bandit = ChebyshevBandit(10, degree=6, interval=(-3.0, 3.0), seed=seed)
    taken = play(bandit, losses, contexts)
    late = means(wanted)[np.arange(1500), taken][750:]
    assert late.mean() < 1.04
    assert means(wanted)[750:].min(axis=1).mean() < late.mean()
    fixed = means(wanted)[750:].mean(axis=0).min()
    assert fixed > 1.4
    for s in (-2.0, 0.0, 1.5):
        best = bandit.predictions(s).min()
        assert abs(best - 1) < 0.1


def test_predictions_are_those_of_penalised_least_squares():
    """Oracle: the augmented least-squares system, with features by NumPy's Chebyshev polynomials."""
    bandit, rng = ChebyshevBandit(2, degree=4, interval=(2.0, 5.0)), np.random.default_rng(0)
    contexts, losses = rng.uniform(2, 5, 40), rng.random(40)
    square, done = 0.0, []
    for t in range(40):
        square += (losses[t] - bandit.predictions(contexts[t])[t % 2]) ** 2
        bandit.learn(t % 2, losses[t], contexts[t])
        done.append(t)
    features = np.polynomial.chebyshev.chebvander((2 * contexts - 7) / 3, 4)
    bounds = np.array([losses.max(), *(2 * (losses.max() - losses.min()) / np.arange(1, 5))])
    weights = np.diag(np.sqrt(square / 40) / bounds)
    for arm in range(2):
        rows = np.arange(40) % 2 == arm
        series = np.linalg.lstsq(np.vstack([features[rows], weights]), np.append(losses[rows], np.zeros(5)))[0]
        expected = np.polynomial.chebyshev.chebval((2 * 3.1 - 7) / 3, series)
        assert abs(bandit.predictions(3.1)[arm] - expected) <= 1e-10


# Successive elimination


@pytest.mark.parametrize("seed", range(10))
def test_elimination_keeps_the_best_arm(seed):
    means = np.array([1.3, 1.0, 1.1, 2.0, 5.0])
    losses = noisy(500, means, seed, scatter=0.1)
    bandit = SuccessiveElimination(5)
    taken = play(bandit, losses)
    assert 1 in bandit.left
    assert not {0, 3, 4} & set(bandit.left)
    assert bandit.incumbent == 1
    assert losses[np.arange(500), taken].mean() < 1.12 * losses[:, 1].mean()


def test_each_arm_is_tried_in_order_and_its_first_loss_set_aside():
    bandit = SuccessiveElimination(3, pulls=3)
    assert bandit.incumbent == 0
    taken = []
    for _ in range(12):
        taken.append(bandit.choose())
        bandit.learn(taken[-1], 1000.0 if taken.count(taken[-1]) == 1 else [2.0, 1.0, 9.0][taken[-1]])
    assert taken == [0] * 4 + [1] * 4 + [2] * 4
    assert bandit.means.tolist() == [2.0, 1.0, 9.0]
    assert bandit.incumbent == 1
    assert bandit.left == (1,)
    assert bandit.choose() == 1


def test_no_arm_wins_or_goes_before_it_was_seen_often_enough():
    bandit = SuccessiveElimination(2, pulls=3)
    for _ in range(4):
        bandit.learn(0, 5.0)
    for _ in range(3):
        bandit.learn(1, 1.0)
        assert bandit.incumbent == 0
        assert bandit.left == (0, 1)
    bandit.learn(1, 1.0)
    assert bandit.incumbent == 1
    assert bandit.left == (1,)


def test_rivals_that_cannot_be_told_apart_both_stay():
    bandit = SuccessiveElimination(2)
    taken = play(bandit, noisy(300, [1.0, 1.0], 1, scatter=0.2))
    assert bandit.left == (0, 1)
    assert 20 < taken.sum() < 280


def test_censored_losses_drop_an_arm():
    """Stopped at twice the incumbent's loss, four times: what it would have cost is never known."""
    bandit = SuccessiveElimination(2)
    for _ in range(4):
        bandit.learn(0, 1.0)
    for k in range(4):
        assert bandit.left == (0, 1), k
        bandit.learn(1, 2.0, censored=True)
    assert bandit.left == (0,)


def test_an_arm_can_be_dropped_by_its_user_but_never_the_last():
    bandit = SuccessiveElimination(3)
    bandit.drop(0)
    assert bandit.choose() == bandit.incumbent == 1
    bandit.drop(2)
    bandit.drop(1)
    assert bandit.left == (1,)


# Memory


@pytest.mark.parametrize("make", BANDITS, ids=NAMES)
def test_a_resumed_bandit_makes_the_same_choices(make):
    losses, contexts = noisy(400, [2.0, 1.0, 1.2, 3.0], 7), np.random.default_rng(3).random(400)
    whole, first = make(), make()
    expected = play(whole, losses, contexts)
    assert np.array_equal(play(first, losses[:150], contexts[:150]), expected[:150])
    buffer = io.BytesIO()
    torch.save(first.state_dict(), buffer)
    buffer.seek(0)
    resumed = make()
    resumed.load_state_dict(torch.load(buffer, weights_only=True))
    assert np.array_equal(play(resumed, losses[150:], contexts[150:]), expected[150:])
    for name, values in whole.state_dict().items():
        other = resumed.state_dict()[name]
        assert torch.equal(other, values) if isinstance(values, torch.Tensor) else other == values
    resumed.reset()
    assert np.array_equal(play(resumed, losses, contexts), expected)


@pytest.mark.parametrize("make", BANDITS, ids=NAMES)
def test_a_state_is_a_copy(make):
    bandit = make()
    play(bandit, noisy(30, [1.0, 1.0, 2.0, 2.0], 0), np.full(30, 0.5))
    state = bandit.state_dict()
    before = {name: values.clone() for name, values in state.items() if isinstance(values, torch.Tensor)}
    bandit.learn(1, 7.0, 0.5)
    assert all(torch.equal(state[name], values) for name, values in before.items())


@pytest.mark.parametrize("make", BANDITS[:3], ids=NAMES[:3])
def test_seeds_differ_and_a_choice_is_no_draw(make):
    losses, contexts = noisy(60, [1.0, 1.0, 1.0, 1.0], 0), np.full(60, 0.5)
    one, other = make(), make()
    other.seed = 4
    assert one.choose(0.5) == one.choose(0.5)
    assert not np.array_equal(play(one, losses, contexts), play(other, losses, contexts))


# Messages


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: TsallisINF(0), "TsallisINF has arms=0; expected at least 1"),
        (lambda: TsallisINF(2, bins=0), "TsallisINF has bins=0; expected at least 1"),
        (lambda: TsallisINF(2, seed=-1), "TsallisINF has seed=-1; expected a whole number of at least 0"),
        (lambda: ChebyshevBandit(2, degree=0), "ChebyshevBandit has degree=0; expected at least 1"),
        (lambda: ChebyshevBandit(2, interval=(1.0, 1.0)), "the smaller one first"),
        (lambda: ChebyshevBandit(2, interval=(0.0, np.inf)), "expected finite numbers"),
        (lambda: SuccessiveElimination(2, pulls=0), "SuccessiveElimination has pulls=0; expected at least 1"),
        (lambda: ChebyshevBandit(2).choose(), r"chooses by a context; expected a number, and there is none"),
        (lambda: ChebyshevBandit(2).choose(float("nan")), "was given the context NaN"),
        (lambda: TsallisINF(2).learn(2, 1.0), "has the arms 0 to 1, and was told of a loss of the arm 2"),
        (lambda: TsallisINF(2).learn(0, -1.0), r"was told of the loss -1.0; expected a finite number"),
        (lambda: SuccessiveElimination(2).learn(0, np.inf), r"was told of the loss inf"),
        (lambda: TsallisINF(2).load_state_dict(TsallisINF(3).state_dict()), r"sums of shape \(1, 3\)"),
        (lambda: TsallisINF(2).load_state_dict(SuccessiveElimination(2).state_dict()), "is one of SuccessiveElim"),
        (lambda: TsallisINF(2).load_state_dict({"size": 3}), r"something with the entries \['size'\]"),
    ],
)
def test_messages(make, said):
    with pytest.raises(InputError, match=said):
        make()


@pytest.mark.parametrize("make", BANDITS, ids=NAMES)
def test_malformed_states_are_refused_and_change_nothing(make):
    bandit = make()
    play(bandit, noisy(30, [1.0, 1.0, 2.0, 2.0], 0), np.full(30, 0.5))
    good = bandit.state_dict()
    arrays = [name for name, values in good.items() if isinstance(values, torch.Tensor)]
    malformed = [None, 3, [], {}, good | {"extra": 1}, {1: 2, "bandit": type(bandit).__name__}]
    malformed += [good | {name: entry} for name in arrays for entry in (None, 3.0, "x", good[name].tolist())]
    malformed += [good | {name: good[name][..., :-1]} for name in arrays]
    malformed += [good | {name: good[name].to(torch.complex128)} for name in arrays]
    floats = [name for name in arrays if good[name].is_floating_point()]
    malformed += [good | {name: torch.full_like(good[name], worst)} for name in floats for worst in (np.nan, np.inf)]
    malformed += [good | {name: -1 - good[name]} for name in arrays if good[name].dtype == torch.int64]
    malformed += [good | {name: torch.ones_like(good[name])} for name in arrays if name == "dropped"]
    for state in malformed:
        with pytest.raises(InputError):
            bandit.load_state_dict(state)
        assert all(torch.equal(bandit.state_dict()[name], good[name]) for name in arrays)


def test_reprs_name_the_arguments():
    assert repr(TsallisINF(2, bins=3)) == "TsallisINF(2, bins=3, interval=(0.0, 1.0), seed=0)"
    assert repr(TsallisINF(2, seed=4)) == "TsallisINF(2, seed=4)"
    assert repr(ChebyshevBandit(2, degree=3)) == "ChebyshevBandit(2, degree=3, interval=(0.0, 1.0), seed=0)"
    assert repr(SuccessiveElimination(2)) == "SuccessiveElimination(2, pulls=3)"

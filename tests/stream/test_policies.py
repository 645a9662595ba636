"""Buffer policies: the conformance table, and the laws that are particular to each."""

import numpy as np
import pytest

from pdekit.core import InputError
from pdekit.stream import Fifo, Firo, Policy, Reservoir
from pdekit.testing.policy import check_policy

POLICIES = {
    "fifo": lambda: Fifo(32, watermark=5),
    "fifo-tight": lambda: Fifo(4),
    "firo": lambda: Firo(32, watermark=8, seed=1),
    "firo-3": lambda: Firo(24, watermark=3, seed=1, repeats=3),
    "reservoir": lambda: Reservoir(32, watermark=8, seed=1),
    "reservoir-tight": lambda: Reservoir(5, seed=2),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", POLICIES)
def test_conformance(name, seed):
    check_policy(POLICIES[name], seed=seed)


class Forgetful(Reservoir):
    """Wrong on purpose: evicts any sample, seen or not."""

    def room(self) -> int:
        return self.capacity

    def _put(self, count: int):
        self._seen, self._unseen = self._seen + self._unseen, []
        return super()._put(count)


def test_conformance_catches_an_eviction_of_unseen_samples():
    with pytest.raises(AssertionError, match=r"never used|never drawn"):
        check_policy(lambda: Forgetful(16))


class Repeating(Fifo):
    """Wrong on purpose: draws with replacement."""

    def _get(self, count: int):
        return np.repeat(super()._get(count)[:1], count)


def test_conformance_catches_duplicates():
    with pytest.raises(AssertionError, match="twice"):
        check_policy(lambda: Repeating(16))


@pytest.mark.parametrize("reuse", [1.5, 3.0, 8.0])
def test_reservoir_uses_are_geometric(reuse):
    """Oracle: the closed form. With r draws per insert the uses of a sample are geometric on 1, 2, ... with mean r and
    variance r (r - 1), and a share 1/r of a full buffer is unseen (the batch draw shifts this by O(B/N))."""
    capacity, batch, puts = 600, 6, 15_000
    policy = Reservoir(capacity, seed=3)
    uses = np.zeros(puts, dtype=int)
    holds = np.zeros(capacity, dtype=int)
    drawn, shares = 0, []
    for k in range(puts):
        holds[policy.put(1)] = k
        while k >= capacity - 1 and drawn <= reuse * (k - capacity + 1):
            uses[holds[policy.get(batch)]] += 1
            drawn += batch
        if k > 4 * capacity:
            shares.append(policy.unseen / policy.population)
    finished = uses[4 * capacity : -6 * capacity]
    assert np.mean(shares) == pytest.approx(1 / reuse, rel=0.03)
    assert finished.mean() == pytest.approx(reuse, rel=0.03)
    assert finished.var() == pytest.approx(reuse * (reuse - 1), rel=0.15)
    assert (finished == 1).mean() == pytest.approx(1 / reuse, rel=0.05)
    assert finished.min() >= 1


def test_reservoir_blocks_when_everything_is_unseen():
    policy = Reservoir(4)
    policy.put(4)
    assert policy.room() == 0
    with pytest.raises(InputError, match="holding 4 of 4, 4 unseen"):
        policy.put()
    policy.get(1)
    assert policy.room() == 1


def test_fifo_keeps_the_order():
    policy = Fifo(8)
    slots = np.concatenate([policy.put(3), policy.put(4)])
    assert (np.concatenate([policy.get(2), policy.get(5)]) == slots).all()


def test_firo_mixes():
    policy = Firo(64, seed=1)
    slots = policy.put(64)
    assert (policy.get(64) != slots).sum() > 50


@pytest.mark.parametrize("cls", [Fifo, Firo, Reservoir])
def test_the_draws_depend_on_the_seed_alone(cls):
    def draws(seed: int) -> list[list[int]]:
        policy: Policy = cls(16, seed=seed)
        policy.put(16)
        return [policy.get(3).tolist() for _ in range(3)]

    assert draws(1) == draws(1)
    if cls is not Fifo:
        assert draws(1) != draws(2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Fifo(0), "capacity is 0"),
        (lambda: Reservoir(8, watermark=8), "watermark is 8 with a capacity of 8; expected 0 to 7"),
        (lambda: Firo(8, repeats=0), "repeats=0"),
        (lambda: Reservoir(8).get(1), "batch of 1 cannot be drawn: the buffer holds 0"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_a_closed_buffer_says_so():
    policy = Reservoir(8)
    policy.close()
    with pytest.raises(InputError, match="closed"):
        policy.put()

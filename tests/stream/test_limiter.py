"""The two-sided limit: its rules, and that it never locks both sides."""

import numpy as np
import pytest

from pdekit.core import InputError
from pdekit.stream import Fifo, Limiter, Reservoir
from pdekit.stream.limiter import UNLIMITED

SCHEDULES = 500


def run(random, *, refuse: bool = True) -> tuple[bool, float, float, float]:
    """One random schedule; whether it locked, the reuse reached, and the band widened by what the slack allows."""
    batch = int(random.integers(1, 9))
    watermark = int(random.integers(0, 30))
    capacity = watermark + batch + int(random.integers(0, 40))
    least = float(random.uniform(0, 4) if refuse else random.uniform(0, 0.9))
    largest = least if random.random() < 0.3 else least + float(random.uniform(0, 3 if refuse else 0.09))
    if refuse:
        largest = max(largest, 1.0)
    limiter = Limiter((least, max(largest, 1.0)), watermark=watermark, batch_size=batch)
    limiter.band = (least, largest)
    policy = Reservoir(capacity, watermark=watermark, seed=int(random.integers(2**31)))
    bias = random.random()
    for _ in range(150):
        room = min(policy.room(), limiter.room())
        may_get = policy.can_get(batch) and limiter.can_get(batch)
        if room == 0 and not may_get:
            return True, 0.0, 0.0, 0.0
        if room > 0 and (not may_get or random.random() < bias):
            count = int(random.integers(1, min(room, 3 * batch) + 1))
            policy.put(count)
            limiter.inserted(count)
        else:
            limiter.got(len(policy.get(batch)))
    lower = (least * (limiter.inserts - watermark - batch) - limiter.slack) / limiter.inserts
    return False, limiter.reuse, lower, largest + limiter.slack / limiter.inserts


def test_no_random_schedule_locks_and_the_band_holds():
    """Oracle: a lock is a state where neither side may move; any capacity, watermark, batch and band may occur."""
    random = np.random.default_rng(0)
    for k in range(SCHEDULES):
        locked, reuse, least, largest = run(random)
        assert not locked, f"schedule {k} locked"
        assert least - 1e-9 <= reuse <= largest + 1e-9, f"schedule {k}: reuse {reuse} outside [{least}, {largest}]"


def test_the_refused_bands_do_lock():
    """Why a largest reuse below 1 is refused: most such schedules lock."""
    random = np.random.default_rng(1)
    locks = sum(run(random, refuse=False)[0] for _ in range(100))
    assert locks > 50


@pytest.mark.parametrize(
    ("reuse", "message"),
    [
        (0.5, "fewer than one use"),
        ((0.2, 0.9), "fewer than one use"),
        ((4, 1), r"Did you mean \(1, 4\)"),
        ((-1, 2), "0 <= least <= largest"),
        ((1, 2, 3), "one number, a pair"),
        (float("nan"), "one number, a pair"),
    ],
)
def test_bad_bands_are_refused(reuse, message):
    with pytest.raises(InputError, match=message):
        Limiter(reuse, watermark=0, batch_size=1)


def test_rules_as_written():
    """Oracle: the rules with I inserts, G draws, s = 2 B: a batch waits while G + B > r_max I + s, an insert while
    r_min (I + 1) > G + r_min (W + B) + s."""
    band, watermark, batch = (1.5, 2.5), 10, 4
    limiter = Limiter(band, watermark=watermark, batch_size=batch)
    random = np.random.default_rng(0)
    for _ in range(300):
        inserts, gets = limiter.inserts, limiter.gets
        may_insert = band[0] * (inserts + 1) <= gets + band[0] * (watermark + batch) + 2 * batch + 1e-9
        assert (limiter.room() > 0) == may_insert
        assert limiter.can_get(batch) == (gets + batch <= band[1] * inserts + 2 * batch)
        if may_insert and random.random() < 0.7:
            limiter.inserted(1)
        elif limiter.can_get(batch):
            limiter.got(batch)


def test_free_running():
    limiter = Limiter(None, watermark=0, batch_size=4)
    assert limiter.room() == UNLIMITED
    assert limiter.can_get(10**6)
    assert limiter.target is None


def test_state_round_trip():
    limiter = Limiter(2, watermark=3, batch_size=4)
    limiter.inserted(9)
    limiter.got(4)
    other = Limiter(2, watermark=3, batch_size=4)
    other.load_state_dict(limiter.state_dict())
    assert (other.room(), other.inserts, other.gets) == (limiter.room(), 9, 4)


def test_fifo_under_the_default_band_never_locks():
    random = np.random.default_rng(2)
    for _ in range(50):
        batch, watermark = int(random.integers(1, 9)), int(random.integers(0, 20))
        policy = Fifo(watermark + batch + int(random.integers(0, 20)), watermark=watermark)
        limiter = Limiter((1.0, 4.0), watermark=watermark, batch_size=batch)
        for _ in range(200):
            room = min(policy.room(), limiter.room())
            may_get = policy.can_get(batch) and limiter.can_get(batch)
            assert room > 0 or may_get
            if room > 0 and (not may_get or random.random() < 0.5):
                policy.put(1)
                limiter.inserted(1)
            else:
                limiter.got(len(policy.get(batch)))

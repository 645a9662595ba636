"""The tolerance of training samples: what follows from the model's error, and when."""

import itertools
import math
from dataclasses import dataclass

import pytest
import torch
from stream.test_stream import SMALL, digest, jitter
from stream.toys import Toy

from pdekit.core import InputError
from pdekit.stream import LabelTolerance, Stream, Tightening

RULE = LabelTolerance(start=1e-2, tightest=1e-6, factor=0.1)


@dataclass
class Loose(Toy):
    """Solutions that are wrong by the tolerance, so that batches tell what they were solved to."""

    def solve(self, inputs, *, rtol, method=None, guess=None, memory=None, throw=True):
        samples = super().solve(inputs, rtol=rtol, method=method, throw=throw)
        samples.fields["solution"].mul_(1 + rtol)
        return samples


def error(batch: int) -> float:
    """A noisy training that reaches 1e-4."""
    return max(1e-4, 0.2 * math.exp(-batch / 5)) * (1 + 0.5 * math.sin(7.0 * batch))


def trained(first: int, last: int, *, state=None, source=None, **settings) -> tuple[list[str], list[float], dict]:
    """Batches first+1..last, their tightest tolerances, and the state after the last; every batch is reported on."""
    source = source or Loose(delay=jitter, missing=frozenset({3, 40}), broken=frozenset({17, *range(56, 72)}))
    with Stream(source, **{**SMALL, "schedule": "lockstep", "rtol": RULE, **settings}) as stream:
        if state is not None:
            stream.load_state_dict(state)
        digests, rtols = [], []
        for number in range(first, last):
            batch = stream.next_batch()
            digests.append(digest(batch))
            rtols.append(float(batch.samples.certificate.tolerance.min()))
            stream.report(error(number))
        return digests, rtols, stream.state_dict()


def test_the_tolerance_is_a_share_of_the_error():
    """Oracle: the same error reported often enough is its own average."""
    tightening = Tightening(RULE)
    assert tightening.rtol == 1e-2
    for level in (0.5, 0.03, 2e-4):
        for _ in range(800):
            tightening.report(level)
        assert tightening.rtol == pytest.approx(min(1e-2, 0.1 * level))
    for _ in range(800):
        tightening.report(1e-9)
    assert tightening.rtol == 1e-6


def test_it_is_never_loosened_and_one_lucky_batch_does_not_tighten_it():
    tightening = Tightening(RULE)
    rtols = []
    for _ in range(100):
        tightening.report(0.05)
    tightening.report(0.0)
    assert tightening.rtol > 0.9 * 5e-3
    for number in range(300):
        tightening.report(error(number))
        rtols.append(tightening.rtol)
    for _ in range(50):
        tightening.report(1.0)
        rtols.append(tightening.rtol)
    assert all(after <= before for before, after in itertools.pairwise(rtols))


def test_an_error_that_is_not_finite_says_nothing():
    tightening = Tightening(RULE)
    tightening.report(0.05)
    before = tightening.state_dict()
    for value in (math.nan, math.inf):
        tightening.report(value)
    assert tightening.state_dict() == before


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"start": 0.0}, "expected 0 < tightest <= start < 1"),
        ({"start": 1e-6, "tightest": 1e-4}, "expected 0 < tightest <= start < 1"),
        ({"start": math.nan}, "expected 0 < tightest <= start < 1"),
        ({"factor": 0.0}, "factor=0.0"),
        ({"factor": math.inf}, "factor=inf"),
    ],
)
def test_settings_that_make_no_sense(arguments, expected):
    with pytest.raises(InputError, match=expected):
        LabelTolerance(**arguments)


def test_a_negative_error_is_refused():
    with Stream(Toy(), **SMALL, rtol=RULE) as stream, pytest.raises(InputError, match=r"reported as -0.5"):
        stream.report(-0.5)


def test_a_fixed_tolerance_hears_nothing():
    with Stream(Toy(), **SMALL, rtol=1e-5) as stream:
        stream.report(1e-9)
        assert not stream.follows_error
        assert stream.rtol == 1e-5
        assert stream.state_dict()["tightening"] is None


@pytest.mark.parametrize("schedule", ["async", "lockstep"])
def test_certificates_keep_the_tolerance_of_their_ticket(schedule):
    """Oracle: the toy's solutions are wrong by exactly what their tickets asked for."""
    with Stream(Loose(), **SMALL, rtol=RULE, schedule=schedule, engine="inline") as stream:
        seen = set()
        for number in range(60):
            batch = stream.next_batch().samples
            factor = batch["solution"][:, -1].double() / batch["coefficient"].double().sum(dim=1)
            assert torch.allclose(factor, 1 + batch.certificate.tolerance, atol=1e-6)
            seen.update(batch.certificate.tolerance.tolist())
            stream.report(error(number))
    assert max(seen) == 1e-2
    assert min(seen) < 5e-3
    assert len(seen) > 4


def test_a_sample_is_judged_by_the_tolerance_of_its_ticket():
    source = Loose(missing=frozenset({2, 380}))
    with Stream(source, **SMALL, rtol=RULE, schedule="lockstep", reuse=1) as stream:
        for number in range(60):
            stream.next_batch()
            stream.report(error(number))
        first, second = stream.ledger.rejected
    assert "residual 1.00e-01 above the tolerance 1.00e-02" in first.reason
    tolerance = float(second.reason.rsplit(" ", 1)[1])
    assert tolerance < 5e-3
    assert f"residual {10 * tolerance:.2e}" in second.reason


@pytest.mark.parametrize("reuse", [1, 2.5])
def test_lockstep_does_not_depend_on_engine_workers_or_timing(reuse):
    reference, rtols, _ = trained(0, 60, engine="inline", reuse=reuse)
    assert len(set(reference)) == 60
    assert rtols[0] == 1e-2
    assert rtols[-1] < 5e-3
    for workers in (1, 2, 3):
        assert trained(0, 60, workers=workers, reuse=reuse)[0] == reference


def test_lockstep_does_not_depend_on_when_an_empty_ticket_comes():
    """A batch is due when 30 + 6 k samples have entered: after 216 of them, and the next ticket has none to offer.

    The inline engine looks at that ticket when the batch after has room for it, threads have solved it long before.
    """
    empty = frozenset(range(216, 224))
    reference = trained(0, 60, source=Loose(broken=empty), engine="inline", reuse=1)[0]
    assert trained(0, 60, source=Loose(broken=empty), workers=2, reuse=1)[0] == reference


@pytest.mark.parametrize("cut", [0, 1, 7, 33])
def test_a_saved_lockstep_stream_continues_bit_for_bit(cut, tmp_path):
    whole, rtols, _ = trained(0, cut + 30, workers=2)
    first, _, state = trained(0, cut, workers=3)
    torch.save(state, tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    rest, continued, _ = trained(cut, cut + 30, state=state, engine="inline")
    assert first + rest == whole
    assert continued == rtols[cut:]


def test_a_state_of_another_rule_is_refused_by_name():
    state = trained(0, 2)[2]
    with pytest.raises(InputError, match=r"rtol was 'LabelTolerance\(start=0.01, .*' and is 1e-05"):
        trained(2, 3, state=state, rtol=1e-5)
    with pytest.raises(InputError, match=r"rtol was .*factor=0.1\)' and is .*factor=0.2\)'"):
        trained(2, 3, state=state, rtol=LabelTolerance(1e-2, 1e-6, 0.2))


def test_two_streams_of_one_rule_do_not_share_what_was_reported():
    with Stream(Toy(), **SMALL, rtol=RULE) as one, Stream(Toy(), **SMALL, rtol=RULE) as other:
        one.report(1e-3)
        assert one.rtol == pytest.approx(1e-4)
        assert other.rtol == 1e-2

"""The stream: same batches whatever the timing, exact continuation, honest accounts of what happened."""

import hashlib
import threading
import time

import pytest
import torch
from stream.toys import Toy

from pdekit.core import InputError, PdekitError
from pdekit.stream import EndOfStream, Fifo, Firo, Reservoir, Stream, TicketFailed

SMALL = {"capacity": 96, "watermark": 24, "ticket_size": 8, "batch_size": 6, "seed": 5}


def digest(batch) -> str:
    parts = [batch.indices.numpy().tobytes(), *(v.numpy().tobytes() for v in batch.samples.fields.values())]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def jitter(first: int) -> float:
    return (first * 7919 % 5) * 4e-4


def batches(count: int, *, source=None, state=None, **settings) -> tuple[list[str], dict]:
    with Stream(source or Toy(), **{**SMALL, "schedule": "lockstep", **settings}) as stream:
        if state is not None:
            stream.load_state_dict(state)
        hashes = [digest(stream.next_batch()) for _ in range(count)]
        return hashes, stream.state_dict()


@pytest.mark.parametrize("policy", ["reservoir", "firo", "fifo"])
def test_lockstep_does_not_depend_on_engine_workers_or_timing(policy):
    reuse = 1 if policy != "reservoir" else 2.5
    bad = {"missing": frozenset({3, 40, 41}), "broken": frozenset({17, *range(56, 64)})}
    reference, _ = batches(60, engine="inline", policy=policy, reuse=reuse, source=Toy(**bad))
    assert len(set(reference)) == 60
    for workers in (1, 2, 3):
        source = Toy(delay=jitter, **bad)
        assert batches(60, workers=workers, policy=policy, reuse=reuse, source=source)[0] == reference


def test_lockstep_meets_the_reuse_exactly():
    """Oracle: batch k leaves after W + B + floor(k B / r) inserts."""
    with Stream(Toy(), **SMALL, schedule="lockstep", reuse=2.5) as stream:
        for k in range(80):
            stream.next_batch()
            assert stream.limiter.inserts == 24 + 6 + k * 12 // 5


@pytest.mark.parametrize("cut", [0, 1, 7, 33])
@pytest.mark.parametrize("policy", ["reservoir", "firo", "fifo"])
def test_a_saved_lockstep_stream_continues_bit_for_bit(cut, policy, tmp_path):
    settings = {"policy": policy, "reuse": (1, 4), "source": Toy(delay=jitter, broken=frozenset({9, 30}))}
    whole, _ = batches(cut + 30, workers=2, **settings)
    first, state = batches(cut, workers=3, **settings)
    torch.save(state, tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    rest, _ = batches(30, state=state, engine="inline", **settings)
    assert first + rest == whole


def test_the_state_holds_occupied_slots_only():
    with Stream(Toy(), **{**SMALL, "capacity": 4000}, schedule="lockstep", reuse=1) as stream:
        stream.next_batch()
        state = stream.state_dict()
    assert state["storage"]["fields"]["solution"].shape == (30, 8)


def test_a_state_of_other_settings_is_refused_by_name():
    _, state = batches(2)
    with pytest.raises(InputError, match=r"seed was 5 and is 6; batch_size was 6 and is 4"):
        batches(1, state=state, seed=6, batch_size=4)


def test_loading_into_a_running_stream_starts_over_from_the_state():
    whole, _ = batches(20)
    _, state = batches(10)
    with Stream(Toy(), **SMALL, schedule="lockstep") as stream:
        stream.next_batch()
        stream.load_state_dict(state)
        assert [digest(stream.next_batch()) for _ in range(10)] == whole[10:]


@pytest.mark.parametrize("engine", ["inline", "thread"])
@pytest.mark.parametrize("schedule", ["async", "lockstep"])
@pytest.mark.parametrize("policy", ["reservoir", "firo", "fifo"])
def test_with_a_budget_every_sample_is_used_and_the_stream_ends(engine, schedule, policy):
    source = Toy(missing=frozenset({11}), broken=frozenset({100}))
    with Stream(source, **SMALL, policy=policy, schedule=schedule, engine=engine, budget=150) as stream:
        used = [batch.indices for batch in stream]
        with pytest.raises(EndOfStream, match="all 150 samples of the budget were solved"):
            stream.next_batch()
    assert set(torch.cat(used).tolist()) == set(range(150)) - {11, 100}
    if policy != "reservoir":
        assert len(torch.cat(used)) == 148
    assert sorted(source.solved) == list(range(150))


@pytest.mark.parametrize("cut", [3, 20])
def test_an_async_stream_resumes_without_losing_a_sample(cut):
    """Oracle: with a budget every sample is used at least once, interrupted or not, and enters once."""
    settings = {**SMALL, "workers": 2, "budget": 200}
    with Stream(Toy(delay=jitter), **settings) as stream:
        used = [stream.next_batch().indices for _ in range(cut)]
        state = stream.state_dict()
        for _ in range(5):
            stream.next_batch()
    with Stream(Toy(delay=jitter), **settings) as stream:
        stream.load_state_dict(state)
        used += [batch.indices for batch in stream]
        assert stream.limiter.inserts == 200
    assert set(torch.cat(used).tolist()) == set(range(200))


def test_values_are_the_sources_rounded_once():
    """Oracle: drawing and solving the same indices outside the stream."""
    source = Toy()
    with Stream(source, **SMALL, schedule="lockstep") as stream:
        batch = [stream.next_batch() for _ in range(9)][-1]
    inputs = source.draw(batch.indices.tolist(), seed=5)
    expected = source.solve(inputs, rtol=1e-5)
    for name in ("coefficient", "solution"):
        assert batch.samples[name].dtype == torch.float32
        assert torch.equal(batch.samples[name], expected[name].float())
    assert bool(batch.samples.certificate.accepted.all())
    assert torch.equal(batch.samples.identity.indices, batch.indices)


def test_batches_are_fresh_tensors():
    with Stream(Toy(), **SMALL, schedule="lockstep") as stream:
        first = stream.next_batch()
        before = digest(first)
        for _ in range(40):
            stream.next_batch()
        assert digest(first) == before


def test_rejected_samples_are_recorded_counted_and_never_served():
    source = Toy(missing=frozenset({2, 50}), broken=frozenset({33}))
    with Stream(source, **SMALL, schedule="lockstep", reuse=1) as stream:
        used = torch.cat([stream.next_batch().indices for _ in range(40)])
        reasons = {r.index: r.reason for r in stream.ledger.rejected}
        assert stream.statistics().rejected == 3
    assert not {2, 33, 50} & set(used.tolist())
    assert "residual 1.00e-04 above the tolerance 1.00e-05" in reasons[2]
    assert "solution is not finite" in reasons[33]


@pytest.mark.parametrize("engine", ["inline", "thread"])
def test_a_tolerance_out_of_reach_ends_with_its_reason(engine):
    source = Toy(missing=frozenset(range(10_000)))
    with (
        Stream(source, **SMALL, engine=engine, rtol=1e-20) as stream,
        pytest.raises(PdekitError, match=r"Every sample .* rejected; sample \d+: residual .* rtol=1e-20"),
    ):
        stream.next_batch()


@pytest.mark.parametrize("engine", ["inline", "thread"])
def test_an_exception_in_a_worker_arrives_with_its_ticket(engine):
    with Stream(Toy(raising=frozenset({20})), **SMALL, engine=engine) as stream:
        with pytest.raises(TicketFailed, match=r"samples 16 to 23 .*'train', seed 5.*RuntimeError: cannot solve") as e:
            list(stream)
        assert isinstance(e.value.__cause__, RuntimeError)
        with pytest.raises(PdekitError, match="closed"):
            stream.next_batch()


def test_a_worker_that_exits_does_not_leave_the_consumer_waiting():
    def leave(first: int) -> float:
        raise SystemExit("user code called exit")

    with Stream(Toy(delay=leave), **SMALL) as stream, pytest.raises(TicketFailed, match="SystemExit: user code"):
        stream.next_batch()


def test_a_loaded_stream_can_be_saved_again_before_it_runs():
    whole, _ = batches(20, workers=2)
    _, state = batches(9, workers=2)
    stream = Stream(Toy(), **SMALL, schedule="lockstep")
    stream.load_state_dict(state)
    assert batches(11, state=stream.state_dict())[0] == whole[9:]


def test_close_does_not_hang_and_ends_the_threads():
    stream = Stream(Toy(delay=lambda first: 0.05), **SMALL, workers=3)
    stream._running()
    start = time.monotonic()
    stream.close()
    stream.close()
    assert time.monotonic() - start < 2
    assert not [t for t in threading.enumerate() if t.name.startswith("pdekit-worker")]


def test_async_keeps_the_reuse_inside_the_band():
    with Stream(Toy(delay=lambda first: 0.01), **SMALL, reuse=(1, 3)) as stream:
        for _ in range(100):
            stream.next_batch()
        assert stream.limiter.reuse <= 3 + 12 / stream.limiter.inserts
        assert stream.statistics().trainer_stall > 0.5


def test_a_slow_trainer_stops_the_solver_and_the_statistics_say_why():
    with Stream(Toy(), **SMALL, reuse=(2, 4)) as stream:
        for _ in range(60):
            stream.next_batch()
            time.sleep(0.004)
        statistics = stream.statistics()
    assert statistics.solver_stall > 0.5
    assert max(statistics.solver_waits, key=lambda cause: statistics.solver_waits[cause]) == "reuse"
    assert 1.5 < statistics.reuse < 3
    assert statistics.mean_iterations == 7
    assert statistics.gets == 360
    assert statistics.solver_waits["reuse"] <= statistics.worker_seconds


def test_statistics_continue_across_a_resume():
    with Stream(Toy(delay=jitter), **SMALL) as stream:
        for _ in range(10):
            stream.next_batch()
        before, state = stream.statistics(), stream.state_dict()
    with Stream(Toy(delay=jitter), **SMALL) as stream:
        stream.load_state_dict(state)
        assert stream.statistics().gets == before.gets
        assert stream.statistics().seconds == pytest.approx(before.seconds, abs=0.05)
        stream.next_batch()
        assert stream.statistics().seconds > before.seconds


def test_first_fill_draws_nothing():
    with Stream(Toy(), **SMALL, schedule="lockstep") as stream:
        samples = stream.first_fill()
        assert len(samples) == 30
        assert stream.statistics().gets == 0
        assert digest(stream.next_batch()) == batches(1)[0][0]


def test_free_running_fills_the_buffer():
    with Stream(Toy(), **SMALL, reuse=None) as stream:
        for _ in range(60):
            stream.next_batch()
            time.sleep(0.001)
        assert stream.statistics().fill == 1


def test_automatic_settings():
    stream = Stream(Toy())
    assert (stream.policy.watermark, stream.workers, stream.limiter.band) == (1024, 1, (1.0, 4.0))
    assert isinstance(stream.policy, Reservoir)
    assert Stream(Toy(), capacity=40).policy.watermark == 16


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"policy": "reservior"}, "policy='reservior' is unknown. Did you mean reservoir?"),
        ({"schedule": "asynchronous"}, "schedule='asynchronous' is unknown. Known: async, lockstep"),
        ({"engine": "threads"}, "engine='threads' is unknown. Did you mean thread?"),
        ({"workers": 0}, "workers=0; expected 'auto' or a number"),
        ({"reuse": None, "schedule": "lockstep"}, "needs a reuse target"),
        ({"capacity": 10}, "watermark + batch size"),
        ({"watermark": 4090}, "watermark + batch size = 4090"),
        ({"ticket_size": 0}, "ticket_size=0"),
        ({"budget": 0}, "budget=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"rtol": 0.0}, "rtol=0.0; expected a number between 0 and 1"),
        ({"policy": Firo(64, repeats=3), "reuse": 1}, "exactly 3 times"),
        ({"policy": Fifo(64), "reuse": (2, 4)}, "exactly 1 times"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(InputError, match=message.replace("+", r"\+")):
        Stream(Toy(), **settings)

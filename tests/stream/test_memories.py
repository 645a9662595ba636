"""Methods that carry something from ticket to ticket: saved with the stream, refused where the past must not matter."""

import threading
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from stream.test_stream import SMALL
from stream.toys import Toy

from pdekit.core import InputError
from pdekit.domain import Disk
from pdekit.families import Darcy
from pdekit.fields import GaussianField, LogNormal
from pdekit.solvers import (
    AMG,
    CG,
    GCRODR,
    Auto,
    DeflatedCG,
    Direct,
    KeptFactor,
    KeptTransfers,
    Memory,
    RecycleSpace,
    ReducedBasis,
    ReducedGuess,
    memories,
)
from pdekit.stream import Stream, generate
from pdekit.train import StreamData


@dataclass(eq=False)
class Seen(Memory):
    """The first sample of every ticket solved; it notices two threads at once."""

    firsts: list[int] = field(default_factory=list, repr=False)
    busy: Any = field(default_factory=threading.Lock, repr=False)

    def reset(self):
        self.firsts.clear()

    def add(self, first: int) -> None:
        assert self.busy.acquire(blocking=False), "two threads at once"
        self.firsts.append(first)
        self.busy.release()

    def state_dict(self):
        assert self.busy.acquire(blocking=False), "read while it is used"
        self.busy.release()
        return {"firsts": torch.tensor(self.firsts)}

    def load_state_dict(self, state):
        self.firsts[:] = state["firsts"].tolist()


@dataclass(frozen=True)
class Remembering:
    """A method that tells its memory what it solves."""

    memory: Seen | None = None


@dataclass
class Slow(Toy):
    """Holds the memory of its method for a while."""

    def solve(self, inputs, *, rtol, method=None, guess=None, memory=None, throw=True):
        method.memory.add(int(inputs.identity.indices[0]))
        with method.memory.busy:
            return super().solve(inputs, rtol=rtol, throw=throw)


def test_a_memory_goes_from_ticket_to_ticket_and_is_saved(tmp_path):
    seen = Seen()
    with Stream(Slow(), **SMALL, method=Remembering(seen)) as stream:
        for _ in range(10):
            stream.next_batch()
        torch.save(stream.state_dict(), tmp_path / "state.pt")
        for _ in range(10):
            stream.next_batch()
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    kept = state["memories"][0]["firsts"].tolist()
    assert kept == seen.firsts[: len(kept)] == list(range(0, 8 * len(kept), 8))
    again = Seen()
    with Stream(Slow(), **SMALL, method=Remembering(again)) as stream:
        stream.load_state_dict(state)
        assert again.firsts == kept
        for _ in range(30):
            stream.next_batch()
    assert len(again.firsts) > len(kept)


def test_a_memory_is_not_read_while_a_ticket_is_solved():
    """The memory itself refuses; a ticket takes so long that a careless reader would meet it every time."""
    with Stream(Slow(delay=lambda first: 3e-3), **SMALL, method=Remembering(Seen()), reuse=1) as stream:
        for _ in range(12):
            stream.next_batch()
            assert stream.state_dict()["memories"]


def test_validation_waits_for_the_ticket_in_work():
    stream = Stream(Slow(delay=lambda first: 2e-3), **SMALL, method=Remembering(Seen()))
    with stream:
        stream.first_fill()
        data = StreamData(stream, validation=40)
        data.setup("fit")
    assert len(data.validation_samples) == 40


@pytest.mark.parametrize("engine", ["inline", "thread"])
def test_lockstep_refuses_a_memory(engine):
    with pytest.raises(InputError, match=r"carries a memory \(Seen\) from ticket to ticket.*lockstep gives the same"):
        Stream(Toy(), **SMALL, method=Remembering(Seen()), schedule="lockstep", engine=engine)


def test_generate_refuses_a_memory(tmp_path):
    with pytest.raises(InputError, match=r"carries a memory \(Seen\).*generate gives the same samples"):
        generate(Toy(), tmp_path / "data", 8, method=Remembering(Seen()))
    assert not (tmp_path / "data").exists()


def test_several_workers_cannot_share_a_memory():
    with pytest.raises(InputError, match=r"serves one worker at a time; the stream has 3. Expected workers=1"):
        Stream(Toy(), **SMALL, method=Remembering(Seen()), workers=3)


def test_without_a_memory_nothing_is_refused_or_saved():
    with Stream(Toy(), **SMALL, method=Remembering(), schedule="lockstep", workers=3) as stream:
        assert stream.state_dict()["memories"] == []


FAMILY = Darcy(Disk(refinements=3), LogNormal(GaussianField(alpha=2, tau=3)))
METHODS = {
    "kept transfers": lambda: CG(AMG(kept=KeptTransfers())),
    "kept factor": lambda: Direct(kept=KeptFactor()),
    "deflation space": lambda: DeflatedCG(vectors=4, space=RecycleSpace(4)),
    "recycled space": lambda: GCRODR(vectors=4, space=RecycleSpace(4)),
    "reduced basis": lambda: ReducedGuess(CG(), basis=ReducedBasis(size=8)),
    "experience": lambda: Auto(learn=True),
}


@pytest.mark.parametrize("name", METHODS)
def test_what_a_method_has_learnt_is_saved_with_the_stream_and_given_back(name, tmp_path):
    """Oracle: the memory itself, and certificates that a resumed stream meets as well."""
    settings = {**SMALL, "watermark": 8, "capacity": 32, "rtol": 1e-7, "reuse": 1}
    first, second = METHODS[name](), METHODS[name]()
    with Stream(FAMILY, **settings, method=first) as stream:
        for _ in range(4):
            stream.next_batch()
        torch.save(stream.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    with Stream(FAMILY, **settings, method=second) as stream:
        stream.load_state_dict(state)
        saved, given = state["memories"], [memory.state_dict() for memory in memories(second)]
        assert len(saved) == len(given) >= 1
        assert repr(saved) == repr(given)
        for _ in range(4):
            assert bool(stream.next_batch().samples.certificate.accepted.all())
    with pytest.raises(InputError, match="from ticket to ticket"):
        Stream(FAMILY, **settings, method=first, schedule="lockstep")

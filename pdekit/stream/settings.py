"""The arguments of a stream: whether they make sense, and what they become."""

from collections.abc import Iterable
from dataclasses import is_dataclass
from numbers import Real
from typing import Any

from pdekit.core.errors import InputError, did_you_mean
from pdekit.solvers.memory import Memory, memories
from pdekit.stream.fifo import Fifo
from pdekit.stream.firo import Firo
from pdekit.stream.label_tolerance import LabelTolerance
from pdekit.stream.limiter import Limiter
from pdekit.stream.policy import Policy
from pdekit.stream.reservoir import Reservoir

__all__ = [
    "check_capacity",
    "check_choice",
    "check_memories",
    "check_rtol",
    "check_uses",
    "describe",
    "make_policy",
    "number_of_workers",
]

POLICIES = {"fifo": Fifo, "firo": Firo, "reservoir": Reservoir}


def check_choice(name: str, given: str, known: Iterable[str]) -> None:
    """Refuse a word that is not known."""
    if given not in known:
        raise InputError(f"{name}={given!r} is unknown. {did_you_mean(str(given), known)}")


def make_policy(policy: str | Policy, capacity: int, watermark: int | None, seed: int, batch_size: int) -> Policy:
    """The policy of that name, or the one given."""
    if isinstance(policy, Policy):
        return policy
    check_choice("policy", policy, POLICIES)
    if watermark is None:
        watermark = max(0, min(max(batch_size, capacity // 4), capacity - batch_size))
    return POLICIES[policy](capacity, watermark=watermark, seed=seed)


def check_capacity(policy: Policy, batch_size: int) -> None:
    """Refuse a buffer that cannot hold a batch above its watermark."""
    if policy.capacity < policy.watermark + batch_size:
        raise InputError(
            f"The capacity {policy.capacity} is below watermark + batch size = {policy.watermark} + {batch_size}: "
            "solver and trainer could wait for each other for ever."
        )


def check_uses(policy: Policy, limiter: Limiter) -> None:
    """Refuse a policy that uses samples more or less often than the limiter allows."""
    if policy.uses is None or limiter.band is None:
        return
    least, largest = limiter.band
    if not least <= policy.uses <= largest:
        raise InputError(
            f"{type(policy).__name__} uses each sample exactly {policy.uses} times, which lies outside "
            f"reuse=({least:g}, {largest:g}); expected reuse={policy.uses} or a pair around it."
        )


def check_memories(what: str, method: Any, workers: int = 1, *, ordered: bool) -> tuple[Memory, ...]:
    """The memories of a method; refuse them where samples must not depend on the past, or workers would share them."""
    found = memories(method)
    carried = f"{type(method).__name__} carries a memory ({', '.join(sorted({type(m).__name__ for m in found}))})"
    if found and ordered:
        raise InputError(
            f"{carried} from ticket to ticket, so that samples would depend on what was solved before; {what} gives "
            "the same samples whatever was. Expected a method without a memory, which keeps what it finds for the rest "
            "of its ticket (Auto with learn=False), or a stream with schedule='async'."
        )
    if found and workers > 1:
        raise InputError(
            f"{carried} from ticket to ticket, which serves one worker at a time; {what} has {workers}. Expected "
            "workers=1."
        )
    return found


def check_rtol(rtol: Any) -> float:
    """The tolerance that tickets begin with; refuse what is none."""
    if isinstance(rtol, LabelTolerance):
        return rtol.start
    if isinstance(rtol, bool) or not isinstance(rtol, Real) or not 0 < float(rtol) < 1:
        raise InputError(f"rtol={rtol!r}; expected a number between 0 and 1, or a rule such as LabelTolerance().")
    return float(rtol)


def describe(method: Any) -> str:
    """A text equal for equal methods; the plain repr of an object holds its address."""
    return repr(method) if method is None or is_dataclass(method) else type(method).__qualname__


def number_of_workers(workers: int | str, engine: str) -> int:
    """``auto`` is one, because the solver itself spreads a ticket over the cores."""
    if workers == "auto" or engine == "inline":
        return 1
    if not isinstance(workers, int) or workers < 1:
        raise InputError(f"workers={workers!r}; expected 'auto' or a number of at least 1.")
    return workers

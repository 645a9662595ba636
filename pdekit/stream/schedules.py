"""When samples enter the buffer and when a batch leaves it."""

from abc import ABC, abstractmethod

from pdekit.core.errors import InputError
from pdekit.stream.limiter import Limiter
from pdekit.stream.policy import Policy

__all__ = ["Asynchronous", "Lockstep", "Schedule"]


class Schedule(ABC):
    """Decides from counters alone; knows neither workers nor clocks.

    Args:
        policy: the buffer.
        limiter: its counters and its band.
        batch_size: samples a batch.
    """

    ordered: bool
    """Whether tickets must be ingested in their order."""

    def __init__(self, policy: Policy, limiter: Limiter, batch_size: int):
        self.policy, self.limiter, self.batch_size = policy, limiter, batch_size

    @abstractmethod
    def room(self) -> int:
        """How many samples may enter now."""

    @abstractmethod
    def ready(self) -> bool:
        """Whether a batch may be drawn now."""

    def trainer_waits_for(self) -> str:
        """Why no batch may be drawn now: ``watermark`` (first fill), ``reuse`` (limit) or ``samples``."""
        if self.policy.population <= self.policy.watermark:
            return "watermark"
        return "samples" if self.policy.population < self.batch_size else "reuse"

    def solver_waits_for(self) -> str:
        """Why no sample may enter now: ``unseen`` (full of unseen samples), ``reuse`` (limit) or ``trainer``."""
        if self.policy.room() == 0:
            return "unseen"
        return "reuse" if self.room() == 0 else "trainer"


class Asynchronous(Schedule):
    """Whatever is solved enters, as far as the buffer and the limiter allow; the order depends on timing."""

    ordered = False

    def room(self) -> int:
        """How many samples may enter now."""
        return min(self.policy.room(), self.limiter.room())

    def ready(self) -> bool:
        """Whether a batch may be drawn now."""
        if self.policy.over:
            return self.policy.can_get(self.batch_size)
        return self.policy.can_get(self.batch_size) and self.limiter.can_get(self.batch_size)


class Lockstep(Schedule):
    """Samples enter in their order, and batch k leaves after exactly W + B + floor(k B / r) inserts.

    Everything is integer arithmetic on counters, so the batches depend neither on the number of workers nor on their
    timing. r is the lower end of the reuse band, but at least 1. A buffer full of unseen samples releases early.

    Raises:
        InputError: no reuse limit was set, so there is no ratio to follow.
    """

    ordered = True

    def __init__(self, policy: Policy, limiter: Limiter, batch_size: int):
        super().__init__(policy, limiter, batch_size)
        target = limiter.target if policy.uses is None else policy.uses
        if target is None:
            raise InputError("schedule='lockstep' needs a reuse target, but reuse is None; expected e.g. reuse=2.")
        self._numerator, self._denominator = target.numerator, target.denominator

    def _required(self) -> int:
        start = self.policy.watermark + self.batch_size
        return start + self.limiter.gets * self._denominator // self._numerator

    def room(self) -> int:
        """How many samples may enter before the next batch leaves."""
        return max(0, min(self.policy.room(), self._required() - self.limiter.inserts))

    def ready(self) -> bool:
        """Whether the next batch leaves now."""
        if self.policy.over:
            return self.policy.can_get(self.batch_size)
        return self.policy.can_get(self.batch_size) and self.room() == 0

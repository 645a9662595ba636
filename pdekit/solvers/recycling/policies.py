"""When a recycled space is updated: updates cost more than they save once a space is good."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from pdekit.core.checks import check_limit, check_number
from pdekit.core.errors import InputError

__all__ = ["Always", "Freeze", "Never", "Record", "UpdatePolicy"]


@dataclass(frozen=True)
class Record:
    """What is known of the systems that a space has served; each solve makes a new one by :meth:`after`.

    Effort is counted in iterations for each factor of e by which the residual fell, so that systems solved to different
    tolerances compare.

    Args:
        learnt: systems in a row during which the space was updated, up to the last time that it was.
        updating: whether it was updated during the last system.
        reference: effort of the first system after the last update; None where there was none since.
        effort: of the last system; None where there was none.
        failed: whether the last system missed its tolerance.
    """

    learnt: int = 0
    updating: bool = False
    reference: float | None = None
    effort: float | None = None
    failed: bool = False

    def after(self, *, updated: bool, iterations: int, reduction: float, converged: bool) -> "Record":
        """The record with one more system.

        Args:
            updated: whether the space was updated while the system was solved.
            iterations: it took; a system that took none says nothing unless it failed.
            reduction: the last norm of the residual over the first.
            converged: whether it met its tolerance.

        Example:
            >>> record = Record().after(updated=True, iterations=30, reduction=1e-8, converged=True)
            >>> record.learnt, round(record.effort, 2)
            (1, 1.63)
        """
        if iterations == 0 and converged:
            return self
        gained = -math.log(reduction) if 0 < reduction < 1 else 0.0
        effort = iterations / max(gained, 0.1)
        if updated:
            learnt = self.learnt + 1 if self.updating else 1
            return Record(learnt, True, None, effort, not converged)
        reference = effort if self.reference is None else self.reference
        return Record(self.learnt, False, reference, effort, not converged)


class UpdatePolicy(ABC):
    """Decides before each system whether the space is updated while that is solved; subclasses are frozen recipes."""

    @abstractmethod
    def updates(self, record: Record) -> bool:
        """Whether to update the space during the next system.

        Args:
            record: of the systems that the space has served.
        """


@dataclass(frozen=True)
class Always(UpdatePolicy):
    """Update the space in every cycle of every system, as published: fewest iterations, often not the least time.

    Example:
        >>> Always().updates(Record(learnt=1000))
        True
    """

    def updates(self, record: Record) -> bool:
        return True


@dataclass(frozen=True)
class Never(UpdatePolicy):
    """Use the space as it was handed in, such as one from a reduced basis.

    Example:
        >>> Never().updates(Record())
        False
    """

    def updates(self, record: Record) -> bool:
        return False


@dataclass(frozen=True)
class Freeze(UpdatePolicy):
    """Update the space during the first systems, then freeze it, until it no longer serves.

    It is updated again, during ``after`` systems, once a system fails or takes more than ``worse`` times the iterations
    (for each factor of e of the residual) of the first system with the frozen space.

    Args:
        after: systems during which the space is updated.
        worse: the factor.

    Example:
        >>> policy, record = Freeze(after=1, worse=1.5), Record()
        >>> for iterations in (40, 20, 22, 40, 21):
        ...     updates = policy.updates(record)
        ...     print(iterations, updates)
        ...     record = record.after(updated=updates, iterations=iterations, reduction=1e-8, converged=True)
        40 True
        20 False
        22 False
        40 False
        21 True
    """

    after: int = 4
    worse: float = 1.5

    def __post_init__(self):
        check_limit("Freeze", "after", self.after)
        check_number("Freeze", "worse", self.worse)
        if not self.worse > 1:
            raise InputError(f"Freeze has worse={self.worse}; expected a factor above 1, such as 1.5.")

    def updates(self, record: Record) -> bool:
        if record.learnt < self.after or record.failed:
            return True
        if record.reference is None or record.effort is None:
            return False
        return record.effort > self.worse * record.reference

"""What Auto has learnt about kinds of systems."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch

from pdekit.core.errors import InputError
from pdekit.solvers.bandits.base import Bandit
from pdekit.solvers.bandits.elimination import SuccessiveElimination
from pdekit.solvers.learning.context import Context, Glance
from pdekit.solvers.learning.kind import Kind, Pull
from pdekit.solvers.learning.report import report
from pdekit.solvers.memory import Memory
from pdekit.solvers.method import Method

__all__ = ["Experience"]

_KEPT = 10_000
"""Losses that are kept for replaying."""

_HOW = ("first", "measured", "cut", "predicted", "refused", "cold")


class Experience(Memory):
    """What methods have cost, by kind of system: the memory of ``Auto(learn=True)``. Print it for a report.

    A bandit for each kind of system chooses among the methods for it. All losses are kept: replayed in the same
    sequence of systems, they lead to the same choices again, whatever the clock says.

    Args:
        bandit: makes the bandit of a kind of system from its number of arms; None means
            :class:`~pdekit.solvers.bandits.elimination.SuccessiveElimination`.

    Example:
        >>> from pdekit.solvers import Auto
        >>> auto = Auto(learn=True)
        >>> auto.experience
        Experience()
        >>> print(auto.experience)
        Experience of no system yet
    """

    def __init__(self, bandit: Callable[[int], Bandit] | None = None):
        if bandit is not None and not callable(bandit):
            raise InputError(
                f"Experience has bandit={bandit!r}; expected what makes a bandit from a number of arms, such as the "
                "class TsallisINF."
            )
        self._given = bandit
        self.bandit: Callable[[int], Bandit] = SuccessiveElimination if bandit is None else bandit
        self.reset()

    def __repr__(self) -> str:
        if self._given is None:
            return "Experience()"
        return f"Experience(bandit={getattr(self._given, '__name__', repr(self._given))})"

    def __str__(self) -> str:
        return report(self.kinds)

    def reset(self) -> None:
        self.kinds: list[Kind] = []
        self._seen: Glance | None = None
        self.latest: Kind | None = None
        """Kind of the last call."""
        self._pulls: deque[Pull] = deque(maxlen=_KEPT)
        self._coming: deque[Pull] = deque()

    @property
    def pulls(self) -> tuple[Pull, ...]:
        """The last 10,000 losses, in their order."""
        return tuple(self._pulls)

    def replay(self, pulls: Iterable[Pull]) -> None:
        """Take these losses instead of those of the clock, one after the other, until they are used up.

        Args:
            pulls: what :attr:`pulls` gave in another run, from the call on from which this one is to repeat it.
        """
        self._coming = deque(Pull(*pull) for pull in pulls)

    @property
    def coming(self) -> Pull | None:
        """The next loss to be replayed."""
        return self._coming[0] if self._coming else None

    def tell(self, pull: Pull) -> None:
        """Take in a loss; the one to be replayed in place of it, where there is one.

        Raises:
            InputError: the losses to be replayed are of another sequence of systems.
        """
        if self._coming:
            recorded = self._coming.popleft()
            if (recorded.kind, recorded.arm) != (pull.kind, pull.arm):
                raise InputError(
                    f"The next loss to be replayed is of arm {recorded.arm} for systems of kind {recorded.kind}, but "
                    f"arm {pull.arm} was chosen for kind {pull.kind}: the losses are of another sequence of systems, "
                    "or they begin at another call."
                )
            pull = recorded
        self._pulls.append(pull)
        self.kinds[pull.kind].tell(pull)

    def look(self, glance: Glance, second: Glance | None) -> float | None:
        """Relative change of a matrix since the one before; of the second of a batch since the first."""
        before, self._seen = self._seen, glance
        return glance.change(before) if second is None else second.change(glance)

    def kind(self, context: Context, table: Sequence[Method], arms: Callable[[], Sequence[Method]]) -> Kind:
        """The kind that a system is of, a new one if it is like none before.

        Args:
            context: of the system.
            table: methods to fall back on.
            arms: makes the arms of a new kind.
        """
        for kind in self.kinds:
            if kind.context.like(context):
                break
        else:
            kind = Kind(len(self.kinds), context, arms(), self.bandit)
            self.kinds.append(kind)
        if not kind.arms:
            kind.complete(arms())
        kind.met(context)
        kind.table = tuple(table)
        self.latest = kind
        return kind

    def elsewhere(self, kind: Kind, arm: int) -> float | None:
        """What an arm costs for systems of the same matrix pattern that change more or less."""
        name = kind.records[arm].arm
        for other in self.kinds:
            if other is not kind and other.context.alike(kind.context):
                for record in other.records:
                    if record.arm == name and record.level is not None:
                        return record.level
        return None

    def state_dict(self) -> dict[str, Any]:
        seen = None if self._seen is None else tuple(self._seen)
        return {
            "experience": 1,
            "kinds": [kind.state_dict() for kind in self.kinds],
            "seen": seen,
            "pulls": torch.tensor([
                (p.kind, p.arm, p.loss, _HOW.index(p.how), p.systems, p.limit) for p in self._pulls
            ], dtype=torch.float64).reshape(-1, 6),
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state.get("experience") != 1:
            raise InputError("This is no state of an Experience; expected what its state_dict() gave.")
        self.reset()
        self.kinds = [Kind.from_state(kind, self.bandit) for kind in state["kinds"]]
        self._seen = None if state["seen"] is None else Glance(*state["seen"])
        for kind, arm, loss, how, systems, limit in state["pulls"].tolist():
            self._pulls.append(Pull(int(kind), int(arm), loss, _HOW[int(how)], int(systems), int(limit)))

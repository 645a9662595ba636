"""What Auto has learnt about kinds of systems."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch

from pdekit.core.errors import InputError
from pdekit.solvers.bandits.base import Bandit
from pdekit.solvers.bandits.elimination import SuccessiveElimination
from pdekit.solvers.learning.arms import name_of
from pdekit.solvers.learning.context import Context, Glance
from pdekit.solvers.learning.kind import HOW, Kind, Pull, bandit_for
from pdekit.solvers.learning.report import report
from pdekit.solvers.learning.states import checked, each, instance, number, optional, whole
from pdekit.solvers.memory import Memory
from pdekit.solvers.method import Method

__all__ = ["Experience"]

_KEPT = 10_000
"""Losses that are kept for replaying."""


class Experience(Memory):
    """What methods have cost, by kind of system: the memory of ``Auto(learn=True)``. Print it for a report.

    A bandit for each kind of system chooses among the methods for it. All losses are kept: replayed in the same
    sequence of systems, they lead to the same choices again, whatever the clock says.

    Args:
        bandit: makes the bandit of a kind of system from its number of arms; None means
            :class:`~pdekit.solvers.bandits.elimination.SuccessiveElimination`. It is asked for one of 2 arms at once.

    Raises:
        InputError: what is given makes no bandits, or bandits that need a context.

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
        if bandit is not None:
            bandit_for(bandit, 2)
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

        Raises:
            InputError: they are no such losses; those that were still to come stay.
        """
        if not isinstance(pulls, Iterable):
            raise InputError(f"Experience was given {pulls!r} to replay; expected what pulls gave in another run.")
        self._coming = deque(_pull(place, pull) for place, pull in enumerate(pulls))

    @property
    def coming(self) -> Pull | None:
        """The next loss to be replayed."""
        return self._coming[0] if self._coming else None

    def expect(self, kind: int, arm: int, limit: int | None = None) -> Pull | None:
        """The loss to be replayed for an arm, before it is run; None where the clock is to tell.

        Args:
            kind: of the systems.
            arm: that was chosen for them.
            limit: the only one it may have been given; None for any.

        Raises:
            InputError: the losses to be replayed are of another sequence of systems; all that were to come are dropped.
        """
        coming = self.coming
        if coming is None:
            return None
        if (coming.kind, coming.arm) != (kind, arm):
            self._coming.clear()
            raise InputError(
                f"The next loss to be replayed is of arm {coming.arm} for systems of kind {coming.kind}, but arm {arm} "
                f"was chosen for kind {kind}: the losses are of another sequence of systems, or they begin at another "
                "call. Nothing more will be replayed."
            )
        if limit is not None and coming.limit != limit:
            self._coming.clear()
            raise InputError(
                f"The next loss to be replayed is of arm {arm} with a limit of {coming.limit} iterations, where it has "
                f"{limit or 'none'}: the losses are of another sequence of systems. Nothing more will be replayed."
            )
        return coming

    def tell(self, pull: Pull) -> None:
        """Take in a loss; the one to be replayed in place of it, where there is one.

        Raises:
            InputError: the losses to be replayed are of another sequence of systems.
        """
        if self.expect(pull.kind, pull.arm) is not None:
            pull = self._coming.popleft()
        self._pulls.append(pull)
        self.kinds[pull.kind].tell(pull)

    def look(self, glance: Glance, second: Glance | None) -> float | None:
        """Relative change of a matrix since the one before; of the second of a batch since the first."""
        before, self._seen = self._seen, glance
        return glance.change(before) if second is None else second.change(glance)

    def kind(
        self,
        context: Context,
        table: Sequence[Method],
        arms: Callable[[], Sequence[Method]],
        further: Sequence[Method] = (),
    ) -> Kind:
        """The kind that a system is of, a new one if it is like none before.

        Args:
            context: of the system.
            table: methods to fall back on.
            arms: makes the arms of a new kind.
            further: those of the user's among them.

        Raises:
            InputError: the kind is known with other arms.
        """
        for kind in self.kinds:
            if kind.context.like(context):
                break
        else:
            made = arms()
            kind = Kind(len(self.kinds), context, made, bandit_for(self.bandit, len(made)))
            kind.further = tuple(name_of(arm) for arm in further)
            self.kinds.append(kind)
        kind.agree(further, arms)
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
                (p.kind, p.arm, p.loss, HOW.index(p.how), p.systems, p.limit) for p in self._pulls
            ], dtype=torch.float64).reshape(-1, 6),
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave.

        Raises:
            InputError: the state is not one of an experience with such bandits; what was there stays.
        """
        if not isinstance(state, Mapping) or state.get("experience") != 1:
            raise InputError("This is no state of an Experience; expected what its state_dict() gave.")
        state = checked("an Experience", state, _EXPERIENCE)
        kinds = [Kind.from_state(kind, place, self.bandit) for place, kind in enumerate(state["kinds"])]
        seen = None if state["seen"] is None else Glance(*state["seen"])
        rows, pulls = state["pulls"], deque[Pull](maxlen=_KEPT)
        if rows.ndim != 2 or rows.shape[1] != 6 or not bool(torch.isfinite(rows).all()):
            raise InputError(f"The state has pulls of shape {tuple(rows.shape)}; expected finite numbers, (pulls, 6).")
        for place, (kind, arm, loss, how, systems, limit) in enumerate(rows.tolist()):
            known = HOW[int(how)] if 0 <= how < len(HOW) else how
            pull = _pull(place, (int(kind), int(arm), loss, known, int(systems), int(limit)))
            if pull.kind >= len(kinds) or pull.arm >= len(kinds[pull.kind].records):
                raise InputError(f"The state has the pull {place} of an arm that it does not know: {pull}.")
            pulls.append(pull)
        self.reset()
        self.kinds, self._seen, self._pulls = kinds, seen, pulls


def _pull(place: int, pull: Any) -> Pull:
    """A loss, checked."""
    if not _SIX(pull) or not all(check(value) for check, value in zip(_PULL, pull, strict=True)):
        raise InputError(
            f"The pull {place} is {pull!r}; expected one of those that the pulls of an Experience are: {Pull._fields}, "
            f"with a loss of at least 0 and one of the words {', '.join(HOW)}."
        )
    return Pull(*pull)


_SIX = each(lambda _: True, 6)

_PULL = (whole(), whole(), number(), lambda how: how in HOW, whole(), whole(-1))

_TENSOR = instance(torch.Tensor)

_EXPERIENCE = {
    "experience": whole(1),
    "kinds": each(instance(Mapping)),
    "seen": optional(
        lambda seen: each(lambda _: True, 3)(seen) and isinstance(seen[0], str) and all(map(_TENSOR, seen[1:]))
    ),
    "pulls": lambda pulls: isinstance(pulls, torch.Tensor) and not pulls.is_complex(),
}

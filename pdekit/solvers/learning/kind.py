"""One kind of system: its arms, what each has cost, and the bandit that chooses among them."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

from pdekit.core.errors import InputError
from pdekit.solvers.bandits.base import Bandit
from pdekit.solvers.bandits.elimination import SuccessiveElimination
from pdekit.solvers.learning.arms import name_of
from pdekit.solvers.learning.context import Context
from pdekit.solvers.learning.states import checked, each, instance, number, optional, whole
from pdekit.solvers.memory import Memory, memories
from pdekit.solvers.method import Method

__all__ = ["CUT", "HOPELESS", "HOW", "Kind", "Pull", "Record", "bandit_for"]

CUT = 2.0
"""A trial is stopped after so many times the seconds of the incumbent."""

HOPELESS = 3.0
"""An arm that is predicted to take longer by more than this factor is not tried."""

PULLS = 3
"""Warm pulls of an arm that decide."""

_DRIFT, _RECENT = 1.5, 3
"""Growth of the incumbent's loss, over so many pulls, after which its rivals are tried again."""

_BUDGET, _FILLING = 0.05, 10.0
"""Part of all seconds that trials may cost beyond what the incumbent would have taken, and how many times its seconds
the first systems of an arm with a memory are expected to take."""

_REMEMBERED = 9

_MISHAP = 2.0
"""Times what an arm usually takes, beyond which a loss counts as no more: the machine was busy with something else."""


HOW = ("first", "measured", "cut", "predicted", "refused", "cold", "used")
"""What a loss may be."""


class Pull(NamedTuple):
    """What was told to a bandit.

    Args:
        kind: of system, by number.
        arm: by number.
        loss: seconds a system.
        how: "first" (set aside, as it includes compiling), "measured", "cut" off, "predicted" without a trial,
            "refused" by the method, "cold" (the first after resuming) or "used" (by the incumbent, for more systems at
            once than a trial takes); the bandit is not told of the last two: it compares what is alike.
        systems: how many it was.
        limit: iterations it was allowed; 0 without a limit.
    """

    kind: int
    arm: int
    loss: float
    how: str
    systems: int
    limit: int


@dataclass
class Record:
    """What is known of an arm.

    Args:
        arm: as a user would write it.
        told: losses that its bandit has heard of.
        pulls: trials and uses; a warm-up, which solves nothing, is none.
        cut: trials that were stopped.
        systems: that it solved.
        seconds: they took.
        losses: the last of them, warm ones of the size of a trial.
        usual: seconds a system when it was first used for more systems at once.
        uses: the last of these.
        predicted: seconds a system, where that kept it from being tried.
        refused: why the method did not take the matrix.
        setup, step: seconds of setting up, and of an iteration, divided by the systems of a trial.
        limit: iterations after which its last trial was cut off; 0 where it was not.
    """

    arm: str
    told: int = 0
    pulls: int = 0
    cut: int = 0
    systems: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    usual: float | None = None
    uses: list[float] = field(default_factory=list)
    predicted: float | None = None
    refused: str = ""
    setup: float | None = None
    step: float | None = None
    limit: int = 0

    @property
    def level(self) -> float | None:
        """Seconds a system lately; None before the first warm pull."""
        return statistics.median(self.losses) if self.losses else None


class Kind:
    """Systems that are alike, and what solving them has taught.

    Args:
        number: among the kinds of an experience.
        context: what they have in common.
        arms: methods, the expert's choice first.
        bandit: for so many arms.
    """

    def __init__(self, number: int, context: Context, arms: Sequence[Method], bandit: Bandit):
        self.number, self.context, self.arms = number, context, tuple(arms)
        self.table: tuple[Method, ...] = ()
        """Methods to fall back on."""
        self.bandit = bandit
        self.records = [Record(name_of(arm)) for arm in self.arms]
        self.further: tuple[str, ...] | None = None
        """Names of the arms of the user's among them; None where these were not compared yet."""
        self.systems, self.seconds = 0, 0.0
        self.extra = 0.0
        """Seconds that trials took beyond those of the incumbent."""
        self.settled: float | None = None
        """Loss of the incumbent when its last rival was settled."""
        self.reopened = 0
        self.product: float | None = None
        """Seconds of a product with one matrix."""
        self.warm: set[int] = set()
        """Arms that have run in this process."""
        self._pending: list[list[dict[str, Any]]] | None = None
        self.incumbent = 0
        """The arm to rely on: the best of those whose pulls decide, before there is one the expert's."""
        self.left = tuple(range(len(self.records)))
        """Arms that are still in the running."""

    def _look(self) -> None:
        """What the bandit has come to."""
        if isinstance(self.bandit, SuccessiveElimination):
            self.incumbent, self.left = self.bandit.incumbent, self.bandit.left
            return
        usable = [i for i, record in enumerate(self.records) if not record.refused]
        known = [i for i in usable if len(self.records[i].losses) >= PULLS]
        self.incumbent = min(known, key=lambda i: self.records[i].level or 0.0, default=(usable or [0])[0])

    @property
    def level(self) -> float | None:
        """Seconds a system of the incumbent."""
        return self.records[self.incumbent].level

    @property
    def undecided(self) -> list[int]:
        """Arms whose pulls do not decide yet."""
        return [i for i in self.left if self.records[i].told <= PULLS]

    @property
    def decided(self) -> bool:
        """Whether the bandit has nothing more to learn: one arm is left."""
        return self.settled is not None and len(self.left) == 1

    @property
    def sure(self) -> tuple[Method, ...]:
        """The incumbent, and what to fall back on."""
        return self.arms[self.incumbent], *self.table

    def trying(self, arm: int) -> bool:
        """Whether a pull of this arm would be a trial."""
        return arm != self.incumbent or self.records[arm].told <= PULLS

    def affords(self, arm: int, systems: int) -> bool:
        """Whether a trial of another arm for so many systems fits into what trials may cost."""
        if arm == self.incumbent or self.level is None:
            return True
        fills = self.records[arm].told == 0 and bool(memories(self.arms[arm]))
        cost = (_FILLING if fills else CUT) * self.level * systems
        return self.extra + cost <= _BUDGET * self.seconds

    def tell(self, pull: Pull) -> None:
        """Learn what a pull has cost."""
        record, how, heard = self.records[pull.arm], pull.how, pull.loss
        spent = pull.loss * pull.systems
        self.seconds += spent
        if pull.arm != self.incumbent:
            best = self.records[self.incumbent]
            usual = min((v for v in (best.usual, best.level) if v is not None), default=0.0)
            self.extra += max(pull.loss - usual, 0.0) * pull.systems
        if how == "predicted":
            record.predicted = pull.loss
        elif how != "refused":
            record.pulls += 1
            record.seconds += spent
            record.cut += how == "cut"
            record.limit = max(pull.limit, 1) if how == "cut" else 0
        if how in ("measured", "cut"):
            record.predicted = None
            if how == "measured" and record.losses and not self.decided:
                heard = min(heard, _MISHAP * statistics.median(record.losses))
            record.losses = [*record.losses[1 - _REMEMBERED :], pull.loss]
        if how == "used":
            record.usual = pull.loss if record.usual is None else record.usual
            record.uses = [*record.uses[1 - _REMEMBERED :], pull.loss]
        elif how != "cold":
            record.told += 1
            if not self.decided:
                self._teach(pull.arm, heard, how)
        self._watch()

    def _teach(self, arm: int, loss: float, how: str) -> None:
        if how in ("predicted", "refused") and isinstance(self.bandit, SuccessiveElimination):
            self.bandit.drop(arm)
        else:
            self.bandit.learn(arm, loss, censored=how in ("cut", "predicted", "refused"))
        self._look()

    def _watch(self) -> None:
        """Try the rivals again where the incumbent has become slower than it was when it was chosen."""
        record = self.records[self.incumbent]
        if self.settled is None:
            self.settled = None if self.undecided else record.level
            return
        usual, seen = (self.settled, record.losses) if record.usual is None else (record.usual, record.uses)
        recent = seen[-_RECENT:]
        drifted = len(recent) == _RECENT and min(recent) > _DRIFT * usual
        if drifted and self.extra <= _BUDGET * self.seconds:
            self.bandit.reset()
            if isinstance(self.bandit, SuccessiveElimination):
                for arm, each_of in enumerate(self.records):
                    if each_of.refused:
                        self.bandit.drop(arm)
            self._look()
            self.settled, self.reopened = None, self.reopened + 1
            for each in self.records:
                each.told, each.losses, each.predicted, each.usual, each.uses = 0, [], None, None, []
            record.losses = recent

    def state_dict(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "context": self.context.state_dict(),
            "records": [asdict(record) for record in self.records],
            "bandit": self.bandit.state_dict(),
            "memories": self._pending or [[memory.state_dict() for memory in memories(arm)] for arm in self.arms],
            "systems": self.systems,
            "seconds": [self.seconds, self.extra],
            "settled": self.settled,
            "reopened": self.reopened,
        }

    @staticmethod
    def from_state(state: Any, number: int, bandit: Callable[[int], Bandit]) -> "Kind":
        """A kind whose arms are still to come: :meth:`complete`.

        Raises:
            InputError: the state is none of a kind of this number, or of one with other bandits.
        """
        state = checked(f"the kind {number}", state, _KIND | {"number": lambda given: given == number})
        count = len(state["records"])
        kind = Kind(number, Context.from_state(state["context"]), (), bandit_for(bandit, count))
        kind.records = [Record(**checked("an arm", record, _RECORD)) for record in state["records"]]
        checked(f"the kind {number}", {"memories": state["memories"]}, {"memories": each(_LIST, count)})
        _load(kind.bandit, state["bandit"])
        kind._pending = [list(states) for states in state["memories"]]
        kind.systems, (kind.seconds, kind.extra) = state["systems"], state["seconds"]
        kind.settled, kind.reopened = state["settled"], state["reopened"]
        kind.left = tuple(range(len(kind.records)))
        kind._look()
        return kind

    def agree(self, further: Sequence[Method], arms: Callable[[], Sequence[Method]]) -> None:
        """Make sure that the arms are those of the caller, and give them to a kind that was loaded.

        Args:
            further: arms of the user's, of this call.
            arms: makes all of them.

        Raises:
            InputError: other arms than those it knows, or memories that do not fit them.
        """
        names = tuple(name_of(arm) for arm in further)
        if self.arms and names == self.further:
            return
        given = tuple(arms())
        mine, known = [name_of(arm) for arm in given], [record.arm for record in self.records]
        if mine != known:
            raise InputError(
                f"The experience was gathered with the arms {', '.join(known)}; there are now {', '.join(mine)}. "
                "Give Auto the arms it had, or a new Experience()."
            )
        if self._pending is not None:
            self._complete(given, self._pending)
        self.further = names

    def _complete(self, arms: Sequence[Method], pending: Sequence[Sequence[Any]]) -> None:
        """Give arms to a kind that was loaded, and these their memories: all of them, or none."""
        before: list[tuple[Memory, dict[str, Any]]] = []
        try:
            for arm, states in zip(arms, pending, strict=True):
                held = memories(arm)
                if len(held) != len(states):
                    raise InputError(
                        f"The state has {len(states)} memories for {name_of(arm)}, which has {len(held)}; expected "
                        "what state_dict() gave."
                    )
                for memory, state in zip(held, states, strict=True):
                    before.append((memory, memory.state_dict()))
                    _load(memory, state)
        except InputError:
            for memory, state in before:
                memory.load_state_dict(state)
            raise
        self.arms, self._pending = tuple(arms), None

    def met(self, context: Context) -> None:
        """One more call for systems of this kind."""
        if self.context.change is None:
            self.context = replace(self.context, change=context.change)


def bandit_for(make: Callable[[int], Bandit], arms: int) -> Bandit:
    """A bandit for so many arms.

    Raises:
        InputError: what makes it gives something else, or one that needs a context, which there is none of.
    """
    if make is SuccessiveElimination:
        return SuccessiveElimination(arms)
    who = getattr(make, "__name__", repr(make))
    expected = "expected what makes a bandit from a number of arms, such as the class TsallisINF."
    try:
        made = make(arms)
    except (TypeError, ValueError, AttributeError, ArithmeticError, LookupError) as error:
        raise InputError(f"Experience has bandit={who}, which failed with {arms} arms ({error}); {expected}") from error
    if not isinstance(made, Bandit):
        raise InputError(f"Experience has bandit={who}, which gave {made!r} for {arms} arms; {expected}")
    if made.arms != arms:
        raise InputError(f"Experience has bandit={who}, which gave {made!r} when asked for {arms} arms; {expected}")
    try:
        made.choose()
    except InputError as error:
        raise InputError(f"Experience has bandit={who}, which does not choose without a context: {error}") from error
    return made


def _load(memory: Memory, state: Any) -> None:
    """Load a memory; whatever it stumbles over in a malformed state is an error of the state."""
    try:
        memory.load_state_dict(state)
    except InputError:
        raise
    except (TypeError, ValueError, AttributeError, LookupError, RuntimeError) as error:
        raise InputError(f"The state of {memory!r} is not what its state_dict() gave: {error}") from error


_LIST = each(lambda _: True)

_KIND = {
    "number": whole(), "context": instance(Mapping), "records": _LIST, "bandit": instance(Mapping), "memories": _LIST,
    "systems": whole(), "seconds": each(number(), 2), "settled": optional(number()), "reopened": whole(),
}  # fmt: skip

_RECORD = {
    "arm": instance(str), "told": whole(), "pulls": whole(), "cut": whole(), "systems": whole(), "seconds": number(),
    "losses": each(number()), "usual": optional(number()), "uses": each(number()),
    "predicted": optional(number()), "refused": instance(str), "setup": optional(number()),
    "step": optional(number()), "limit": whole(),
}  # fmt: skip

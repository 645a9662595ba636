"""A method that chooses, tries and learns while it solves."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from jaxtyping import Inexact
from torch import Tensor

from pdekit.solvers.learning.arms import arms_for
from pdekit.solvers.learning.call import Call
from pdekit.solvers.learning.context import Context, Glance, contrast_of
from pdekit.solvers.learning.experience import Experience
from pdekit.solvers.learning.kind import CUT, HOPELESS, Kind, Pull
from pdekit.solvers.learning.prediction import least_seconds, limited, product_seconds
from pdekit.solvers.learning.relied import FAILURES, Chain, Relied, said
from pdekit.solvers.memory import memories
from pdekit.solvers.method import Method, Outcome, Prepared
from pdekit.solvers.operators.base import LinearOperator
from pdekit.solvers.operators.csr import CSR
from pdekit.solvers.operators.stencil import Stencil
from pdekit.solvers.solution import Reason, Solution

__all__ = ["Choosing"]

_WARM_UP, _PILOT = 2, 8
"""Iterations to compile what an arm needs, and those that tell what one takes."""

_AGAIN, _CHANCES = 1.25, 2
"""An arm that was cut off is tried again if it may take so many times as many iterations; so often in all."""

_STEP = 6
"""Products with the matrix that an iteration takes at least, where none was timed yet."""


class Choosing(Prepared):
    """The best method known so far, bound to a matrix, with trials of others in between.

    Args:
        operator: the matrices.
        experience: what is known, and is added to.
        table: the expert's methods for some matrices.
        further: arms of the user's.
        chain: prepares methods with others to fall back on.
    """

    def __init__(
        self,
        operator: LinearOperator,
        experience: Experience,
        table: Callable[[LinearOperator], tuple[Method, ...]],
        further: Sequence[Method],
        chain: Chain,
    ):
        super().__init__(operator)
        self.experience, self.table, self.further, self.chain = experience, table, further, chain
        self._choice: Prepared | None = None
        self._kind: Kind | None = None

    def run(
        self, b: Inexact[Tensor, "*batch n"], x0: Inexact[Tensor, "*batch n"] | None, rtol: float, atol: float
    ) -> Outcome:
        if self._kind is not None or b.numel() == 0:
            return self.choice.run(b, x0, rtol, atol)
        kind = self._kind = self._find_kind(b)
        call = Call(self.operator, b, x0, rtol, atol)
        kind.systems += call.total
        if len(kind.arms) == 1:
            return self.choice.run(b, x0, rtol, atol)
        arm, at = self._choose(kind, call), 0
        if not kind.trying(arm):
            return self._settled(kind, call)
        while at < call.count:
            # What keeps something fills its memory with the first systems it meets.
            fills = kind.records[arm].told == 0 and bool(memories(kind.arms[arm]))
            rows = call.rows(at, (2 if fills else 1) if kind.trying(arm) else None)
            self._pull(kind, arm, call, rows)
            at = rows.stop
            if at < call.count:
                arm = self._choose(kind, call)
        return call.outcome(_told(kind, call))

    @property
    def choice(self) -> Prepared:
        """The incumbent for all matrices, as for further right-hand sides."""
        if self._choice is None:
            methods = self.table(self.operator) if self._kind is None else self._kind.sure
            self._choice = Relied(methods, self.operator, self.chain)
        return self._choice

    def adjoint(self) -> Prepared:
        return self if self.operator.hermitian else self.choice.adjoint()

    def fallback(self) -> Prepared | None:
        return None if self._choice is None else self._choice.fallback()

    def _find_kind(self, b: Tensor) -> Kind:
        A, experience = self.operator, self.experience
        if not isinstance(A, CSR | Stencil):
            table = self.table(A)
            context = Context(type(A).__name__, repr(table), A.shape[0], 0.0, 1, 0.0, None)
            return experience.kind(context, table, lambda: table[:1])
        shape, systems = A.batch_shape, math.prod(b.shape[:-1])
        first = A[(0,) * len(shape)] if shape else A
        second = A[(*(0,) * (len(shape) - 1), 1)] if shape and shape[-1] > 1 else None
        before = experience.latest
        glance = Glance.at(first)
        change = experience.look(glance, None if second is None else Glance.at(second))
        if change == 0 and not shape and before is not None and before.context.sharing == systems:
            # The same again: nothing else has to be looked at.
            again, table = replace(before.context, change=-math.inf), before.table
            if before.context.same and before.arms:
                before.agree(self.further, lambda: arms_for(A, table, True, self.further))
                return before
            return experience.kind(again, table, lambda: arms_for(A, table, True, self.further), self.further)
        # Only whether the coefficients of a stencil are constant is asked of all matrices, and answered by the first.
        table = self.table(A if isinstance(A, Stencil) else first)
        stored = A.pattern.nnz if isinstance(A, CSR) else (2 * len(A.lattice) + 1) * A.shape[0]
        symmetry = "Hermitian" if A.hermitian else "general"
        context = Context(
            what=f"{symmetry} {type(A).__name__}, {str(A.dtype).removeprefix('torch.')}, {A.device.type}",
            table=repr(table),
            unknowns=A.shape[0],
            row=stored / max(A.shape[0], 1),
            sharing=max(systems // max(math.prod(shape), 1), 1),
            contrast=contrast_of(first.diagonal().detach() if isinstance(A, CSR) else glance.probe),
            change=None if change is None else math.log10(change) if change else -math.inf,
        )
        return experience.kind(context, table, lambda: arms_for(A, table, context.same, self.further), self.further)

    def _choose(self, kind: Kind, call: Call) -> int:
        """The arm that the bandit wants, if it can be afforded; the bandit is told of those not worth a try."""
        if kind.decided:
            return kind.incumbent
        for _ in range(8 * len(kind.arms)):
            arm = kind.bandit.choose()
            coming, level = self.experience.coming, kind.level
            if coming is not None:
                if coming.how != "predicted" or (coming.kind, coming.arm) != (kind.number, arm):
                    break
                predicted = coming.loss
            else:
                if arm == kind.incumbent or level is None or self._promising(kind, arm, level):
                    break
                predicted = kind.records[arm].level or self._predicted(kind, arm)
            self._tell(kind, arm, predicted, "predicted", 0, 0)
        else:
            return kind.incumbent
        return arm if kind.affords(arm, call.systems(call.rows(0, 1))) else kind.incumbent

    def _promising(self, kind: Kind, arm: int, level: float) -> bool:
        """Whether an arm is worth another try, against an incumbent of so many seconds a system."""
        record = kind.records[arm]
        if record.refused:
            return False
        if not record.losses:
            return self._predicted(kind, arm) <= HOPELESS * level
        if record.limit:
            # It was cut off: worth another try where its iterations turned out to be cheaper than was thought.
            return record.cut < _CHANCES and self._limit(kind, arm, torch.get_num_threads()) > _AGAIN * record.limit
        # A single loss may be a mishap of the machine.
        return min(record.losses) <= HOPELESS * level * max(2 / len(record.losses), 1.0)

    def _predicted(self, kind: Kind, arm: int) -> float:
        """Seconds a system: what was measured for like systems; a low guess where nothing was."""
        known = None if memories(kind.arms[arm]) else self.experience.elsewhere(kind, arm)
        if known is not None:
            return known
        # As many systems are to come as there were so far.
        return least_seconds(kind.arms[arm], self.operator, self._product(kind), kind.systems)

    def _product(self, kind: Kind) -> float:
        """Seconds of a product with one matrix."""
        if kind.product is None:
            kind.product = product_seconds(self.operator)
        return kind.product

    def _settled(self, kind: Kind, call: Call) -> Outcome:
        """All systems by the incumbent; they are confirmed as any are, by :func:`pdekit.solve`."""
        arm = kind.incumbent
        self.experience.expect(kind.number, arm, limit=0)
        how = "used" if call.large(call.whole_rows) else "measured" if arm in kind.warm else "cold"
        kind.warm.add(arm)
        began = time.perf_counter()
        self._choice = Relied(kind.sure, call.A, self.chain)
        outcome = self._choice.run(call.b, call.x0, call.rtol, call.atol)
        seconds = time.perf_counter() - began
        accepted = int((outcome.reason == Reason.CONVERGED.code).sum())
        self._tell(kind, arm, seconds / max(accepted, 0.5), how, call.total, 0)
        return replace(outcome, name=f"{outcome.name} (learnt, of {len(kind.arms)} arms)")

    def _pull(self, kind: Kind, arm: int, call: Call, rows: slice) -> None:
        """Solve some systems with an arm, those that it misses with the incumbent, and tell the bandit."""
        record, best, count = kind.records[arm], kind.incumbent, call.systems(rows)
        A, how = call.matrices(rows), "first" if record.told == 0 else "measured"
        if arm == best and not kind.trying(arm) and call.large(rows):
            how = "used"
        self.experience.expect(kind.number, arm)
        if record.told == 0 or arm not in kind.warm:
            seen = self._warm_up(kind, arm, A, call, rows)
            if seen is None and how == "measured" and limited(kind.arms[arm], 1) is not None:
                how = "cold"  # after a state was loaded
            elif seen is not None and how == "first":
                self._tell(kind, arm, seen, "first", count, 0)
                record.pulls -= 1  # it solved nothing, and these systems are about to count
                how = "measured"
            kind.warm.add(arm)
        endless = arm == best or limited(kind.arms[arm], 1) is None
        coming = self.experience.expect(kind.number, arm, limit=0 if endless else None)
        limit = coming.limit if coming is not None else 0 if arm == best else self._limit(kind, arm, count)
        method = limited(kind.arms[arm], limit) if limit > 0 else None
        began = time.perf_counter()
        if limit >= 0:
            try:
                prepared = Relied(kind.sure, A, self.chain) if arm == best else (method or kind.arms[arm]).prepare(A)
                solution = call.solve(prepared, rows)
            except FAILURES as error:
                if arm == best:
                    raise
                record.refused = said(error)
                self._tell(kind, arm, 2 * HOPELESS * (kind.level or 1.0), "refused", 0, 0)
                return self._pull(kind, best, call, rows)
            _time_steps(kind, arm, solution, count, time.perf_counter() - began)
            call.take(solution, rows, arm)
            if arm == best and rows == slice(0, call.count):
                self._choice = prepared
        if arm != best and call.missed(rows):
            call.finish(Relied(kind.sure, A, self.chain), rows, best)
            how = "cut" if how == "measured" else how
        seconds = time.perf_counter() - began
        self._tell(kind, arm, seconds / max(call.accepted(rows), 0.5), how, count, limit)

    def _tell(self, kind: Kind, arm: int, loss: float, how: str, systems: int, limit: int) -> None:
        self.experience.tell(Pull(kind.number, arm, float(loss), how, systems, limit))

    def _warm_up(self, kind: Kind, arm: int, A: LinearOperator, call: Call, rows: slice) -> float | None:
        """Compile what an arm needs, and time some iterations; None for one that has none, or would remember them."""
        method, seconds = kind.arms[arm], 0.0
        for steps in (_WARM_UP, _PILOT):
            short = limited(method, steps)
            if short is None or memories(method):
                return None
            began = time.perf_counter()
            try:
                solution = call.solve(short.prepare(A), rows)
            except FAILURES:
                return None
            seconds = time.perf_counter() - began
            if steps == _PILOT:
                _time_steps(kind, arm, solution, call.systems(rows), seconds)
        return seconds / call.systems(rows)

    def _limit(self, kind: Kind, arm: int, count: int) -> int:
        """Iterations that fit into twice the seconds of the incumbent; 0 for no limit, -1 where none fits."""
        record, level = kind.records[arm], kind.level
        if level is None or limited(kind.arms[arm], 1) is None:
            return 0
        parallel = min(torch.get_num_threads(), count)
        step = _STEP * self._product(kind) / parallel if record.step is None else record.step
        steps = int((CUT * level - (record.setup or 0.0)) / step)
        return steps if steps >= 1 else -1


def _time_steps(kind: Kind, arm: int, solution: Solution, count: int, seconds: float) -> None:
    """Note what setting up and an iteration took: the least of what was seen, for whatever disturbs a clock adds."""
    record, steps = kind.records[arm], int(solution.iterations.max())
    setup = float(solution.setup_seconds)
    record.setup = min(setup / count, math.inf if record.setup is None else record.setup)
    if steps:
        step = max(seconds - setup, 0.0) / steps / count
        record.step = max(min(step, math.inf if record.step is None else record.step), 1e-12)


def _told(kind: Kind, call: Call) -> str:
    """The method that solved most systems, and how it came to be chosen."""
    main = max(call.names, key=lambda arm: call.solved[arm])
    tried = ", ".join(
        f"{kind.records[arm].arm} for {call.solved[arm]} of {call.total}" for arm in call.names if arm != main
    )
    trials = f"; trials: {tried}" if tried else ""
    known = f"learning, {len(kind.undecided)} of {len(kind.arms)} arms to be tried" if kind.undecided else "learnt"
    arms = "" if kind.undecided else f", of {len(kind.arms)} arms"
    return f"{call.names[main]} ({known}{arms}{trials})"

"""A method that chooses, tries and learns while it solves."""

import math
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Inexact
from torch import Tensor
from torch.nn.functional import pad

from pdekit.core.errors import InputError
from pdekit.solvers.confirm import confirmed
from pdekit.solvers.learning.arms import arms_for
from pdekit.solvers.learning.context import Context, Glance, contrast_of
from pdekit.solvers.learning.experience import Experience
from pdekit.solvers.learning.kind import CUT, HOPELESS, PULLS, Kind, Pull
from pdekit.solvers.learning.prediction import least_seconds, limited, product_seconds
from pdekit.solvers.memory import memories
from pdekit.solvers.method import Method, Outcome, Prepared
from pdekit.solvers.operators.base import LinearOperator
from pdekit.solvers.operators.csr import CSR
from pdekit.solvers.operators.stencil import Stencil
from pdekit.solvers.solution import Solution

__all__ = ["Choosing"]

_WARM_UP, _PILOT = 2, 8
"""Iterations to compile what an arm needs, and those that tell what one takes."""

Chain = Callable[[Sequence[Method], LinearOperator], Prepared]
"""Prepares the first method that takes a matrix, with the rest to fall back on."""


class Choosing(Prepared):
    """The best method known so far, bound to a matrix, with trials of others in between.

    Args:
        operator: the matrices.
        experience: what is known, and is added to.
        table: the expert's methods for these matrices.
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
        call = _Call(self.operator, b, x0, rtol, atol)
        kind.systems += math.prod(b.shape[:-1])
        if len(kind.arms) == 1:
            return self.choice.run(b, x0, rtol, atol)
        at = 0
        while at < call.count:
            arm = self._choose(kind, call)
            trying = arm != kind.incumbent or kind.records[arm].told <= PULLS
            # What keeps something fills its memory with the first systems it meets.
            fills = kind.records[arm].told == 0 and bool(memories(kind.arms[arm]))
            rows = call.rows(at, (2 if fills else 1) if trying else None)
            self._pull(kind, arm, call, rows)
            at = rows.stop
        return call.outcome(_told(kind, call))

    @property
    def choice(self) -> Prepared:
        """The incumbent for all matrices, as for further right-hand sides."""
        if self._choice is None:
            table = self.table(self.operator)
            best = () if self._kind is None else (self._kind.arms[self._kind.incumbent],)
            self._choice = self.chain((*best, *table), self.operator)
        return self._choice

    def adjoint(self) -> Prepared:
        return self if self.operator.hermitian else self.choice.adjoint()

    def _find_kind(self, b: Tensor) -> Kind:
        A, experience = self.operator, self.experience
        if not A.values or not isinstance(A, CSR | Stencil):
            table = self.table(A)
            context = Context(type(A).__name__, repr(table), A.shape[0], 0.0, 1, 0.0, None)
            return experience.kind(context, lambda: table[:1])
        glances = [Glance.at(A[i] if A.batch_shape else A) for i in _first_two(A)]
        change = experience.glance(glances[0], glances[1] if len(glances) > 1 else None)
        table = self.table(A)
        matrices, systems = max(math.prod(A.batch_shape), 1), math.prod(b.shape[:-1])
        symmetry = "Hermitian" if A.hermitian else "general"
        stored = A.pattern.nnz if isinstance(A, CSR) else (2 * len(A.lattice) + 1) * A.shape[0]
        context = Context(
            what=f"{symmetry} {type(A).__name__}, {str(A.dtype).removeprefix('torch.')}, {A.device.type}",
            table=repr(table),
            unknowns=A.shape[0],
            row=stored / max(A.shape[0], 1),
            sharing=max(systems // matrices, 1),
            contrast=contrast_of(A.diagonal()[(0,) * len(A.batch_shape)].detach()),
            change=None if change is None else math.log10(change) if change else -math.inf,
        )
        return experience.kind(context, lambda: arms_for(A, table, context.same, self.further))

    def _choose(self, kind: Kind, call: "_Call") -> int:
        """The arm that the bandit wants, if it is worth a try; it is told of those that are not."""
        for _ in range(8 * len(kind.arms)):
            arm = kind.bandit.choose()
            coming = self.experience.coming
            if coming is not None:
                if coming.how != "predicted" or coming.arm != arm:
                    return arm
                predicted = coming.loss
            else:
                level = kind.level
                if arm == kind.incumbent or level is None:
                    return arm
                predicted = 2 * HOPELESS * level if kind.records[arm].refused else self._predicted(kind, arm)
                if predicted <= HOPELESS * level:
                    return arm
            self.experience.tell(Pull(kind.number, arm, predicted, "predicted", 0, 0))
        return kind.incumbent

    def _predicted(self, kind: Kind, arm: int) -> float:
        """Seconds a system: what was measured, here or for like systems; a low guess where nothing was."""
        known = kind.records[arm].level
        if known is None and not memories(kind.arms[arm]):
            known = self.experience.elsewhere(kind, arm)
        if known is not None:
            return known
        if kind.product is None:
            kind.product = product_seconds(self.operator)
        return least_seconds(kind.arms[arm], self.operator, kind.product)

    def _pull(self, kind: Kind, arm: int, call: "_Call", rows: slice) -> None:
        """Solve some systems with an arm, those that it misses with the incumbent, and tell the bandit."""
        record, best, count = kind.records[arm], kind.incumbent, call.systems(rows)
        method, coming = kind.arms[arm], self.experience.coming
        limit, heard = 0, "first" if record.told == 0 else "measured"
        if arm not in kind.warm:
            kind.warm.add(arm)
            if self._warm_up(kind, arm, call, rows) and heard == "first":
                self._tell(kind, arm, (record.setup or 0.0) / count, "first", count, 0)
                heard = "measured"
                coming = self.experience.coming
            elif heard == "measured" and limited(method, 1) is not None and coming is None:
                heard = "cold"
        if coming is not None:
            limit = coming.limit
        elif arm != best:
            limit = self._limit(kind, arm, count)
        began = time.perf_counter()
        missed, seconds = None, math.nan
        if limit >= 0:
            stopped = limited(method, limit) if limit else None
            try:
                if arm == best:
                    prepared = self.chain((method, *self.table(self.operator)), call.matrices(rows))
                else:
                    prepared = (stopped or method).prepare(call.matrices(rows))
            except InputError as error:
                if arm == best:
                    raise
                record.refused = str(error).split(". ")[0]
                self._tell(kind, arm, 2 * HOPELESS * (kind.level or 1.0), "refused", 0, 0)
                prepared = None
            if prepared is None:
                return self._pull(kind, best, call, rows)
            solution = call.solve(prepared, rows)
            seconds = time.perf_counter() - began
            self._learn_rate(kind, arm, solution, count, seconds)
            call.take(solution, rows, arm)
            missed = ~solution.converged
            if arm == best and rows == slice(0, call.count):
                self._choice = prepared
        if limit < 0 or (arm != best and missed is not None and bool(missed.any())):
            call.finish(
                self.chain((kind.arms[best], *self.table(self.operator)), call.matrices(rows)), rows, missed, best
            )
            heard = "cut" if heard == "measured" else heard
        seconds = time.perf_counter() - began
        accepted = max(call.accepted(rows), 0.5)
        self._tell(kind, arm, seconds / accepted, heard, count, limit)
        return None

    def _tell(self, kind: Kind, arm: int, loss: float, how: str, systems: int, limit: int) -> None:
        self.experience.tell(Pull(kind.number, arm, float(loss), how, systems, limit))

    def _warm_up(self, kind: Kind, arm: int, call: "_Call", rows: slice) -> bool:
        """Compile what an arm needs and see what an iteration takes; False for one without steps or with a memory."""
        method = kind.arms[arm]
        short, longer = limited(method, _WARM_UP), limited(method, _PILOT)
        if short is None or longer is None or memories(method):
            return False
        try:
            call.solve(short.prepare(call.matrices(rows)), rows)
            began = time.perf_counter()
            solution = call.solve(longer.prepare(call.matrices(rows)), rows)
        except InputError:
            return False
        self._learn_rate(kind, arm, solution, call.systems(rows), time.perf_counter() - began)
        return True

    @staticmethod
    def _learn_rate(kind: Kind, arm: int, solution: Solution, count: int, seconds: float) -> None:
        # The least of what was seen: whatever disturbs a clock makes it later.
        record, steps = kind.records[arm], int(solution.iterations.max())
        record.setup = min(solution.setup_seconds / count, math.inf if record.setup is None else record.setup)
        if steps:
            step = max(seconds - solution.setup_seconds, 0.0) / steps / count
            record.step = min(step, math.inf if record.step is None else record.step)

    def _limit(self, kind: Kind, arm: int, count: int) -> int:
        """Iterations that fit into twice the seconds of the incumbent; 0 for no limit, -1 where none fits."""
        record, level = kind.records[arm], kind.level
        if level is None or limited(kind.arms[arm], 1) is None:
            return 0
        step = record.step
        if step is None:
            if kind.product is None:
                kind.product = product_seconds(self.operator)
            step = 6 * kind.product / torch.get_num_threads()
        steps = int((CUT * level - (record.setup or 0.0)) / step)
        return steps if steps >= 1 else -1


def _first_two(A: CSR | Stencil) -> list[tuple[int, ...]]:
    shape = A.batch_shape
    if not shape:
        return [()]
    first = (0,) * len(shape)
    return [first, (*first[:-1], 1)] if shape[-1] > 1 else [first]


def _told(kind: Kind, call: "_Call") -> str:
    """The method that solved most systems, and how it came to be chosen."""
    main = max(call.names, key=lambda arm: call.solved[arm])
    name = call.names[main]
    tried = ", ".join(
        f"{kind.records[arm].arm} for {call.solved[arm]} of {call.total}" for arm in call.names if arm != main
    )
    trials = f"; trials: {tried}" if tried else ""
    if kind.undecided and kind.incumbent != main:
        return f"{name} (learning{trials})"
    if kind.undecided:
        return f"{name} (learning, {len(kind.undecided)} of {len(kind.arms)} arms to be tried{trials})"
    return f"{name} (learnt, of {len(kind.arms)} arms{trials})"


class _Call:
    """The systems of one call, solved in parts."""

    def __init__(self, A: LinearOperator, b: Tensor, x0: Tensor | None, rtol: float, atol: float):
        self.A, self.b, self.x0, self.rtol, self.atol = A, b, x0, rtol, atol
        self.whole = not (len(A.batch_shape) == 1 and A.batch_shape[0] > 1)
        self.count = 1 if self.whole else A.batch_shape[0]
        self.total = math.prod(b.shape[:-1])
        self.parts: dict[tuple[int, int], Solution] = {}
        self.names: dict[int, str] = {}
        self.solved: dict[int, int] = {}
        self.setup_seconds = 0.0

    def rows(self, at: int, rounds: int | None) -> slice:
        """The systems to solve next: for a trial so many for each thread, else all that are left."""
        return slice(at, self.count if rounds is None else min(at + rounds * torch.get_num_threads(), self.count))

    def systems(self, rows: slice) -> int:
        return self.total * (rows.stop - rows.start) // self.count

    def matrices(self, rows: slice) -> LinearOperator:
        if self.whole or rows == slice(0, self.count):
            return self.A
        assert isinstance(self.A, CSR | Stencil)
        return self.A[rows]

    def _vectors(self, v: Tensor, rows: slice) -> Tensor:
        return v if self.whole else v[..., rows, :]

    def solve(self, prepared: Prepared, rows: slice, only: Tensor | None = None) -> Solution:
        b = self._vectors(self.b, rows)
        x0 = None if self.x0 is None else self._vectors(self.x0, rows)
        if only is not None:
            b = torch.where(only.unsqueeze(-1), b, 0.0)
        return confirmed(prepared, b, x0, self.rtol, self.atol)

    def take(self, solution: Solution, rows: slice, arm: int) -> None:
        self.parts[rows.start, rows.stop] = solution
        self.names[arm] = solution.method
        self.solved[arm] = self.solved.get(arm, 0) + int(solution.converged.sum())
        self.setup_seconds += solution.setup_seconds

    def finish(self, prepared: Prepared, rows: slice, missed: Tensor | None, arm: int) -> None:
        """What a trial missed, or all of it."""
        again = self.solve(prepared, rows, missed)
        if missed is not None:
            before = self.parts[rows.start, rows.stop]
            keep = ~missed
            again = Solution(
                x=torch.where(keep.unsqueeze(-1), torch.as_tensor(before.x), torch.as_tensor(again.x)),
                converged=torch.where(keep, before.converged, again.converged),
                residual=torch.where(keep, before.residual, again.residual),
                tolerance=before.tolerance,
                iterations=before.iterations + again.iterations,
                reason=np.where(keep.numpy(), before.reason, again.reason),
                history=torch.cat([before.history, torch.where(missed, again.history[1:], torch.nan)]),
                setup_seconds=again.setup_seconds,
                solve_seconds=0.0,
                method=again.method,
            )
        self.parts[rows.start, rows.stop] = again
        self.names[arm] = again.method
        self.solved[arm] = self.solved.get(arm, 0) + (again.converged.numel() if missed is None else int(missed.sum()))
        self.setup_seconds += again.setup_seconds

    def accepted(self, rows: slice) -> int:
        return int(self.parts[rows.start, rows.stop].converged.sum())

    def outcome(self, name: str) -> Outcome:
        """All parts together."""
        parts = [self.parts[place] for place in sorted(self.parts)]
        norm = torch.linalg.vector_norm(self.b, dim=-1)
        scale = torch.where(norm > 0, norm, 1.0)
        steps = max(len(part.history) for part in parts)

        def joined(tensors: Sequence[Tensor], dim: int) -> Tensor:
            return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors), dim)

        histories = [
            pad(part.history, (0, 0) * (part.history.ndim - 1) + (0, steps - len(part.history)), value=torch.nan)
            for part in parts
        ]
        reasons = [torch.from_numpy(_codes(part.reason)).to(self.b.device) for part in parts]
        return Outcome(
            x=joined([torch.as_tensor(part.x) for part in parts], -2),
            iterations=joined([part.iterations for part in parts], -1),
            reason=joined(reasons, -1),
            history=joined(histories, -1) * scale,
            residual=joined([part.residual for part in parts], -1) * scale,
            name=name,
            setup_seconds=self.setup_seconds,
        )


def _codes(reasons: np.ndarray) -> np.ndarray:
    return np.array([reason.code for reason in reasons.ravel()], dtype=np.int64).reshape(reasons.shape)

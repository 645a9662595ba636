"""Auto(learn=True) over 500 samples, beside every method that it chooses from, each used from the first to the last."""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from pdekit.bench.harness import Claim, Session
from pdekit.core.expressions import Expression
from pdekit.domain import Box, Disk, Grid, Rectangle
from pdekit.families import AdvectionDiffusion, Darcy
from pdekit.families.base import Family
from pdekit.fields import GaussianField, LogNormal, Threshold
from pdekit.solvers import CG, CSR, GMRES, IC0, ILU0, Auto, LinearOperator, Method, solve
from pdekit.solvers.learning.arms import arms_for, name_of
from pdekit.solvers.operators.entries import written_out

__all__ = ["CLAIMS", "NOTES", "measure"]

RTOL = 1e-8
CALLS, SYSTEMS = 25, 20
"""Tickets of a sequence, and the samples of each."""
SEEDS = 5
"""Sequences, whose median is the value of a claim."""
SLOW, EVERY = 3.0, 6
"""A fixed method slower by more than this factor is timed on one ticket of so many, spread over the sequence."""
PECLET = 50.0
_LEARNING, _NAIVE = "Auto(learn=True)", "naive"

_ROUGH = LogNormal(GaussianField(alpha=2, tau=3))


def _darcy(size: int) -> Family:
    return Darcy(Grid((size, size)), Threshold(GaussianField(alpha=2, tau=3), low=3, high=12))


def _convection(cells: int) -> Family:
    return AdvectionDiffusion(Rectangle(cells=cells), (0.8 * PECLET, 0.6 * PECLET), coefficient=_ROUGH, max_peclet=9.0)


def _fixed(refinements: int) -> Family:
    return Darcy(Disk(refinements=refinements), Expression("1 + x*x"), source=GaussianField(alpha=2, tau=3))


@dataclass(frozen=True)
class Case:
    """A sequence of systems.

    Args:
        family: of a size.
        size: of the full and of the quick version.
        naive: what someone would take who knows Krylov methods, but not the problem.
        gain: how much faster than that learning has to be.
        single: one right-hand side a call, all with the same matrix.
    """

    family: Callable[[int], Family]
    size: tuple[int, int]
    naive: Method
    gain: float
    single: bool = False


CASES = {
    "darcy": Case(_darcy, (128, 17), CG(IC0()), 1.5),
    "disk": Case(lambda n: Darcy(Disk(refinements=n), _ROUGH), (6, 3), CG(IC0()), 1.2),
    "tets": Case(lambda n: Darcy(Box(cells=n), _ROUGH), (30, 4), CG(IC0()), 0.87),
    "convection": Case(_convection, (128, 12), GMRES(ILU0()), 1.5),
    "fixed": Case(_fixed, (6, 3), CG(IC0()), 1.5, single=True),
}

Call = tuple[LinearOperator, Tensor]


def tickets(case: Case, seed: int, calls: int, systems: int, quick: bool) -> Iterator[list[Call]]:
    """The calls of each ticket, drawn and assembled."""
    family = case.family(case.size[quick])
    for ticket in range(calls):
        system = family.system(family.draw(range(ticket * systems, (ticket + 1) * systems), seed=seed))
        A = system.operator
        if not case.single:
            yield [(A, system.rhs)]
            continue
        one = A[0] if isinstance(A, CSR) and A.batch_shape else A
        # A new object each time: that the matrix is the same is to be found out.
        yield [(one.with_values([values.clone() for values in one.values]), b) for b in system.rhs]


@dataclass
class Side:
    """One method, used throughout.

    Args:
        method: with memories of its own.
        sparse: whether it takes the matrices in compressed rows.
    """

    method: Method
    sparse: bool = False
    seconds: list[float] = field(default_factory=list)
    """Of each ticket that it was timed on."""
    missed: int = 0
    iterations: int = 0
    samples: int = 0
    told: str = ""

    def run(self, calls: Sequence[Call]) -> None:
        took = 0.0
        for A, b in calls:
            # An object of its own: what one side finds out about a matrix is not known to the next.
            matrices = written_out(A) if self.sparse else A.with_values(A.values)
            began = time.perf_counter()
            solution = solve(matrices, b, self.method, rtol=RTOL, throw=False)
            took += time.perf_counter() - began
            self.missed += int((~solution.converged).sum())
            self.iterations += int(solution.iterations.sum())
            self.samples += solution.converged.numel()
            self.told = solution.method
        self.seconds.append(took)

    def total(self, tickets: int) -> float:
        """Seconds of the whole sequence, from the tickets that were timed."""
        return statistics.fmean(self.seconds) * tickets


def measure(session: Session, seed: int) -> None:
    for name, case in CASES.items():
        regret, gain = f"auto.regret_{name}", f"auto.gain_{name}"
        if not session.wants(regret, gain):
            continue
        found = [_sequence(session, name, case, seed, inner) for inner in range(1 if session.quick else SEEDS)]
        session.record(regret, statistics.median(ratio for ratio, _ in found), seed=seed)
        session.record(gain, statistics.median(ratio for _, ratio in found), seed=seed)


def _sequence(session: Session, name: str, case: Case, seed: int, inner: int) -> tuple[float, float]:
    """Seconds of the learner over those of the best method in hindsight, and of the naive one over the learner's."""
    calls, systems, number = (3, 4, seed) if session.quick else (CALLS, SYSTEMS, SEEDS * seed + inner)
    # Warmed up on a few systems of another seed: compiling and loading are no part of either side.
    warm = next(tickets(case, 1_000_000 + number, 1, 4, session.quick))
    A = warm[0][0]

    def choices() -> dict[str, Side]:
        """Everything that there is to choose from, with empty memories; the naive method may be among it."""
        found = {name_of(arm): Side(arm) for arm in arms_for(A, Auto().candidates(A), case.single, ())}
        alike = name_of(case.naive) in found and isinstance(A, CSR)
        return found if alike else {_NAIVE: Side(case.naive, sparse=True), **found}

    for side in (*choices().values(), Side(Auto(learn=True))):
        side.run(warm)
    sides = {_LEARNING: Side(Auto(learn=True)), **choices()}
    naive = _NAIVE if _NAIVE in sides else name_of(case.naive)
    for place, ticket in enumerate(tickets(case, number, calls, systems, session.quick)):
        known = [side.total(1) for side in sides.values() if side.seconds and not side.missed]
        order = list(sides.items())
        for key, side in (*order[place % len(order) :], *order[: place % len(order)]):
            slow = bool(side.seconds) and side.total(1) > SLOW * min(known)
            if key == _LEARNING or not slow or place % EVERY == 0:
                side.run(ticket)
    totals = {key: side.total(calls) for key, side in sides.items()}
    fixed = [key for key, side in sides.items() if key not in (_LEARNING, _NAIVE) and not side.missed]
    best = min(fixed, key=lambda key: totals[key])
    for key, side in sides.items():
        session.row(
            problem=name, seed=number, method=key, milliseconds=1e3 * totals[key] / (calls * systems),
            tickets=len(side.seconds), iterations=side.iterations / max(side.samples, 1), missed=side.missed,
            best=key == best, chosen=side.told if key == _LEARNING else "",
        )  # fmt: skip
    failed = sides[_LEARNING].missed > 0
    return (
        math.inf if failed else totals[_LEARNING] / totals[best],
        0.0 if failed else totals[naive] / totals[_LEARNING],
    )


CLAIMS = (
    *(
        Claim(
            f"auto.regret_{name}", "<=", 1.15,
            f"{name}: seconds of learning over those of the best fixed method in hindsight, {CALLS * SYSTEMS} samples",
        )
        for name in CASES
    ),
    *(
        Claim(
            f"auto.gain_{name}", ">=", case.gain,
            f"{name}: times faster than {name_of(case.naive)} on the sparse matrix, learning included",
        )
        for name, case in CASES.items()
    ),
)  # fmt: skip

NOTES = (
    f"auto.regret_*, auto.gain_*: {CALLS} tickets of {SYSTEMS} samples to a true relative residual of {RTOL:g}; the "
    f"median of {SEEDS} sequences is one value. All methods take turns, ticket by ticket; set-up counts, drawing and "
    "assembling do not, nor do compiling and loading. Memories start empty in every sequence.",
    "The best fixed method in hindsight is the fastest of all that the learner chooses from, each with a memory of its "
    f"own where it takes one. Those more than {SLOW:g} times slower than the fastest, and the naive one if it is, are "
    f"timed on one ticket of {EVERY}, spread over the sequence; methods that missed a tolerance take no part.",
    "darcy: coefficient 3 or 12 on a grid of 128 squared (a matrix-free stencil; the naive method gets it as a CSR). "
    "disk, tets: log-normal coefficient, linear elements on a disk of 8,321 and a box of 29,791 nodes. "
    f"convection: the same coefficient on 129 squared nodes in a flow of Peclet number {PECLET:g} across the domain. "
    "fixed: the disk with one coefficient and random sources, one right-hand side a call, in a new matrix object each.",
)

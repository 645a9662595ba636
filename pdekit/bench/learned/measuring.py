"""Methods side by side on the same systems, taking turns."""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.bench.harness import Session
from pdekit.core.errors import InputError
from pdekit.learned.base import LearnedPreconditioner
from pdekit.learned.corrected import CorrectedFactor
from pdekit.solvers import CG, CSR, Method, Preconditioner, Solution, solve

__all__ = ["RTOL", "TOLERANCES", "Compared", "Side", "System", "compare", "counts", "fastest", "rows"]

RTOL = 1e-8
TOLERANCES = (1e-3, 1e-6, 1e-9, 1e-12)
MANY = 20_000
"""Iterations at which a method is given up."""
System = tuple[CSR, Float[Tensor, "*k n"]]


@dataclass(frozen=True)
class Side:
    """A method of a table.

    Args:
        how: a preconditioner for conjugate gradients, or a method.
        training_seconds: that it took before; None for what is not trained.
    """

    how: Preconditioner | Method
    training_seconds: float | None = None

    @property
    def method(self) -> Method:
        """As ``solve`` takes it."""
        return self.how if isinstance(self.how, Method) else CG(self.how, max_iterations=MANY)


@dataclass
class Compared:
    """What one side did; seconds are means over the systems of medians over the rounds."""

    seconds: float = math.nan
    setup: float = math.nan
    inference: float = math.nan
    iterations: list[int] = field(default_factory=list)
    residual: float = math.nan
    failed: int = 0
    refused: str = ""

    @property
    def mean(self) -> float:
        """Iterations; NaN where a system was not solved."""
        return statistics.fmean(self.iterations) if self.iterations and not self.failed else math.nan


def fresh(A: CSR) -> CSR:
    """The same matrices, of whose entries nothing is known yet."""
    return A.with_values(A.values)


def counts(A: CSR, recipe: Preconditioner, b: Float[Tensor, " n"], x0: Float[Tensor, " n"]) -> tuple[list[int], float]:
    """Iterations to each of the absolute tolerances, and the norm of the residual in the end, recomputed.

    The residual that conjugate gradients carry along tells when a tolerance is reached, as in the figures to compare
    with: from a random guess the true one does not fall below about 1e-10, whatever the preconditioner.
    """
    solution = solve(fresh(A), b, CG(recipe, max_iterations=MANY), rtol=0.0, atol=TOLERANCES[-1], x0=x0, throw=False)
    norms = solution.history.reshape(len(solution.history), -1)[:, 0] * torch.linalg.vector_norm(b)
    found = [int(torch.nonzero(norms <= atol)[0]) if bool((norms <= atol).any()) else MANY for atol in TOLERANCES]
    return found, float(torch.linalg.vector_norm(b - A.matvec(torch.as_tensor(solution.x))))


def compare(sides: Mapping[str, Side], systems: Sequence[System], *, rounds: int) -> dict[str, Compared]:
    """Solve every system by every method, in turns; the first round loads what is compiled and does not count."""
    found = {name: Compared() for name in sides}
    seconds: dict[str, list[list[float]]] = {name: [[] for _ in systems] for name in sides}
    setups: dict[str, list[list[float]]] = {name: [[] for _ in systems] for name in sides}
    for turn in range(1 + rounds):
        for k, (A, b) in enumerate(systems):
            for name, side in sides.items():
                if found[name].refused:
                    continue
                matrix, start = fresh(A), time.perf_counter()
                try:
                    solution = solve(matrix, b, side.method, rtol=RTOL, throw=False)
                except InputError as error:
                    found[name] = Compared(refused=str(error).split(":")[0], failed=len(systems))
                    continue
                took = time.perf_counter() - start
                if turn == 0:
                    _note(found[name], solution)
                if turn or not rounds:
                    seconds[name][k].append(took)
                    setups[name][k].append(solution.setup_seconds)
    for name, side in sides.items():
        if found[name].refused:
            continue
        found[name].seconds = statistics.fmean(map(statistics.median, seconds[name]))
        found[name].setup = statistics.fmean(map(statistics.median, setups[name]))
        if isinstance(side.how, LearnedPreconditioner):
            found[name].inference = _inference(side.how, systems[0][0], max(1, rounds))
    return found


def _note(found: Compared, solution: Solution) -> None:
    # What another method had to finish is no success of this one.
    failed = not bool(solution.converged.all()) or "; then" in solution.method
    found.failed += failed
    found.iterations.append(int(solution.iterations.max()))
    residual = float(solution.residual.max())
    found.residual = residual if math.isnan(found.residual) else max(found.residual, residual)


def _inference(recipe: LearnedPreconditioner, A: CSR, rounds: int) -> float:
    """Seconds for features and network: what it takes beyond the classical factor until alpha is looked for."""
    with torch.no_grad():
        whole = _median(lambda: recipe.bind(fresh(A)), rounds)
        if not isinstance(recipe, CorrectedFactor):
            return whole
        return max(0.0, whole - _median(lambda: recipe.start.setup(fresh(A)), rounds))


def _median(call: Callable[[], Any], rounds: int) -> float:
    taken = []
    for _ in range(1 + rounds):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:])


def rows(
    session: Session, sides: Mapping[str, Side], found: Mapping[str, Compared], against: str, **columns: Any
) -> None:
    """A row for each side.

    Args:
        session: is told.
        sides: what was compared.
        found: what they did.
        against: the side over whose seconds training pays after so many solves.
        columns: that all rows begin with.
    """
    for name, side in sides.items():
        one = found[name]
        more: dict[str, Any] = {}
        if one.refused:
            session.row(**columns, method=name, note=one.refused)
            continue
        if side.training_seconds is not None:
            gained = found[against].seconds - one.seconds
            pays = f"{side.training_seconds / gained:,.0f} solves" if gained > 0 else "never"
            more = {"training_seconds": side.training_seconds, "inference_ms": 1e3 * one.inference}
            more[f"pays against {against} after"] = pays
        session.row(
            **columns, method=name, setup_ms=1e3 * one.setup, solve_ms=1e3 * (one.seconds - one.setup),
            iterations=statistics.fmean(one.iterations), failed=one.failed, true_residual=one.residual, **more,
        )  # fmt: skip


def fastest(found: Mapping[str, Compared]) -> str:
    """The name of the side that solved all in the fewest seconds."""
    able = {name: one for name, one in found.items() if not one.failed} or found
    return min(able, key=lambda name: able[name].seconds)

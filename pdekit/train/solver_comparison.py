"""A learned part of a solver against classical methods on held-out problems."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from pdekit.core.errors import InputError
from pdekit.domain import Grid
from pdekit.families import Family
from pdekit.learned.base import LearnedPreconditioner
from pdekit.samples import Source
from pdekit.solvers import AMG, CG, CSR, IC0, Auto, Direct, Jacobi, LinearSystem, Method, Multigrid, Solution, solve
from pdekit.train.report import Measured, SolverReport
from pdekit.train.systems import as_family, stored, systems_of

__all__ = ["Compared", "Row", "compare"]

_MANY = 100_000
_CLASSICAL = "CG, its classical part"
_SPARSE: dict[str, Method] = {
    "CG, Jacobi": CG(Jacobi(), max_iterations=_MANY),
    "CG, IC(0)": CG(IC0(shift="auto"), max_iterations=_MANY),
    "CG, IC(0), relaxation 0.97": CG(IC0(shift="auto", relaxation=0.97), max_iterations=_MANY),
    "CG, AMG": CG(AMG()),
    "Direct": Direct(),
}
"""Tried beside the learned part on every matrix, with its entries stored."""


@dataclass(frozen=True)
class Row:
    """One method on all problems, each solved alone.

    Args:
        setup_seconds: mean of set-ups: factors, hierarchies, features, inference.
        solve_seconds: mean of the rest.
        iterations: mean.
        most_iterations: of any problem.
        residual: the largest relative residual, recomputed.
        missed: problems that were not solved to the tolerance.
    """

    setup_seconds: float
    solve_seconds: float
    iterations: float
    most_iterations: int
    residual: float
    missed: int

    @property
    def seconds(self) -> float:
        """Of one problem."""
        return self.setup_seconds + self.solve_seconds


@dataclass(frozen=True, repr=False)
class Compared(Measured):
    """What a learned part of a solver gains; print it for a table.

    Args:
        learned: name of its row.
        classical: name of the row of what its network starts from; None where it starts from nothing.
        rows: by method.
        problems: how many.
        rtol: relative residual to reach.
        place: where the problems live.
        histories: relative residuals of the first problem, by method.
        refused: why a method has no row, by its name.
        training_seconds: what training took; None where that is not known.
    """

    picture: ClassVar[str] = "convergence.png"
    learned: str
    classical: str | None
    rows: dict[str, Row]
    problems: int
    rtol: float
    place: str
    histories: dict[str, Float[Tensor, " steps"]]
    refused: dict[str, str]
    training_seconds: float | None = None

    def pays_after(self, name: str) -> float | None:
        """Solves after which training has paid for itself against another method; None for never."""
        gained = self.rows[name].seconds - self.rows[self.learned].seconds
        return None if gained <= 0 or self.training_seconds is None else self.training_seconds / gained

    def report(self, figures: Mapping[str, Any]) -> SolverReport:
        """See :class:`Measured`."""
        trained = replace(self, training_seconds=figures["train_seconds"])
        fastest = min((name for name in self.rows if name != self.learned), key=lambda name: self.rows[name].seconds)
        return SolverReport(
            test_iterations=self.rows[self.learned].iterations,
            classical_iterations=None if self.classical is None else self.rows[self.classical].iterations,
            fastest=fastest,
            pays_after=trained.pays_after(fastest),
            test_samples=self.problems,
            test={name: asdict(row) for name, row in self.rows.items()},
            **figures,
        )

    def to_json(self) -> dict[str, Any]:
        """Rows, and why others are missing."""
        return {
            "samples": self.problems,
            "place": self.place,
            "learned": self.learned,
            "classical": self.classical,
            "rows": {name: asdict(row) for name, row in self.rows.items()},
            "refused": self.refused,
            "training_seconds": self.training_seconds,
        }

    def draw(self, folder: Path) -> None:
        """How the residual of the first problem falls."""
        from pdekit import plot

        iterative = {name: history for name, history in self.histories.items() if len(history) > 2}
        plot.save(plot.history_figure(iterative, tolerance=self.rtol, title=self.place), folder / self.picture)

    def __str__(self) -> str:
        lines = [f"{self.problems} held-out problems on {self.place}, each solved alone to {self.rtol:.0e}"]
        known = self.training_seconds is not None
        pays = f" {'training pays after':>20}" if known else ""
        lines.append(f"  {'':34} {'set-up ms':>9} {'solve ms':>9} {'iterations':>10} {'most':>5} {'residual':>8}{pays}")
        for name, row in sorted(self.rows.items(), key=lambda item: item[1].seconds):
            line = (
                f"  {name:34} {1e3 * row.setup_seconds:9.2f} {1e3 * row.solve_seconds:9.2f} {row.iterations:10.1f} "
                f"{row.most_iterations:5} {row.residual:8.1e}"
            )
            if known and name != self.learned:
                solves = self.pays_after(name)
                line += f" {'never' if solves is None else f'{solves:,.0f} solves':>20}"
            lines.append(line + (f"  ({row.missed} not solved)" if row.missed else ""))
        lines += [f"  {name}: {why}" for name, why in self.refused.items()]
        if known:
            lines.append(f"  training took {self.training_seconds:.0f} s")
        return "\n".join(lines)

    __repr__ = __str__


def compare(
    part: LearnedPreconditioner | Method,
    source: Source,
    *,
    samples: int,
    seed: int,
    split: str = "test",
    rtol: float = 1e-10,
    method: Method | None = None,
    training_seconds: float | None = None,
) -> Compared:
    """Solve held-out problems one by one, by each method in turn.

    Args:
        part: a learned preconditioner, tried with conjugate gradients, or a method such as :class:`DeepDirections`.
        source: a family, whose grid may be finer than the one trained on.
        samples: how many problems, the first of the split.
        seed: of the inputs.
        split: another than the one trained on.
        rtol: relative residual to reach.
        method: of the user's own, for a row of its own; None for Auto.
        training_seconds: what training took, to tell after how many solves it has paid for itself.

    Raises:
        InputError: no samples, a source that has no matrices, or problems that the part was not made for.
    """
    if samples < 1:
        raise InputError(f"samples={samples}; expected at least 1.")
    family = as_family(source, "A comparison of solvers")
    if (trained_on := getattr(part, "trained_on", None)) is not None:
        trained_on.check_family(type(part).__name__, type(family).__name__)
    learned, sides = _sides(part, method)
    for turn, k in enumerate((0, *range(samples))):
        (system,) = systems_of(family, family.draw([k], seed=seed, split=split))
        (sparse,) = stored([system])
        for name, side in sides.items():
            side.run(system, sparse, rtol, needed=name == learned)
        if turn == 0:  # the first problem comes twice: now compiled code is loaded and caches are filled
            for side in sides.values():
                side.solutions = []
    return Compared(
        learned=learned,
        classical=_CLASSICAL if _CLASSICAL in sides else None,
        rows={name: side.row() for name, side in sides.items() if side.solutions},
        problems=samples,
        rtol=rtol,
        place=_place(family),
        histories={name: side.solutions[0].history[:, 0] for name, side in sides.items() if side.solutions},
        refused={name: side.refused for name, side in sides.items() if side.refused},
        training_seconds=training_seconds,
    )


@dataclass
class _Side:
    """One method on its way through the problems."""

    method: Method
    stored: bool = True
    solutions: list[Solution] = field(default_factory=list)
    refused: str = ""

    def run(self, system: LinearSystem, sparse: CSR, rtol: float, *, needed: bool) -> None:
        if self.refused:
            return
        A = sparse if self.stored else system.operator
        try:  # an object of its own: what one side finds out about a matrix is not known to the next
            solution = solve(A.with_values(A.values), system.rhs, self.method, rtol=rtol, throw=False)
        except InputError as error:
            if needed:
                raise
            self.refused, self.solutions = str(error), []
        else:
            self.solutions.append(solution)

    def row(self) -> Row:
        found = self.solutions
        return Row(
            fmean(solution.setup_seconds for solution in found),
            fmean(solution.solve_seconds for solution in found),
            fmean(float(solution.iterations.double().mean()) for solution in found),
            max(int(solution.iterations.max()) for solution in found),
            max(float(solution.residual.max()) for solution in found),
            sum(not bool(solution.converged.all()) for solution in found),
        )


def _sides(part: LearnedPreconditioner | Method, method: Method | None) -> tuple[str, dict[str, _Side]]:
    """The name of the learned side, and all sides."""
    learned = type(part).__name__
    sides = {name: _Side(known) for name, known in _SPARSE.items()}
    sides |= {
        "CG, multigrid": _Side(CG(Multigrid()), stored=False),
        type(method or Auto()).__name__: _Side(method or Auto(), stored=False),
    }
    if isinstance(part, Method):
        return learned, {learned: _Side(part, stored=False), **sides}
    learned = f"CG, {learned}"
    if part.classical is not None:
        sides = {_CLASSICAL: _Side(CG(part.classical, max_iterations=_MANY)), **sides}
    return learned, {learned: _Side(CG(part, max_iterations=_MANY)), **sides}


def _place(family: Family) -> str:
    place = family.place
    return f"{' x '.join(map(str, place.shape))} points" if isinstance(place, Grid) else str(place)

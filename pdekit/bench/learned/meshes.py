"""Corrected incomplete factors on random meshes: heat steps and elastic bodies in two and three dimensions."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pdekit.bench.harness import Claim, Session
from pdekit.bench.learned.measuring import RTOL, Compared, Side, compare, fastest, rows
from pdekit.bench.learned.problems import HeatStep, elastic, heat, higher_contrast, test_systems
from pdekit.bench.learned.training import Training
from pdekit.families import Elasticity
from pdekit.learned.corrected import CorrectedFactor
from pdekit.learned.losses import LowFrequency
from pdekit.solvers import AMG, IC0, ICT, Direct, Jacobi, Preconditioner

__all__ = ["CASES", "CLAIMS", "NOTES", "Case", "measure", "tables"]

OMEGAS = (0.5, 0.8, 0.9, 0.97)
ORDERINGS = {"natural": "", "cuthill-mckee": ", Cuthill-McKee"}
FACTOR_LIMIT = 20_000
"""Unknowns in 3-D beyond which complete factors are left out: they would take minutes and gigabytes."""
THRESHOLDED = ICT(0.01, shift="auto")
OWN = "ICT(0.01)"
OURS, PLAIN = "corrected ICT(0.01)", "corrected IC(0)"
STARTS: dict[str, Preconditioner] = {OURS: THRESHOLDED, PLAIN: IC0(shift="auto")}
"""What the networks correct; the second is trained for the first seed only."""


@dataclass(frozen=True)
class Case:
    """Problems of one kind.

    Args:
        problem: ``heat`` or ``elasticity``.
        dim: of the meshes.
        family: of a number of cells along a side.
        cells: of the meshes trained on.
    """

    problem: str
    dim: int
    family: Callable[[int, int], HeatStep | Elasticity]
    cells: int

    @property
    def components(self) -> int:
        """Of the unknown field."""
        return self.dim if self.problem == "elasticity" else 1


CASES = (Case("heat", 2, heat, 24), Case("heat", 3, heat, 7), Case("elasticity", 2, elastic, 16),
         Case("elasticity", 3, elastic, 5))  # fmt: skip

CLAIMS = (
    Claim("learned.fem_heat", "<=", 0.7,
          "iterations of corrected ICT(0.01) over IC(0), heat steps on held-out meshes, 2-D and 3-D: the worse"),
    Claim("learned.fem_elasticity", "<=", 0.7, "the same for elastic bodies"),
)  # fmt: skip
NOTES = (
    "meshes: P1 on Delaunay meshes of jittered points in randomly bent squares and cubes, each problem on a mesh of "
    "its own, held at a random part of 30 to 50 % of the boundary; heat: (M + K) u = M start; elasticity: Poisson's "
    "ratio 0.3, weight. The coefficient is log-normal, its logarithm of standard deviation 0.5; contrast x 10: between "
    "the values two standard deviations above and below. Finer means 2 or 4 times as many cells along a side.",
    f"meshes: to a relative residual of {RTOL:.0e} from a guess of 0, recomputed in float64, one problem at a time; "
    f"factors with shift auto, RIC with omega of {', '.join(map(str, OMEGAS))} in the order of the mesh and in that of "
    "Cuthill and McKee (nearly the same). ICT(0.01) has 1.2 to 1.6 times the entries of IC(0); verdicts compare what "
    "was trained with it, too, since it is the classical part of the corrected one.",
    "meshes: failed counts systems that were not solved; a note says why a method refused. AMG: classical "
    f"or smoothed aggregation, as AMG() chooses. SuperLU is left out in 3-D beyond {FACTOR_LIMIT:,} unknowns.",
)


def measure(session: Session, seed: int) -> None:
    """All four cases."""
    for problem in ("heat", "elasticity"):
        if not session.wants(f"learned.fem_{problem}"):
            continue
        for case in CASES:
            if case.problem == problem:
                names = STARTS if seed == 0 else (OURS,)
                trainings = {name: training(case, STARTS[name], session.quick) for name in names}
                ratios = tables(session, case, trainings, "IC(0)", seed)
                session.record(f"learned.fem_{problem}", ratios[OURS], seed=seed)


def training(case: Case, start: Preconditioner, quick: bool) -> Training:
    """Of a corrected factor."""
    cells = 2 if quick else case.cells
    return Training(
        lambda: CorrectedFactor(start=start),
        case.family(case.dim, cells),
        LowFrequency(),
        steps=4 if quick else 400,
        batch=2 if quick else 8,
    )


def tables(
    session: Session, case: Case, trainings: Mapping[str, Training], against: str, seed: int
) -> dict[str, float]:
    """Train, then a table on meshes of the size trained on, finer ones, and with more contrast.

    Args:
        session: is told.
        case: of the problems.
        trainings: by the name of what is trained.
        against: the classical side that the iterations are compared with.
        seed: of training and tests.

    Returns:
        By name, iterations over those of that side at the size trained on; NaN where one of the two failed.
    """
    learned = {}
    for name, training in trainings.items():
        session.say(f"training: {name}, {case.problem} in {case.dim}-D, seed {seed} ...")
        trained = training.run(seed, session.say)
        learned[name] = Side(trained.recipe, trained.seconds)
    cells = 2 if session.quick else case.cells
    family = case.family(case.dim, cells)
    places = {
        "as trained": (family, 10), "contrast x 10": (higher_contrast(family), 4),
        "2 times finer": (case.family(case.dim, 2 * cells), 4), "4 times finer": (case.family(case.dim, 4 * cells), 1),
    }  # fmt: skip
    ratios = {}
    for place, (where, count) in places.items():
        systems = test_systems(where, 2 if session.quick else count, seed)
        unknowns = systems[0][0].shape[0]
        sides = classical(with_factors=case.dim == 2 or unknowns <= FACTOR_LIMIT) | learned
        found = compare(sides, systems, rounds=_rounds(session, unknowns))
        best = fastest({side: one for side, one in found.items() if side.startswith("RIC(")})
        fewest = _fewest(found)
        columns = {"problem": f"{case.problem} {case.dim}-D", "place": place, "unknowns": unknowns, "seed": seed}
        shown = {side: one for side, one in sides.items() if not side.startswith("RIC(") or side in (best, fewest)}
        rows(session, shown, found, best, **columns)
        for name in learned:
            ratios.setdefault(name, found[name].mean / found[against].mean)
            over = {f"over {side}": found[name].mean / found[side].mean for side in (against, fewest, OWN)}
            session.row(**columns, method=name, **over, verdict=_verdict(found, name, fewest))
    return ratios


def classical(*, with_factors: bool) -> dict[str, Side]:
    """What needs no training."""
    sides = {"Jacobi": Side(Jacobi()), "IC(0)": Side(IC0(shift="auto"))}
    for omega in OMEGAS:
        for ordering, label in ORDERINGS.items():
            recipe = IC0(shift="auto", relaxation=omega, ordering=ordering)  # pyright: ignore[reportArgumentType]
            sides[f"RIC({omega:g}){label}"] = Side(recipe)
    sides |= {OWN: Side(THRESHOLDED), "AMG": Side(AMG())}
    return sides | ({"SuperLU": Side(Direct())} if with_factors else {})


def _fewest(found: Mapping[str, Compared]) -> str:
    """The RIC that takes the fewest iterations."""
    able = {name: one.mean for name, one in found.items() if name.startswith("RIC(") and not math.isnan(one.mean)}
    return min(able, key=lambda name: able[name], default="IC(0)")


def _verdict(found: Mapping[str, Compared], name: str, fewest: str) -> str:
    if found[name].failed:
        return "failed"
    better = [side for side in (fewest, OWN) if found[name].mean < found[side].mean]
    return f"fewer iterations than {' and '.join(better) or 'neither'}, of {fewest} and {OWN}"


def _rounds(session: Session, unknowns: int) -> int:
    """Rounds after the first, which counts only where there are no others."""
    return 1 if session.quick else 0 if unknowns > _LARGE else 3


_LARGE = 15_000

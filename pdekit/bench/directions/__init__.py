"""Deep conjugate directions around obstacles never seen, beside classical solvers at the same true residual."""

from dataclasses import dataclass
from typing import Any

from pdekit.bench.directions import sides, trainings
from pdekit.bench.directions.sides import AMG_CG, CG_PLAIN, IC, Column, Problem, Side, least
from pdekit.bench.directions.trainings import OURS, PUBLISHED, Trained
from pdekit.bench.harness import Benchmark, Claim, Session
from pdekit.bench.peers import PEERS
from pdekit.domain import Grid
from pdekit.families import Obstacles
from pdekit.fields import Inclusions, LogNormal, Matern, RandomField
from pdekit.learned.directions import DeepDirections, DirectionNet

__all__ = ["BENCHMARK"]

TOLERANCES = (1e-4, 1e-6, 1e-8)
CHOSEN_AT = 1e-6
"""Tolerance at which the settings of classical methods are chosen."""
UNTRAINED = "deep directions, untrained"
CLUMSY = 20_000
"""Unknowns above which the published network is left out."""


@dataclass(frozen=True)
class Case:
    """Systems of one kind and size.

    Args:
        what: in words.
        size: unknowns along a side.
        systems: how many.
        fluid: where the obstacles are.
        coefficient: of the equation.
        white: whether right-hand sides are white noise, or 1.
    """

    what: str
    size: int
    systems: int
    fluid: RandomField = Inclusions()  # noqa: RUF009 - immutable
    coefficient: float | RandomField = 1.0
    white: bool = True

    def problems(self, dim: int, seed: int) -> list[Problem]:
        """The systems."""
        family = Obstacles(Grid((self.size + 2,) * dim), self.fluid, self.coefficient)
        return sides.problems(family, self.systems, seed, white=self.white)


UNSEEN = "unseen obstacles"
SMALL, LARGE = {2: 128, 3: 32}, {2: 256, 3: 64}
"""Unknowns along a side, of those that claims are about."""
CROWDED = Inclusions((8, 12))
MEDIUM = LogNormal(Matern(length=0.1, smoothness=1.5, variance=0.5))


def cases(dim: int, *, quick: bool) -> list[Case]:
    """What is solved, in the order of the table."""
    if quick:
        return [Case(UNSEEN, size, 2) for size in ((10, 12, 16) if dim == 2 else (6, 8))]
    if dim == 3:
        return [
            Case(UNSEEN, SMALL[3], 4), Case(UNSEEN, LARGE[3], 3),
            Case("log-normal coefficient, not trained on", SMALL[3], 4, coefficient=MEDIUM),
        ]  # fmt: skip
    return [
        Case(UNSEEN, 64, 8),
        Case(UNSEEN, SMALL[2], 8),
        Case(UNSEEN, LARGE[2], 8),
        Case("8 to 12 obstacles, trained on 2 to 6", SMALL[2], 8, CROWDED),
        Case("log-normal coefficient, not trained on", SMALL[2], 8, coefficient=MEDIUM),
        Case("right-hand side 1", SMALL[2], 8, white=False),
    ]


def measure(session: Session) -> None:
    for seed in range(session.seeds):
        for dim in (2, 3):
            if session.wants(*(claim.id for claim in CLAIMS if claim.id.endswith("_3d") == (dim == 3))):
                _measure(session, dim, seed)


def _measure(session: Session, dim: int, seed: int) -> None:
    """One dimension: trainings, then all cases, then the claims."""
    lengths = trainings.QUICK if session.quick else trainings.LENGTHS
    trained: dict[str, Trained] = {}
    for name in (OURS, *(trainings.CONTROLS[dim] if seed == 0 else ())):
        session.say(f"training {name} in {dim}-D, seed {seed} ...")
        trained[name] = trainings.train(name, dim, seed, lengths)
    tables = [_table(session, case, dim, seed, trained) for case in cases(dim, quick=session.quick)]
    if dim == 3:
        _claims_3d(session, tables[0], tables[1], seed)
    else:
        _claims_2d(session, tables[1], tables[2], seed)


Table = dict[float, dict[str, Column]]
"""By tolerance and name of the row."""


def _table(session: Session, case: Case, dim: int, seed: int, trained: dict[str, Trained]) -> Table:
    """The rows of one case."""
    given = case.problems(dim, seed)
    unknowns = given[0].rhs.numel()
    choices = sides.classical(dim, unknowns)
    chosen = {name: choice.best(given[:2], CHOSEN_AT) for name, choice in choices.items()}
    methods = {OURS: trained[OURS].method, UNTRAINED: DeepDirections(DirectionNet(dim))}
    if case.what == UNSEEN:
        methods |= {name: one.method for name, one in trained.items() if name != PUBLISHED or unknowns <= CLUMSY}
    running: dict[str, Side] = {name: sides.learned(method) for name, method in methods.items()}
    running |= {name: choices[name].sides[setting] for name, setting in chosen.items()}
    table = {}
    for rtol in TOLERANCES:
        table[rtol] = columns = sides.measured(running, given, rtol)
        fastest = least(columns[name].seconds for name in chosen)
        for name, column in columns.items():
            training: dict[str, Any] = {}
            if name in trained:
                gain = fastest - column.seconds
                pays = f"{trained[name].seconds / gain:,.0f} solves" if gain > 0 else "never"
                training = {"training_seconds": trained[name].seconds, "pays_after": pays}
            session.row(
                seed=seed, case=case.what, shape="x".join([str(case.size)] * dim), systems=case.systems, rtol=rtol,
                method=f"{name}, {chosen[name]}" if chosen.get(name) else name, **training, **column.summary(),
            )  # fmt: skip
    return table


def _claims_2d(session: Session, small: Table, large: Table, seed: int) -> None:
    loose = small[1e-4]
    ours = loose[OURS].iterations
    session.record("directions.cg_128", ours / loose[CG_PLAIN].iterations, seed=seed)
    session.record("directions.ic_128", ours / loose[IC].iterations, seed=seed)
    session.record("directions.amg_128", ours / least(loose[name].iterations for name in AMG_CG), seed=seed)
    session.record("directions.iterations_1e8", small[1e-8][OURS].most, seed=seed)
    fastest = least(large[1e-4][name].seconds for name in AMG_CG)
    session.record("directions.seconds_256", large[1e-4][OURS].seconds / fastest, seed=seed)


def _claims_3d(session: Session, small: Table, large: Table, seed: int) -> None:
    for rtol in TOLERANCES:
        ours = large[rtol][OURS].iterations
        session.record("directions.cg_3d", ours / large[rtol][CG_PLAIN].iterations, seed=seed)
        session.record("directions.ic_3d", ours / large[rtol][IC].iterations, seed=seed)
        session.record("directions.growth_3d", ours / small[rtol][OURS].iterations, seed=seed)


CLAIMS = (
    Claim("directions.cg_128", "<=", 1 / 20, "2-D, 128 squared: iterations to 1e-4 over those of CG"),
    Claim("directions.ic_128", "<=", 1 / 5, "the same over those of IC(0)-CG"),
    Claim("directions.amg_128", "<=", 2.0, "the same over those of Ruge-Stuben AMG-CG, the better of two"),
    Claim("directions.iterations_1e8", "<=", 15, "2-D, 128 squared: iterations to 1e-8, worst system"),
    Claim("directions.seconds_256", "<=", 1.0,
          "2-D, 256 squared: seconds to 1e-4 over those of Ruge-Stuben AMG-CG, the faster of two; set-ups included"),
    Claim("directions.cg_3d", "<=", 1 / 8, "3-D, 64 cubed: iterations over those of CG, worst of three tolerances"),
    Claim("directions.ic_3d", "<=", 1 / 3, "the same over those of IC(0)-CG"),
    Claim("directions.growth_3d", "<=", 1.5, "3-D: iterations at 64 cubed over those at 32 cubed, worst of three"),
)  # fmt: skip

_2D, _3D = (trainings.LENGTHS[dim] for dim in (2, 3))
BENCHMARK = Benchmark(
    "directions",
    claims=CLAIMS,
    measure=measure,
    peers=PEERS[:1],
    notes=(
        "The family Obstacles, u = 0 on the walls, no flux into 2 to 6 boxes and balls; coefficient 1 and white noise "
        "in the fluid as right-hand side where nothing else is said. Systems are those of the split test, which no "
        "training sees; sizes are unknowns along a side, those in solids included, which are coupled to nothing.",
        f"{OURS}: DirectionNet with the energy-norm loss, trained by the task DirectionLearning for {_2D.steps} steps "
        f"of {_2D.batch} matrices of {_2D.size} squared unknowns (2-D: configs/directions_obstacles.yaml) and "
        f"{_3D.steps} of {_3D.batch} of {_3D.size} cubed (3-D). Training seconds are wall time, the first samples and "
        "looks at validation samples included. pays_after: solves after which training has paid for itself against "
        "the fastest of the other kinds of solver.",
        "Controls, with the same steps and samples, trained for the first seed only, solved with on the cases of the "
        "claims only: the same network with the norm of the residual in place of that of the energy; and in 2-D the "
        "published convolutional network with the published loss, the norm of the residual after one step, left out "
        f"above {CLUMSY:,} unknowns. Untrained, the network is a plain multigrid cycle.",
        "All sides solve one system at a time to a true relative residual, recomputed with SciPy's product; all take "
        "turns, and the first system is solved once more before anything counts. Set-up counts: factors, hierarchies, "
        "and what the network makes of the matrix. inference_ms is the part of solve_ms that goes to the network. "
        "Milliseconds are medians over the systems, iterations means, most is the worst system; fall_backs are steps "
        "along the residual in place of a proposal. Writing stored entries out for those who need them is not counted.",
        f"What a row was chosen from, for each case by its first two systems at {CHOSEN_AT:g}, AMG and geometric "
        "multigrid by seconds, the others by iterations: omega "
        f"{', '.join(f'{omega:g}' for omega in sides.OMEGAS)}; strength "
        f"{', '.join(f'{s:g}' for s in sides.STRENGTHS)}; PyAMG 0.1 and 0.25, one pass of coarsening or two; "
        "geometric multigrid with either coarsening. CG and IC(0) run in compiled code on stored entries, multigrid on "
        f"the stencil. SuperLU (Direct()) is left out above {sides.FACTORED[3]:,} unknowns in 3-D.",
    ),
)

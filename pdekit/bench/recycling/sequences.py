"""Sequences where GMRES is the right family of methods: a recycled space against the others and against SuperLU."""

import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse.linalg
import torch

from pdekit.bench.harness import Claim, Session
from pdekit.bench.recycling.equations import NonlinearDiffusion, System, convection, helmholtz, impedance, smooth
from pdekit.bench.timing import Processes
from pdekit.solvers import CSR, GCRODR, GMRES, ILU0, BiCGStab, Direct, Freeze, Method, RecycleSpace, newton, solve

__all__ = ["CLAIMS", "NOTES", "measure"]

RTOL = 1e-8
LIMIT = 5000
"""Iterations of every method."""
SUPERLU = "SuperLU (MMD, symmetric mode)"


@dataclass(frozen=True)
class Case:
    """A sequence.

    Args:
        make: from a random generator, matrices with right-hand sides; None for Newton sequences.
        restart: of GCRO-DR.
        vectors: of its space.
        after: systems (of Newton's method: steps) during which the space is updated.
        length: systems of a chain.
        exponential: of Newton sequences, which conductivity.
    """

    make: Callable[[np.random.Generator], Iterator[System]] | None
    restart: int
    vectors: int
    after: int
    length: int
    exponential: bool = False

    @property
    def recycled(self) -> str:
        """The name of the row."""
        return f"GCRO-DR({self.restart},{self.vectors}), frozen after {self.after}"

    def methods(self) -> dict[str, Method]:
        """What is compared, each with a memory of its own."""
        space = RecycleSpace(self.vectors)
        return {
            "GMRES(40)": GMRES(ILU0(), 40, LIMIT),
            "GMRES(80)": GMRES(ILU0(), 80, LIMIT),
            "BiCGStab": BiCGStab(ILU0(), LIMIT),
            self.recycled: GCRODR(ILU0(), self.restart, update=Freeze(self.after), space=space, max_iterations=LIMIT),
        }


CUBE = (24, 24, 24)
CASES = {
    "3-D Helmholtz, 2 wavelengths +-2 %": Case(partial(helmholtz, CUBE, 2.0, 0.02), 80, 50, 4, 24),
    "3-D Helmholtz, 1.5 wavelengths +-3 %": Case(partial(helmholtz, CUBE, 1.5, 0.03), 80, 50, 4, 16),
    "3-D Helmholtz, 30 a side, 2 wavelengths +-3 %": Case(partial(helmholtz, (30, 30, 30), 2.0, 0.03), 80, 50, 4, 8),
    "Newton, conductivity exp(u)": Case(None, 40, 20, 8, 10, exponential=True),
    "Newton, conductivity 1 + u^2": Case(None, 40, 20, 8, 10),
    **{
        f"2-D convection, Peclet {peclet}": Case(partial(convection, 104, peclet, 0.98), 40, 20, 4, 16)
        for peclet in (5, 10, 20, 50)
    },
    "2-D Helmholtz, 6 wavelengths +-2 %, reflecting": Case(partial(helmholtz, (104, 104), 6.0, 0.02), 80, 50, 4, 8),
    "2-D Helmholtz, 6 wavelengths +-2 %, impedance": Case(partial(impedance, 104, 6.0, 0.02), 80, 50, 4, 8),
}
WAVES = "3-D Helmholtz, 2 wavelengths +-2 %"
NEWTON = ("Newton, conductivity exp(u)", "Newton, conductivity 1 + u^2")
NEWTON_SIDE = 150
FORCE = {True: 20.0, False: 40.0}
"""Mean source: u reaches about 1 and 2."""
CLAIMS = (
    Claim("recycling.helmholtz_gmres40", ">=", 2.0,
          "3-D Helmholtz, 24 cubed, 2 wavelengths: seconds of GMRES(40) over those of GCRO-DR(80,50), space frozen"),
    Claim("recycling.helmholtz_best", ">=", 1.3,
          "the same for the fastest of GMRES(80), BiCGStab and SuperLU"),
    Claim("recycling.newton", ">=", 1.5,
          f"Newton's method, nonlinear diffusion, {NEWTON_SIDE**2:,} unknowns: seconds of GMRES(40) over those of "
          "GCRO-DR(40,20); the worse of two conductivities"),
)  # fmt: skip
NOTES = (
    "sequences: all with ILU(0), every system to a true residual of 1e-8, recomputed with SciPy's products. Two "
    "chains, a core each, in single-threaded processes; within a chain every method solves a system before any solves "
    f"the next. Wave numbers and sources are drawn independently, flows have autocorrelation 0.98. {SUPERLU} is "
    "SciPy's splu without pivoting off the diagonal, faster here than its default.",
    "sequences: milliseconds are the median over converged systems, set-up included; mean_milliseconds is the mean of "
    "all, the first included, in which the space is learnt. Systems that a method did not solve by itself within "
    f"{LIMIT:,} iterations count as failed. A claim about a case in which a side failed is not measured.",
    "sequences: a system of a Newton sequence is one nonlinear problem, solved from 0 to 1e-8 of its first residual, "
    "its linear systems as exactly as Newton's method asks for; sources are drawn independently.",
)


@dataclass
class Tally:
    """What became of the systems of a case, by one method."""

    seconds: list[float] = field(default_factory=list)
    iterations: list[int] = field(default_factory=list)
    residuals: list[float] = field(default_factory=list)
    converged: list[bool] = field(default_factory=list)

    def add(self, seconds: float, iterations: int, residual: float, converged: bool) -> None:
        self.seconds.append(seconds)
        self.iterations.append(iterations)
        self.residuals.append(residual)
        self.converged.append(converged and residual <= RTOL)

    @property
    def median(self) -> float:
        """Seconds of a system that converged; NaN where one did not."""
        return statistics.median(self.seconds) if all(self.converged) else math.nan

    def summary(self) -> dict[str, Any]:
        done = [i for i, converged in enumerate(self.converged) if converged]
        return {
            "systems": len(self.converged),
            "failed": self.converged.count(False),
            "iterations": statistics.mean([self.iterations[i] for i in done]) if done else math.nan,
            "milliseconds": 1e3 * statistics.median([self.seconds[i] for i in done]) if done else math.nan,
            "mean_milliseconds": 1e3 * statistics.mean(self.seconds) if len(done) == len(self.seconds) else math.nan,
            "true_residual": max((self.residuals[i] for i in done), default=math.nan),
        }


@dataclass(frozen=True)
class Part:
    """What one process solves.

    Args:
        name: of the case.
        seed: of the draw.
        number: of the chain.
        length: systems of it.
    """

    name: str
    seed: int
    number: int
    length: int


def measure(session: Session, seed: int) -> None:
    """All cases, and the claims about three of them."""
    for name, case in CASES.items():
        claims = [claim.id for claim in CLAIMS[:2]] if name == WAVES else [CLAIMS[2].id] if name in NEWTON else []
        if session.only and not (claims and session.wants(*claims)):
            continue
        length = 2 if session.quick else case.length
        session.say(f"2 chains of {length} systems: {name}, seed {seed} ...")
        with Processes(chain, [Part(name, seed, number, length) for number in (0, 1)]) as chains:
            tallies = _joined(chains())
        unknowns = NEWTON_SIDE**2 if case.make is None else len(next(case.make(np.random.default_rng(0)))[1])
        for method, tally in tallies.items():
            session.row(seed=seed, case=name, unknowns=unknowns, method=method, **tally.summary())
        ours = tallies[case.recycled].median
        if name == WAVES:
            best = [tallies[other].median for other in ("GMRES(80)", "BiCGStab", SUPERLU)]
            session.record(CLAIMS[0].id, tallies["GMRES(40)"].median / ours, seed=seed)
            session.record(CLAIMS[1].id, math.nan if any(map(math.isnan, best)) else min(best) / ours, seed=seed)
        if name in NEWTON:
            session.record(CLAIMS[2].id, tallies["GMRES(40)"].median / ours, seed=seed)


def chain(part: Part) -> dict[str, Tally]:
    """One core's share: the methods take turns at every system, set-up included.

    Args:
        part: which systems.
    """
    torch.set_num_threads(1)
    case, rng = CASES[part.name], np.random.default_rng([part.seed, part.number])
    _warm_up()
    tallies: dict[str, Tally] = {}
    with torch.no_grad():
        if case.make is None:
            _nonlinear(case, rng, part.length, tallies)
        else:
            _linear(case, case.make(rng), part.length, tallies)
    return tallies


def _linear(case: Case, systems: Iterator[System], length: int, tallies: dict[str, Tally]) -> None:
    methods, pattern = case.methods(), None
    for matrix, b in itertools.islice(systems, length):
        one = CSR.from_scipy(matrix)
        pattern = one.pattern if pattern is None else pattern
        for name, method in methods.items():
            # With nothing known about it yet but the pattern, which all systems share.
            A, right = CSR(pattern, None, one.entries), torch.from_numpy(b)
            began = time.perf_counter()
            found = solve(A, right, method, rtol=RTOL, throw=False)
            seconds = time.perf_counter() - began
            # What another method had to finish is no success of this one.
            alone = bool(found.converged) and "; then" not in found.method
            x = torch.as_tensor(found.x).numpy()
            tallies.setdefault(name, Tally()).add(seconds, int(found.iterations), _residual(matrix, b, x), alone)
        columns = matrix.tocsc()
        began = time.perf_counter()
        factors = scipy.sparse.linalg.splu(
            columns, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
        )
        x = factors.solve(b)
        seconds = time.perf_counter() - began
        tallies.setdefault(SUPERLU, Tally()).add(seconds, 0, _residual(matrix, b, x), True)


def _residual(matrix: Any, b: np.ndarray, x: np.ndarray) -> float:
    return float(np.linalg.norm(b - matrix @ x) / np.linalg.norm(b))


def _nonlinear(case: Case, rng: np.random.Generator, length: int, tallies: dict[str, Tally]) -> None:
    problem = NonlinearDiffusion(NEWTON_SIDE, case.exponential)
    methods = case.methods() | {"SuperLU, by Direct()": Direct()}
    start = torch.zeros(problem.n, dtype=torch.float64)
    for _ in range(length):
        f = torch.from_numpy(FORCE[case.exponential] * np.exp(0.5 * smooth(NEWTON_SIDE, rng))).reshape(-1)
        residual = partial(problem.residual, f=f)
        first = float(torch.linalg.vector_norm(residual(start)))
        for name, method in methods.items():
            began = time.perf_counter()
            found = newton(residual, start, problem.jacobian, method=method, rtol=RTOL, throw=False)
            seconds = time.perf_counter() - began
            left = float(torch.linalg.vector_norm(residual(torch.as_tensor(found.x)))) / first
            assert found.linear_iterations is not None
            steps = int(found.linear_iterations)
            tallies.setdefault(name, Tally()).add(seconds, steps, left, bool(found.converged))


def _warm_up() -> None:
    """Load and compile what the methods need."""
    for make in (partial(helmholtz, (6, 6, 6), 1.0, 0.02), partial(impedance, 8, 1.0, 0.02)):
        matrix, b = next(make(np.random.default_rng(0)))
        methods = Case(make, 20, 10, 4, 1).methods() | {"Direct": Direct()}
        for method in methods.values():
            solve(matrix, b, method, throw=False)


def _joined(chains: list[Mapping[str, Tally]]) -> dict[str, Tally]:
    """The systems of both chains together."""
    return {
        name: Tally(
            *(
                [value for tallies in chains for value in getattr(tallies[name], column)]
                for column in ("seconds", "iterations", "residuals", "converged")
            )
        )
        for name in chains[0]
    }

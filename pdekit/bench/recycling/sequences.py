"""Sequences where GMRES is the right family of methods: a recycled space against the others and against SuperLU."""

import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse.linalg
import torch

from pdekit.bench.harness import Claim, Session
from pdekit.bench.recycling.equations import NonlinearDiffusion, System, convection, helmholtz, impedance, smooth
from pdekit.bench.recycling.tally import Tally, joined
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
    "Newton, conductivity exp(u)": Case(None, 30, 15, 16, 16, exponential=True),
    "Newton, conductivity 1 + u^2": Case(None, 30, 15, 16, 16),
    **{
        f"2-D convection, Peclet {peclet}": Case(partial(convection, 104, peclet, 0.98), 40, 20, 4, 16)
        for peclet in (5, 10, 20, 50)
    },
    "2-D Helmholtz, 6 wavelengths +-2 %, reflecting": Case(partial(helmholtz, (104, 104), 6.0, 0.02), 80, 50, 4, 8),
    "2-D Helmholtz, 6 wavelengths +-2 %, impedance": Case(partial(impedance, 104, 6.0, 0.02), 80, 50, 4, 8),
}
WAVES = "3-D Helmholtz, 2 wavelengths +-2 %"
QUICK = "2-D convection, Peclet 50"
"""Beside those with claims."""
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
          "GCRO-DR(30,15); the worse of two conductivities"),
)  # fmt: skip
AGAINST = {
    "recycling.helmholtz_gmres40": ("GMRES(40)",),
    "recycling.helmholtz_best": ("GMRES(80)", "BiCGStab", SUPERLU),
    "recycling.newton": ("GMRES(40)",),
}
NOTES = (
    "sequences: all with ILU(0), every system to a true residual of 1e-8, recomputed with SciPy's products. Two "
    "chains, a core each, in single-threaded processes; within a chain every method solves a system before any solves "
    f"the next. Wave numbers and sources are drawn independently, flows have autocorrelation 0.98. {SUPERLU} is "
    "SciPy's splu without pivoting off the diagonal, faster here than its default.",
    "sequences: milliseconds are the median over converged systems, set-up included; mean_milliseconds is their mean, "
    "that of the first systems included, in which the space is learnt. Systems that a method did not solve by itself "
    f"within {LIMIT:,} iterations count as failed. A claim about a case in which a side failed is not measured.",
    "sequences: a system of a Newton sequence is one nonlinear problem, solved from 0 to 1e-8 of its first residual, "
    "its linear systems as exactly as Newton's method asks for; sources are drawn independently.",
)


@dataclass(frozen=True)
class Part:
    """What one process solves.

    Args:
        names: of the cases.
        seed: of the draw.
        number: of the chain.
        quick: one system of each.
    """

    names: tuple[str, ...]
    seed: int
    number: int
    quick: bool


def measure(session: Session, seed: int) -> None:
    """All cases, and the claims about three of them."""
    wanted = [name for name in CASES if not session.only or session.wants(*_claims(name))]
    names = tuple(name for name in wanted if not session.quick or _claims(name) or name == QUICK)
    if not names:
        return
    session.say(f"2 chains of {len(names)} sequences, seed {seed} ...")
    with Processes(chain, [Part(names, seed, number, session.quick) for number in (0, 1)]) as chains:
        tallies = joined(chains())
    for (name, method), tally in tallies.items():
        make = CASES[name].make
        unknowns = NEWTON_SIDE**2 if make is None else len(next(make(np.random.default_rng(0)))[1])
        session.row(seed=seed, case=name, unknowns=unknowns, method=method, **tally.summary())
    for name in names:
        ours = _seconds(tallies[name, CASES[name].recycled])
        for claim in _claims(name):
            others = [_seconds(tallies[name, other]) for other in AGAINST[claim]]
            session.record(claim, math.nan if any(map(math.isnan, others)) else min(others) / ours, seed=seed)


def _claims(name: str) -> list[str]:
    """Ids of the claims about a case."""
    ids = [claim.id for claim in CLAIMS]
    return ids[:2] if name == WAVES else ids[2:] if CASES[name].make is None else []


def _seconds(tally: Tally) -> float:
    """The median; NaN where a system failed."""
    return tally.median_seconds if all(tally.converged) else math.nan


def chain(part: Part) -> dict[tuple[str, str], Tally]:
    """One core's share: the methods take turns at every system, set-up included; by case and method.

    Args:
        part: which systems.
    """
    torch.set_num_threads(1)
    _warm_up()
    tallies: dict[tuple[str, str], Tally] = {}
    with torch.no_grad():
        for name in part.names:
            case, rng = CASES[name], np.random.default_rng([part.seed, part.number])
            length = 1 if part.quick else case.length
            run = _nonlinear(case, rng, length) if case.make is None else _linear(case, case.make(rng), length)
            for method, seconds, iterations, residual, converged in run:
                tally = tallies.setdefault((name, method), Tally())
                tally.seconds.append(seconds)
                tally.iterations.append(iterations)
                tally.residuals.append(residual)
                tally.converged.append(converged and residual <= RTOL)
    return tallies


Found = tuple[str, float, int, float, bool]
"""Method, seconds, iterations, true residual, and whether it converged by itself."""


def _linear(case: Case, systems: Iterator[System], length: int) -> Iterator[Found]:
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
            yield name, seconds, int(found.iterations), _residual(matrix, b, x), alone
        columns = matrix.tocsc()
        began = time.perf_counter()
        x = _superlu(columns, b)
        yield SUPERLU, time.perf_counter() - began, 0, _residual(matrix, b, x), True


def _superlu(matrix: Any, b: np.ndarray) -> np.ndarray:
    """By factors without pivoting off the diagonal, whose solution is corrected where that was unwise."""
    factors = scipy.sparse.linalg.splu(
        matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    )
    x = factors.solve(b)
    for _ in range(3):
        r = b - matrix @ x
        if np.linalg.norm(r) <= RTOL * np.linalg.norm(b):
            break
        x = x + factors.solve(r)
    return x


def _residual(matrix: Any, b: np.ndarray, x: np.ndarray) -> float:
    return float(np.linalg.norm(b - matrix @ x) / np.linalg.norm(b))


def _nonlinear(case: Case, rng: np.random.Generator, length: int) -> Iterator[Found]:
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
            yield name, seconds, int(found.linear_iterations), left, bool(found.converged)


def _warm_up() -> None:
    """Load and compile what the methods need."""
    for make in (partial(helmholtz, (6, 6, 6), 1.0, 0.02), partial(impedance, 8, 1.0, 0.02)):
        matrix, b = next(make(np.random.default_rng(0)))
        methods = Case(make, 20, 10, 4, 1).methods() | {"Direct": Direct()}
        for method in methods.values():
            solve(matrix, b, method, throw=False)

"""Hierarchies and factors kept between neighbouring systems, which come one at a time."""

import statistics
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pdekit import fem
from pdekit.bench.harness import Claim, Session
from pdekit.bench.timing import Processes
from pdekit.core.random import Keys
from pdekit.domain import Boundary, Box, Disk, Grid, Mesh
from pdekit.fields import GaussianField
from pdekit.solvers import (
    AMG,
    CG,
    CSR,
    IC0,
    Direct,
    KeptTransfers,
    LinearOperator,
    Method,
    Multigrid,
    Stencil,
    diffusion,
    solve,
)

__all__ = ["CLAIMS", "NOTES", "measure", "neighbours"]

RTOL = 1e-8
CORRELATION = 0.99
"""Of the logarithm of the coefficient, from one system to the next."""

CLAIMS = (
    Claim("recycling.amg_refresh_darcy", "<=", 0.7, "seconds with kept transfers over seconds of the faster fresh AMG"),
    Claim("recycling.amg_refresh_disk", "<=", 0.7, "the same on a disk of 8,321 nodes"),
)

NOTES = (
    "hierarchies: -div(k grad u) = 1 with u = 0 on the boundary. log k is a Gaussian field (alpha 2, tau 3; in space "
    "alpha 2.5) of standard deviation 1, with autocorrelation 0.99 from each system to the next. Two chains, one per "
    "core, each in a single-threaded process. The systems come one at a time, as new matrices of one pattern; within a "
    "chain every method solves a system before any solves the next.",
    "hierarchies: milliseconds are wall-clock time of pdekit.solve, set-up included, averaged over all systems, the "
    "first one, which is coarsened, included. The claims compare AMG(kept=KeptTransfers()) with the faster one of two "
    'fresh set-ups, AMG() and AMG("aggregation").',
)

LENGTHS = {"darcy": 60, "disk": 60, "tets": 12}
"""Systems of a chain."""

NEEDED = {"darcy": ("recycling.amg_refresh_darcy",), "disk": ("recycling.amg_refresh_disk",), "tets": ()}

KEPT, FRESH = "CG(AMG(kept))", ("CG(AMG())", 'CG(AMG("aggregation"))')


class System(NamedTuple):
    """One of a chain: the matrix in compressed rows, and as a stencil where it is one."""

    matrix: CSR
    stencil: Stencil | None
    rhs: Float[Tensor, " n"]


@dataclass(frozen=True)
class Part:
    """What one process solves.

    Args:
        problem: a key of LENGTHS.
        seed: of the draw.
        number: of the chain.
        length: systems of it.
    """

    problem: str
    seed: int
    number: int
    length: int


@dataclass
class Tally:
    """What one method did with the systems of a chain."""

    seconds: list[float] = field(default_factory=list)
    setup: list[float] = field(default_factory=list)
    iterations: list[int] = field(default_factory=list)
    residuals: list[float] = field(default_factory=list)
    converged: list[bool] = field(default_factory=list)
    coarsened: int = 0


def neighbours(domain: Grid | Mesh, count: int, seed: int, number: int = 0) -> Float[Tensor, "count *nodes"]:
    """Log-normal coefficients at the nodes, each close to the one before.

    Args:
        domain: where.
        count: how many.
        seed: of the draw.
        number: of the chain.
    """
    flat = domain.dim == 2
    law = GaussianField(alpha=2.0 if flat else 2.5, tau=3.0, modes=None if flat else 16)
    keys = Keys(seed, f"hierarchies {number}", range(count)).named("coefficient")
    steps = law.sample(keys, domain)
    walk = [steps[0]]
    for step in steps[1:]:
        walk.append(CORRELATION * walk[-1] + (1 - CORRELATION**2) ** 0.5 * step)
    logarithms = torch.stack(walk)
    return (logarithms / steps.std()).exp()


def systems(part: Part) -> list[System]:
    """Of one chain, as they come: each a matrix of its own."""
    if part.problem == "darcy":
        grid = Grid((130, 130))
        made = diffusion(grid, neighbours(grid, part.length, part.seed, part.number), 1.0)
        stencil = made.operator
        assert isinstance(stencil, Stencil)
        first = CSR.from_scipy(stencil.to_scipy((0,)))
        entries = [torch.from_numpy(stencil.to_scipy((i,)).data) for i in range(part.length)]
        rhs = made.rhs.expand(part.length, -1)
        return [System(CSR(first.pattern, None, one), stencil[i], rhs[i].clone()) for i, one in enumerate(entries)]
    mesh = (Disk(refinements=6) if part.problem == "disk" else Box(cells=(30, 30, 30))).mesh()
    space = fem.Space(mesh, fem.P1())
    k = neighbours(mesh, part.length, part.seed, part.number)[:, mesh.cells].mean(-1)
    A, b, _ = fem.eliminate(
        space,
        fem.assemble(fem.forms.diffusion, space, k=k),
        fem.assemble(fem.forms.load, space, f=1.0),
        [Boundary("all", "dirichlet", 0.0)],
    )
    rhs = b.expand(part.length, -1)
    return [System(CSR(A.pattern, None, A.entries[i].clone()), None, rhs[i].clone()) for i in range(part.length)]


def methods(problem: str) -> dict[str, Method]:
    """With memories of their own, so that every chain has its."""
    other = "classical" if problem == "tets" else "aggregation"  # "auto" picks the one of the two for each problem
    sides: dict[str, Method] = {
        KEPT: CG(AMG(kept=KeptTransfers())),
        FRESH[0]: CG(AMG()),
        f'CG(AMG("{other}", kept))': CG(AMG(other, kept=KeptTransfers())),
        f'CG(AMG("{other}"))': CG(AMG(other)),
        "CG(IC0())": CG(IC0()),
        "CG(IC0(relaxed, ordered))": CG(IC0(shift="auto", relaxation=0.99, ordering="cuthill-mckee")),
        "Direct()": Direct(),
    }
    return sides | {"CG(Multigrid()), stencil": CG(Multigrid())} if problem == "darcy" else sides


_made = lru_cache(maxsize=1)(systems)


@torch.no_grad()
def chain(part: Part) -> dict[str, Tally]:
    """All systems by all methods, one system after the other."""
    torch.set_num_threads(1)
    given = _made(part)
    for name, method in methods(part.problem).items():
        for system in given[:2]:  # compiled code is loaded, that of memories with the second system
            _solve(system, name, method)
    tallies, sides = defaultdict(Tally), methods(part.problem)
    for system in given:
        for name, method in sides.items():
            _record(tallies[name], system, name, method)
    return dict(tallies)


def _solve(system: System, name: str, method: Method):
    A: LinearOperator = system.matrix
    if "stencil" in name:
        assert system.stencil is not None
        A = system.stencil
    elif isinstance(A, CSR):
        A = CSR(A.pattern, None, A.entries)  # nothing that another method found of it
    began = time.perf_counter()
    solution = solve(A, system.rhs, method, rtol=RTOL, throw=False)
    return solution, time.perf_counter() - began


def _record(tally: Tally, system: System, name: str, method: Method) -> None:
    solution, seconds = _solve(system, name, method)
    matrix, b, x = system.matrix.to_scipy(), system.rhs.numpy(), np.asarray(solution.x)
    tally.seconds.append(seconds)
    tally.setup.append(solution.setup_seconds)
    tally.iterations.append(int(solution.iterations))
    tally.residuals.append(float(np.linalg.norm(b - matrix @ x) / np.linalg.norm(b)))
    tally.converged.append(bool(solution.converged))
    tally.coarsened += int("AMG" in name and ("transfers kept" not in solution.method or "anew" in solution.method))


def measure(session: Session, seed: int) -> None:
    """One table for each problem."""
    for problem, length in LENGTHS.items():
        claims = NEEDED[problem]
        if session.only and not (claims and session.wants(*claims)):
            continue
        length = 3 if session.quick else length
        if session.quick and problem == "tets":
            continue
        session.say(f"2 chains of {length} neighbouring systems ({problem}), seed {seed} ...")
        with Processes(chain, [Part(problem, seed, number, length) for number in (0, 1)]) as chains:
            halves = chains()
        seconds = {name: _rows(session, problem, seed, name, [half[name] for half in halves]) for name in halves[0]}
        for claim in claims:
            session.record(claim, seconds[KEPT] / min(seconds[name] for name in FRESH), seed=seed)


def _rows(session: Session, problem: str, seed: int, name: str, halves: Sequence[Tally]) -> float:
    """One row; returns the mean seconds of a system."""

    def joined(what: str) -> list:
        return [value for half in halves for value in getattr(half, what)]

    seconds = joined("seconds")
    columns: Mapping[str, object] = {
        "milliseconds": 1e3 * statistics.mean(seconds),
        "median_ms": 1e3 * statistics.median(seconds),
        "setup_ms": 1e3 * statistics.median(joined("setup")),
        "iterations": statistics.mean(joined("iterations")),
        "coarsened": sum(half.coarsened for half in halves),
        "failed": joined("converged").count(False),
        "true_residual": max(joined("residuals")),
    }
    session.row(problem=problem, seed=seed, systems=len(seconds), method=name, **columns)
    return statistics.mean(seconds)

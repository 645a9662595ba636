"""Hierarchies and factors kept between neighbouring systems, which come one at a time."""

import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from pdekit import fem
from pdekit.bench.harness import Claim, Session
from pdekit.bench.recycling.tally import Tally
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
    Method,
    Multigrid,
    Solution,
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
    "hierarchies: milliseconds are wall-clock time of pdekit.solve, set-up included (medians, and means over all "
    "systems, the first one, which every method coarsens, included). The claims compare the means of "
    'CG(AMG(kept=KeptTransfers())) and of the faster one of two fresh set-ups, AMG() and AMG("aggregation").',
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
class Setups(Tally):
    """With the seconds of set-up of each system, and whether it was coarsened."""

    setup: list[float] = field(default_factory=list)
    coarsened: list[bool] = field(default_factory=list)

    def add(self, solution: Solution, seconds: float) -> None:
        super().add(solution, seconds)
        self.setup.append(solution.setup_seconds)
        kept = "transfers kept" in solution.method and "anew" not in solution.method
        self.coarsened.append("AMG" in solution.method and not kept)


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


@torch.no_grad()
def chain(part: Part) -> dict[str, Setups]:
    """All systems by all methods, one system after the other."""
    torch.set_num_threads(1)
    given = systems(part)
    for name, method in methods(part.problem).items():
        for system in given[:2]:  # compiled code is loaded, that of memories with the second system
            _solve(system, name, method)
    tallies, sides = defaultdict(Setups), methods(part.problem)
    for system in given:
        for name, method in sides.items():
            tallies[name].add(*_solve(system, name, method))
    return dict(tallies)


def _solve(system: System, name: str, method: Method) -> tuple[Solution, float]:
    """The solution and the seconds it took."""
    fresh = CSR(system.matrix.pattern, None, system.matrix.entries)  # without what another method found of it
    A = system.stencil if "stencil" in name and system.stencil is not None else fresh
    began = time.perf_counter()
    solution = solve(A, system.rhs, method, rtol=RTOL, throw=False)
    return solution, time.perf_counter() - began


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
        found = {name: _joined([half[name] for half in halves]) for name in halves[0]}
        for name, tally in found.items():
            columns = {"setup_ms": 1e3 * statistics.median(tally.setup), "coarsened": sum(tally.coarsened)}
            session.row(problem=problem, seed=seed, method=name, **tally.summary(), **columns)
        for claim in claims:
            fresh = min(found[name].mean_seconds for name in FRESH)
            session.record(claim, found[KEPT].mean_seconds / fresh, seed=seed)


def _joined(halves: Sequence[Setups]) -> Setups:
    whole = Setups()
    for half in halves:
        for column in fields(whole):
            getattr(whole, column.name).extend(getattr(half, column.name))
    return whole

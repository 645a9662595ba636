"""Deflated conjugate gradients on sequences of neighbouring diffusion problems, beside what else solves them."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from pdekit import fem
from pdekit.bench.harness import Claim, Session
from pdekit.bench.recycling.hierarchies import neighbours
from pdekit.bench.timing import alternate
from pdekit.domain import Boundary, Disk, Grid
from pdekit.solvers import (
    AMG,
    CG,
    CSR,
    IC0,
    DeflatedCG,
    KeptTransfers,
    LinearOperator,
    Method,
    Multigrid,
    Solution,
    Stencil,
    diffusion,
    solve,
)

__all__ = ["CLAIMS", "NOTES", "measure"]

RTOL = 1e-8
VECTORS = 20
SIDE, COUNT = 128, {"darcy": 200, "disk": 60}
"""Unknowns along a side of the grid; systems of each sequence."""
OURS, THEIRS = "deflated CG, IC(0)", "CG, IC(0)"

CLAIMS = (
    Claim("recycling.deflation_iterations", ">=", 0.30,
          f"iterations that {VECTORS} vectors save of those of IC(0)-CG on {COUNT['darcy']} Darcy systems"),
    Claim("recycling.deflation_seconds", ">=", 1.15,
          "times faster than IC(0)-CG on the same systems, set-up and harvest included"),
)  # fmt: skip

NOTES = (
    "deflation: -div(a grad u) = 1 with u = 0 on the boundary, by finite volumes on a grid of 128 squared unknowns and "
    "by finite elements on a disk of 33,025 nodes; log a is a Gaussian field (alpha 2, tau 3) of standard deviation 1 "
    "with autocorrelation 0.99 from each system to the next. Every method gets the whole sequence as one batch and "
    "solves a system a thread; deflated CG first solves the 3 systems one by one from which it takes its vectors. "
    "Milliseconds are those of pdekit.solve over the number of systems, set-up and harvest included; medians of rounds "
    "in which the methods take turns.",
    "deflation: AMG shares one coarsening among the matrices of a batch and refreshes its Galerkin matrices; kept "
    "transfers were made for the first batch, in a round that does not count. Multigrid solves the grid's stencil, "
    "every other method the same matrices in compressed rows.",
)


class Sequence(NamedTuple):
    """Neighbouring systems as one batch, on a grid also without stored matrices."""

    matrices: CSR
    stencil: Stencil | None
    rhs: Tensor


def measure(session: Session, seed: int) -> None:
    """Both sequences; only that on the grid has claims."""
    if not session.wants(*(claim.id for claim in CLAIMS)):
        return
    for problem in COUNT:
        _compare(session, problem, seed)


def sequence(problem: str, count: int, seed: int, *, quick: bool = False) -> Sequence:
    """The systems.

    Args:
        problem: ``darcy`` or ``disk``.
        count: how many.
        seed: of the draw.
        quick: on coarser grids and meshes.
    """
    if problem == "darcy":
        side = (SIDE // 4 if quick else SIDE) + 2
        grid = Grid((side, side))
        system = diffusion(grid, neighbours(grid, count, seed), 1.0)
        stencil = system.operator
        assert isinstance(stencil, Stencil)
        first = CSR.from_scipy(stencil.to_scipy((0,)))
        entries = torch.stack([torch.from_numpy(stencil.to_scipy((i,)).data) for i in range(count)])
        return Sequence(CSR(first.pattern, None, entries), stencil, system.rhs.expand(count, -1).clone())
    mesh = Disk(refinements=4 if quick else 7).mesh()
    space = fem.Space(mesh, fem.P1())
    k = neighbours(mesh, count, seed)[:, mesh.cells].mean(-1)
    A, b, _ = fem.eliminate(
        space,
        fem.assemble(fem.forms.diffusion, space, k=k),
        fem.assemble(fem.forms.load, space, f=1.0),
        [Boundary("all", "dirichlet", 0.0)],
    )
    return Sequence(A, None, b.expand(count, -1).clone())


def methods() -> dict[str, Method]:
    """Every side; memories are made anew in each call."""
    relaxed = IC0(relaxation=0.99, ordering="cuthill-mckee", shift="auto")
    return {
        THEIRS: CG(IC0()),
        OURS: DeflatedCG(IC0(), vectors=VECTORS),
        "CG, relaxed IC(0)": CG(relaxed),
        "deflated CG, relaxed IC(0)": DeflatedCG(relaxed, vectors=VECTORS),
        "CG, AMG": CG(AMG()),
        "CG, AMG, transfers kept": CG(AMG(kept=KeptTransfers())),
        "CG, multigrid": CG(Multigrid()),
    }


def _compare(session: Session, problem: str, seed: int) -> None:
    count = 12 if session.quick else COUNT[problem]
    session.say(f"{count} neighbouring systems ({problem}), seed {seed} ...")
    matrices, stencil, b = sequence(problem, count, seed, quick=session.quick)
    found: dict[str, Solution] = {}

    def side(name: str, method: Method) -> Callable[[], None]:
        def call() -> None:
            # Of the pattern everything is known after the first round, of the entries nothing.
            fresh = CSR(matrices.pattern, None, matrices.entries)
            A: LinearOperator = stencil if stencil is not None and "multigrid" in name else fresh
            found[name] = solve(A, b, method, rtol=RTOL, throw=False)

        return call

    chosen = {name: made for name, made in methods().items() if stencil is not None or "multigrid" not in name}
    sides = {name: side(name, method) for name, method in chosen.items()}
    seconds = alternate(sides, repeats=1 if session.quick else 3)
    iterations = {name: _mean(solution) for name, solution in found.items()}
    for name, solution in found.items():
        session.row(
            problem=f"deflation, {problem}",
            unknowns=b.shape[-1],
            seed=seed,
            systems=count,
            method=name,
            milliseconds=1e3 * seconds[name] / count,
            iterations=iterations[name],
            most_iterations=int(solution.iterations.max()),
            failed=int((~solution.converged).sum()),
            true_residual=float(solution.residual.max()),
            times_faster_than_ic0=seconds[THEIRS] / seconds[name],
        )
    if problem == "darcy":
        # What plain CG had to finish is no success of the deflated one.
        whole = all(bool(found[name].converged.all()) and "; then" not in found[name].method for name in (OURS, THEIRS))
        saved, faster = 1 - iterations[OURS] / iterations[THEIRS], seconds[THEIRS] / seconds[OURS]
        session.record(CLAIMS[0].id, saved if whole else math.nan, seed=seed)
        session.record(CLAIMS[1].id, faster if whole else math.nan, seed=seed)


def _mean(solution: Solution) -> float:
    """Iterations of the systems that converged."""
    return float(solution.iterations[solution.converged].double().mean())

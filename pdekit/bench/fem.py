"""Finite elements on meshes: families assembled and solved, against scikit-fem, TensorMesh, PyAMG, SuperLU, apxchol."""

import math
import multiprocessing
import resource
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.linalg import norm
from torch import Tensor

from pdekit import fem
from pdekit.bench.fem_peers import (
    Part,
    Split,
    assemble_all,
    solve_all,
    solve_assembled,
    tensormesh_assembler,
)  # fmt: skip
from pdekit.bench.harness import Benchmark, Claim, Peer, Session
from pdekit.bench.peers import PEERS
from pdekit.bench.timing import Processes, alternate
from pdekit.domain import Boundary, Mesh
from pdekit.domain.shapes import Ball, Disk, Rectangle
from pdekit.families import Poisson
from pdekit.fields import Constant
from pdekit.solvers import AMG, CG, CSR, IC0, Auto, Method, Solution, solve

__all__ = ["BENCHMARK"]

RTOL = 1e-8
VARIANCE = 0.25
DISK, BALL = Disk(refinements=7), Ball(refinements=5)
COUNT = {"disk": 64, "tets": 16}
RECIPES = {
    "disk": {
        "AMG()": AMG(),
        "IC0()": IC0(),
        "IC0(relaxed, ordered)": IC0(shift="auto", relaxation=0.99, ordering="cuthill-mckee"),
    },
    "tets": {"AMG()": AMG(), "IC0()": IC0(), "IC0(relaxed)": IC0(shift="auto", relaxation=0.97)},
}
"""What Auto could have picked."""
GROWTH = (5, 6, 7, 8)
"""Refinements of the disks whose iterations are compared: 2,113 to 131,585 nodes."""
CELLS_A_SIDE = 1001
"""Of the mesh with 1,000,000 unknowns."""
WARM_UP = 1
"""Rounds that do not count."""


def coefficients(mesh: Mesh, count: int, seed: int) -> Tensor:
    """Log-normal coefficients, independent from cell to cell: ``(count, cells)``."""
    normal = torch.randn((count, mesh.n_cells), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return (VARIANCE**0.5 * normal).exp()


class Problems:
    """-div(k grad u) = 1 with u = 0 on the boundary of one mesh; all that the problems share is made here.

    Args:
        mesh: of triangles or tetrahedra.
    """

    def __init__(self, mesh: Mesh):
        self.mesh, self.space = mesh, fem.Space(mesh, fem.P1())
        self.load = fem.assemble(fem.forms.load, self.space, f=1.0)
        self.boundary = [Boundary("all", "dirichlet", 0.0)]

    def assemble(self, k: Tensor) -> CSR:
        """The stiffness matrices of a batch of coefficients."""
        return fem.assemble(fem.forms.diffusion, self.space, k=k)

    def eliminated(self, k: Tensor) -> Any:
        """Matrices, right-hand side and the way back of the unknowns inside."""
        return fem.eliminate(self.space, self.assemble(k), self.load, self.boundary)

    def solve(self, k: Tensor, method: Method) -> tuple[Tensor, Solution, dict[str, float]]:
        """Nodal solutions, how they were reached, and the seconds of each stage."""
        start = time.perf_counter()
        matrices = self.assemble(k)
        assembled = time.perf_counter()
        A, b, restore = fem.eliminate(self.space, matrices, self.load, self.boundary)
        eliminated = time.perf_counter()
        solution = solve(A, b, method, rtol=RTOL)
        u = restore(torch.as_tensor(solution.x))
        done = time.perf_counter()
        # Set-up is a part of the last stage that the solution knows.
        setup = (done - eliminated) * solution.setup_seconds / (solution.setup_seconds + solution.solve_seconds)
        stages = {
            "assembly": assembled - start,
            "elimination": eliminated - assembled,
            "solve": done - eliminated - setup,
            "setup": setup,
        }
        return u, solution, stages


@dataclass(frozen=True)
class Found:
    """What one side reached: a true residual and iterations for each problem, median seconds by stage for the batch."""

    residuals: Sequence[float]
    iterations: Sequence[int]
    stages: Mapping[str, float]

    @property
    def worst(self) -> float:
        """The largest residual; NaN where one of them is."""
        return math.nan if any(map(math.isnan, self.residuals)) else max(self.residuals)

    @property
    def reached(self) -> bool:
        """Whether every problem met the tolerance."""
        return self.worst <= RTOL


@torch.no_grad()
def measure(session: Session) -> None:
    for seed in range(session.seeds):
        if session.wants("fem.disk"):
            _compare(session, "disk", DISK.mesh(), seed)
        if session.wants("fem.tets"):
            _compare(session, "tets", BALL.mesh(), seed)
        if session.wants("fem.assembly_skfem", "fem.assembly_tensormesh"):
            _assembly(session, seed)
        if session.wants("fem.amg_growth"):
            _growth(session, seed)
        if session.wants("fem.reuse"):
            _reuse(session, seed)
        if session.wants("fem.million_seconds", "fem.million_gb"):
            _million(session, seed)


def _parts(mesh: Mesh, k: Tensor) -> list[Part]:
    points, cells = mesh.points.numpy(), mesh.cells.numpy()
    half = len(k) // 2
    return [Part(points, cells, some.numpy(), RTOL) for some in (k[:half], k[half:])]


def _compare(session: Session, name: str, mesh: Mesh, seed: int) -> None:
    count = 8 if session.quick else COUNT[name]
    session.say(f"{count} problems on {mesh.n_nodes:,} nodes ({name}), seed {seed} ...")
    k, problems = coefficients(mesh, count, seed), Problems(mesh)
    reached: dict[str, tuple[Tensor, Solution]] = {}
    replies: dict[str, list[Split]] = {}
    rounds: dict[str, list[Mapping[str, float]]] = defaultdict(list)
    found: dict[str, Found] = {}

    def ours(label: str, method: Method) -> Callable[[], None]:
        def call() -> None:
            u, solution, stages = problems.solve(k, method)
            reached[label] = u, solution
            rounds[label].append(stages)

        return call

    def theirs(label: str, peer: Processes) -> Callable[[], None]:
        def call() -> None:
            replies[label] = peer()
            rounds[label].append(_longest(replies[label]))

        return call

    A, b, _ = problems.eliminated(k)
    rhs = np.ascontiguousarray(torch.broadcast_to(b, (count, b.shape[-1]))[0].numpy())
    systems = [(A.to_scipy((i,)), rhs) for i in range(count)]
    halves = [systems[: count // 2], systems[count // 2 :]]
    own = {"pdekit Auto()": Auto()} | {f"pdekit CG({recipe})": CG(made) for recipe, made in RECIPES[name].items()}
    chosen = "pdekit Auto()"
    alone = ["apxchol", *(["superlu"] if name == "disk" else [])]
    peers: dict[str, Processes] = {"scikit-fem + PyAMG": Processes(solve_all, _parts(mesh, k))}
    peers |= {f"{other}, solve only": Processes(solve_assembled, [(other, h, RTOL) for h in halves]) for other in alone}
    try:
        sides: dict[str, Callable[[], Any]] = {label: ours(label, made) for label, made in own.items()}
        sides |= {label: theirs(label, peer) for label, peer in peers.items()}
        seconds = alternate(sides, repeats=1 if session.quick else 3, warm_up=WARM_UP)
    finally:
        for peer in peers.values():
            peer.close()
    free = torch.ones(problems.space.n_dofs, dtype=torch.bool)
    free[problems.space.dofs("all")] = False
    stages = {label: _medians(some[WARM_UP:]) for label, some in rounds.items()}
    for label, (u, solution) in reached.items():
        unknowns = u[:, free].numpy()
        residuals = [float(norm(r - m @ x) / norm(r)) for (m, r), x in zip(systems, unknowns, strict=True)]
        found[label] = Found(residuals, solution.iterations.tolist(), stages[label])
    for label, splits in replies.items():
        residuals = [r for split in splits for r in split.residuals]
        steps = [i for split in splits for i in split.iterations]
        found[label] = Found(residuals, steps, stages[label])
    for label, one in found.items():
        _row(session, name, mesh, seed, label, 1e3 * seconds[label] / count, one)
    against = "scikit-fem + PyAMG"
    for label in (chosen, against):
        if not found[label].reached:
            raise RuntimeError(f"{label} stopped at a true residual of {found[label].worst:.1e}; expected {RTOL:.0e}.")
    session.record(f"fem.{name}", seconds[against] / seconds[chosen], seed=seed)


def _longest(splits: Sequence[Split]) -> dict[str, float]:
    """Of processes that work side by side."""
    return {stage: max(getattr(split, stage) for split in splits) for stage in ("assembly", "elimination", "solve")}


def _medians(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Each stage by itself."""
    return {stage: statistics.median(one[stage] for one in rounds) for stage in rounds[0]}


def _row(session: Session, problem: str, mesh: Mesh, seed: int, solver: str, milliseconds: float, found: Found) -> None:
    count = len(found.residuals)
    session.row(
        problem=problem,
        nodes=mesh.n_nodes,
        seed=seed,
        batch=count,
        solver=solver,
        milliseconds=milliseconds,
        **{f"{stage}_ms": 1e3 * took / count for stage, took in found.stages.items()},
        iterations=max(found.iterations),
        true_residual=found.worst,
        reached="yes" if found.reached else "no",
    )


def _assembly(session: Session, seed: int) -> None:
    mesh = DISK.mesh()
    count = 8 if session.quick else COUNT["disk"]
    session.say(f"{count} assemblies on {mesh.n_nodes:,} nodes, seed {seed} ...")
    k, problems = coefficients(mesh, count, seed), Problems(mesh)
    theirs = tensormesh_assembler(mesh)
    with Processes(assemble_all, _parts(mesh, k)) as processes:
        sides = {
            "pdekit": lambda: problems.assemble(k),
            "scikit-fem": processes,
            "tensormesh": lambda: [theirs(one) for one in k],
        }
        seconds = alternate(sides, repeats=1 if session.quick else 5)
    for solver, took in seconds.items():
        session.row(
            problem="assembly", nodes=mesh.n_nodes, seed=seed, batch=count, solver=solver,
            milliseconds=1e3 * took / count,
        )  # fmt: skip
    session.record("fem.assembly_skfem", seconds["scikit-fem"] / seconds["pdekit"], seed=seed)
    session.record("fem.assembly_tensormesh", seconds["tensormesh"] / seconds["pdekit"], seed=seed)


def _iterations(session: Session, what: str, mesh: Mesh, k: Tensor, seed: int) -> list[int]:
    start = time.perf_counter()
    _, solution, _ = Problems(mesh).solve(k, CG(AMG()))
    session.row(
        problem=what, nodes=mesh.n_nodes, seed=seed, batch=len(k), solver=solution.method,
        milliseconds=1e3 * (time.perf_counter() - start) / len(k), iterations=int(solution.iterations.max()),
        true_residual=float(solution.residual.max()),
    )  # fmt: skip
    return solution.iterations.tolist()


def _growth(session: Session, seed: int) -> None:
    sizes = (GROWTH[0], GROWTH[-1]) if session.quick else GROWTH
    most = []
    for refinements in sizes:
        mesh = Disk(refinements=refinements).mesh()
        most.append(max(_iterations(session, "growth", mesh, coefficients(mesh, 4, seed), seed)))
    session.record("fem.amg_growth", max(most[1:]) / most[0], seed=seed)


def _reuse(session: Session, seed: int) -> None:
    mesh = Disk(refinements=6).mesh() if session.quick else DISK.mesh()
    k = coefficients(mesh, 8 if session.quick else 32, seed)
    together = _iterations(session, "one hierarchy for all", mesh, k, seed)
    alone = [_iterations(session, "a hierarchy each", mesh, one.unsqueeze(0), seed)[0] for one in k[:8]]
    session.record("fem.reuse", max(a / b for a, b in zip(together, alone, strict=False)), seed=seed)


def _million(session: Session, seed: int) -> None:
    side = 201 if session.quick else CELLS_A_SIDE
    session.say(f"{(side - 1) ** 2:,} unknowns in one call, seed {seed} ...")
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_one_large, args=(send, side, seed))
    process.start()
    send.close()
    try:
        seconds, gigabytes, iterations, residual, method = receive.recv()
    except EOFError as error:
        raise RuntimeError("The process that solves the large problem died; its own message is above.") from error
    finally:
        process.join()
    session.row(
        problem="million", nodes=(side + 1) ** 2, seed=seed, batch=1, solver=method, milliseconds=1e3 * seconds,
        iterations=iterations, true_residual=residual, peak_gb=gigabytes,
    )  # fmt: skip
    session.record("fem.million_seconds", seconds, seed=seed)
    session.record("fem.million_gb", gigabytes, seed=seed)


def _one_large(pipe: Any, side: int, seed: int) -> None:
    """In a process of its own, so that its peak of memory is that of this problem alone."""
    mesh = Rectangle(cells=(side, side)).mesh()
    family = Poisson(mesh, Constant(1.0))
    inputs = family.draw([0], seed=seed)
    start = time.perf_counter()
    samples = family.solve(inputs, rtol=RTOL)
    seconds = time.perf_counter() - start
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
    certificate = samples.certificate
    assert certificate is not None
    pipe.send((seconds, peak, int(certificate.iterations[0]), float(certificate.value[0]), certificate.method))


BENCHMARK = Benchmark(
    "fem",
    claims=(
        Claim("fem.disk", ">=", 3.0, "times faster than scikit-fem and PyAMG, 64 problems on a disk of 33,025 nodes"),
        Claim("fem.tets", ">=", 2.0, "times faster than scikit-fem and PyAMG, tetrahedra"),
        Claim("fem.assembly_skfem", ">=", 8.0, "times faster than scikit-fem's assembly"),
        Claim("fem.assembly_tensormesh", ">=", 8.0, "times faster than TensorMesh's assembly"),
        Claim("fem.amg_growth", "<=", 1.3, "iterations of AMG-CG, 131,585 over 2,113 nodes"),
        Claim("fem.reuse", "<=", 1.3, "iterations with a shared hierarchy over those with one's own, worst case"),
        Claim("fem.million_seconds", "<=", 60.0, "seconds to assemble and solve 1,000,000 unknowns in one call"),
        Claim("fem.million_gb", "<=", 6.0, "GB of memory at the peak of that, the process as a whole"),
    ),
    measure=measure,
    peers=(*PEERS, Peer("skfem", "scikit-fem>=11"), Peer("tensormesh", "tensormesh-fem>=0.2")),
    notes=(
        "-div(k grad u) = 1, u = 0 on the boundary; k is log-normal with variance 0.25, drawn for each cell by itself.",
        "Median wall-clock time over a batch, all sides taking turns, both cores on each side: pdekit and TensorMesh "
        "one process, every other peer two single-threaded processes with half of the batch each.",
        "Timed from the coefficient to the nodal solution: assembly, elimination of the boundary, set-up and solve. "
        "Mesh, basis and pattern are prepared before, on every side. SuperLU and apxchol are handed pdekit's matrices "
        "and are timed for set-up and solve only.",
        "scikit-fem and TensorMesh integrate with one point per cell, which is exact here and their fastest; PyAMG "
        "with the settings of `pdekit bench generation`.",
        "rtol 1e-8 of the true float64 residual, recomputed for every sample of every side with the assembled matrix; "
        "reached says whether every sample met it. apxchol is made for matrices without positive couplings, which "
        "tetrahedra have.",
        "SuperLU is left out on tetrahedra, where its factors fill in. Each stage is the median of its rounds; "
        "of two processes the longer one counts.",
    ),
)

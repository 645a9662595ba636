"""Seconds to solve random Darcy problems, against PyAMG, SuperLU and apxchol, and to write 1,024 of them to a file."""

import tempfile
import time
from pathlib import Path

import numpy as np
import scipy.sparse
import torch

from pdekit.bench.harness import Benchmark, Claim, Session
from pdekit.bench.peers import PEERS, SOLVERS, Solved, solve_all
from pdekit.bench.timing import Processes, alternate
from pdekit.domain import Grid
from pdekit.families import Darcy
from pdekit.fields import GaussianField, Threshold
from pdekit.samples import Inputs, Samples
from pdekit.stream import generate

__all__ = ["BENCHMARK"]

RTOL = 1e-8
BATCHES = {64: 256, 128: 64, 256: 32, 421: 16}
"""Problems a batch by points a side: enough to keep both cores busy, few enough for the slowest peer."""
FILE_COUNT = 1024


def darcy(points: int) -> Darcy:
    """The problems of the quickstart: coefficient 3 or 12 by the sign of a Gaussian field, source 1, u = 0 outside."""
    return Darcy(Grid((points, points)), coefficient=Threshold(GaussianField(alpha=2, tau=3), low=3, high=12))


def measure(session: Session) -> None:
    for seed in range(session.seeds):
        for points, count in BATCHES.items():
            pyamg = f"generation.pyamg_{points}"
            ids = [f"generation.best_{points}", *([pyamg] if points in (128, 256) else [])]
            if session.wants(*ids):
                _compare(session, points, max(4, count // 8) if session.quick else count, seed)
        if session.wants("generation.file_421_seconds"):
            _write_file(session, seed)


def _compare(session: Session, points: int, count: int, seed: int) -> None:
    session.say(f"{count} problems with {points} points a side, seed {seed} ...")
    family = darcy(points)
    inputs = family.draw(range(count), seed=seed, split="train")
    systems = _assembled(family, inputs)
    parts = [systems[: count // 2], systems[count // 2 :]]
    solved: dict[str, Samples] = {}
    replies: dict[str, list[Solved]] = {}

    def ours() -> None:
        solved["pdekit"] = family.solve(inputs, rtol=RTOL)

    peers = {name: Processes(solve_all, [(name, part, RTOL) for part in parts]) for name in SOLVERS}

    def theirs(name: str) -> None:
        replies[name] = peers[name]()

    try:
        sides = {"pdekit": ours} | {name: lambda name=name: theirs(name) for name in peers}
        seconds = alternate(sides, repeats=1 if session.quick else 5)
    finally:
        for peer in peers.values():
            peer.close()
    certificate = solved["pdekit"].certificate
    assert certificate is not None
    residuals, iterations = _true_residuals(systems, solved["pdekit"]), certificate.iterations.tolist()
    _row(session, points, seed, count, "pdekit", seconds, residuals, iterations)
    for name, halves in replies.items():
        residuals = [r for half in halves for r in half.residuals]
        iterations = [i for half in halves for i in half.iterations]
        _row(session, points, seed, count, name, seconds, residuals, iterations)
    best = min(seconds[name] for name in peers)
    session.record(f"generation.best_{points}", best / seconds["pdekit"], seed=seed)
    if points in (128, 256):
        session.record(f"generation.pyamg_{points}", seconds["pyamg"] / seconds["pdekit"], seed=seed)


def _assembled(family: Darcy, inputs: Inputs) -> list[tuple[scipy.sparse.csr_array, np.ndarray]]:
    system = family.system(inputs)
    rhs = torch.broadcast_to(system.rhs, (len(inputs), system.rhs.shape[-1])).numpy()
    return [(system.operator.to_scipy((i,)), np.ascontiguousarray(rhs[i])) for i in range(len(inputs))]


def _true_residuals(systems: list[tuple[scipy.sparse.csr_array, np.ndarray]], samples: Samples) -> list[float]:
    """Ours checked as the peers are: with the assembled matrix, on the solution's inner points."""
    inner = samples["solution"][:, 1:-1, 1:-1].reshape(len(samples), -1).numpy()
    return [
        float(np.linalg.norm(rhs - matrix @ x) / np.linalg.norm(rhs))
        for (matrix, rhs), x in zip(systems, inner, strict=True)
    ]


def _row(session, points, seed, count, solver, seconds, residuals, iterations) -> None:
    if max(residuals) > RTOL:
        raise RuntimeError(f"{solver} stopped at a true residual of {max(residuals):.1e}; expected at most {RTOL:.0e}.")
    session.row(
        points=points,
        seed=seed,
        batch=count,
        solver=solver,
        milliseconds=1e3 * seconds[solver] / count,
        true_residual=max(residuals),
        iterations=max(iterations),
    )


def _write_file(session: Session, seed: int) -> None:
    count = 32 if session.quick else FILE_COUNT
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        generate(darcy(421), Path(folder) / "darcy", count, seed=seed, rtol=RTOL)
        seconds = time.perf_counter() - start
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    session.row(points=421, seed=seed, batch=count, solver="pdekit generate", seconds=seconds, megabytes=size / 1e6)
    session.record("generation.file_421_seconds", seconds * FILE_COUNT / count, seed=seed)


BENCHMARK = Benchmark(
    "generation",
    claims=(
        Claim("generation.pyamg_128", ">=", 10.0, "times faster than PyAMG, 128 points a side"),
        Claim("generation.pyamg_256", ">=", 10.0, "times faster than PyAMG, 256 points a side"),
        *(
            Claim(f"generation.best_{n}", ">=", 5.0, f"times faster than the best peer, {n} points a side")
            for n in BATCHES
        ),
        Claim(
            "generation.file_421_seconds", "<=", 120.0, "seconds to write 1,024 certified samples, 421 points a side"
        ),
    ),
    measure=measure,
    peers=PEERS,
    notes=(
        "Median wall-clock time over a batch, all sides taking turns, both cores on each side: pdekit one process, "
        "every peer two single-threaded processes with half of the batch each.",
        "pdekit is timed from the coefficient to the certified solution; the peers are handed the assembled matrices "
        "and timed from set-up to solution.",
        "rtol 1e-8 of the true float64 residual, recomputed for every sample of every side with the assembled matrix.",
        "PyAMG: Ruge-Stuben (strength 0.1, direct interpolation, one pass) with forward/backward Gauss-Seidel, CG. "
        "SuperLU: symmetric mode, minimum degree on A + A'. apxchol: its defaults without factor export.",
        "With --quick fewer samples are measured, and the time of the file is scaled to 1,024.",
    ),
)

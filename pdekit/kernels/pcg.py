"""Fused multigrid-preconditioned conjugate gradients on a lattice: one sample a thread, everything in one kernel."""

import math
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np

from pdekit.kernels import fused
from pdekit.kernels.extension import extend_field, extend_network, open_small_rings, restrict_field
from pdekit.kernels.fused import BREAKDOWN, CONVERGED, INCONSISTENT, MAX_ITERATIONS, NOT_FINITE, STAGNATED
from pdekit.kernels.islands import Islands, find_islands, no_islands
from pdekit.kernels.layout import BLOCKS, COLUMNS, PERIODIC, Layout, N, layout
from pdekit.kernels.plan import GALERKIN_CONTRAST, periodic_extension, plan_levels, rounded_ratios
from pdekit.kernels.survey import CONTRAST, FINITE, GROUND, MEAN, SINK, survey
from pdekit.kernels.threads import for_each_sample

__all__ = [
    "BREAKDOWN",
    "CONVERGED",
    "INCONSISTENT",
    "MAX_ITERATIONS",
    "NOT_FINITE",
    "STAGNATED",
    "PCGResult",
    "solve",
]


class PCGResult(NamedTuple):
    """What `solve` found, one row a sample."""

    x: np.ndarray
    """(batch, *N) float64; of a singular system the solution with mean zero (plain mean over the unknowns)"""
    iterations: np.ndarray
    """(batch,) int64"""
    residual: np.ndarray
    """(batch,) float64, ||b - A x||_2 recomputed at the end"""
    history: np.ndarray
    """(steps + 1, batch) float64: residual norm before the first and after every iteration, NaN after stopping"""
    reason: np.ndarray
    """(batch,) int64: CONVERGED, MAX_ITERATIONS, STAGNATED, BREAKDOWN (not positive definite), NOT_FINITE, or
    INCONSISTENT (singular system whose b has a mean too large for the tolerance)"""
    coarsening: tuple[str, ...]
    """"averaged" or "galerkin", a sample each"""
    singular: np.ndarray
    """(batch,) bool: the constant vector is in the null space (no ground and no sink anywhere)"""
    setup_seconds: float
    """wall seconds spent building hierarchies"""
    solve_seconds: float
    """wall seconds spent iterating"""


def solve(
    faces: Sequence[np.ndarray],
    sink: np.ndarray | None,
    periodic: Sequence[bool],
    b: np.ndarray,
    x0: np.ndarray | None = None,
    *,
    rtol: float = 1e-8,
    atol: float = 0.0,
    max_iterations: int = 1000,
    coarsening: Literal["auto", "averaged", "galerkin"] = "auto",
    threads: int | None = None,
) -> PCGResult:
    """Solve A x = b for a batch of resistor networks on a 2-D or 3-D lattice, multigrid set-up included.

    Args:
        faces: faces[k] is (batch, n_0, .., n_k + 1, .., n_{d-1}) float64: conductances along axis k between unknown
            i - 1 and i; the first and the last lead to the ground (Dirichlet), are zero (Neumann) or are equal
            (wrap coupling of a periodic axis). One batch axis exactly; a batch of 1 is broadcast against b.
        sink: (batch, *N) float64 or None, extra non-negative diagonal.
        periodic: one flag an axis.
        b: (batch, *N) float64 right-hand sides.
        x0: (batch, *N) first guess or None (zero).
        rtol, atol: stop at ||b - A x||_2 <= max(rtol ||b||_2, atol).
        max_iterations: per sample.
        coarsening: "averaged" (cheap, mild contrast), "galerkin" (operator-dependent, any contrast) or "auto", which
            decides sample by sample.
        threads: default torch.get_num_threads(); results do not depend on it, nor on the rest of the batch.

    Returns:
        PCGResult. Never raises on non-convergence: see `reason`.
    """
    batch, shape = b.shape[0], tuple(b.shape[1:])
    faces, periodic = open_small_rings(faces, periodic)
    extended = [periodic_extension(n) if p else None for n, p in zip(shape, periodic, strict=True)]
    if any(extended):
        return _solve_extended(faces, sink, periodic, b, x0, extended, rtol, atol, max_iterations, coarsening, threads)
    arrays = network(faces, sink)
    rhs = flat(b)
    x = np.zeros_like(rhs) if x0 is None else flat(x0).copy()
    max_iterations = min(max_iterations, max(100_000, 10 * rhs.shape[1]))  # the history has room for all of them
    history = np.full((batch, max_iterations + 1), np.nan)
    iterations, reason = np.zeros(batch, dtype=np.int64), np.zeros(batch, dtype=np.int64)
    residual, seconds = np.zeros(batch), np.zeros((batch, 2))
    singular, names = np.zeros(batch, dtype=bool), [""] * batch

    def one(i: int, spaces: dict[int, np.ndarray]) -> None:
        clock = time.perf_counter()
        sample = tuple(a[i if len(a) > 1 else 0] for a in arrays)
        tables, kind, singular[i], finite = choose(sample, sink is not None, shape, periodic, coarsening)
        names[i] = kind
        if not finite:
            x[i], residual[i], reason[i] = np.nan, np.nan, NOT_FINITE
            return
        w = spaces.get(id(tables))
        if w is None:
            spaces.clear()  # a thread keeps one workspace: samples of a batch nearly always share a layout
            w = spaces[id(tables)] = workspace(tables)
        wide = variant(shape, periodic, kind)
        definite = fused.setup(sample, sink is not None, w, tables, bool(singular[i]), wide)
        islands = islands_of(sample, sink is not None, tables, kind)
        seconds[i, 0] = time.perf_counter() - clock
        if definite and len(tables.table) == 1:
            reason[i], iterations[i], residual[i] = fused.refine_directly(
                sample, sink is not None, rhs[i], x[i], w, tables, bool(singular[i]),
                rtol, atol, max_iterations, history[i],
            )  # fmt: skip
        elif definite:
            reason[i], iterations[i], residual[i] = fused.conjugate_gradients(
                sample, sink is not None, rhs[i], x[i], w, tables, bool(singular[i]), wide, islands,
                rtol, atol, max_iterations, history[i],
            )  # fmt: skip
        else:
            reason[i], residual[i] = BREAKDOWN, np.nan
        if reason[i] != CONVERGED:
            spaces.clear()  # it may hold NaN
        seconds[i, 1] = time.perf_counter() - clock - seconds[i, 0]

    clock = time.perf_counter()
    for_each_sample(one, batch, threads)
    wall = time.perf_counter() - clock
    setup_share = seconds[:, 0].sum() / max(seconds.sum(), 1e-300)
    steps = int(iterations.max(initial=0)) + 1
    return PCGResult(
        x.reshape(b.shape), iterations, residual, np.ascontiguousarray(history[:, :steps].T), reason, tuple(names),
        singular, wall * setup_share, wall * (1 - setup_share),
    )  # fmt: skip


def flat(a: np.ndarray) -> np.ndarray:
    """(batch, everything else), contiguous and writable, as the kernels take it."""
    return np.require(a, np.float64, ["C", "W"]).reshape(a.shape[0], math.prod(a.shape[1:]))


def network(faces: Sequence[np.ndarray], sink: np.ndarray | None) -> list[np.ndarray]:
    """Conductances along three axes (the first of them unused in 2-D), then the sink, as the kernels take them."""
    arrays = [flat(face) for face in ([faces[0], *faces] if len(faces) == 2 else faces)]
    return [*arrays, np.zeros((1, 1)) if sink is None else flat(sink)]


def workspace(tables: Layout) -> np.ndarray:
    """Zeroed memory for a layout, on a cache line."""
    raw = np.zeros(tables.size + 8)
    skip = (-raw.ctypes.data // 8) % 8
    return raw[skip : skip + tables.size]


@lru_cache(maxsize=256)
def _layout_for(shape, periodic, grounded, ratios, galerkin: bool) -> Layout:
    return layout(plan_levels(shape, periodic, grounded, [2.0 ** (-r / 4) for r in ratios]), periodic, galerkin)


def choose(
    sample: tuple[np.ndarray, ...], has_sink: bool, shape: tuple[int, ...], periodic: tuple[bool, ...], coarsening: str
) -> tuple[Layout, str, bool, bool]:
    """Layout, coarsening, whether singular and whether finite, from one sample's numbers alone."""
    pad = 3 - len(shape)
    facts = np.empty(12)
    survey(sample, has_sink, (1,) * pad + shape, (False,) * pad + periodic, pad, facts)
    if not facts[FINITE]:
        return (
            layout(plan_levels(shape, periodic, ((False, False),) * len(shape), (1.0,) * len(shape)), periodic, False),
            "averaged",
            False,
            False,
        )
    grounded = tuple((facts[GROUND + 2 * k] > 0, facts[GROUND + 2 * k + 1] > 0) for k in range(pad, 3))
    singular = not any(a or b for a, b in grounded) and not facts[SINK] > 0
    kind = coarsening if coarsening != "auto" else ("galerkin" if facts[CONTRAST] > GALERKIN_CONTRAST else "averaged")
    ratios = rounded_ratios(facts[MEAN + pad : MEAN + 3].tolist())
    return _layout_for(shape, periodic, grounded, ratios, kind == "galerkin"), kind, singular, True


def variant(shape: tuple[int, ...], periodic: tuple[bool, ...], kind: str) -> int | None:
    """Which of two variants of the kernels to compile: None, the narrow one, does 2-D, averaged, without rings.

    It is what most runs need and compiles in half the time.
    """
    return None if len(shape) == 2 and kind == "averaged" and not any(periodic) else 0


def islands_of(sample: tuple[np.ndarray, ...], has_sink: bool, tables: Layout, kind: str) -> Islands:
    """The islands of high conductance, looked for where they do harm: in three dimensions, at high contrast."""
    if kind == "galerkin" and tables.table[0, BLOCKS] == 8:
        return find_islands(sample, has_sink, tables.table[0], tables.place)
    return no_islands()


def _solve_extended(faces, sink, periodic, b, x0, extended, rtol, atol, max_iterations, coarsening, threads):
    """Solve on the lattice with dummy points; the residual that counts is the original lattice's."""
    result = solve(
        *extend_network(faces, sink, extended), periodic, extend_field(b, extended),
        None if x0 is None else extend_field(x0, extended, interpolate=True),
        rtol=0.5 * rtol, atol=0.5 * atol, max_iterations=max_iterations, coarsening=coarsening, threads=threads,
    )  # fmt: skip
    x, residual, reason = restrict_field(result.x, extended), result.residual.copy(), result.reason.copy()
    lattice = np.zeros(COLUMNS, dtype=np.int64)
    pad = 3 - len(periodic)
    lattice[N : N + 3] = (1,) * pad + b.shape[1:]
    lattice[PERIODIC + pad : PERIODIC + 3] = periodic
    lattice[BLOCKS] = 2 ** len(periodic)
    arrays, rhs, solution = network(faces, sink), flat(b), flat(x)
    out = np.empty(rhs.shape[1])
    for i in range(len(x)):
        if result.singular[i]:
            solution[i] -= solution[i].mean()
        sample = tuple(a[i if len(a) > 1 else 0] for a in arrays)
        residual[i] = fused.true_residual(sample, sink is not None, rhs[i], solution[i], out, lattice)
        if reason[i] == CONVERGED and residual[i] > max(rtol * np.linalg.norm(rhs[i]), atol):
            reason[i] = STAGNATED
        result.history[result.iterations[i], i] = residual[i]
    return result._replace(x=solution.reshape(b.shape), residual=residual, reason=reason)

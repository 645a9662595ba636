"""SSOR's omega chosen by bandits along a heat equation whose diffusivity swings: iterations and regret."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import cos, pi, sin

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.bench.harness import Benchmark, Claim, Session
from pdekit.domain import Grid
from pdekit.solvers import (
    AMG,
    CG,
    CSR,
    IC0,
    SSOR,
    ChebyshevBandit,
    Jacobi,
    LinearOperator,
    Method,
    Spectral,
    Tag,
    TsallisINF,
    TunedSSOR,
    diffusion,
    solve,
)
from pdekit.solvers.bandits.tuned_ssor import looseness

__all__ = ["BENCHMARK", "Heat"]

RTOL = 1e-8
STEPS, TIME_STEP = 5000, 1e-3
POINTS = (25, 50, 100, 200)
EVERY = 25
"""On every so many steps all omegas are tried, and what an expert would take instead."""
OMEGAS = TunedSSOR().choices
BANDITS = {
    "Tsallis-INF": (lambda seed: TsallisINF(len(OMEGAS), seed=seed), "relax.tsallis"),
    "Tsallis-INF in 6 bins": (lambda seed: TsallisINF(len(OMEGAS), bins=6, seed=seed), None),
    "ChebCB": (lambda seed: ChebyshevBandit(len(OMEGAS), seed=seed), "relax.chebcb"),
}
EXPERTS = {"IC(0)-CG": CG(IC0()), "AMG-CG": CG(AMG())}
FIXED, FORMULA, TRANSFORM = "omega = 1", "omega by Young's formula", "sine transform"


class Heat:
    """The heat equation on the unit square by Crank-Nicolson, a system a step, with u = 0 on the boundary.

    Args:
        points: cells along a side, of which ``points - 1`` nodes are unknowns.
    """

    def __init__(self, points: int):
        self.grid = Grid((points + 1, points + 1))
        stiffness = CSR.from_scipy(diffusion(self.grid, coefficient=1.0, source=0.0).operator.to_scipy())
        self.stiffness = CSR(stiffness.pattern, None, stiffness.entries, tags=_TAGS)
        self.unit = (stiffness.rows == stiffness.indices).to(torch.float64)
        self.x, self.y = np.meshgrid(*2 * [np.linspace(0, 1, points + 1)], indexing="ij")

    def bump(self, x: float, y: float, radius: float) -> Float[np.ndarray, "nx ny"]:
        """A smooth function of height 1 that is 0 from a radius on."""
        inside = np.maximum(1 - ((self.x - x) ** 2 + (self.y - y) ** 2) / radius**2, 1e-300)
        return np.exp(1 - 1 / inside)

    def start(self) -> Float[Tensor, " n"]:
        """The first temperature."""
        return self._inner(self.bump(0.5, 0.5, 0.25))

    def half(self, step: int) -> float:
        """Half the time step times the diffusivity in its middle."""
        wave = sin(2 * pi * (step + 0.5) * TIME_STEP)
        return 0.5 * TIME_STEP * max(0.1 * wave, -10 * wave)

    def matrix(self, step: int) -> CSR:
        """Identity and stiffness."""
        return CSR(self.stiffness.pattern, None, self.unit + self.half(step) * self.stiffness.entries, tags=_TAGS)

    def source(self, step: int) -> Float[np.ndarray, "nx ny"]:
        """What a time step adds: a bump that moves on a circle."""
        turn = 16 * pi * (step + 0.5) * TIME_STEP
        return 32 * TIME_STEP * self.bump(0.5 + cos(turn) / 4, 0.5 + sin(turn) / 4, 0.125)

    def right(self, step: int, u: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The right-hand side, from the temperature before."""
        return u - self.half(step) * self.stiffness.matvec(u) + self._inner(self.source(step))

    def stencil(self, step: int) -> LinearOperator:
        """The same matrix, whose constant coefficients can be seen."""
        return diffusion(self.grid, coefficient=self.half(step), source=0.0, reaction=1.0).operator

    @staticmethod
    def _inner(values: Float[np.ndarray, "nx ny"]) -> Float[Tensor, " n"]:
        return torch.from_numpy(np.ascontiguousarray(values[1:-1, 1:-1])).reshape(-1)


_TAGS = frozenset({Tag.SYMMETRIC, Tag.HERMITIAN, Tag.POSITIVE_DEFINITE})


@dataclass
class Side:
    """One way to solve every step, from its own solution of the step before."""

    method: Method
    u: Float[Tensor, " n"]
    iterations: list[int] = field(default_factory=list)
    seconds: float = 0.0

    def advance(self, heat: Heat, step: int) -> None:
        """Solve for the next temperature."""
        b, A = heat.right(step, self.u), heat.matrix(step)
        self.u, iterations, seconds = _solved(A, b, self.method, self.u)
        self.iterations.append(iterations)
        self.seconds += seconds


def _solved(
    A: LinearOperator, b: Float[Tensor, " n"], method: Method, x0: Float[Tensor, " n"] | None
) -> tuple[Float[Tensor, " n"], int, float]:
    """The solution, iterations and seconds."""
    began = time.perf_counter()
    solution = solve(A, b, method, rtol=RTOL, x0=x0)
    return torch.as_tensor(solution.x), int(solution.iterations), time.perf_counter() - began


def measure(session: Session) -> None:
    for points in (25,) if session.quick else POINTS:
        _measure(session, points, 40 if session.quick else STEPS)


def _measure(session: Session, points: int, steps: int) -> None:
    session.say(f"{steps} steps of {points} points a side ...")
    heat = Heat(points)
    sides = {"CG": Side(CG(Jacobi()), heat.start()), FIXED: Side(CG(SSOR(1.0)), heat.start())}
    chosen = {
        (name, seed): Side(TunedSSOR(make(seed)), heat.start())
        for name, (make, claim) in BANDITS.items()
        for seed in range(session.seeds)
        if claim is None or session.wants(claim)
    }
    for method in (CG(Jacobi()), CG(SSOR()), *EXPERTS.values()):  # compiled code is loaded before the clock runs
        _solved(heat.matrix(0), heat.start(), method, None)
    _solved(heat.stencil(0), heat.start(), Spectral(), None)
    # On some steps only, (iterations, seconds) of each omega and of what an expert would take.
    every: dict[str, list[tuple[int, float]]] = {name: [] for name in (*map(str, OMEGAS), FORMULA, *EXPERTS, TRANSFORM)}
    for step in range(steps):
        if step % EVERY == 0:
            A, u = heat.matrix(step), sides[FIXED].u
            b = heat.right(step, u)
            for omega in OMEGAS:
                every[str(omega)].append(_solved(A, b, CG(SSOR(omega)), u)[1:])
            for name, method in ({FORMULA: CG(SSOR(1 + looseness(A)))} | EXPERTS).items():
                every[name].append(_solved(A, b, method, u)[1:])
            every[TRANSFORM].append(_solved(heat.stencil(step), b, Spectral(), None)[1:])
        for side in (*sides.values(), *chosen.values()):
            side.advance(heat, step)

    table = np.array([every[str(omega)] for omega in OMEGAS])  # (omegas, steps, 2)
    fixed, first, best = sum(sides[FIXED].iterations), table[0, :, 0].sum(), table[:, :, 0].sum(1).argmin()
    oracle = np.take_along_axis(table, table[:, :, :1].argmin(0)[None], 0)[0]

    def row(method: str, seed: int | None, counts: Sequence[int], seconds: float, reference: float) -> None:
        total, count = float(sum(counts)), len(counts)
        session.row(points=points, unknowns=(points - 1) ** 2, method=method, seed=seed, steps=count,
                    iterations_a_step=total / count, gain=reference / total if total else float("nan"),
                    milliseconds_a_step=1e3 * seconds / count)  # fmt: skip

    for name, side in sides.items():
        row(name, None, side.iterations, side.seconds, fixed)
    sampled = {f"best fixed omega, {OMEGAS[best]:g}": table[best], "oracle": oracle}
    for name, measured in (sampled | {name: np.array(every[name]) for name in (FORMULA, *EXPERTS, TRANSFORM)}).items():
        row(name, None, measured[:, 0].tolist(), float(measured[:, 1].sum()), float(first))
    for (name, seed), side in chosen.items():
        row(name, seed, side.iterations, side.seconds, fixed)
        claim = BANDITS[name][1]
        if claim is not None and (session.quick or points == POINTS[-1]):
            session.record(claim, fixed / sum(side.iterations), seed=seed)

    # Against the best fixed omega, whose iterations stand for those of the steps up to its next measurement.
    ends = np.minimum(EVERY * np.arange(1, table.shape[1] + 1), steps)
    lasting = np.diff(ends, prepend=0)
    reference = np.cumsum(table[best, :, 0] * lasting)
    curves = {FIXED: sides[FIXED]} | {name: side for (name, seed), side in chosen.items() if seed == 0}
    totals = {name: np.cumsum(side.iterations)[ends - 1] for name, side in curves.items()}
    totals["oracle"] = np.cumsum(oracle[:, 0] * lasting)
    session.curves["regret"] = {"steps": ends.tolist()} | {
        name: (total - reference).tolist() for name, total in totals.items()
    }


BENCHMARK = Benchmark(
    "relax",
    claims=(
        Claim(
            "relax.tsallis", ">=", 2.0, f"times fewer iterations by Tsallis-INF than by omega = 1, {POINTS[-1]} points"
        ),
        Claim("relax.chebcb", ">=", 2.5, f"times fewer iterations by ChebCB than by omega = 1, {POINTS[-1]} points"),
    ),
    measure=measure,
    notes=(
        f"Crank-Nicolson, time step {TIME_STEP:g}, diffusivity max(0.1 sin 2 pi t, -10 sin 2 pi t), as source a bump "
        f"that moves on a circle; every solve starts from the step before and reaches a true relative residual of "
        f"{RTOL:g}: one that did not would end the benchmark.",
        f"Bandits choose among {len(OMEGAS)} values from 1 to {OMEGAS[-1]:g}, with the arguments they have by default "
        "(ChebCB: degree 5; context: Young's omega of the matrix, from its entries' sum over its trace). They start "
        "knowing nothing. The gain is the iterations of omega = 1 over theirs, all steps included.",
        f"Every {EVERY}th step was also solved with all omegas, which gives the best fixed one and the oracle (the "
        "best one of each step), and by what an expert would take instead: Young's formula for omega, from the entries "
        "of the matrix; IC(0); AMG (set up anew); and the sine transform, which solves these systems outright because "
        "their coefficients are constant.",
        "Milliseconds a step, one system at a time, set-up included, all methods taking turns. The diagonal being "
        "constant, CG with Jacobi is plain CG. The picture shows the iterations beyond those of the best fixed omega, "
        "on the largest grid and with the first seed.",
    ),
)

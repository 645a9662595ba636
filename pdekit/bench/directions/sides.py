"""How systems are solved, one at a time: directions that networks propose, and what an expert would take instead."""

import math
import re
import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Float
from torch import Tensor, nn

from pdekit.families import Obstacles
from pdekit.learned.directions import DeepDirections
from pdekit.solvers import AMG, CG, CSR, IC0, Direct, Jacobi, Method, Multigrid, Stencil, solve
from pdekit.solvers.operators.entries import written_out

__all__ = [
    "AMG_CG", "CG_PLAIN", "IC", "Column", "Found", "Problem", "Side", "classical", "learned", "least",
    "measured", "problems",
]  # fmt: skip

MANY = 100_000
"""Iterations of classical methods."""
CG_PLAIN, IC, RIC = "CG, Jacobi", "CG, IC(0)", "CG, relaxed IC(0)"
OURS_AMG, PYAMG = "CG, Ruge-Stuben AMG", "CG, Ruge-Stuben AMG of PyAMG"
AMG_CG = (OURS_AMG, PYAMG)
OMEGAS = (0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998)
STRENGTHS = (0.05, 0.1, 0.25, 0.5)
PASSES = ((0.1, 1), (0.1, 2), (0.25, 1), (0.25, 2))
"""Of PyAMG's Ruge-Stuben coarsening: strength, and how often it goes over the unknowns."""
FACTORED = {2: 1_000_000, 3: 40_000}
"""Unknowns by dimension above which SuperLU is left out: in three dimensions its factors fill up."""


@dataclass(frozen=True, eq=False)
class Problem:
    """One system.

    Args:
        operator: on the lattice.
        rhs: right-hand side.
    """

    operator: Stencil
    rhs: Float[Tensor, " n"]

    @cached_property
    def sparse(self) -> CSR:
        """The same matrix with stored entries."""
        found = written_out(self.operator)
        assert isinstance(found, CSR)
        return found

    @cached_property
    def matrix(self) -> scipy.sparse.csr_matrix:
        """The same for SciPy and PyAMG."""
        return scipy.sparse.csr_matrix(self.sparse.to_scipy())

    def residual(self, x: Float[np.ndarray, " n"]) -> float:
        """The relative one, by SciPy's product."""
        b = self.rhs.numpy()
        return float(np.linalg.norm(b - self.matrix @ x) / np.linalg.norm(b))


def problems(family: Obstacles, count: int, seed: int, *, white: bool = True) -> list[Problem]:
    """Systems around obstacles that nothing was trained on.

    Args:
        family: on any grid.
        count: how many.
        seed: of the draw.
        white: whether right-hand sides are normally distributed in the fluid, each unknown by itself; or the family's.
    """
    system = family.system(family.draw(range(count), seed=seed, split="test"))
    rhs, A = system.rhs, system.operator
    assert isinstance(A, Stencil)
    if white:  # where the equation of the family has no source there is no fluid
        noise = torch.randn(rhs.shape, generator=torch.Generator().manual_seed(seed), dtype=rhs.dtype)
        rhs = torch.where(rhs == 0, 0.0, noise)
    return [Problem(A[i], rhs[i]) for i in range(count)]


@dataclass(frozen=True)
class Found:
    """How one system was solved.

    Args:
        setup: seconds: factors, hierarchies, what a network makes of the matrix.
        solve: seconds of the rest.
        inference: seconds of these that a network took.
        iterations: made.
        residual: true relative residual, recomputed.
        fall_backs: steps along the residual in place of a proposal.
        converged: by itself.
    """

    setup: float
    solve: float
    inference: float
    iterations: int
    residual: float
    fall_backs: int
    converged: bool


class Side(ABC):
    """One way to solve a system."""

    @abstractmethod
    def solve(self, problem: Problem, rtol: float) -> Found:
        """Set-up included, with nothing known from before."""


@dataclass(frozen=True)
class Ours(Side):
    """A method of pdekit.

    Args:
        method: which.
        stored: whether it takes the matrix with stored entries, which it is handed.
    """

    method: Method
    stored: bool = True

    def solve(self, problem: Problem, rtol: float) -> Found:
        A = problem.sparse if self.stored else problem.operator
        with _clock(getattr(self.method, "network", None)) as took:
            # An object of its own: what one side finds out about a matrix is not known to the next.
            found = solve(A.with_values(A.values), problem.rhs, self.method, rtol=rtol, throw=False)
        told = re.search(r"(\d+) of \d+ steps along the residual itself", found.method)
        alone = "; then" not in found.method  # what another method had to finish is no success of this one
        return Found(
            found.setup_seconds, found.solve_seconds, sum(took), int(found.iterations),
            problem.residual(torch.as_tensor(found.x).numpy()), int(told[1]) if told else 0,
            bool(found.converged) and alone,
        )  # fmt: skip


@contextmanager
def _clock(network: nn.Module | None) -> Iterator[list[float]]:
    """Gathers the seconds of every call of a network."""
    took: list[float] = []
    if network is None:
        yield took
        return
    began: list[float] = []
    hooks = (
        network.register_forward_pre_hook(lambda *_: began.append(time.perf_counter())),
        network.register_forward_hook(lambda *_: took.append(time.perf_counter() - began[-1])),
    )
    try:
        yield took
    finally:
        for hook in hooks:
            hook.remove()


@dataclass(frozen=True)
class PyAMG(Side):
    """PyAMG's conjugate gradients with its Ruge-Stuben hierarchy; SciPy's matrix is handed to it.

    Args:
        strength: of connections that count.
        passes: of the coarsening, 1 or 2.
    """

    strength: float
    passes: int

    def solve(self, problem: Problem, rtol: float) -> Found:
        import pyamg

        began = time.perf_counter()
        hierarchy = pyamg.ruge_stuben_solver(
            problem.matrix, strength=("classical", {"theta": self.strength}),
            CF=("RS", {"second_pass": self.passes == 2}), max_coarse=500, coarse_solver="splu",
        )  # fmt: skip
        ready = time.perf_counter()
        steps: list[float] = []
        x: Any = hierarchy.solve(problem.rhs.numpy(), tol=rtol, accel="cg", maxiter=200, residuals=steps)
        done = time.perf_counter()
        residual = problem.residual(x)
        return Found(ready - began, done - ready, 0.0, len(steps) - 1, residual, 0, residual <= rtol)


@dataclass
class Column:
    """What became of all systems by one side at one tolerance."""

    found: list[Found] = field(default_factory=list)

    @property
    def missed(self) -> int:
        """Systems that it did not solve by itself."""
        return sum(not one.converged for one in self.found)

    @property
    def iterations(self) -> float:
        """Mean; NaN where a system was missed."""
        return math.nan if self.missed else statistics.fmean(one.iterations for one in self.found)

    @property
    def most(self) -> float:
        """Iterations of the worst system; NaN where one was missed."""
        return math.nan if self.missed else max(one.iterations for one in self.found)

    @property
    def seconds(self) -> float:
        """Median of set-up and solve; NaN where a system was missed."""
        return math.nan if self.missed else statistics.median(one.setup + one.solve for one in self.found)

    def summary(self) -> dict[str, Any]:
        """Columns of a row."""
        milliseconds = {
            f"{stage}_ms": 1e3 * statistics.median(getattr(one, stage) for one in self.found)
            for stage in ("setup", "solve", "inference")
        }
        return milliseconds | {
            "iterations": statistics.fmean(one.iterations for one in self.found),
            "most": max(one.iterations for one in self.found),
            "true_residual": max(one.residual for one in self.found),
            "fall_backs": statistics.fmean(one.fall_backs for one in self.found),
            "missed": self.missed,
        }


@dataclass(frozen=True)
class Choice:
    """Sides that differ in a setting, of which the best makes a row.

    Args:
        sides: by setting.
        by: what is to be small.
    """

    sides: Mapping[str, Side]
    by: Literal["iterations", "seconds"] = "iterations"

    def best(self, given: Sequence[Problem], rtol: float) -> str:
        """The setting that is best for some systems; of those that miss none, if there are any."""
        if len(self.sides) == 1:
            return next(iter(self.sides))
        columns = measured(self.sides, given, rtol)
        return min(columns, key=lambda setting: (columns[setting].missed, getattr(columns[setting], self.by)))


def classical(dim: int, unknowns: int) -> dict[str, Choice]:
    """What an expert would try, by name of the row.

    Args:
        dim: dimension of the lattice.
        unknowns: of a system.
    """
    relaxed = {f"omega {omega:g}": Ours(CG(IC0(relaxation=omega, shift="auto"), MANY)) for omega in OMEGAS}
    amg = {f"strength {strength:g}": Ours(CG(AMG("classical", strength=strength))) for strength in STRENGTHS}
    pyamg = {f"strength {strength:g}, {passes} passes": PyAMG(strength, passes) for strength, passes in PASSES}
    multigrid = {kind: Ours(CG(Multigrid(kind)), stored=False) for kind in ("averaged", "galerkin")}
    choices = {
        CG_PLAIN: Choice({"": Ours(CG(Jacobi(), MANY))}),
        IC: Choice({"": Ours(CG(IC0(), MANY))}),
        RIC: Choice(relaxed),
        OURS_AMG: Choice(amg, by="seconds"),
        PYAMG: Choice(pyamg),
        "CG, geometric multigrid": Choice(multigrid, by="seconds"),
    }
    return choices | ({"SuperLU": Choice({"": Ours(Direct())})} if unknowns <= FACTORED[dim] else {})


def learned(method: DeepDirections) -> Side:
    """Directions on the lattice."""
    return Ours(method, stored=False)


def least(values: Iterable[float]) -> float:
    """The smallest number that is one; NaN where none is."""
    return min((value for value in values if not math.isnan(value)), default=math.nan)


def measured(sides: Mapping[str, Side], given: Sequence[Problem], rtol: float) -> dict[str, Column]:
    """Each system solved by every side, all taking turns; the first one twice, of which the second time counts."""
    columns = {name: Column() for name in sides}
    names = list(sides)
    for turn, problem in enumerate((given[0], *given)):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            found = sides[name].solve(problem, rtol)
            if turn:
                columns[name].found.append(found)
    return columns

"""What Auto picks for sparse matrices, beside the methods that it could have picked."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse
import torch

from pdekit.bench.harness import Claim, Session
from pdekit.bench.timing import alternate
from pdekit.solvers import (
    AMG,
    CG,
    CSR,
    GMRES,
    IC0,
    ILU0,
    MINRES,
    Auto,
    BiCGStab,
    Direct,
    Method,
    Solution,
    solve,
)  # fmt: skip

__all__ = ["CLAIMS", "NOTES", "measure"]

RTOL = 1e-8
VARIANCE = 0.25
PECLET, WAVES = 50, 2
"""Péclet number of a flow across the domain, and wavelengths along a side."""
METHODS: dict[str, dict[str, Method]] = {
    "diffusion": {"Direct": Direct(), "CG, AMG": CG(AMG()), "CG, IC(0)": CG(IC0())},
    "convection": {"Direct": Direct(), "GMRES, ILU(0)": GMRES(ILU0()), "BiCGStab, ILU(0)": BiCGStab(ILU0())},
    "Helmholtz": {"Direct": Direct(), "MINRES": MINRES(max_iterations=3000), "GMRES, ILU(0)": GMRES(ILU0())},
}


@dataclass(frozen=True)
class Case:
    """Finite differences for one equation.

    Args:
        kind: "diffusion" with log-normal coefficients; "convection": with an upwinded flow along every axis, of Péclet
            number ``PECLET``; "Helmholtz": less a square of the wave number, ``WAVES`` wavelengths along a side.
        shape: unknowns along each axis.
        count: matrices of the batch.
    """

    kind: str
    shape: tuple[int, ...]
    count: int = 1

    def matrices(self, seed: int) -> CSR:
        """The matrices, on one pattern."""
        parts = [CSR.from_scipy(self._matrix(np.random.default_rng((seed, i)))) for i in range(self.count)]
        entries = torch.stack([part.entries for part in parts])
        return CSR(parts[0].pattern, None, entries if self.count > 1 else entries[0])

    def _matrix(self, rng: np.random.Generator) -> scipy.sparse.csr_array:
        n, h = math.prod(self.shape), 1 / (self.shape[0] + 1)
        numbers = np.arange(n).reshape(self.shape)
        k = np.exp((VARIANCE if self.kind == "diffusion" else 0.01) ** 0.5 * rng.standard_normal(self.shape))
        flow = PECLET * h if self.kind == "convection" else 0.0
        diagonal = np.full(n, -((2 * np.pi * WAVES * h) ** 2) if self.kind == "Helmholtz" else 0.0)
        rows, columns, entries = [numbers.ravel()], [numbers.ravel()], [diagonal]
        for axis in range(len(self.shape)):
            at, along = np.moveaxis(k, axis, 0), np.moveaxis(numbers, axis, 0)
            face = (2 / (1 / at[1:] + 1 / at[:-1])).ravel()
            upper, lower = along[1:].ravel(), along[:-1].ravel()
            rows, columns = [*rows, upper, lower], [*columns, lower, upper]
            entries += [-face - flow, -face]
            np.add.at(diagonal, upper, face + flow)
            np.add.at(diagonal, lower, face)
            np.add.at(diagonal, along[0].ravel(), at[0].ravel() + flow)
            np.add.at(diagonal, along[-1].ravel(), at[-1].ravel())
        places = np.concatenate(rows), np.concatenate(columns)
        return scipy.sparse.coo_array((np.concatenate(entries), places), shape=(n, n)).tocsr()


CASES = (
    *(Case("diffusion", (n, n)) for n in (32, 100, 180, 320)),
    *(Case("diffusion", (n, n), count) for n, count in ((30, 32), (100, 32), (180, 16))),
    *(Case("diffusion", (n,) * 3) for n in (12, 20, 30)),
    Case("diffusion", (18,) * 3, 16),
    *(Case("convection", (n, n)) for n in (32, 100, 180)),
    *(Case("convection", (n,) * 3) for n in (12, 20, 30)),
    *(Case("Helmholtz", (n, n)) for n in (32, 100, 180)),
    *(Case("Helmholtz", (n,) * 3) for n in (12, 20, 30)),
)
QUICK = (Case("diffusion", (20, 20)), Case("convection", (6, 6, 6)), Case("Helmholtz", (20, 20)))


def measure(session: Session, seed: int) -> None:
    if not session.wants("auto.table"):
        return
    for case in QUICK if session.quick else CASES:
        _compare(session, case, seed)


def _compare(session: Session, case: Case, seed: int) -> None:
    A = case.matrices(seed)
    b = torch.ones(A.shape[0], dtype=A.dtype)
    found: dict[str, Solution] = {}

    def side(name: str, method: Method):
        def call() -> None:
            # A pattern of its own: what Auto and AMG find out about it counts.
            fresh = CSR(A.indptr, A.indices, A.entries)
            found[name] = solve(fresh, b, method, rtol=RTOL, throw=False)

        return call

    sides = {name: side(name, method) for name, method in {"Auto": Auto(), **METHODS[case.kind]}.items()}
    seconds = alternate(sides, repeats=1 if session.quick else 3)
    for name, solution in found.items():
        session.row(
            seed=seed,
            matrix=f"{case.kind} {'x'.join(map(str, case.shape))}",
            count=case.count,
            method=solution.method if name == "Auto" else name,
            auto=name == "Auto",
            milliseconds=1e3 * seconds[name] / case.count,
            iterations=int(solution.iterations.max()),
            true_residual=float(solution.residual.max()),
            converged=bool(solution.converged.all()),
        )
    session.record("auto.table", _regret(seconds, {n: bool(s.converged.all()) for n, s in found.items()}), seed=seed)


def _regret(seconds: Mapping[str, float], converged: Mapping[str, bool]) -> float:
    """Auto's time over the best one's: 0 where it alone converged, infinite where it did not."""
    best = min((took for name, took in seconds.items() if name != "Auto" and converged[name]), default=math.inf)
    return seconds["Auto"] / best if converged["Auto"] else math.inf


CLAIMS = (Claim("auto.table", "<=", 5.0, "seconds of Auto() over those of the best method of its table, worst matrix"),)

NOTES = (
    f"auto.table: finite differences; diffusion with independent log-normal coefficients of variance {VARIANCE:g}, "
    f"convection at Peclet number {PECLET}, Helmholtz with {WAVES} wavelengths along a side; right-hand side 1, true "
    "relative residual 1e-8. Milliseconds a system, with set-up and with what is found out about a new pattern. A "
    "method that does not converge within its limit takes no part in the comparison.",
)

"""Fused multigrid-preconditioned conjugate gradients on a lattice: one sample a thread, everything in one kernel."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

__all__ = ["CONVERGED", "BREAKDOWN", "INCONSISTENT", "MAX_ITERATIONS", "NOT_FINITE", "STAGNATED", "PCGResult", "solve"]

# reason codes of PCGResult.reason
CONVERGED, MAX_ITERATIONS, STAGNATED, BREAKDOWN, NOT_FINITE, INCONSISTENT = range(6)


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
    raise NotImplementedError

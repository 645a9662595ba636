"""How each peer solves one assembled sparse system, tuned as well as we know how; every import is inside a function."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import numpy as np
import scipy.sparse

from pdekit.bench.harness import Peer

__all__ = ["PEERS", "SOLVERS", "Solved", "solve_all"]

PEERS = (Peer("pyamg", "pyamg>=5.2"), Peer("apxchol", "apxchol>=0.2"))


@dataclass(frozen=True)
class Solved:
    """What a peer reports for its share of a batch.

    Args:
        residuals: true relative residuals, recomputed here.
        iterations: of each system; 0 for a direct method.
    """

    residuals: tuple[float, ...]
    iterations: tuple[int, ...]


def pyamg_cg(matrix: scipy.sparse.csr_array, rhs: np.ndarray, rtol: float) -> tuple[np.ndarray, int]:
    """Ruge-Stuben AMG as preconditioner of PyAMG's CG.

    The settings are the fastest found on these problems at 128 and 421 points a side (a fifth to a quarter faster than
    the defaults): strength 0.1, direct interpolation without the second coarsening pass, forward and backward
    Gauss-Seidel, a direct solve below 500 unknowns.
    """
    import pyamg

    hierarchy = pyamg.ruge_stuben_solver(
        scipy.sparse.csr_matrix(matrix),
        strength=("classical", {"theta": 0.1}),
        CF=("RS", {"second_pass": False}),
        interpolation="direct",
        presmoother=("gauss_seidel", {"sweep": "forward"}),
        postsmoother=("gauss_seidel", {"sweep": "backward"}),
        max_coarse=500,
        coarse_solver="splu",
    )
    history: list[float] = []
    x = hierarchy.solve(rhs, tol=rtol, accel="cg", maxiter=200, residuals=history)
    return np.asarray(x), len(history) - 1


def superlu(matrix: scipy.sparse.csr_array, rhs: np.ndarray, rtol: float) -> tuple[np.ndarray, int]:
    """SciPy's SuperLU in symmetric mode: minimum degree on A + A', no pivoting off the diagonal, no padding of
    supernodes (a quarter faster than the default panels on these matrices)."""
    from scipy.sparse.linalg import splu

    factor = splu(
        matrix.tocsc(),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        relax=1,
        panel_size=1,
        options={"SymmetricMode": True},
    )
    return factor.solve(rhs), 0


def apxchol(matrix: scipy.sparse.csr_array, rhs: np.ndarray, rtol: float) -> tuple[np.ndarray, int]:
    """Approximate Cholesky factor (default partitioner, no export) as preconditioner of its own CG."""
    package = import_module("apxchol")
    solved = package.factorize(scipy.sparse.csr_matrix(matrix), keep_factor=False).solve(rhs, rtol=rtol, maxiter=500)
    return solved.x, solved.iters


SOLVERS: dict[str, Callable[[scipy.sparse.csr_array, np.ndarray, float], tuple[np.ndarray, int]]] = {
    "pyamg": pyamg_cg,
    "superlu": superlu,
    "apxchol": apxchol,
}


def solve_all(part: tuple[str, list[tuple[scipy.sparse.csr_array, np.ndarray]], float]) -> Solved:
    """One process's share: every system of the part, set-up included, each checked in the true residual.

    Args:
        part: the peer's name, ``(matrix, rhs)`` pairs, and the relative tolerance.
    """
    name, systems, rtol = part
    residuals, iterations = [], []
    for matrix, rhs in systems:
        x, steps = SOLVERS[name](matrix, rhs, rtol)
        residuals.append(float(np.linalg.norm(rhs - matrix @ x) / np.linalg.norm(rhs)))
        iterations.append(steps)
    return Solved(tuple(residuals), tuple(iterations))

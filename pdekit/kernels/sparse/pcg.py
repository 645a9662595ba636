"""Preconditioned conjugate gradients for sparse matrices, a whole solve in one kernel."""

from typing import NamedTuple

import numpy as np

from pdekit.kernels.compile import jit
from pdekit.kernels.sparse.amg_cycle import cycle
from pdekit.kernels.sparse.triangular import solve_factored

__all__ = [
    "CONVERGED",
    "DIAGONAL",
    "FACTOR",
    "MAX_ITERATIONS",
    "MULTIGRID",
    "NONE",
    "NOT_DEFINITE",
    "NOT_FINITE",
    "SLOW",
    "KernelPreconditioner",
    "conjugate_gradients",
    "no_preconditioner",
    "precondition",
]

NONE, DIAGONAL, FACTOR, MULTIGRID = range(4)
CONVERGED, MAX_ITERATIONS, NOT_DEFINITE, NOT_FINITE, SLOW = range(5)


class KernelPreconditioner(NamedTuple):
    """The approximate inverse of one matrix, as the kernel takes it."""

    kind: int
    """NONE; DIAGONAL: multiply by ``values``; FACTOR: ``starts, indices, values`` are a symmetric factor of
    `triangular`; MULTIGRID: they are ``table, index, values`` of `amg_cycle`"""
    starts: np.ndarray
    """int32"""
    indices: np.ndarray
    """int32"""
    values: np.ndarray
    """float64"""
    work: np.ndarray
    """float64 scratch of the thread"""


def no_preconditioner() -> KernelPreconditioner:
    """The identity."""
    none = np.zeros(0, dtype=np.int32)
    return KernelPreconditioner(NONE, none, none, np.zeros(0), np.zeros(0))


@jit
def precondition(kind, starts, indices, entries, values, work, r, z):
    """z = M^-1 r, as :class:`KernelPreconditioner` describes M; ``entries`` are those of the matrix itself."""
    if kind == FACTOR:
        solve_factored(starts.view(np.uint32), indices.view(np.uint32), values, r, z)
    elif kind == MULTIGRID:
        cycle(starts, indices, entries, values, work, r, z)
    elif kind == DIAGONAL:
        for i in range(len(r)):
            z[i] = values[i] * r[i]
    else:
        for i in range(len(r)):
            z[i] = r[i]


@jit
def conjugate_gradients(
    indptr, indices, entries, b, x, kind, starts, places, values, work, vectors, rtol, atol, max_iterations, patience,
    history,
):  # fmt: skip
    """Solve A x = b.

    Args:
        indptr, indices, entries: the matrix, int32, int32, float64.
        b: ``(n,)``.
        x: ``(n,)``, the first guess on entry.
        kind, starts, places, values, work: the preconditioner.
        vectors: ``(4, n)`` scratch.
        rtol: relative to ||b||.
        atol: absolute.
        max_iterations: at most so many.
        patience: gives up as SLOW after so many iterations for each factor of e that the residual has to shrink;
            infinity never does.
        history: ``(max_iterations + 1,)``, receives norms of the residual.

    Returns:
        Why it stopped, after how many iterations, and the norm of the residual recomputed at the end.
    """
    n = len(b)
    # Signed indices would be tested for being negative, which halves the speed.
    first, columns = indptr.view(np.uint32), indices.view(np.uint32)
    r, z, p, q = vectors[0], vectors[1], vectors[2], vectors[3]
    square, start = 0.0, 0.0
    for i in range(n):
        square += b[i] * b[i]
    wanted = max(rtol * np.sqrt(square), atol)
    for i in range(n):
        total = 0.0
        for k in range(first[i], first[i + 1]):
            total += entries[k] * x[columns[k]]
        # b comes last: added first, it is lost among products far larger than it.
        total = b[i] - total
        r[i] = total
        p[i] = 0.0
        start += total * total
    norm = np.sqrt(start)
    history[0] = norm
    reason, iterations, slope = MAX_ITERATIONS, 0, 1.0
    patience = patience * np.log(norm / wanted) if norm > wanted > 0.0 else np.inf
    for step in range(max_iterations + 1):
        if norm <= wanted:
            reason = CONVERGED
            break
        if step == max_iterations:
            break
        if step > patience:
            reason = SLOW
            break
        precondition(kind, starts, places, entries, values, work, r, z)
        previous, slope = slope, 0.0
        for i in range(n):
            slope += r[i] * z[i]
        beta = slope / previous if step > 0 else 0.0
        for i in range(n):
            p[i] = z[i] + beta * p[i]
        curvature = 0.0
        for i in range(n):
            total = 0.0
            for k in range(first[i], first[i + 1]):
                total += entries[k] * p[columns[k]]
            q[i] = total
            curvature += total * p[i]
        if not (np.isfinite(curvature) and np.isfinite(slope)):
            reason = NOT_FINITE
            break
        if not (curvature > 0.0 and slope > 0.0):
            reason = NOT_DEFINITE
            break
        alpha = slope / curvature
        square = 0.0
        for i in range(n):
            x[i] += alpha * p[i]
            r[i] -= alpha * q[i]
            square += r[i] * r[i]
        norm = np.sqrt(square)
        iterations += 1
        history[iterations] = norm
    square = 0.0
    for i in range(n):
        total = 0.0
        for k in range(first[i], first[i + 1]):
            total += entries[k] * x[columns[k]]
        total = b[i] - total
        square += total * total
    return reason, iterations, np.sqrt(square)

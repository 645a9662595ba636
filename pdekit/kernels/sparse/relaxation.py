"""Successive over-relaxation on matrices in compressed rows."""

import numpy as np

from pdekit.kernels.compile import jit

__all__ = ["relax", "ssor_factor"]


@jit
def relax(indptr, indices, entries, diagonal, omega, b, x, wanted, history):
    """Sweep x_i <- x_i + omega (b_i - (A x)_i) / a_ii, first to last, until the residual is small.

    Args:
        indptr: ``(n + 1,)`` int32.
        indices: ``(nnz,)`` int32.
        entries: ``(nnz,)``.
        diagonal: ``(n,)``, of the matrix.
        omega: between 0 and 2.
        b: ``(n,)``.
        x: ``(n,)``, first guess on entry, solution on return.
        wanted: norm of the residual to stop at.
        history: ``(sweeps + 1,)``, receives that norm before the first sweep and after each.

    Returns:
        The number of sweeps done; the residual is above ``wanted`` still if they ran out, or not a number.
    """
    n = len(indptr) - 1
    for sweep in range(len(history)):
        square = 0.0
        for i in range(n):
            rest = b[i]
            for k in range(indptr[i], indptr[i + 1]):
                rest -= entries[k] * x[indices[k]]
            square += np.abs(rest) ** 2
        history[sweep] = np.sqrt(square)
        if history[sweep] <= wanted or not np.isfinite(square) or sweep == len(history) - 1:
            return sweep
        for i in range(n):
            rest = b[i]
            for k in range(indptr[i], indptr[i + 1]):
                rest -= entries[k] * x[indices[k]]
            x[i] += omega * rest / diagonal[i]
    return 0


@jit
def ssor_factor(indptr, indices, values, omega):
    """Turn the upper triangle of a symmetric matrix, in place, into the factor of its SSOR splitting.

    ``M = (D/omega + L) ((2 - omega)/omega D)^-1 (D/omega + L^T) = U^T D' U`` with ``U = I + omega D^-1 L^T`` and
    ``D' = D / (omega (2 - omega))``, in the layout of `triangular`.

    Args:
        indptr: ``(n + 1,)`` int32.
        indices: int32, columns in order, the diagonal first in each row.
        values: entries of the matrix on entry, the factor on return.
        omega: between 0 and 2.

    Returns:
        The first row whose diagonal entry is not positive; -1 if none.
    """
    for i in range(len(indptr) - 1):
        first = indptr[i]
        if not values[first] > 0.0:
            return i
        inverse = 1.0 / values[first]
        values[first] = omega * (2.0 - omega) * inverse
        for k in range(first + 1, indptr[i + 1]):
            values[k] *= omega * inverse
    return -1

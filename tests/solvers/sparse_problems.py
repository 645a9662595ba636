"""Sparse matrices for tests of preconditioners."""

import numpy as np
import scipy.sparse as sp
import torch

from pdekit.solvers import CSR

KERSHAW = np.array([[3.0, -2, 0, 2], [-2, 3, -2, 0], [0, -2, 3, -2], [2, 0, -2, 3]])
"""Symmetric positive definite, and its incomplete Cholesky factor does not exist (Kershaw, 1978)."""


def laplacian(m: int) -> sp.csr_array:
    """The five-point Laplacian on m x m interior points, 4 on the diagonal."""
    line = sp.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(m, m))
    one = sp.eye_array(m)
    return sp.csr_array(sp.kron(one, line) + sp.kron(line, one))


def diffusion(k: np.ndarray) -> sp.csr_array:
    """Five points, from a coefficient ``(m + 2, m + 2)`` at all points, its arithmetic mean on each face."""
    m = len(k) - 2
    number = np.arange(m * m).reshape(m, m)
    rows, columns, values = [], [], []
    total = np.zeros((m, m))
    for axis, step in [(0, 1), (0, -1), (1, 1), (1, -1)]:
        face = (k + np.roll(k, -step, axis))[1:-1, 1:-1] / 2
        total += face
        near = np.roll(number, -step, axis)
        inside = np.abs(near - number) == (m if axis == 0 else 1)
        rows.append(number[inside]), columns.append(near[inside]), values.append(-face[inside])
    rows.append(number.ravel()), columns.append(number.ravel()), values.append(total.ravel())
    return sp.csr_array((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))))


def tridiagonal(n: int, low: complex = -1.0, high: complex = -1.0) -> sp.csr_array:
    """2.5 on the diagonal."""
    return sp.csr_array(sp.diags_array([low, 2.5, high], offsets=[-1, 0, 1], shape=(n, n)))


def networks(n: int = 30, batch: tuple[int, ...] = (), seed: int = 0) -> CSR:
    """Symmetric M-matrices of one random graph: Laplacians with positive weights, and grounds."""
    rng = np.random.default_rng(seed)
    mask = np.triu(rng.random((n, n)) < 5 / n, 1) | np.eye(n, k=1, dtype=bool)
    weights = rng.lognormal(size=(*batch, n, n)) * mask
    weights = weights + weights.swapaxes(-1, -2)
    dense = np.eye(n) * (weights.sum(-1, keepdims=True) + rng.random((*batch, n, 1))) - weights
    return on_pattern(dense, mask | mask.T | np.eye(n, dtype=bool))


def nonsymmetric(n: int = 30, batch: tuple[int, ...] = (), *, complex_: bool = False, seed: int = 0) -> CSR:
    """Diagonally dominant matrices on one random pattern that is not symmetric."""
    rng = np.random.default_rng(seed)
    mask = (rng.random((n, n)) < 5 / n) | np.eye(n, dtype=bool)
    dense = rng.standard_normal((*batch, n, n)) + (1j * rng.standard_normal((*batch, n, n)) if complex_ else 0)
    dense = dense * mask
    return on_pattern(dense + np.eye(n) * (1 + np.abs(dense).sum(-1, keepdims=True)), mask)


def on_pattern(dense: np.ndarray, mask: np.ndarray) -> CSR:
    """Dense matrices as a batch on the pattern of a mask."""
    rows, columns = np.nonzero(mask)
    indptr = np.searchsorted(rows, np.arange(len(mask) + 1))
    return CSR(torch.from_numpy(indptr), torch.from_numpy(columns), torch.from_numpy(dense[..., rows, columns]))


def dense(A: CSR) -> np.ndarray:
    """``(*batch, n, n)``."""
    stack = [A.to_scipy(tuple(index)).toarray() for index in np.ndindex(*A.batch_shape)]
    return np.stack(stack).reshape(*A.batch_shape, *A.shape)


def applied(P) -> np.ndarray:
    """The matrices of an operator, column by column."""
    n = P.shape[0]
    columns = torch.eye(n, dtype=P.dtype).reshape(n, *(1 for _ in P.batch_shape), n).expand(n, *P.batch_shape, n)
    return np.moveaxis(P.matvec(columns).numpy(), 0, -1)

"""Small dense and sparse matrices of every kind, shared by the tests of this folder."""

import numpy as np
import scipy.sparse

KINDS = ("definite", "symmetric", "general", "hermitian definite", "hermitian", "complex symmetric", "complex")


def dense(kind: str, n: int = 40, seed: int = 0) -> np.ndarray:
    """A matrix of the kind with eigenvalues kept away from 0."""
    rng = np.random.default_rng(seed)
    B = rng.standard_normal((n, n)) / n**0.5
    if "complex" in kind or "hermitian" in kind:
        B = B + 1j * rng.standard_normal((n, n)) / n**0.5
    if "definite" in kind:
        return B @ B.conj().T + np.eye(n)
    signs = np.diag(np.where(np.arange(n) % 3, 4.0, -4.0))
    if kind == "symmetric":
        return B + B.T + signs
    if kind == "hermitian":
        return B + B.conj().T + signs
    if kind == "complex symmetric":
        return B + B.T + 3 * np.eye(n) * (1 + 1j)
    return B + 3 * np.eye(n)


def vectors(kind: str, n: int = 40, count: int = 3, seed: int = 1) -> np.ndarray:
    """Right-hand sides of the field of the kind."""
    rng = np.random.default_rng(seed)
    b = rng.standard_normal((count, n))
    return b + 1j * rng.standard_normal((count, n)) if "complex" in kind or "hermitian" in kind else b


def laplacian(size: int) -> scipy.sparse.csr_array:
    """The 5-point Laplacian on size x size unknowns: 4 on the diagonal, -1 beside."""
    line = scipy.sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(size, size))
    one = scipy.sparse.eye_array(size)
    return scipy.sparse.csr_array(scipy.sparse.kron(line, one) + scipy.sparse.kron(one, line))


def convection(size: int, peclet: float = 20.0) -> scipy.sparse.csr_array:
    """The Laplacian with an upwinded flow along both axes: not symmetric, an M-matrix."""
    h = 1 / (size + 1)
    line = scipy.sparse.diags_array([-1.0, 1.0], offsets=[-1, 0], shape=(size, size)) * (peclet * h)
    one = scipy.sparse.eye_array(size)
    return scipy.sparse.csr_array(laplacian(size) + scipy.sparse.kron(line, one) + scipy.sparse.kron(one, line))


def helmholtz(size: int, waves: float) -> scipy.sparse.csr_array:
    """The Laplacian less a square of the wave number, of so many wavelengths along a side: indefinite."""
    h = 1 / (size + 1)
    return scipy.sparse.csr_array(laplacian(size) - (2 * np.pi * waves * h) ** 2 * scipy.sparse.eye_array(size**2))

"""GCRO-DR in NumPy, as the published sequences were solved: an oracle that shares nothing with pdekit.

Source: Parks, de Sturler, Mackey, Johnson, Maiti, "Recycling Krylov subspaces for sequences of linear systems", SIAM J.
Sci. Comput. 28, 2006, with the space updated in every cycle.
"""

import numpy as np
import scipy.linalg


def arnoldi(A, C, r, steps, goal):
    """``A V = C B + W H`` with W orthonormal, orthogonal to C; stops where the residual falls to ``goal``."""
    n, beta = len(r), np.linalg.norm(r)
    W, H, B = np.zeros((n, steps + 1)), np.zeros((steps + 1, steps)), np.zeros((C.shape[1], steps))
    W[:, 0] = r / beta
    for j in range(steps):
        w = A @ W[:, j]
        for _ in range(2):
            part, inner = C.T @ w, W[:, : j + 1].T @ w
            w = w - C @ part - W[:, : j + 1] @ inner
            B[:, j] += part
            H[: j + 1, j] += inner
        H[j + 1, j] = np.linalg.norm(w)
        W[:, j + 1] = w / H[j + 1, j]
        right = np.zeros(j + 2)
        right[0] = beta
        y, *_ = np.linalg.lstsq(H[: j + 2, : j + 1], right, rcond=None)
        if np.linalg.norm(right - H[: j + 2, : j + 1] @ y) <= goal:
            break
    m = j + 1
    return W[:, : m + 1], H[: m + 1, :m], B[:, :m], y


def smallest(theta, vectors, k):
    """Real combinations that span the eigenvectors of the k smallest eigenvalues, both parts of complex pairs."""
    chosen = []
    for i in np.argsort(np.abs(theta)):
        if len(chosen) >= k:
            break
        if np.imag(theta[i]) >= 0:  # the other one of a pair adds nothing
            chosen += [vectors[:, i].real] if np.imag(theta[i]) == 0 else [vectors[:, i].real, vectors[:, i].imag]
    return np.stack(chosen[:k], axis=1)


def gcrodr(A, b, U, *, rtol, restart=40, size=20, limit=10_000):
    """The solution, the space for the next system, and Arnoldi steps."""
    x, r, count = np.zeros_like(b), b.copy(), 0
    goal = rtol * np.linalg.norm(b)
    C = np.zeros((len(b), 0))
    if U is None:
        W, H, _, y = arnoldi(A, C, r, restart, goal)
        count, m = H.shape[1], H.shape[1]
        x = W[:, :m] @ y
        r = b - A @ x
        last = np.zeros(m)
        last[-1] = H[m, m - 1] ** 2
        theta, vectors = np.linalg.eig(H[:m] + np.outer(np.linalg.solve(H[:m].T, last), np.eye(m)[-1]))
        P = smallest(theta, vectors, size)
        Q, R = np.linalg.qr(H @ P)
        C, U = W @ Q, np.linalg.solve(R.T, (W[:, :m] @ P).T).T
    else:
        C, R = np.linalg.qr(A @ U)
        U = np.linalg.solve(R.T, U.T).T
        x, r = U @ (C.T @ r), r - C @ (C.T @ r)
    while np.linalg.norm(r) > goal and count < limit:
        W, H, B, y = arnoldi(A, C, r, restart - size, goal)
        m, k = H.shape[1], U.shape[1]
        count += m
        x = x + W[:, :m] @ y - U @ (B @ y)
        r = b - A @ x
        scales = 1 / np.linalg.norm(U, axis=0)
        G = np.block([[np.diag(scales), B], [np.zeros((m + 1, k)), H]])
        V, right = np.hstack([U * scales, W[:, :m]]), np.hstack([C, W])
        theta, vectors = scipy.linalg.eig(G.T @ G, G.T @ (right.T @ V))
        P = smallest(theta, vectors, size)
        Q, R = np.linalg.qr(G @ P)
        C, U = right @ Q, np.linalg.solve(R.T, (V @ P).T).T
    return x, U, count

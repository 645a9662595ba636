"""Preconditioned conjugate gradients with a space W beside the preconditioner, a whole solve in one kernel.

At the start the part of the solution in W is taken off. From then on the preconditioner M^-1 is joined by what W can
do about the residual: ``M^-1 + s W (W^T A W)^-1 W^T``. Where W holds eigenvectors of M^-1 A, this moves their
eigenvalues by s, among the others; s is a mean of the eigenvalues that the first residual shows. The map is symmetric
positive definite for any W, so that rounding does no harm, at any contrast.

What this costs is two passes over W an iteration. So W lies in tiles of 64 unknowns, ``(tiles, k, 64)``, each read once
from end to end, and in float32: rounded vectors span a space as good as any, and all that follows is computed from the
rounded ones in float64. W is the same for all matrices, and their threads share it.

Source: the method AD of Tang, Nabben, Vuik, Erlangga, "Comparison of two-level preconditioners derived from deflation,
domain decomposition and multigrid methods", J. Sci. Comput. 39, 2009.
"""

from typing import NamedTuple

import numpy as np

from pdekit.kernels.compile import jit
from pdekit.kernels.sparse.pcg import CONVERGED, MAX_ITERATIONS, NOT_DEFINITE, NOT_FINITE, precondition

__all__ = ["KernelSpace", "deflated_conjugate_gradients", "lay_out"]

_TILE = 64
_GROUP = 4
"""Vectors that are passed over together; the number of stored ones is a multiple, with zeros after the last."""

_ROUNDING = 1e-13
"""What is left of the energy of a vector is rounding below this part of the energies that cancel in it."""


class KernelSpace(NamedTuple):
    """A space as the kernel takes it."""

    rows: np.ndarray
    """``(n, k)`` float32: the vectors as columns, so that those of one unknown lie together"""
    tiles: np.ndarray
    """``(tiles, groups of 4 vectors, 64)`` float32: the same numbers, with zeros after the last vector and unknown"""


def lay_out(vectors: np.ndarray) -> KernelSpace:
    """A space from vectors ``(k, n)``, which are rounded to float32."""
    k, n = vectors.shape
    stored, tiles = -(-k // _GROUP) * _GROUP, -(-n // _TILE)
    padded = np.zeros((stored, tiles * _TILE), dtype=np.float32)
    padded[:k, :n] = vectors
    rows = np.ascontiguousarray(padded[:k, :n].T)
    return KernelSpace(rows, np.ascontiguousarray(padded.reshape(stored, tiles, _TILE).swapaxes(0, 1)))


@jit
def _energies(first, columns, entries, rows, tiles, energy, scale):
    """The lower triangle of W^T A W, and ``scale``, the diagonal of W^T diag(A) W."""
    n, k = rows.shape
    row, images = np.empty(k), np.empty((k, _TILE))
    energy[:] = 0.0
    scale[:] = 0.0
    for tile in range(len(tiles)):
        begin = tile * _TILE
        length = min(_TILE, n - begin)
        for i in range(length):
            row[:] = 0.0
            for place in range(first[begin + i], first[begin + i + 1]):
                entry, w = entries[place], rows[columns[place]]
                for c in range(k):
                    row[c] += entry * w[c]
                if columns[place] == begin + i:
                    for c in range(k):
                        scale[c] += entry * w[c] * w[c]
            for c in range(k):
                images[c, i] = row[c]
        for c in range(k):
            image = images[c]
            for d in range(c + 1):
                w, total = tiles[tile, d], 0.0
                for i in range(length):
                    total += image[i] * w[i]
                energy[c, d] += total


@jit
def _factor(energy, scale):
    """The Cholesky factor in place, in the lower triangle; whether no vector has negative energy.

    Where nothing but rounding is left of a vector, which depends on those before or nearly vanishes under the matrix,
    the pivot is infinity: it is left out of every solution.
    """
    k = len(energy)
    for j in range(k):
        for m in range(j):
            factor = energy[j, m]
            for i in range(j, k):
                energy[i, j] -= energy[i, m] * factor
        pivot = energy[j, j]
        if not (scale[j] > 0.0 and pivot > -_ROUNDING * scale[j]):
            return False
        pivot = np.sqrt(pivot) if pivot > _ROUNDING * scale[j] else np.inf
        for i in range(j + 1, k):
            energy[i, j] /= pivot
        energy[j, j] = pivot
    return True


@jit
def _solve(factor, v):
    k = len(factor)
    for i in range(k):
        total = v[i]
        for j in range(i):
            total -= factor[i, j] * v[j]
        v[i] = total / factor[i, i]
    for i in range(k - 1, -1, -1):
        total = v[i]
        for j in range(i + 1, k):
            total -= factor[j, i] * v[j]
        v[i] = total / factor[i, i]


@jit
def _products(tiles, v, out):
    """``out = W^T v``."""
    n = len(v)
    out[:] = 0.0
    for tile in range(len(tiles)):
        begin = tile * _TILE
        length = min(_TILE, n - begin)
        part = v[begin : begin + length]
        for c in range(0, len(out), _GROUP):
            w0, w1, w2, w3 = tiles[tile, c], tiles[tile, c + 1], tiles[tile, c + 2], tiles[tile, c + 3]
            s0 = s1 = s2 = s3 = 0.0
            for i in range(length):
                s0 += w0[i] * part[i]
                s1 += w1[i] * part[i]
                s2 += w2[i] * part[i]
                s3 += w3[i] * part[i]
            out[c] += s0
            out[c + 1] += s1
            out[c + 2] += s2
            out[c + 3] += s3


@jit
def _shift(first, columns, entries, z, r):
    """<z, A z> / <r, z>, a mean of the eigenvalues of M^-1 A; 1 where it shows that something is not definite."""
    curvature, slope = 0.0, 0.0
    for i in range(len(z)):
        total = 0.0
        for place in range(first[i], first[i + 1]):
            total += entries[place] * z[columns[place]]
        curvature += z[i] * total
        slope += z[i] * r[i]
    return curvature / slope if curvature > 0.0 and slope > 0.0 else 1.0


@jit
def _combine(tiles, shares, z, beta, p, part):
    """``p = z + beta p + W shares``."""
    n = len(z)
    for tile in range(len(tiles)):
        begin = tile * _TILE
        length = min(_TILE, n - begin)
        for i in range(length):
            part[i] = z[begin + i] + beta * p[begin + i]
        for c in range(0, len(shares), _GROUP):
            w0, w1, w2, w3 = tiles[tile, c], tiles[tile, c + 1], tiles[tile, c + 2], tiles[tile, c + 3]
            f0, f1, f2, f3 = shares[c], shares[c + 1], shares[c + 2], shares[c + 3]
            for i in range(length):
                part[i] += w0[i] * f0 + w1[i] * f1 + w2[i] * f2 + w3[i] * f3
        for i in range(length):
            p[begin + i] = part[i]


@jit
def _residual(first, columns, entries, b, x, r):
    """``r = b - A x``; returns its norm."""
    square = 0.0
    for i in range(len(b)):
        total = 0.0
        for k in range(first[i], first[i + 1]):
            total += entries[k] * x[columns[k]]
        # b comes last: added first, it is lost among products far larger than it.
        total = b[i] - total
        r[i] = total
        square += total * total
    return np.sqrt(square)


@jit
def deflated_conjugate_gradients(
    indptr, indices, entries, b, x, kind, starts, places, values, work, vectors, rows, tiles, rtol, atol,
    max_iterations, history, kept, steps,
):  # fmt: skip
    """Solve A x = b.

    Args:
        indptr, indices, entries: the matrix, int32, int32, float64.
        b: ``(n,)``.
        x: ``(n,)``, the first guess on entry.
        kind, starts, places, values, work: the preconditioner, as in `pcg`.
        vectors: ``(4, n)`` scratch.
        rows, tiles: of a :class:`KernelSpace`; of no vectors for plain conjugate gradients.
        rtol: relative to ||b||.
        atol: absolute.
        max_iterations: at most so many.
        history: ``(max_iterations + 1,)``, receives norms of the residual.
        kept: ``(window, n)``, receives the preconditioned residuals z of the first steps, each over sqrt(<r, z>).
        steps: ``(window, 2)``, receives <r, z> and <p, A p> of those steps.

    Returns:
        Why it stopped, after how many iterations, and the norm of the residual recomputed at the end.
    """
    n, k = len(b), rows.shape[1]
    # Signed indices would be tested for being negative, which halves the speed.
    first, columns = indptr.view(np.uint32), indices.view(np.uint32)
    r, z, p, q = vectors[0], vectors[1], vectors[2], vectors[3]
    factor, scale, shares, part = np.empty((k, k)), np.empty(k), np.zeros(tiles.shape[1]), np.empty(_TILE)
    inside, shift = np.empty(tiles.shape[1]), 1.0
    square = 0.0
    for i in range(n):
        square += b[i] * b[i]
        p[i] = 0.0
    wanted = max(rtol * np.sqrt(square), atol)
    norm = _residual(first, columns, entries, b, x, r)
    history[0] = norm
    reason, iterations, slope = MAX_ITERATIONS, 0, 1.0
    if k > 0 and norm > wanted and max_iterations > 0:
        _energies(first, columns, entries, rows, tiles, factor, scale)
        if not _factor(factor, scale):
            return NOT_DEFINITE, 0, norm
        _products(tiles, r, shares)
        _solve(factor, shares)
        _combine(tiles, shares, x, 0.0, x, part)
        norm = _residual(first, columns, entries, b, x, r)
    for step in range(max_iterations + 1):
        if norm <= wanted:
            reason = CONVERGED
            break
        if step == max_iterations:
            break
        precondition(kind, starts, places, entries, values, work, r, z)
        previous, slope = slope, 0.0
        for i in range(n):
            slope += r[i] * z[i]
        if k > 0:
            if step == 0:
                shift = _shift(first, columns, entries, z, r)
            _products(tiles, r, shares)
            inside[:] = shares
            _solve(factor, shares)
            for c in range(k):
                shares[c] *= shift
                slope += inside[c] * shares[c]
        if step < len(kept):
            _combine(tiles, shares, z, 0.0, z, part)
            shares[:] = 0.0
            over = 1.0 / np.sqrt(slope)
            for i in range(n):
                kept[step, i] = over * z[i]
        _combine(tiles, shares, z, slope / previous if step > 0 else 0.0, p, part)
        curvature, descent = 0.0, 0.0
        for i in range(n):
            total = 0.0
            for place in range(first[i], first[i + 1]):
                total += entries[place] * p[columns[place]]
            q[i] = total
            curvature += total * p[i]
            descent += r[i] * p[i]
        if not (np.isfinite(curvature) and np.isfinite(descent)):
            reason = NOT_FINITE
            break
        if not (curvature > 0.0 and slope > 0.0 and descent > 0.0):
            reason = NOT_DEFINITE
            break
        if step < len(steps):
            steps[step, 0], steps[step, 1] = slope, curvature
        alpha = descent / curvature
        square = 0.0
        for i in range(n):
            x[i] += alpha * p[i]
            r[i] -= alpha * q[i]
            square += r[i] * r[i]
        norm = np.sqrt(square)
        iterations += 1
        history[iterations] = norm
    return reason, iterations, _residual(first, columns, entries, b, x, r)

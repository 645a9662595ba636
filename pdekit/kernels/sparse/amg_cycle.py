"""One algebraic multigrid V-cycle, all levels in flat arrays: the numbers of a hierarchy from a matrix, and the cycle.

A hierarchy is three arrays. ``table`` holds a row of COLUMNS numbers for each level: sizes, and where its parts begin
in ``index`` (patterns of the matrix and the interpolation) and ``values`` (their entries, the inverse diagonal, and on
the last level a factor), and in ``work``. What is only needed to compute the values is in ``routes`` and ``fixed``.
"""

import numpy as np

from pdekit.kernels.compile import jit
from pdekit.kernels.sparse.aggregation import smooth
from pdekit.kernels.sparse.galerkin import multiply
from pdekit.kernels.sparse.interpolation import weigh

__all__ = ["COLUMNS", "DAMPING", "EIG_RATIO", "LAST_SWEEPS", "cycle", "refresh"]

# Columns of the table. Sizes and switches:
N, NNZ, WEIGHTS, AGGREGATED, DEGREE, DENSE = range(6)
# places in index:
A_PTR, A_IND, A_DIAG, P_PTR, P_IND = range(6, 11)
# in routes, for classical interpolation or for aggregation, and for the product:
ROLE, SHARED, SHARED_ENTRY, SHARED_WEIGHT, T_PTR, T_SLOT, T_HOME, SLOT, WIDTH, PLACE = range(11, 21)
# in fixed, values and work:
T_VAL, A_VAL, D_INV, P_VAL, FACTOR, BOUND, B, X, SCRATCH = range(21, 30)
COLUMNS = 30

EIG_RATIO = 4.0
"""Chebyshev smoothing takes care of the upper part of the spectrum, from this fraction of the largest eigenvalue on."""

LAST_SWEEPS = 4
"""Symmetric sweeps on a last level too large for a dense factor, which could not be coarsened."""

DAMPING = 4.0 / 3.0


@jit
def refresh(table, index, routes, fixed, entries, values, row):
    """All numbers of a hierarchy from the entries of its matrix.

    Args:
        table, index, routes, fixed: what matrices share.
        entries: ``(nnz,)`` of the matrix.
        values: receives the numbers.
        row: scratch, as long as the widest row of any A P.

    Returns:
        Whether all diagonal entries of all levels are positive, as those of a definite matrix are.
    """
    levels = len(table) // COLUMNS
    # Signed indices would be tested for being negative.
    place, scatter = index.view(np.uint32), routes.view(np.uint32)
    sound = True
    for level in range(levels):
        t = table[level * COLUMNS : (level + 1) * COLUMNS]
        n = t[N]
        indptr, indices = place[t[A_PTR] : t[A_PTR] + n + 1], place[t[A_IND] : t[A_IND] + t[NNZ]]
        diagonal = place[t[A_DIAG] : t[A_DIAG] + n]
        a = entries if level == 0 else values[t[A_VAL] : t[A_VAL] + t[NNZ]]
        inverse = values[t[D_INV] : t[D_INV] + n]
        sound = _invert_diagonal(diagonal, a, inverse, level) and sound
        if t[DEGREE] > 0:
            values[t[BOUND]] = _largest_eigenvalue(indptr, a, inverse)
        if level + 1 < levels:
            p_ptr = place[t[P_PTR] : t[P_PTR] + n + 1]
            p = values[t[P_VAL] : t[P_VAL] + t[WEIGHTS]]
            if t[AGGREGATED]:
                smooth(
                    indptr, indices, scatter[t[T_PTR] :], scatter[t[T_SLOT] :], scatter[t[T_HOME] :], fixed[t[T_VAL] :],
                    a, DAMPING, p_ptr, p,
                )  # fmt: skip
            else:
                weigh(
                    indptr, routes[t[ROLE] :], p_ptr, scatter[t[SHARED] :], scatter[t[SHARED_ENTRY] :],
                    scatter[t[SHARED_WEIGHT] :], a, p,
                )  # fmt: skip
            below = table[(level + 1) * COLUMNS : (level + 2) * COLUMNS]
            coarse = values[below[A_VAL] : below[A_VAL] + below[NNZ]]
            width = scatter[t[WIDTH] : t[WIDTH] + n]
            multiply(indptr, indices, p_ptr, scatter[t[SLOT] :], width, scatter[t[PLACE] :], a, p, row, coarse)
        elif t[DENSE]:
            _factor(indptr, indices, a, values[t[FACTOR] : t[FACTOR] + n * n], inverse)
    return sound


@jit
def _invert_diagonal(diagonal, a, inverse, level):
    largest, sound = 0.0, True
    for i in range(len(diagonal)):
        largest = max(largest, a[diagonal[i]])
    # A part without ground may have come down to a single unknown with nothing but rounding on its diagonal.
    least = 0.0 if level == 0 else 1e-14 * largest
    for i in range(len(diagonal)):
        d = a[diagonal[i]]
        inverse[i] = 1.0 / d if d > least else 0.0
        sound = sound and d > -least if level > 0 else sound and d > 0.0
    return sound


@jit
def _largest_eigenvalue(indptr, a, inverse):
    """Gershgorin's bound for D^-1 A."""
    bound = 1e-300
    for i in range(len(inverse)):
        size = 0.0
        for k in range(indptr[i], indptr[i + 1]):
            size += abs(a[k])
        bound = max(bound, size * inverse[i])
    return bound


@jit
def _factor(indptr, indices, a, factor, inverse):
    """Dense Cholesky factor by rows, inverses on its diagonal; a pivot of rounding size stands for a null vector and
    becomes 0, which leaves that unknown at 0."""
    n = len(inverse)
    for k in range(n * n):
        factor[k] = 0.0
    for i in range(n):
        for k in range(indptr[i], indptr[i + 1]):
            factor[i * n + indices[k]] = a[k]
    for i in range(n):
        mine = factor[i * n : i * n + n]
        own = mine[i]
        for j in range(i):
            other = factor[j * n : j * n + n]
            total = mine[j]
            for k in range(j):
                total -= mine[k] * other[k]
            mine[j] = total * other[j]
        pivot = own
        for k in range(i):
            pivot -= mine[k] * mine[k]
        mine[i] = 1.0 / np.sqrt(pivot) if pivot > 1e-12 * own and inverse[i] > 0.0 else 0.0


@jit
def cycle(table, index, entries, values, work, r, z):
    """z = B r with a symmetric V-cycle B.

    Args:
        table, index, entries, values: the hierarchy.
        work: scratch.
        r: ``(n,)``.
        z: ``(n,)``, receives the result.
    """
    last = len(table) // COLUMNS - 1
    place = index.view(np.uint32)
    for level in range(last):
        t = table[level * COLUMNS : (level + 1) * COLUMNS]
        n = t[N]
        indptr, indices = place[t[A_PTR] : t[A_PTR] + n + 1], place[t[A_IND] : t[A_IND] + t[NNZ]]
        a = entries if level == 0 else values[t[A_VAL] : t[A_VAL] + t[NNZ]]
        inverse = values[t[D_INV] : t[D_INV] + n]
        p_ptr, p_ind = place[t[P_PTR] : t[P_PTR] + n + 1], place[t[P_IND] : t[P_IND] + t[WEIGHTS]]
        p = values[t[P_VAL] : t[P_VAL] + t[WEIGHTS]]
        b, x = (r, z) if level == 0 else (work[t[B] : t[B] + n], work[t[X] : t[X] + n])
        below = table[(level + 1) * COLUMNS : (level + 2) * COLUMNS]
        coarse = work[below[B] : below[B] + below[N]]
        for i in range(len(coarse)):
            coarse[i] = 0.0
        if t[DEGREE] > 0:
            rest, step = work[t[SCRATCH] : t[SCRATCH] + n], work[t[SCRATCH] + n : t[SCRATCH] + 2 * n]
            for i in range(n):
                x[i] = 0.0
                rest[i] = b[i]
            _chebyshev(indptr, indices, a, inverse, values[t[BOUND]], t[DEGREE], x, rest, step)
            for i in range(n):
                for q in range(p_ptr[i], p_ptr[i + 1]):
                    coarse[p_ind[q]] += p[q] * rest[i]
        else:
            diagonal = place[t[A_DIAG] : t[A_DIAG] + n]
            _first_sweep(indptr, indices, diagonal, a, inverse, b, x)
            _restrict(indptr, indices, diagonal, a, x, p_ptr, p_ind, p, coarse)
    _solve_last(table[last * COLUMNS :], place, entries, values, work, r, z, last)
    for level in range(last - 1, -1, -1):
        t = table[level * COLUMNS : (level + 1) * COLUMNS]
        n = t[N]
        indptr, indices = place[t[A_PTR] : t[A_PTR] + n + 1], place[t[A_IND] : t[A_IND] + t[NNZ]]
        a = entries if level == 0 else values[t[A_VAL] : t[A_VAL] + t[NNZ]]
        inverse = values[t[D_INV] : t[D_INV] + n]
        p_ptr, p_ind = place[t[P_PTR] : t[P_PTR] + n + 1], place[t[P_IND] : t[P_IND] + t[WEIGHTS]]
        p = values[t[P_VAL] : t[P_VAL] + t[WEIGHTS]]
        b, x = (r, z) if level == 0 else (work[t[B] : t[B] + n], work[t[X] : t[X] + n])
        below = table[(level + 1) * COLUMNS : (level + 2) * COLUMNS]
        coarse = work[below[X] : below[X] + below[N]]
        for i in range(n):
            total = x[i]
            for q in range(p_ptr[i], p_ptr[i + 1]):
                total += p[q] * coarse[p_ind[q]]
            x[i] = total
        if t[DEGREE] > 0:
            rest, step = work[t[SCRATCH] : t[SCRATCH] + n], work[t[SCRATCH] + n : t[SCRATCH] + 2 * n]
            for i in range(n):
                total = b[i]
                for k in range(indptr[i], indptr[i + 1]):
                    total -= a[k] * x[indices[k]]
                rest[i] = total
            _chebyshev(indptr, indices, a, inverse, values[t[BOUND]], t[DEGREE], x, rest, step)
        else:
            _backward_sweep(indptr, indices, a, inverse, b, x)


@jit
def _first_sweep(indptr, indices, diagonal, a, inverse, b, x):
    """A forward sweep of Gauss-Seidel from x = 0, which meets the lower triangle only."""
    for i in range(len(x)):
        total = b[i]
        for k in range(indptr[i], diagonal[i]):
            total -= a[k] * x[indices[k]]
        x[i] = total * inverse[i]


@jit
def _restrict(indptr, indices, diagonal, a, x, p_ptr, p_ind, p, coarse):
    """P^T (b - A x) after the first sweep, which leaves of the residual only what the upper triangle adds."""
    for i in range(len(x)):
        rest = 0.0
        for k in range(diagonal[i] + 1, indptr[i + 1]):
            rest -= a[k] * x[indices[k]]
        for q in range(p_ptr[i], p_ptr[i + 1]):
            coarse[p_ind[q]] += p[q] * rest


@jit
def _backward_sweep(indptr, indices, a, inverse, b, x):
    for i in range(len(x) - 1, -1, -1):
        total = b[i]
        for k in range(indptr[i], indptr[i + 1]):
            total -= a[k] * x[indices[k]]
        x[i] += total * inverse[i]


@jit
def _forward_sweep(indptr, indices, a, inverse, b, x):
    for i in range(len(x)):
        total = b[i]
        for k in range(indptr[i], indptr[i + 1]):
            total -= a[k] * x[indices[k]]
        x[i] += total * inverse[i]


@jit
def _chebyshev(indptr, indices, a, inverse, bound, degree, x, rest, step):
    """x += p(D^-1 A) D^-1 rest with the Chebyshev polynomial of the upper spectrum; ``rest`` becomes the residual."""
    middle, half = 0.5 * bound * (1 + 1 / EIG_RATIO), 0.5 * bound * (1 - 1 / EIG_RATIO)
    ratio = half / middle
    for turn in range(degree):
        if turn == 0:
            for i in range(len(x)):
                step[i] = inverse[i] * rest[i] / middle
        else:
            following = 1.0 / (2.0 * middle / half - ratio)
            keep, add = following * ratio, 2.0 * following / half
            ratio = following
            for i in range(len(x)):
                step[i] = keep * step[i] + add * inverse[i] * rest[i]
        for i in range(len(x)):
            x[i] += step[i]
            total = rest[i]
            for k in range(indptr[i], indptr[i + 1]):
                total -= a[k] * step[indices[k]]
            rest[i] = total


@jit
def _solve_last(t, index, entries, values, work, r, z, level):
    n = t[N]
    b, x = (r, z) if level == 0 else (work[t[B] : t[B] + n], work[t[X] : t[X] + n])
    if t[DENSE]:
        factor = values[t[FACTOR] : t[FACTOR] + n * n]
        for i in range(n):
            total = b[i]
            for k in range(i):
                total -= factor[i * n + k] * x[k]
            x[i] = total * factor[i * n + i]
        for i in range(n - 1, -1, -1):
            x[i] *= factor[i * n + i]
            v = x[i]
            for k in range(i):
                x[k] -= factor[i * n + k] * v
        return
    indptr, indices = index[t[A_PTR] : t[A_PTR] + n + 1], index[t[A_IND] : t[A_IND] + t[NNZ]]
    a = entries if level == 0 else values[t[A_VAL] : t[A_VAL] + t[NNZ]]
    inverse = values[t[D_INV] : t[D_INV] + n]
    for i in range(n):
        x[i] = 0.0
    if t[DEGREE] > 0:
        rest, step = work[t[SCRATCH] : t[SCRATCH] + n], work[t[SCRATCH] + n : t[SCRATCH] + 2 * n]
        for i in range(n):
            rest[i] = b[i]
        for _ in range(2 * LAST_SWEEPS):
            _chebyshev(indptr, indices, a, inverse, values[t[BOUND]], t[DEGREE], x, rest, step)
        return
    for _ in range(LAST_SWEEPS):
        _forward_sweep(indptr, indices, a, inverse, b, x)
        _backward_sweep(indptr, indices, a, inverse, b, x)

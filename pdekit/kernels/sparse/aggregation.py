"""Smoothed aggregation: columns over aggregates of unknowns, made smooth by the matrix itself."""

import numpy as np

from pdekit.kernels.compile import jit

__all__ = ["fit_columns", "poorly_aggregated", "smooth"]


@jit
def smooth(indptr, indices, t_ptr, slot, home, t, a, damping, p_ptr, p):
    """One damped Jacobi step on aggregates' columns: P = T - damping D^-1 A T, D the sums of sizes in the rows of A.

    Args:
        indptr, indices: of the matrix.
        t_ptr: rows of T.
        slot: for each product a_ij t_jl, in order, where in row i of P it goes.
        home: for each entry of T, where in its row of P it lies.
        t: entries of T.
        a: entries of the matrix.
        damping: of the step.
        p_ptr: rows of P.
        p: receives its entries.
    """
    s = 0
    for i in range(len(p_ptr) - 1):
        start, end = p_ptr[i], p_ptr[i + 1]
        for q in range(start, end):
            p[q] = 0.0
        size = 0.0
        for k in range(indptr[i], indptr[i + 1]):
            v = a[k]
            size += abs(v)
            j = indices[k]
            for q in range(t_ptr[j], t_ptr[j + 1]):
                p[start + slot[s]] += v * t[q]
                s += 1
        scale = -damping / size if size > 0.0 else 0.0
        for q in range(start, end):
            p[q] *= scale
        for q in range(t_ptr[i], t_ptr[i + 1]):
            p[start + home[q]] += t[q]


@jit
def fit_columns(members, starts, near, tolerance, column, value, fitted, count):
    """Orthonormal columns over each aggregate that reproduce the near null space there (Gram-Schmidt).

    Args:
        members, starts: unknowns of each aggregate, those of aggregate g in ``members[starts[g]:starts[g + 1]]``.
        near: ``(n, k)``, the near null space.
        tolerance: columns that fall below this part of their size are left out.
        column: ``(members, k)``, receives the number of each entry's column, from 0 on through all aggregates.
        value: ``(members, k)``, receives the entries; only the first ``count[g]`` of an aggregate are used.
        fitted: ``(aggregates * k, k)``, receives in row c the near null space in terms of column c.
        count: ``(aggregates,)``, receives the number of columns of each.

    Returns:
        The number of columns of all aggregates.
    """
    k = near.shape[1]
    total = 0
    for g in range(len(count)):
        first, last = starts[g], starts[g + 1]
        found = 0
        for c in range(k):
            before = 0.0
            for m in range(first, last):
                v = near[members[m], c]
                value[m, found] = v
                before += v * v
            for d in range(found):
                dot = 0.0
                for m in range(first, last):
                    dot += value[m, d] * value[m, found]
                for m in range(first, last):
                    value[m, found] -= dot * value[m, d]
                fitted[total + d, c] = dot
            after = 0.0
            for m in range(first, last):
                after += value[m, found] * value[m, found]
            if after > tolerance * tolerance * before:
                size = np.sqrt(after)
                for m in range(first, last):
                    value[m, found] /= size
                    column[m, found] = total + found
                fitted[total + found, c] = size
                found += 1
        count[g] = found
        total += found
    return total


@jit
def poorly_aggregated(indptr, indices, diagonal, group, theta, a):
    """How many unknowns of one matrix are strongly connected, but to none of their own aggregate.

    Args:
        indptr, indices: the pattern.
        diagonal: ``(n,)``, which entries lie on the diagonal.
        group: ``(n,)``, the aggregate of each unknown.
        theta: an entry is strong from this part of the geometric mean of the two diagonal entries on.
        a: ``(nnz,)`` entries of the matrix.
    """
    poor = 0
    for i in range(len(group)):
        strong, inside = False, False
        for k in range(indptr[i], indptr[i + 1]):
            j = indices[k]
            if j != i and a[k] != 0.0 and a[k] * a[k] >= theta * theta * abs(a[diagonal[i]] * a[diagonal[j]]):
                strong = True
                inside = inside or group[j] == group[i]
        if strong and not inside:
            poor += 1
    return poor

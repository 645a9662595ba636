"""Incomplete factorisations of matrices in compressed rows; the layout of the factors is that of `triangular`."""

import numpy as np

from pdekit.kernels.compile import jit

__all__ = ["cholesky_on_pattern", "cholesky_with_threshold", "lu_on_pattern", "upper_triangle"]

_ROUNDING = 64 * np.finfo(np.float64).eps
"""Part of its diagonal entry below which a pivot is what rounding left of 0."""


@jit
def upper_triangle(indptr, indices, order):
    """The upper triangle of a symmetric matrix whose unknowns are taken in another order.

    Args:
        indptr: ``(n + 1,)`` int32.
        indices: int32, columns in order.
        order: ``(n,)`` int32, the unknowns from first to last.

    Returns:
        ``indptr`` and ``indices`` (int32) of the triangle, in places of the order, the columns of each row in order;
        and which entry of the matrix each of its entries is (int64).
    """
    n = len(indptr) - 1
    rank = np.empty(n, np.int32)
    for i in range(n):
        rank[order[i]] = i
    starts = np.zeros(n + 1, np.int32)
    for i in range(n):
        for k in range(indptr[i], indptr[i + 1]):
            before = rank[indices[k]]
            if before <= rank[i]:
                starts[before + 1] += 1
    for i in range(n):
        starts[i + 1] += starts[i]
    place = starts[:-1].copy()
    columns, source = np.empty(starts[n], np.int32), np.empty(starts[n], np.int64)
    for i in range(n):  # as columns of the triangle, from first to last, so that each row of it comes in order
        column = order[i]
        for k in range(indptr[column], indptr[column + 1]):
            before = rank[indices[k]]
            if before <= i:
                columns[place[before]], source[place[before]] = i, k
                place[before] += 1
    return starts, columns, source


@jit
def cholesky_on_pattern(indptr, indices, values, shift, relaxation):
    """Factor the upper triangle of a symmetric matrix in place, on its own pattern.

    Each elimination step subtracts from the entries that are stored; of what falls beside them, ``relaxation`` times is
    taken from the two diagonal entries concerned instead, which at 1 keeps the row sums.

    Args:
        indptr: ``(n + 1,)`` int32.
        indices: int32, columns in order, the diagonal first in each row.
        values: float64, entries of the matrix on entry, the factor on return.
        shift: the diagonal is multiplied by 1 + shift first.
        relaxation: between 0 and 1.

    Returns:
        The row whose pivot is not positive, and that pivot as a part of its diagonal entry; -1 and 1.0 if none.
    """
    n = len(indptr) - 1
    one = np.uint64(1)  # unsigned indices spare the test for negative ones
    diagonal = np.empty(n)
    for i in range(n):
        values[indptr[i]] *= 1.0 + shift
        diagonal[i] = values[indptr[i]]
    end = np.uint64(0)
    for j in range(n):
        first = end
        end = np.uint64(indptr[j + 1])
        pivot = values[first]
        if not pivot > _ROUNDING * diagonal[j]:
            return j, pivot / diagonal[j]
        inverse = 1.0 / pivot
        p = first + one
        while p < end:
            k = np.uint32(indices[p])
            scaled = values[p] * inverse
            q, stop = np.uint64(indptr[k]), np.uint64(indptr[k + np.uint32(1)])
            here = q
            values[here] -= scaled * values[p]
            q += one
            t = p + one
            while t < end:
                i = np.uint32(indices[t])
                while q < stop and np.uint32(indices[q]) < i:
                    q += one
                update = scaled * values[t]
                if q < stop and np.uint32(indices[q]) == i:
                    values[q] -= update
                elif relaxation != 0.0:
                    values[here] -= relaxation * update
                    values[np.uint64(indptr[i])] -= relaxation * update
                t += one
            p += one
        values[first] = inverse
        for p in range(first + one, end):
            values[p] *= inverse
    return -1, 1.0


@jit
def cholesky_with_threshold(indptr, indices, entries, shift, threshold, fill):
    """Factor the upper triangle of a symmetric matrix on a pattern that grows with the entries that matter.

    Row by row, from the rows before it that reach it: an entry (j, c) is dropped where it is below
    ``threshold * sqrt(a_jj a_cc)``, which does not depend on the scaling of the unknowns; of the rest of a row as many
    are kept as the row of the matrix stores and ``fill`` more, the largest.

    Args:
        indptr: ``(n + 1,)`` int32.
        indices: int32, columns in order, the diagonal first in each row.
        entries: float64.
        shift: the diagonal is multiplied by 1 + shift first.
        threshold: 0 drops nothing.
        fill: further entries a row; negative for any number.

    Returns:
        ``indptr``, ``indices``, ``values`` of the factor, and what `cholesky_on_pattern` returns.
    """
    n = len(indptr) - 1
    root = np.empty(n)
    for i in range(n):
        root[i] = np.sqrt(np.abs(entries[indptr[i]] * (1.0 + shift)))
    capacity = 2 * len(indices) + 16
    starts = np.zeros(n + 1, np.int32)
    columns, values = np.empty(capacity, np.int32), np.empty(capacity)
    row = np.zeros(n)  # the row in the making, where `member` says so
    member = np.full(n, -1, np.int32)
    touched = np.empty(n, np.int32)
    sizes = np.empty(n)
    # Rows whose next column to pass on is j hang in a chain at head[j].
    head, following, place = np.full(n, -1, np.int32), np.full(n, -1, np.int32), np.empty(n, np.int32)
    for j in range(n):
        count = 0
        diagonal = entries[indptr[j]] * (1.0 + shift)
        pivot = diagonal
        for p in range(indptr[j] + 1, indptr[j + 1]):
            c = indices[p]
            row[c], member[c] = entries[p], j
            touched[count] = c
            count += 1
        k = head[j]
        while k >= 0:
            after = following[k]
            p, end = place[k], starts[k + 1]
            scaled = values[p] / values[starts[k]]
            pivot -= scaled * values[p]
            for q in range(p + 1, end):
                c = columns[q]
                if member[c] != j:
                    row[c], member[c] = 0.0, j
                    touched[count] = c
                    count += 1
                row[c] -= scaled * values[q]
            if p + 1 < end:
                place[k] = p + 1
                following[k], head[columns[p + 1]] = head[columns[p + 1]], k
            k = after
        if not pivot > _ROUNDING * diagonal:
            return starts, columns[:0], values[:0], j, pivot / diagonal
        kept = 0
        for t in range(count):
            c = touched[t]
            if np.abs(row[c]) >= threshold * root[j] * root[c]:
                touched[kept] = c
                kept += 1
        most = indptr[j + 1] - indptr[j] - 1 + fill
        if fill >= 0 and kept > most:
            for t in range(kept):
                sizes[t] = np.abs(row[touched[t]]) / root[touched[t]]
            limit = np.inf if most == 0 else np.partition(sizes[:kept], kept - most)[kept - most]
            count, kept = kept, 0
            for t in range(count):
                c = touched[t]
                if sizes[t] >= limit and kept < most:
                    touched[kept] = c
                    kept += 1
        touched[:kept].sort()
        begin = starts[j]
        if begin + kept + 1 > capacity:
            capacity = 2 * capacity + kept + 1
            grown_columns, grown_values = np.empty(capacity, np.int32), np.empty(capacity)
            grown_columns[:begin], grown_values[:begin] = columns[:begin], values[:begin]
            columns, values = grown_columns, grown_values
        columns[begin], values[begin] = j, 1.0 / pivot
        for t in range(kept):
            columns[begin + 1 + t] = touched[t]
            values[begin + 1 + t] = row[touched[t]] / pivot
        starts[j + 1] = begin + 1 + kept
        if kept > 0:
            place[j] = begin + 1
            following[j], head[touched[0]] = head[touched[0]], j
    return starts, columns[: starts[n]].copy(), values[: starts[n]].copy(), -1, 1.0


@jit
def lu_on_pattern(indptr, indices, values, diagonal):
    """Factor a matrix in place, on its own pattern.

    Args:
        indptr: ``(n + 1,)`` int32.
        indices: int32, columns in order.
        values: entries of the matrix on entry, the factor on return.
        diagonal: ``(n,)`` int32, where the entries of the diagonal are.

    Returns:
        The row whose pivot is 0 next to the largest entry of its row; -1 if none.
    """
    n = len(indptr) - 1
    place = np.full(n, -1, np.int32)
    for i in range(n):
        largest = 0.0
        for p in range(indptr[i], indptr[i + 1]):
            place[indices[p]] = p
            largest = max(largest, np.abs(values[p]))
        for p in range(indptr[i], diagonal[i]):
            k = indices[p]
            # L D: the multiplier that LU would use, times the pivot of row k, since U has a unit diagonal here.
            factor = values[p]
            for q in range(diagonal[k] + 1, indptr[k + 1]):
                at = place[indices[q]]
                if at >= 0:
                    values[at] -= factor * values[q]
            values[p] = factor * values[diagonal[k]]
        pivot = values[diagonal[i]]
        if not np.abs(pivot) > _ROUNDING * largest:
            return i
        inverse = 1.0 / pivot
        values[diagonal[i]] = inverse
        for p in range(diagonal[i] + 1, indptr[i + 1]):
            values[p] *= inverse
        for p in range(indptr[i], indptr[i + 1]):
            place[indices[p]] = -1
    return -1

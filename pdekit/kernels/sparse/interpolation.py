"""Classical interpolation from coarse unknowns, its pattern found once and its weights for each matrix.

A level's unknowns are coarse (C) or fine (F). The value of a fine one is interpolated from the coarse ones it strongly
depends on, C_i, with weights that make its own equation hold where the error is smooth::

    w_ij = -(a_ij + sum_m a_im a_mj / sum_{k in C_i} a_mk) / (a_ii + sum_weak a_in),   m strong and fine

Which connections are strong is part of the pattern; the numbers are the matrix's own.
"""

from typing import NamedTuple

import numpy as np

from pdekit.kernels.compile import jit

__all__ = ["Interpolation", "interpolation_pattern", "poorly_covered", "weigh"]

_TO_DIAGONAL, _SPREAD, _COARSE_ROW = -1, -2, -3
"""What becomes of an entry of the matrix that is no weight: it joins the diagonal, or is spread over the coarse
unknowns that the row shares with its column's; the first entry of a coarse unknown's row says that it is one."""


class Interpolation(NamedTuple):
    """Where the weights come from; all int32."""

    indptr: np.ndarray
    """(n + 1,) of the interpolation matrix P"""
    indices: np.ndarray
    """the coarse unknown of each weight"""
    role: np.ndarray
    """(nnz,) for each entry of the matrix the weight it adds to, or what else becomes of it"""
    shared: np.ndarray
    """for each entry that is spread, in order, where its part of the two following begins"""
    shared_entry: np.ndarray
    """entries of the matrix in the column's row, at the coarse unknowns shared"""
    shared_weight: np.ndarray
    """the weights they spread to"""


def interpolation_pattern(
    indptr: np.ndarray, indices: np.ndarray, strong: np.ndarray, coarse: np.ndarray
) -> Interpolation:
    """The pattern of classical interpolation.

    A strong connection to a fine unknown is spread only if it depends strongly on a coarse one of the row (modified
    classical interpolation).

    Args:
        indptr: ``(n + 1,)`` int32.
        indices: ``(nnz,)`` int32.
        strong: ``(nnz,)`` bool, entries that are strong connections.
        coarse: ``(n,)`` bool.
    """
    n = len(indptr) - 1
    number = (np.cumsum(coarse) - 1).astype(np.int32)
    p_ptr, role = np.zeros(n + 1, dtype=np.int32), np.empty(len(indices), dtype=np.int32)
    marker = np.full(n, -1, dtype=np.int32)
    spread, shared = _survey(indptr, indices, strong, coarse, p_ptr, role, marker)
    if shared >= 2**31:
        raise MemoryError(f"Interpolation would keep {shared:,} places; kernels count up to 2,147,483,647.")
    p_ind, starts = np.empty(p_ptr[-1], dtype=np.int32), np.zeros(spread + 1, dtype=np.int32)
    entry, weight = np.empty(shared, dtype=np.int32), np.empty(shared, dtype=np.int32)
    marker[:] = -1
    _fill(indptr, indices, coarse, number, p_ptr, role, marker, p_ind, starts, entry, weight)
    return Interpolation(p_ptr, p_ind, role, starts, entry, weight)


@jit
def _survey(indptr, indices, strong, coarse, p_ptr, role, marker):
    spread, shared, weights = 0, 0, 0
    for i in range(len(p_ptr) - 1):
        first, last = indptr[i], indptr[i + 1]
        if coarse[i]:
            weights += 1
            for k in range(first, last):
                role[k] = _COARSE_ROW
        else:
            for k in range(first, last):
                j = indices[k]
                role[k] = _TO_DIAGONAL
                if strong[k] and j != i and coarse[j]:
                    role[k] = weights
                    marker[j] = i
                    weights += 1
            for k in range(first, last):
                j = indices[k]
                if strong[k] and j != i and not coarse[j]:
                    common, close = 0, False
                    for c in range(indptr[j], indptr[j + 1]):
                        if marker[indices[c]] == i:
                            common += 1
                            close = close or strong[c]
                    if close:
                        role[k] = _SPREAD
                        spread += 1
                        shared += common
        p_ptr[i + 1] = weights
    return spread, shared


@jit
def _fill(indptr, indices, coarse, number, p_ptr, role, marker, p_ind, starts, entry, weight):
    spread, shared = 0, 0
    for i in range(len(p_ptr) - 1):
        if coarse[i]:
            p_ind[p_ptr[i]] = number[i]
            continue
        for k in range(indptr[i], indptr[i + 1]):
            if role[k] >= 0:
                j = indices[k]
                p_ind[role[k]] = number[j]
                marker[j] = role[k]
        for k in range(indptr[i], indptr[i + 1]):
            if role[k] == _SPREAD:
                m = indices[k]
                for c in range(indptr[m], indptr[m + 1]):
                    place = marker[indices[c]]
                    if place >= p_ptr[i]:  # marks of earlier rows are below
                        entry[shared] = c
                        weight[shared] = place
                        shared += 1
                spread += 1
                starts[spread] = shared


@jit
def weigh(indptr, role, p_ptr, shared, shared_entry, shared_weight, a, p):
    """The weights of one matrix.

    Args:
        indptr, role, p_ptr, shared, shared_entry, shared_weight: the pattern.
        a: ``(nnz,)`` entries of the matrix.
        p: receives the weights.
    """
    spread = 0
    for i in range(len(p_ptr) - 1):
        start, end = p_ptr[i], p_ptr[i + 1]
        first, last = indptr[i], indptr[i + 1]
        if first < last and role[first] == _COARSE_ROW:
            p[start] = 1.0
            continue
        for q in range(start, end):
            p[q] = 0.0
        diagonal = 0.0
        for k in range(first, last):
            place = role[k]
            if place >= 0:
                p[place] += a[k]
            elif place == _TO_DIAGONAL:
                diagonal += a[k]
            else:
                total = 0.0
                for c in range(shared[spread], shared[spread + 1]):
                    total += min(a[shared_entry[c]], 0.0)
                if total < 0.0:
                    part = a[k] / total
                    for c in range(shared[spread], shared[spread + 1]):
                        p[shared_weight[c]] += part * min(a[shared_entry[c]], 0.0)
                else:
                    diagonal += a[k]
                spread += 1
        scale = -1.0 / diagonal if diagonal > 0.0 else 0.0
        for q in range(start, end):
            p[q] *= scale


@jit
def poorly_covered(indptr, indices, coarse, role, a):
    """How many fine unknowns of one matrix take hardly any of their connections from coarse ones.

    Args:
        indptr, indices, role: the pattern.
        coarse: ``(n,)`` bool.
        a: ``(nnz,)`` entries of the matrix.

    Returns:
        The number of fine unknowns for which the entries that become weights are less than 3/10 of all off the
        diagonal, by their sizes; not counting those that the diagonal dominates, which smoothing takes care of.
    """
    poor = 0
    for i in range(len(indptr) - 1):
        if coarse[i]:
            continue
        diagonal, total, taken = 0.0, 0.0, 0.0
        for k in range(indptr[i], indptr[i + 1]):
            if indices[k] == i:
                diagonal = abs(a[k])
            else:
                total += abs(a[k])
                if role[k] >= 0:
                    taken += abs(a[k])
        if total > 0.5 * diagonal and taken < 0.3 * total:
            poor += 1
    return poor

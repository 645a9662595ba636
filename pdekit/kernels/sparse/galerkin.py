"""Galerkin products P^T A P on known patterns: found once, then only numbers are multiplied."""

from typing import NamedTuple

import numpy as np
import scipy.sparse

from pdekit.kernels.compile import jit

__all__ = ["Galerkin", "Product", "galerkin_pattern", "multiply", "product_pattern"]


class Galerkin(NamedTuple):
    """Where the products go; all int32."""

    indptr: np.ndarray
    """(m + 1,) of the coarse matrix"""
    indices: np.ndarray
    """its columns, in order within each row"""
    slot: np.ndarray
    """for each product a_ij p_jl, in order, where it goes in row i of A P"""
    width: np.ndarray
    """(n,) entries in each row of A P"""
    place: np.ndarray
    """for each product p_ik (A P)_il, in order, the entry of the coarse matrix"""


class Product(NamedTuple):
    """Where the products of A and an interpolation P go; all int32."""

    slot: np.ndarray
    """for each product a_ij p_jl, in order, where it goes in row i of A P"""
    width: np.ndarray
    """(n,) entries in each row of A P"""
    columns: np.ndarray
    """of the entries of A P, as first met in their row"""
    home: np.ndarray
    """for each entry of P, where its column lies in the row of A P, which has it where A has its diagonal"""


def product_pattern(indptr: np.ndarray, indices: np.ndarray, p_ptr: np.ndarray, p_ind: np.ndarray, m: int) -> Product:
    """The pattern of A P and of the products that make it.

    Args:
        indptr, indices: of the matrix, int32, with all of the diagonal stored.
        p_ptr, p_ind: of the interpolation, int32, no column twice in a row.
        m: its columns.
    """
    width, marker = np.empty(len(indptr) - 1, dtype=np.int32), np.full(m, -1, dtype=np.int64)
    products, wide = _survey(indptr, indices, p_ptr, p_ind, marker, width)
    _check(products)
    slot, columns = np.empty(products, dtype=np.int32), np.empty(wide, dtype=np.int32)
    home = np.empty(len(p_ind), dtype=np.int32)
    marker[:] = -1
    _slots(indptr, indices, p_ptr, p_ind, marker, width, slot, columns, home)
    return Product(slot, width, columns, home)


def galerkin_pattern(indptr: np.ndarray, indices: np.ndarray, p_ptr: np.ndarray, p_ind: np.ndarray, m: int) -> Galerkin:
    """The pattern of P^T A P and of the products that make it.

    Args:
        indptr, indices: of the matrix, int32, with all of the diagonal stored.
        p_ptr, p_ind: of the interpolation, int32, no column twice in a row.
        m: coarse unknowns.
    """
    n = len(indptr) - 1
    slot, width, columns, _ = product_pattern(indptr, indices, p_ptr, p_ind, m)
    starts = np.concatenate([[0], np.cumsum(width, dtype=np.int64)])
    # SciPy turns P around and finds which entries the coarse matrix has; numbers that are all 1 cannot cancel.
    numbered = scipy.sparse.csr_array((np.arange(1.0, len(p_ind) + 1), p_ind, p_ptr), shape=(n, m)).T.tocsr()
    turned = scipy.sparse.csr_array((np.ones(len(p_ind)), numbered.indices, numbered.indptr), shape=(m, n))
    half = scipy.sparse.csr_array((np.ones(len(columns)), columns, starts), shape=(n, m))
    coarse = scipy.sparse.csr_array(turned @ half)
    coarse.sort_indices()
    begins = np.concatenate([[0], np.cumsum(width.astype(np.int64) * np.diff(p_ptr))])
    _check(begins[-1])
    place = np.empty(begins[-1], dtype=np.int32)
    c_ptr, c_ind = coarse.indptr.astype(np.int32), coarse.indices.astype(np.int32)
    local = numbered.data.astype(np.int64) - 1 - p_ptr[numbered.indices]  # where in its row of P each entry lies
    _places(turned.indptr, turned.indices, local, starts, columns, begins, c_ptr, c_ind, np.empty(m, np.int32), place)
    return Galerkin(c_ptr, c_ind, slot, width, place)


def _check(terms: int) -> None:
    if terms >= 2**31:
        raise MemoryError(f"A Galerkin product has {terms:,} terms; kernels count up to 2,147,483,647.")


@jit
def _survey(indptr, indices, p_ptr, p_ind, marker, width):
    products, wide = 0, 0
    for i in range(len(width)):
        found = 0
        for k in range(indptr[i], indptr[i + 1]):
            j = indices[k]
            for q in range(p_ptr[j], p_ptr[j + 1]):
                products += 1
                if marker[p_ind[q]] != i:
                    marker[p_ind[q]] = i
                    found += 1
        width[i] = found
        wide += found
    return products, wide


@jit
def _slots(indptr, indices, p_ptr, p_ind, marker, width, slot, columns, home):
    t, start = 0, 0
    for i in range(len(width)):
        end = start
        for k in range(indptr[i], indptr[i + 1]):
            j = indices[k]
            for q in range(p_ptr[j], p_ptr[j + 1]):
                c = p_ind[q]
                if marker[c] < start:  # marks of earlier rows are below
                    marker[c] = end
                    columns[end] = c
                    end += 1
                slot[t] = marker[c] - start
                t += 1
        for q in range(p_ptr[i], p_ptr[i + 1]):
            home[q] = marker[p_ind[q]] - start
        start = end


@jit
def _places(t_ptr, t_ind, local, starts, columns, begins, c_ptr, c_ind, marker, place):
    for k in range(len(c_ptr) - 1):
        for c in range(c_ptr[k], c_ptr[k + 1]):
            marker[c_ind[c]] = c
        for t in range(t_ptr[k], t_ptr[k + 1]):
            i = t_ind[t]
            width = starts[i + 1] - starts[i]
            first = begins[i] + local[t] * width
            for s in range(width):
                place[first + s] = marker[columns[starts[i] + s]]


@jit
def multiply(indptr, indices, p_ptr, slot, width, place, a, p, row, coarse):
    """The entries of P^T A P.

    Args:
        indptr, indices, p_ptr, slot, width, place: the pattern.
        a: ``(nnz,)`` entries of the matrix.
        p: weights of the interpolation.
        row: scratch, as long as the widest row of A P.
        coarse: receives the entries.
    """
    for c in range(len(coarse)):
        coarse[c] = 0.0
    t, u = 0, 0
    for i in range(len(width)):
        wide = width[i]
        for s in range(wide):
            row[s] = 0.0
        for k in range(indptr[i], indptr[i + 1]):
            j = indices[k]
            v = a[k]
            for q in range(p_ptr[j], p_ptr[j + 1]):
                row[slot[t]] += v * p[q]
                t += 1
        for q in range(p_ptr[i], p_ptr[i + 1]):
            w = p[q]
            for s in range(wide):
                coarse[place[u]] += w * row[s]
                u += 1

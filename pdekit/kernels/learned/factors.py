"""From the entries of a lower triangular factor to what the triangular solves take."""

from pdekit.kernels.compile import jit

__all__ = ["scaled_columns"]


@jit
def scaled_columns(indptr, order, values, packed):
    """The columns of L as rows of U of ``L L^T = U^T D U``: ``1 / D`` first, then what is left and right of it.

    Args:
        indptr: ``(n + 1,)``, where each column begins; its first entry is the diagonal.
        order: ``(nnz,)``, which of the values each entry is, column after column.
        values: ``(nnz,)``, entries of L in any order.
        packed: ``(nnz,)``, receives the entries as `pdekit.kernels.sparse.triangular` describes them.
    """
    for j in range(len(indptr) - 1):
        first = indptr[j]
        inverse = 1.0 / values[order[first]]
        packed[first] = inverse * inverse
        for k in range(first + 1, indptr[j + 1]):
            packed[k] = values[order[k]] * inverse

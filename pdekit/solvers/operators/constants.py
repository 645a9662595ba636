"""Which sparse matrices map constants to 0: those of grids and meshes without any Dirichlet condition."""

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from pdekit.solvers.operators.base import Tag

if TYPE_CHECKING:
    from pdekit.solvers.operators.csr import CSR

__all__ = ["constants_in"]

_ROUNDING = 2e-14
"""Sum of a row, as a part of the sum of its absolute values, that counts as 0."""
_MOST_PARTS = 32


@torch.no_grad()
def constants_in(A: "CSR") -> Float[Tensor, "n k"] | None:
    """The null space of Hermitian matrices all of whose rows sum to 0: the constants on each connected part.

    Matrices of vector fields are left alone: theirs has more than constants.

    Returns:
        Orthonormal columns; None where any row of any matrix has another sum, is 0, or more than constants is mapped
        to 0.
    """
    n = A.shape[0]
    if n < 2 or A.entries.numel() == 0 or (A.geometry is not None and int(A.geometry.component.max()) > 0):
        return None
    entries = A.entries.detach()
    sums = A.with_values([entries]).matvec(torch.ones(n, dtype=A.dtype, device=A.device)).abs()
    if bool((sums.amax(-1) > _ROUNDING * A.pattern.widest_row * _largest_of_each(entries)).any()):
        return None  # most matrices: one product tells
    sizes = A.with_values([entries.abs()])
    total = sizes.matvec(torch.ones(n, dtype=sizes.dtype, device=A.device))
    if bool(((sums > _ROUNDING * total) | (total == 0)).any()) or not A.hermitian or Tag.POSITIVE_DEFINITE in A.tags:
        return None
    joined = (entries != 0).reshape(-1, A.pattern.nnz).any(0).cpu().numpy()
    indptr, indices = A.pattern.arrays
    graph = scipy.sparse.csr_array((joined, indices, indptr), shape=(n, n))
    parts, label = scipy.sparse.csgraph.connected_components(graph, directed=False)
    if parts > _MOST_PARTS or (parts == 1 and _of_vectors(A, total)):
        return None
    basis = np.zeros((n, parts))
    basis[np.arange(n), label] = np.bincount(label)[label] ** -0.5
    return torch.from_numpy(basis).to(A.device)


def _largest_of_each(entries: Inexact[Tensor, "*batch nnz"]) -> Float[Tensor, "*batch"]:
    """The largest size in each matrix; of real ones without room for as many more."""
    if entries.is_complex():
        return entries.abs().amax(-1)
    least, most = torch.aminmax(entries, dim=-1)
    return torch.maximum(-least, most)


def _of_vectors(A: "CSR", total: Float[Tensor, "*batch n"]) -> bool:
    """Whether the constants of one component alone, in the usual orders of unknowns, are mapped to 0 too."""
    n = A.shape[0]
    number = torch.arange(n, device=A.device)
    for components in (2, 3):
        if n % components == 0:
            for first in (number % components == 0, number < n // components):
                if bool((A.matvec(first.to(A.dtype)).abs() <= _ROUNDING * total).all()):
                    return True
    return False

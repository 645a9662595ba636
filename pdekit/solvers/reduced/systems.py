"""Some systems of a batch as a batch of their own."""

import torch
from jaxtyping import Int
from torch import Tensor

from pdekit.solvers.operators.base import LinearOperator, owners
from pdekit.solvers.operators.csr import CSR
from pdekit.solvers.operators.stencil import Stencil

__all__ = ["matrices_of"]


def matrices_of(A: LinearOperator, batch: tuple[int, ...], systems: Int[Tensor, " some"]) -> LinearOperator:
    """The matrices that some systems meet, one for each; the matrix itself where all systems share it.

    Args:
        A: matrices whose batch broadcasts with that of the systems.
        batch: of the systems.
        systems: their numbers, counted through the batch.

    Example:
        >>> from pdekit.solvers.operators.dense import DenseMatrix
        >>> matrices_of(DenseMatrix(torch.rand(3, 2, 2)), (5, 3), torch.tensor([4, 14])).batch_shape
        (2,)
    """
    if not A.batch_shape:
        return A
    places = torch.unravel_index(owners(A.batch_shape, batch)[systems.cpu()].to(A.device), A.batch_shape)
    if isinstance(A, CSR | Stencil):  # keeps what was found of the whole batch: symmetry, ground
        return A[places]
    return A.with_values([values[places] for values in A.values])

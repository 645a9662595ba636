"""From whatever a user holds to an operator and a right-hand side."""

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Shaped
from torch import Tensor

from pdekit.core.checks import as_real
from pdekit.core.errors import InputError
from pdekit.solvers.operators.base import LinearOperator
from pdekit.solvers.operators.csr import CSR
from pdekit.solvers.operators.dense import DenseMatrix

__all__ = ["MatrixLike", "VectorLike", "as_operator", "as_vector"]

MatrixLike = LinearOperator | scipy.sparse.sparray | scipy.sparse.spmatrix | Shaped[Tensor, "..."] | np.ndarray
VectorLike = Shaped[Tensor, "..."] | np.ndarray


def as_operator(A: MatrixLike) -> LinearOperator:
    """The operator, in float64, that an operator, a SciPy sparse or a dense matrix stands for.

    Raises:
        InputError: complex, not square, or a sparse torch tensor.
    """
    if isinstance(A, LinearOperator):
        if A.dtype == torch.float64:
            return A
        return A.with_values([values.to(torch.float64) for values in A.values])
    if isinstance(A, scipy.sparse.sparray | scipy.sparse.spmatrix):
        return CSR.from_scipy(A)
    dense = as_real("A", A)
    if dense.layout != torch.strided:
        raise InputError(
            f"A is a torch tensor of layout {dense.layout}; expected an operator, a SciPy sparse matrix or a dense "
            "array. CSR(indptr, indices, entries) takes the parts of a CSR tensor."
        )
    return DenseMatrix(dense.to(torch.float64))


def as_vector(name: str, b: VectorLike, A: LinearOperator) -> Tensor:
    """A batch of vectors ``(*batch, n)`` in float64 on the device of ``A``.

    Raises:
        InputError: complex, or of a shape that does not go with ``A``.
    """
    n = A.shape[0]
    if scipy.sparse.issparse(b):
        raise InputError(f"{name} is sparse; expected a dense vector: pass {name}.toarray().")
    values = as_real(name, b)
    if values.ndim == 0 or values.shape[-1] != n:
        hint = ""
        if values.ndim >= 2 and values.shape[-2] == n:
            hint = " Vectors are rows here, so columns want transposing: pass b.T."
        elif values.ndim > 1 and values.shape[1:].numel() == n:
            hint = " Fields want flattening: LinearSystem.reduce does it."
        raise InputError(f"{name} has shape {tuple(values.shape)}; expected (*batch, {n}) for a {A.name}.{hint}")
    try:
        torch.broadcast_shapes(values.shape[:-1], A.batch_shape)
    except RuntimeError:
        raise InputError(
            f"{name} has the batch shape {tuple(values.shape[:-1])}, which does not go with the batch {A.batch_shape} "
            "of A; expected equal lengths, or 1, along each leading axis."
        ) from None
    if values.device != A.device:
        raise InputError(f"{name} is on {values.device}, but A is on {A.device}; move one of them.")
    return values.to(torch.float64)

"""From whatever a user holds to an operator and a right-hand side."""

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Shaped
from torch import Tensor

from pdekit.core.checks import as_numbers
from pdekit.core.errors import InputError
from pdekit.solvers.operators.base import LinearOperator
from pdekit.solvers.operators.csr import CSR
from pdekit.solvers.operators.dense import DenseMatrix
from pdekit.solvers.operators.stencil import Stencil

__all__ = ["MatrixLike", "VectorLike", "as_operator", "as_vector"]

MatrixLike = LinearOperator | scipy.sparse.sparray | scipy.sparse.spmatrix | Shaped[Tensor, "..."] | np.ndarray
VectorLike = Shaped[Tensor, "..."] | np.ndarray


def as_operator(A: MatrixLike) -> LinearOperator:
    """The operator, in float64 or complex128, that an operator, a SciPy sparse or a dense matrix stands for.

    Raises:
        InputError: not square, a batch of sparse torch tensors, or no matrix at all.
    """
    if isinstance(A, Stencil) and A.dtype.is_complex:
        raise InputError(f"A is a {A.name} with complex conductances; expected real ones. A CSR may be complex.")
    if isinstance(A, LinearOperator):
        if A.dtype in (torch.float64, torch.complex128):
            return A
        return A.with_values([precise(values) for values in A.values])
    if isinstance(A, scipy.sparse.sparray | scipy.sparse.spmatrix):
        return CSR.from_scipy(A)
    try:
        dense = as_numbers("A", A)
    except InputError as error:
        raise InputError(
            f"A is a {type(A).__name__}; expected an operator, a SciPy or torch sparse matrix, or a dense array. A "
            "product alone is given as a subclass of LinearOperator."
        ) from error
    if dense.layout != torch.strided:
        return _from_sparse_tensor(dense)
    return DenseMatrix(precise(dense))


def _from_sparse_tensor(A: Shaped[Tensor, "..."]) -> CSR:
    if A.ndim != 2 or A.layout not in (torch.sparse_coo, torch.sparse_csr) or A.shape[0] != A.shape[1]:
        raise InputError(
            f"A is a torch tensor of layout {A.layout} and shape {tuple(A.shape)}; expected one square matrix in COO "
            "or CSR form, a SciPy sparse matrix, or a dense array. CSR(indptr, indices, entries) makes batches."
        )
    if A.layout == torch.sparse_coo:
        rows, columns = A.coalesce().indices()
        values = A.coalesce().values()
        starts = torch.bincount(rows, minlength=A.shape[0]).cumsum(0)
        return CSR(torch.cat([starts.new_zeros(1), starts]), columns, precise(values))
    return CSR(A.crow_indices(), A.col_indices(), precise(A.values()))


def precise(values: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
    """The same numbers in complex128 where they are complex, else in float64."""
    return values.to(torch.complex128 if values.is_complex() else torch.float64)


def as_vector(name: str, b: VectorLike, A: LinearOperator) -> Tensor:
    """A batch of vectors ``(*batch, n)`` on the device of ``A``, in complex128 where it or ``A`` is, else float64.

    Raises:
        InputError: of a shape or on a device that does not go with ``A``.
    """
    n = A.shape[0]
    if scipy.sparse.issparse(b):
        raise InputError(f"{name} is sparse; expected a dense vector: pass {name}.toarray().")
    values = as_numbers(name, b)
    if values.ndim == 0 or values.shape[-1] != n:
        hint = ""
        if tuple(values.shape) == (n, 1):
            hint = f" It is a column; vectors are rows here: pass {name}[:, 0]."
        elif values.ndim >= 2 and values.shape[-2] == n:
            hint = f" Vectors are rows here, so columns want transposing: pass {name}.T."
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
    return values.to(torch.complex128) if A.dtype.is_complex else precise(values)

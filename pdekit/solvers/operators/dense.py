"""Batches of dense matrices."""

from collections.abc import Sequence

import scipy.sparse
import torch
from jaxtyping import Inexact
from torch import Tensor

from pdekit.core.errors import InputError
from pdekit.solvers.operators.base import LinearOperator, Tag

__all__ = ["DenseMatrix"]


class DenseMatrix(LinearOperator):
    """A batch of dense square matrices.

    Args:
        matrix: ``(*batch, n, n)``, real or complex.

    Raises:
        InputError: not square.

    Example:
        >>> DenseMatrix(torch.eye(2)).matvec(torch.tensor([1.0, 2.0]))
        tensor([1., 2.])
    """

    def __init__(self, matrix: Inexact[Tensor, "..."]):
        if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2]:
            raise InputError(f"A has shape {tuple(matrix.shape)}; expected square matrices (*batch, n, n).")
        self.matrix = matrix
        self._tags: frozenset[Tag] | None = None

    @property
    def name(self) -> str:
        return f"{'complex ' if self.matrix.is_complex() else ''}dense matrix of order {self.shape[0]}"

    @property
    def shape(self) -> tuple[int, int]:
        return self.matrix.shape[-2], self.matrix.shape[-1]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return tuple(self.matrix.shape[:-2])

    @property
    def dtype(self) -> torch.dtype:
        return self.matrix.dtype

    @property
    def device(self) -> torch.device:
        return self.matrix.device

    @property
    def tags(self) -> frozenset[Tag]:
        """Symmetric and Hermitian where every matrix equals its transpose and its adjoint up to rounding."""
        if self._tags is None:
            matrix = self.matrix.detach()
            found = {Tag.SYMMETRIC: matrix.mT, Tag.HERMITIAN: matrix.mH}
            if matrix.numel():
                limit = 8 * torch.finfo(self.dtype).eps * matrix.abs().amax()
                found = {tag for tag, mirror in found.items() if bool((matrix - mirror).abs().amax() <= limit)}
            self._tags = frozenset(found)
        return self._tags

    @property
    def values(self) -> tuple[Tensor, ...]:
        return (self.matrix,)

    def with_values(self, values: Sequence[Tensor]) -> "DenseMatrix":
        return DenseMatrix(values[0])

    def matvec(self, x: Inexact[Tensor, "*#batch n"]) -> Inexact[Tensor, "*#batch n"]:
        kind = torch.promote_types(self.matrix.dtype, x.dtype)
        return (self.matrix.to(kind) @ x.to(kind).unsqueeze(-1)).squeeze(-1)

    def diagonal(self) -> Inexact[Tensor, "*batch n"]:
        return self.matrix.diagonal(dim1=-2, dim2=-1)

    def transpose(self) -> "DenseMatrix":
        return DenseMatrix(self.matrix.mT)

    def adjoint(self) -> "DenseMatrix":
        return DenseMatrix(self.matrix.mH)

    def to_scipy(self, index: tuple[int, ...] = ()) -> scipy.sparse.csr_array:
        return scipy.sparse.csr_array(self.matrix[index].detach().cpu().resolve_conj().numpy())

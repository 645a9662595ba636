"""The diagonal as preconditioner."""

from dataclasses import dataclass

import torch
from jaxtyping import Inexact
from torch import Tensor

from pdekit.solvers.operators.base import LinearOperator, Tag
from pdekit.solvers.preconditioners.base import Preconditioner

__all__ = ["Diagonal", "Jacobi"]


class Diagonal(LinearOperator):
    """A batch of diagonal matrices.

    Args:
        entries: ``(*batch, n)``, real or complex.

    Example:
        >>> Diagonal(torch.tensor([1.0, 2.0])).matvec(torch.tensor([3.0, 3.0]))
        tensor([3., 6.])
    """

    def __init__(self, entries: Inexact[Tensor, "*batch n"]):
        self.entries = entries

    @property
    def shape(self) -> tuple[int, int]:
        return self.entries.shape[-1], self.entries.shape[-1]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return tuple(self.entries.shape[:-1])

    @property
    def dtype(self) -> torch.dtype:
        return self.entries.dtype

    @property
    def device(self) -> torch.device:
        return self.entries.device

    @property
    def tags(self) -> frozenset[Tag]:
        return frozenset({Tag.SYMMETRIC} if self.entries.is_complex() else {Tag.SYMMETRIC, Tag.HERMITIAN})

    @property
    def values(self) -> tuple[Tensor, ...]:
        return (self.entries,)

    def with_values(self, values):
        return type(self)(values[0])

    def matvec(self, x: Inexact[Tensor, "*#batch n"]) -> Inexact[Tensor, "*#batch n"]:
        return self.entries * x

    def diagonal(self) -> Inexact[Tensor, "*batch n"]:
        return self.entries

    def adjoint(self) -> "Diagonal":
        return type(self)(self.entries.conj()) if self.entries.is_complex() else self


class _Jacobi(Diagonal):
    @property
    def name(self) -> str:
        return "Jacobi"


@dataclass(frozen=True)
class Jacobi(Preconditioner):
    """Division by the diagonal.

    Example:
        >>> from pdekit.solvers.operators.stencil import Stencil
        >>> P = Jacobi().setup(Stencil([torch.ones(3, dtype=torch.float64)]))
        >>> P.matvec(torch.ones(2, dtype=torch.float64))
        tensor([0.5000, 0.5000], dtype=torch.float64)
    """

    def setup(self, A: LinearOperator) -> LinearOperator:
        """The inverse of the diagonal; a zero on it shows up as an infinite entry, which CG reports."""
        return _Jacobi(1 / A.diagonal())

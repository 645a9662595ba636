"""What every linear operator offers."""

import enum
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Inexact, Int
from torch import Tensor

__all__ = ["LinearOperator", "Tag", "owners"]


class Tag(enum.Enum):
    """A property that is known to hold."""

    SYMMETRIC = "symmetric"
    HERMITIAN = "hermitian"
    POSITIVE_DEFINITE = "positive definite"
    POSITIVE_SEMIDEFINITE = "positive semidefinite"


class LinearOperator(ABC):
    """A batch of square matrices of one size, known by what they do to vectors ``(*batch, n)``.

    Subclasses give the properties and :meth:`matvec`; vectors may have leading axes that broadcast with
    ``batch_shape``. Operators with stored entries also give :attr:`values` and :meth:`with_values`, which is all that
    gradients with respect to the matrix need.
    """

    __array_ufunc__ = None
    """NumPy leaves products and sums with operators to them."""

    @property
    def name(self) -> str:
        """A short description for reports, such as ``multigrid (galerkin coarsening, 6 levels)``."""
        return type(self).__name__

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """Rows and columns of one matrix."""

    @property
    @abstractmethod
    def batch_shape(self) -> tuple[int, ...]:
        """Leading axes of the batch of matrices; empty for one matrix."""

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """Of the entries."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where the entries are."""

    @property
    @abstractmethod
    def tags(self) -> frozenset[Tag]:
        """Properties known to hold for every matrix of the batch."""

    @property
    def hermitian(self) -> bool:
        """Whether every matrix is known to equal its conjugate transpose; for real ones, to be symmetric."""
        return Tag.HERMITIAN in self.tags or (Tag.SYMMETRIC in self.tags and not self.dtype.is_complex)

    @property
    def nullspace(self) -> Inexact[Tensor, "n k"] | None:
        """Orthonormal columns that span the common null space, or None where there is none."""
        return None

    @abstractmethod
    def matvec(self, x: Inexact[Tensor, "*#batch n"]) -> Inexact[Tensor, "*#batch n"]:
        """The product A x."""

    def __matmul__(self, x: Any) -> Any:
        """A x in the precision of solves, NumPy or torch as ``x`` is: :meth:`matvec` of what a user holds.

        Raises:
            InputError: no vectors ``(*batch, n)`` that go with the matrices.
        """
        from pdekit.solvers.operators.convert import as_vector

        product = self.matvec(as_vector("x", x, self))
        return product.detach().cpu().numpy() if isinstance(x, np.ndarray) else product

    def diagonal(self) -> Inexact[Tensor, "*batch n"]:
        """The diagonal of each matrix."""
        raise NotImplementedError(f"{type(self).__name__} does not know its diagonal.")

    def transpose(self) -> "LinearOperator":
        """The transposed operator; a symmetric one returns itself."""
        if Tag.SYMMETRIC in self.tags:
            return self
        raise NotImplementedError(f"{type(self).__name__} is not symmetric and does not define its transpose.")

    def adjoint(self) -> "LinearOperator":
        """The conjugate transpose, which for real matrices is the transpose; a Hermitian operator returns itself."""
        if self.hermitian:
            return self
        if not self.dtype.is_complex:
            return self.transpose()
        raise NotImplementedError(f"{type(self).__name__} is complex, not Hermitian, and does not define its adjoint.")

    @property
    def values(self) -> tuple[Tensor, ...]:
        """The stored tensors that the entries are made of; gradients of a solution flow to them."""
        return ()

    def with_values(self, values: Sequence[Tensor]) -> Self:
        """The same structure with other stored tensors, in the order of :attr:`values`."""
        if len(values) == 0 and len(self.values) == 0:
            return self
        raise NotImplementedError(f"{type(self).__name__} cannot be rebuilt from other values.")

    def to_scipy(self, index: tuple[int, ...] = ()) -> scipy.sparse.csr_array:
        """One matrix of the batch as a SciPy CSR array."""
        raise NotImplementedError(f"{type(self).__name__} has no entries to convert.")


def owners(batch_shape: tuple[int, ...], batch: tuple[int, ...]) -> Int[Tensor, " systems"]:
    """Which matrix, counted through its batch, each system of a batch that it broadcasts to meets.

    Example:
        >>> owners((2,), (3, 2))
        tensor([0, 1, 0, 1, 0, 1])
    """
    return torch.arange(math.prod(batch_shape)).reshape(batch_shape).expand(batch).reshape(-1)

"""What every preconditioner offers."""

from abc import ABC, abstractmethod

from pdekit.solvers.operators.base import LinearOperator

__all__ = ["Preconditioner"]


class Preconditioner(ABC):
    """A recipe for an approximate inverse, bound to a matrix late, by :meth:`setup`.

    Subclasses are frozen dataclasses with JSON-able arguments. Two declarations let a method refuse what it cannot use:
    ``linear`` (the map does not depend on the vector it is applied to) and ``symmetric`` (for a symmetric matrix the
    map is symmetric and positive definite). Conjugate gradients need both.
    """

    @property
    def linear(self) -> bool:
        """Whether applying it is a linear map."""
        return True

    @property
    def symmetric(self) -> bool:
        """Whether the map is symmetric positive definite for a symmetric positive definite matrix."""
        return True

    @abstractmethod
    def setup(self, A: LinearOperator) -> LinearOperator:
        """The approximate inverse of each matrix of the batch.

        Args:
            A: the operator to approximate.

        Returns:
            An operator of the shape, batch, dtype and device of ``A``, whose ``matvec`` applies the approximate inverse
            and whose ``name`` describes it in reports. Of a matrix with a null space it approximates the
            pseudo-inverse, up to components in that space.

        Raises:
            InputError: the recipe does not fit this operator; the message names one that does.
        """

"""A linear system together with the way back to the field it came from."""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from pdekit.solvers.operators.base import LinearOperator

__all__ = ["LinearSystem"]


@dataclass(frozen=True)
class LinearSystem:
    """The unknowns' equations ``operator x = rhs`` and ``restore(x)``, the field with its boundary values filled in.

    Args:
        operator: the matrix of the unknowns.
        rhs: ``(*batch, n)``.
        restore: maps ``(*batch, n)`` to the field ``(*batch, *grid.shape)``.
        reduce: maps a field to its unknowns, ``(*batch, *grid.shape)`` to ``(*batch, n)``.
    """

    operator: LinearOperator
    rhs: Float[Tensor, "*batch n"]
    restore: Callable[[Tensor], Tensor]
    reduce: Callable[[Tensor], Tensor]

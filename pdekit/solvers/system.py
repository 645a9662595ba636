"""A linear system together with the way back to the field it came from."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from pdekit.solvers.operators.base import LinearOperator

__all__ = ["LinearSystem"]


@dataclass(frozen=True)
class LinearSystem:
    """The equations ``operator x = rhs`` of the unknowns of a discretised field.

    Args:
        operator: the matrix of the unknowns.
        rhs: ``(*batch, n)``.
        restore: maps ``(*batch, n)`` to the field ``(*batch, *domain.shape)`` with its boundary values filled in.
        reduce: maps a field to its unknowns, ``(*batch, *domain.shape)`` to ``(*batch, n)``.
        share: ``(n,)``, the part of a full cell that each unknown owns; None where that is all of it.
    """

    operator: LinearOperator
    rhs: Inexact[Tensor, "*batch n"]
    restore: Callable[[Tensor], Tensor]
    reduce: Callable[[Tensor], Tensor]
    share: Float[Tensor, " n"] | None = None

    def balanced(self) -> "LinearSystem":
        """The same system with a constant taken off the source so that it balances the fluxes through the sides.

        Only a system whose null space holds the constants needs it; any other is returned as it is.

        Example:
            >>> from pdekit.domain import Grid
            >>> from pdekit.solvers import diffusion
            >>> system = diffusion(Grid((4, 4), closed=False), coefficient=1.0, source=2.0)
            >>> float(system.balanced().rhs.abs().max())
            0.0
        """
        if self.operator.nullspace is None:
            return self
        share = torch.ones_like(self.rhs[..., :1]) if self.share is None else self.share
        total = share.sum() if self.share is not None else self.rhs.shape[-1]
        return replace(self, rhs=self.rhs - share * (self.rhs.sum(-1, keepdim=True) / total))

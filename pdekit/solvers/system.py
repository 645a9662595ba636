"""A linear system together with the way back to the field it came from."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from pdekit.solvers.operators.base import LinearOperator

__all__ = ["LinearSystem"]

_ROUNDING = 1e-13
"""Part of a right-hand side below which what balancing leaves of it is rounding."""


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

        Where the null space is not the constants but rigid motions, a rigid motion is taken off the forces. Only a
        system with a null space needs it; any other is returned as it is.

        Example:
            >>> from pdekit.domain import Grid
            >>> from pdekit.solvers import diffusion
            >>> system = diffusion(Grid((4, 4), closed=False), coefficient=1.0, source=2.0)
            >>> float(system.balanced().rhs.abs().max())
            0.0
        """
        basis = self.operator.nullspace
        if basis is None:
            return self
        basis = (basis / basis[:1].abs().clamp(min=1e-3)).to(self.rhs.dtype)  # of constants: exactly 1
        weighted = basis if self.share is None else self.share.unsqueeze(-1) * basis
        parts = torch.linalg.solve(basis.mH @ weighted, (self.rhs @ basis.conj()).unsqueeze(-1))
        rhs = self.rhs - (weighted @ parts).squeeze(-1)
        # Of a source that is nothing but such a constant only rounding is left, which would not balance.
        before, after = (torch.linalg.vector_norm(b, dim=-1, keepdim=True) for b in (self.rhs, rhs))
        return replace(self, rhs=torch.where(after <= _ROUNDING * before, 0.0, rhs))

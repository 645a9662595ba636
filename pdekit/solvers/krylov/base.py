"""What the Krylov methods share: the recipe bound to a matrix, and what of it the adjoint system uses."""

from collections.abc import Callable
from dataclasses import replace
from math import inf, log2
from typing import Any

import torch
from jaxtyping import Inexact
from torch import Tensor

from pdekit.core.errors import InputError
from pdekit.solvers.method import Outcome, Prepared
from pdekit.solvers.multigrid.choice import is_fake
from pdekit.solvers.operators.base import LinearOperator
from pdekit.solvers.preconditioners.base import Preconditioner

__all__ = ["Iteration", "PreparedKrylov", "check_preconditioner", "unit_of"]

Iteration = Callable[..., Outcome]
"""Called with (A, preconditioner, b, x0, wanted, check_every=..., name=...)."""


def check_preconditioner(method: str, given: Any) -> None:
    """Refuse what is neither a preconditioner nor None.

    Raises:
        InputError: names the method and what it was given.
    """
    if given is None or isinstance(given, Preconditioner):
        return
    if isinstance(given, type) and issubclass(given, Preconditioner):
        raise InputError(
            f"{method} has the class {given.__name__} as preconditioner; expected an object, as in "
            f"{method}({given.__name__}())."
        )
    raise InputError(
        f"{method} has preconditioner={given!r}; expected None or an object such as Jacobi(), SSOR() or AMG()."
    )


class PreparedKrylov(Prepared):
    """An iteration bound to a matrix and a preconditioner.

    Args:
        operator: the matrix.
        recipe: of the preconditioner; None for none.
        iterate: the iteration; called with the matrix, the preconditioner, right-hand sides, guess and wanted norms.
        title: of the method, for reports.
        preconditioner: the recipe set up, where that is known already.
    """

    def __init__(
        self,
        operator: LinearOperator,
        recipe: Preconditioner | None,
        iterate: Iteration,
        title: str,
        preconditioner: LinearOperator | None = None,
    ):
        super().__init__(operator)
        self.recipe, self.iterate, self.title = recipe, iterate, title
        self.unit = unit_of(operator)
        self.scaled = operator if self.unit == 1 else operator.with_values([v / self.unit for v in operator.values])
        if preconditioner is None and recipe is not None:
            preconditioner = recipe.setup(self.scaled)
        self.preconditioner = preconditioner
        self.name = f"{title}, {preconditioner.name if preconditioner else 'no'} preconditioner"

    def run(
        self, b: Inexact[Tensor, "*batch n"], x0: Inexact[Tensor, "*batch n"] | None, rtol: float, atol: float
    ) -> Outcome:
        wanted = (rtol * torch.linalg.vector_norm(b, dim=-1)).clamp(min=atol)
        # Asking whether all have converged waits for an accelerator, so it is not asked at every step there.
        every = 1 if b.device.type == "cpu" else 8
        x0 = None if x0 is None else x0 * self.unit
        found = self.iterate(self.scaled, self.preconditioner, b, x0, wanted, check_every=every, name=self.name)
        return found if self.unit == 1 else replace(found, x=found.x / self.unit)

    def adjoint(self) -> Prepared:
        if self.operator.hermitian:
            return self
        turned = None
        if self.preconditioner is not None and self.recipe is not None and self.recipe.linear:
            turned = self.preconditioner.adjoint()
        # A map that is not linear has no adjoint: there the recipe is set up for the adjoint matrix.
        return PreparedKrylov(self.operator.adjoint(), self.recipe, self.iterate, self.title, turned)


def unit_of(A: LinearOperator) -> float:
    """What to divide A by so that squares of its products neither vanish nor overflow; 1 for all but strange matrices.

    A power of 2, so that dividing by it rounds nothing.
    """
    if any(is_fake(values) for values in A.values):
        return 1.0
    largest = max((float(values.detach().abs().amax()) for values in A.values if values.numel()), default=1.0)
    return 1.0 if not 0 < largest < inf or 1e-100 <= largest <= 1e100 else 2.0 ** round(log2(largest))

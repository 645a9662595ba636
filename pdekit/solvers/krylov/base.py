"""What the Krylov methods share: the recipe bound to a matrix, and what of it the adjoint system uses."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from math import inf, log2
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Inexact, Int
from torch import Tensor
from torch.nn.functional import pad

from pdekit.core.checks import is_fake
from pdekit.core.errors import InputError
from pdekit.solvers.method import Outcome, Prepared
from pdekit.solvers.operators.base import LinearOperator, owners
from pdekit.solvers.operators.single import separable, single
from pdekit.solvers.operators.symmetry import largest
from pdekit.solvers.preconditioners.base import Preconditioner
from pdekit.solvers.solution import Reason

__all__ = ["Iteration", "PreparedKrylov", "Start", "check_preconditioner", "in_units", "start", "together", "unit_of"]

_LARGE = 2000
"""Unknowns above which the products with a basis cost more than the steps around them."""

Iteration = Callable[..., Outcome]
"""Called with (A, preconditioner, b, x0, wanted, check_every=..., name=...)."""


def check_preconditioner(
    method: str, given: Any, *, linear: bool = False, symmetric: bool = False, instead: str = ""
) -> None:
    """Refuse what is neither a preconditioner nor None, and preconditioners that a method cannot use.

    Args:
        method: in the message.
        given: what it was given.
        linear: whether the method needs a linear map.
        symmetric: whether it needs a symmetric positive definite one.
        instead: a sentence that names methods which take the preconditioner as it is.

    Raises:
        InputError: names the method and what it was given.
    """
    if given is None:
        return
    if isinstance(given, Preconditioner):
        lack = "linear" if linear and not given.linear else "symmetric" if symmetric and not given.symmetric else None
        if lack is not None:
            wanted = "a fixed symmetric positive definite one" if symmetric else "a linear one"
            raise InputError(
                f"{method} cannot use the preconditioner {given}, whose map is not {lack}: it needs {wanted}. {instead}"
            )
        return
    if isinstance(given, type) and issubclass(given, Preconditioner):
        raise InputError(
            f"{method} has the class {given.__name__} as preconditioner; expected an object, as in "
            f"{method}({given.__name__}())."
        )
    raise InputError(
        f"{method} has preconditioner={given!r}; expected None or an object such as Jacobi(), SSOR() or AMG()."
    )


class Start(NamedTuple):
    """Where an iteration begins, for each system of a batch."""

    x: Inexact[Tensor, "*batch n"]
    residual: Inexact[Tensor, "*batch n"]
    norm: Float[Tensor, "*batch"]
    reason: Int[Tensor, "*batch"]
    iterations: Int[Tensor, "*batch"]
    active: Bool[Tensor, "*batch"]


def start(
    A: LinearOperator,
    b: Inexact[Tensor, "*batch n"],
    x0: Inexact[Tensor, "*batch n"] | None,
    wanted: Float[Tensor, "*batch"],
) -> Start:
    """The first residual, and which systems it leaves to be solved: those that miss the norm ``wanted``."""
    x = torch.zeros_like(b) if x0 is None else x0.clone()
    r = b.clone() if x0 is None else b - A.matvec(x0)
    norm = torch.linalg.vector_norm(r, dim=-1)
    reason = torch.full_like(norm, Reason.CONVERGED.code, dtype=torch.int64)
    return Start(x, r, norm, reason, torch.zeros_like(reason), ~(norm <= wanted))


class PreparedKrylov(Prepared):
    """An iteration bound to a matrix and a preconditioner.

    Args:
        operator: the matrix.
        recipe: of the preconditioner; None for none.
        iterate: the iteration; called with the matrix, the preconditioner, right-hand sides, guess and wanted norms.
        title: of the method, for reports.
        preconditioner: the recipe set up, where that is known already.
        apart: iterate on large systems of a batch one after the other on the CPU, for an iteration with so many vectors
            a system that those of one fit into its cache, and those of all do not.
    """

    def __init__(
        self,
        operator: LinearOperator,
        recipe: Preconditioner | None,
        iterate: Iteration,
        title: str,
        preconditioner: LinearOperator | None = None,
        apart: bool = False,
    ):
        super().__init__(operator)
        self.recipe, self.iterate, self.title, self.apart = recipe, iterate, title, apart
        self.scaled, self.unit = in_units(operator)
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
        if self._one_by_one(b):
            found = self._each(b, x0, wanted)
        else:
            found = self.iterate(self.scaled, self.preconditioner, b, x0, wanted, check_every=every, name=self.name)
        return found if self.unit == 1 else replace(found, x=found.x / self.unit)

    def _one_by_one(self, b: Tensor) -> bool:
        known = self.preconditioner is None or separable(self.preconditioner)
        several = b.device.type == "cpu" and not is_fake(b) and b.ndim > 1 and b.shape[:-1].numel() > 1
        return self.apart and several and b.shape[-1] >= _LARGE and known and separable(self.scaled)

    def _each(self, b: Tensor, x0: Tensor | None, wanted: Tensor) -> Outcome:
        """The iteration on one system after the other."""
        batch, n = b.shape[:-1], b.shape[-1]
        rows, guesses, norms = b.reshape(-1, n), None if x0 is None else x0.reshape(-1, n), wanted.reshape(-1)
        places = list(product(*map(range, self.operator.batch_shape)))
        found = []
        for i, owner in enumerate(owners(self.operator.batch_shape, batch).tolist()):
            inverse = None if self.preconditioner is None else single(self.preconditioner, places[owner])
            guess = None if guesses is None else guesses[i]
            A = single(self.scaled, places[owner])
            found.append(self.iterate(A, inverse, rows[i], guess, norms[i], check_every=1, name=self.name))
        return together(found, batch)

    def adjoint(self) -> Prepared:
        if self.operator.hermitian:
            return self
        turned = None
        if self.preconditioner is not None and self.recipe is not None and self.recipe.linear:
            turned = self.preconditioner.adjoint()
        # A map that is not linear has no adjoint: there the recipe is set up for the adjoint matrix.
        return PreparedKrylov(self.operator.adjoint(), self.recipe, self.iterate, self.title, turned, self.apart)


def together(found: Sequence[Outcome], batch: tuple[int, ...]) -> Outcome:
    """The outcomes of single systems as that of their batch."""
    histories = [outcome.history for outcome in found if outcome.history is not None]
    residuals = [outcome.residual for outcome in found if outcome.residual is not None]
    steps = max(map(len, histories), default=1)
    padded = [pad(history, (0, steps - len(history)), value=torch.nan) for history in histories]
    return replace(
        found[0],
        x=torch.stack([outcome.x for outcome in found]).reshape(*batch, -1),
        iterations=torch.stack([outcome.iterations for outcome in found]).reshape(batch),
        reason=torch.stack([outcome.reason for outcome in found]).reshape(batch),
        history=torch.stack(padded, 1).reshape(steps, *batch) if padded else None,
        residual=torch.stack(residuals).reshape(batch) if residuals else None,
    )


def in_units(A: LinearOperator) -> tuple[LinearOperator, float]:
    """A divided by :func:`unit_of`, and that; A itself where it is 1."""
    unit = unit_of(A)
    return (A if unit == 1 else A.with_values([values / unit for values in A.values])), unit


def unit_of(A: LinearOperator) -> float:
    """What to divide A by so that squares of its products neither vanish nor overflow; 1 for all but strange matrices.

    A power of 2, so that dividing by it rounds nothing.
    """
    if any(is_fake(values) for values in A.values):
        return 1.0
    size = max((largest(values.detach()) for values in A.values if values.numel()), default=1.0)
    return 1.0 if not 0 < size < inf or 1e-100 <= size <= 1e100 else 2.0 ** round(log2(size))

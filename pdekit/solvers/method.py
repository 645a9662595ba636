"""What every solution method offers."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Inexact, Int
from torch import Tensor

from pdekit.core.errors import InputError
from pdekit.solvers.operators.base import LinearOperator

__all__ = ["Method", "Outcome", "Prepared", "check_method"]


@dataclass(frozen=True)
class Outcome:
    """What a method found, before :func:`pdekit.solve` confirms it.

    Args:
        x: ``(*batch, n)``.
        iterations: ``(*batch,)`` int64.
        reason: ``(*batch,)`` int64, codes of :class:`pdekit.solvers.Reason`; CONVERGED is what the method believes.
        history: ``(steps, *batch)`` norms of the residual, NaN after stopping; None where the method does not iterate.
        residual: ``(*batch,)``, ``||b - A x||_2`` recomputed from ``x`` in float64; None where it was not.
        name: the method with the choices it made for this batch.
        setup_seconds: set-up done within the run.
    """

    x: Inexact[Tensor, "*batch n"]
    iterations: Int[Tensor, "*batch"]
    reason: Int[Tensor, "*batch"]
    history: Float[Tensor, "steps *batch"] | None
    residual: Float[Tensor, "*batch"] | None
    name: str
    setup_seconds: float = 0.0


class Prepared(ABC):
    """A method bound to a matrix: what can be kept for further right-hand sides."""

    def __init__(self, operator: LinearOperator):
        self.operator = operator

    @abstractmethod
    def run(
        self, b: Inexact[Tensor, "*batch n"], x0: Inexact[Tensor, "*batch n"] | None, rtol: float, atol: float
    ) -> Outcome:
        """Solve, without gradients, until ``||b - A x||_2 <= max(rtol ||b||_2, atol)``.

        Args:
            b: right-hand sides of the full batch, with which the batch of the operator broadcasts.
            x0: first guess or None for zero; one that meets the tolerance is returned as it is.
            rtol: relative tolerance.
            atol: absolute tolerance.
        """

    def adjoint(self) -> "Prepared":
        """The same for the adjoint matrix, with the adjoint preconditioner; itself for a Hermitian matrix."""
        if self.operator.hermitian:
            return self
        raise NotImplementedError(f"{type(self).__name__} does not define its adjoint.")

    def fallback(self) -> "Prepared | None":
        """What to try where this one has failed; None where nothing else is known."""
        return None


class Method(ABC):
    """A way to solve linear systems; subclasses are frozen dataclasses with JSON-able arguments."""

    @abstractmethod
    def prepare(self, A: LinearOperator) -> Prepared:
        """Bind the method to a matrix: factors, hierarchies, whatever further right-hand sides can share.

        Raises:
            InputError: the method does not fit this matrix; the message names one that does.
        """


def check_method(method: Any) -> None:
    """Refuse what is no method, nor one that is bound to a matrix.

    Raises:
        InputError: says what was given.
    """
    if not isinstance(method, Method | Prepared):
        given = f"the class {method.__name__}" if isinstance(method, type) else repr(method)
        raise InputError(f"method is {given}; expected an object such as Auto(), Direct() or CG(Jacobi()).")

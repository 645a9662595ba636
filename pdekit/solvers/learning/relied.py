"""A method that is relied on, and what happens where methods raise."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Inexact
from torch import Tensor

from pdekit.solvers.method import Method, Outcome, Prepared
from pdekit.solvers.operators.base import LinearOperator

__all__ = ["FAILURES", "Chain", "Relied", "said"]

FAILURES = (RuntimeError, ValueError, ArithmeticError, MemoryError, np.linalg.LinAlgError)
"""What a method may raise that does not take some systems; an InputError is a ValueError."""

Chain = Callable[[Sequence[Method], LinearOperator], Prepared]
"""Prepares the first method that takes a matrix, with the rest to fall back on."""


class Relied(Prepared):
    """The first of some methods; where it raises, the others, and its own error where these do so as well.

    Args:
        methods: the one that is relied on first; equal ones among the others count once.
        operator: the matrices.
        chain: prepares methods with others to fall back on.
    """

    def __init__(self, methods: Sequence[Method], operator: LinearOperator, chain: Chain):
        super().__init__(operator)
        self._rest, self._chain = [method for method in methods[1:] if method != methods[0]], chain
        try:
            self._taken = chain(methods, operator)
        except FAILURES as error:
            self._taken = self._next(error)

    def _next(self, error: Exception) -> Prepared:
        """The others; once, and if there are any that can be prepared."""
        rest, self._rest = self._rest, []
        if not rest:
            raise error
        try:
            return self._chain(rest, self.operator)
        except FAILURES:
            raise error from None

    def run(
        self, b: Inexact[Tensor, "*batch n"], x0: Inexact[Tensor, "*batch n"] | None, rtol: float, atol: float
    ) -> Outcome:
        try:
            return self._taken.run(b, x0, rtol, atol)
        except FAILURES as error:
            self._taken = self._next(error)
            try:
                return self._taken.run(b, x0, rtol, atol)
            except FAILURES:
                raise error from None

    def adjoint(self) -> Prepared:
        return self._taken.adjoint()

    def fallback(self) -> Prepared | None:
        return self._taken.fallback()


def said(error: Exception) -> str:
    """What an error says first, in a line."""
    text = str(error).split("\n")[0].split(". ")[0]
    name = type(error).__name__
    return f"{name}: {text}" if text and name != "InputError" else text or name

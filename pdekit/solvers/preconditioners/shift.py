"""What to do where an incomplete Cholesky factorisation meets a pivot that is not positive."""

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

from pdekit.core.errors import InputError
from pdekit.solvers.operators.csr import CSR
from pdekit.solvers.preconditioners.factored import batch_index

__all__ = ["Shifts", "check_shift"]

_FIRST, _LAST = 1e-3, 1.1
"""The shifts that "auto" tries beside 0: the first, doubled while below the last. A shift of 1 nearly doubles the
diagonal; what still fails then has no positive diagonal, or is far from definite."""


def check_shift(recipe: str, shift: float | str) -> None:
    """Refuse a shift that is neither "auto" nor a finite number of at least 0."""
    if shift != "auto" and not (isinstance(shift, int | float) and 0 <= shift < math.inf):
        raise InputError(f'{recipe} has shift={shift!r}; expected a number of at least 0, or "auto".')


class Shifts:
    """The shift of each matrix of a batch.

    Args:
        recipe: for messages.
        wanted: the shift, or "auto".
        A: the matrices.
    """

    def __init__(self, recipe: str, wanted: float | Literal["auto"], A: CSR):
        self.recipe, self.wanted, self.A = recipe, wanted, A
        self.found = np.zeros(math.prod(A.batch_shape))

    def find(self, i: int, attempt: Callable[[float], tuple[int, float]]) -> None:
        """Factor matrix i with the shift wanted, or with the first that does.

        Args:
            i: counted through the batch.
            attempt: factors with a shift; returns the row that fails and its pivot as a part of the diagonal entry.

        Raises:
            InputError: no shift does.
        """
        shift = 0.0 if self.wanted == "auto" else float(self.wanted)
        row, pivot = attempt(shift)
        if self.wanted == "auto" and row >= 0:
            shift = _FIRST
            while (again := attempt(shift))[0] >= 0 and 2 * shift < _LAST:
                shift *= 2
            if again[0] < 0:
                row = -1
        if row >= 0:
            raise InputError(self._explain(i, row, pivot))
        self.found[i] = shift

    def _explain(self, i: int, row: int, pivot: float) -> str:
        where = f"{self.recipe} meets a pivot that is not positive in row {row}{batch_index(self.A, i)}"
        entry = float(self.A.diagonal().detach().reshape(-1, self.A.shape[0])[i, row])
        if not entry > 0:
            return (
                f"{where}: its diagonal entry is {entry:.3g}. A symmetric positive definite matrix has a positive one "
                "in every row; use Direct() or MINRES, or check for a row of zeros or a wrong sign."
            )
        advice = (
            'Pass shift="auto" to factor A with a slightly larger diagonal, or use AMG() or Direct().'
            if self.wanted != "auto"
            else f"No shift of the diagonal up to {_LAST:g} helps: the matrix is far from definite. Use Direct()."
        )
        return (
            f"{where} ({pivot:.1e} of the diagonal entry): the matrix is not positive definite (singular without a "
            f"Dirichlet condition?), or its entries of positive sign spoil the factors, as on meshes with obtuse "
            f"angles or for elasticity. {advice}"
        )

    def summary(self) -> str:
        """For the operator's name: ", shift 0.002 in 3 of 64 matrices", or nothing where none was made."""
        made = self.found[self.found > 0]
        if len(made) == 0:
            return ""
        low, high = made.min(), made.max()
        size = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        count = f" in {len(made)} of {len(self.found)} matrices" if len(self.found) > 1 else ""
        return f", shift {size}{count}"

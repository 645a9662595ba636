"""One matrix out of a batch."""

import math
from typing import Any

from pdekit.core.errors import InputError
from pdekit.solvers.operators.base import LinearOperator

__all__ = ["separable", "single"]


def separable(A: LinearOperator) -> bool:
    """Whether the matrices of a batch can be had one by one."""
    return not A.batch_shape or hasattr(A, "__getitem__") or bool(A.values)


def single(A: LinearOperator, place: tuple[int, ...]) -> LinearOperator:
    """One matrix of a batch, as a batch without axes.

    Raises:
        InputError: a batch of products without stored entries, which cannot be taken apart.
    """
    if not A.batch_shape:
        return A
    if not separable(A):
        raise InputError(
            f"{A.name} is a batch of {math.prod(A.batch_shape)} matrices without stored entries, which cannot be told "
            "apart; solve them together, or one in each call."
        )
    stored: Any = A
    # Its own way of indexing keeps what was found of the whole batch: symmetry, ground.
    return stored[place] if hasattr(A, "__getitem__") else A.with_values([values[place] for values in A.values])

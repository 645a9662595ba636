"""What a method will cost at least, before it is tried."""

import math
import time
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch

from pdekit.solvers.direct.direct import Direct
from pdekit.solvers.direct.spectral import Spectral
from pdekit.solvers.method import Method
from pdekit.solvers.operators.base import LinearOperator
from pdekit.solvers.operators.csr import CSR
from pdekit.solvers.operators.stencil import Stencil
from pdekit.solvers.preconditioners.amg import AMG
from pdekit.solvers.reduced.reduced_guess import ReducedGuess

__all__ = ["factoring", "least_seconds", "limited", "product_seconds"]

_FACTOR, _ENTRY = 0.06, 200.0
"""Products of two numbers that a factorisation takes at least, for each unknown times the square of the width, and for
each stored entry. SuperLU needs twice that."""

_COARSENING = 800
"""Products with the matrix that choosing the coarse unknowns takes at least."""

_HIERARCHY, _ITERATION, _GUESS = 100, 40, 10
"""Products with the matrix that a solve takes at least: with an algebraic hierarchy, by other iterations, and with a
guess that may leave nothing to iterate for."""


def product_seconds(A: LinearOperator) -> float:
    """Seconds of a product with one matrix of the batch: the unit of all predictions, measured where they are made."""
    one = A[(0,) * len(A.batch_shape)] if A.batch_shape and isinstance(A, CSR | Stencil) else A
    x = torch.ones(A.shape[0], dtype=A.dtype, device=A.device)

    def once() -> float:
        began = time.perf_counter()
        one.matvec(x)
        return time.perf_counter() - began

    return min(once() for _ in range(3))


def least_seconds(method: Method, A: LinearOperator, product: float, systems: int = 1) -> float:
    """A low guess at the seconds a system of the batch will take: what costs more than that by far is not worth a try.

    Args:
        method: to be judged.
        A: the matrices.
        product: what :func:`product_seconds` gave.
        systems: which share what the method keeps.
    """
    threads = min(torch.get_num_threads(), max(math.prod(A.batch_shape), 1))
    if _holds(method, Spectral):
        return product
    if isinstance(method, Direct):
        return product * (factoring(A) if method.kept is None else 1 + factoring(A) / systems)
    each = _GUESS if _holds(method, ReducedGuess) else _HIERARCHY if _holds(method, AMG) else _ITERATION
    return product * (each / threads + (_COARSENING / systems if _holds(method, AMG) else 0.0))


def factoring(A: LinearOperator) -> float:
    """Products with the matrix that factoring it takes at least."""
    n = A.shape[0]
    if isinstance(A, CSR):
        width, stored = A.pattern.width, A.pattern.nnz
    else:
        lattice = getattr(A, "lattice", (n,))
        # The mean distance that a row reaches back in a box: what Pattern.width finds for these.
        width, stored = 0.67 * n / max(lattice), (2 * len(lattice) + 1) * n
    return max(_FACTOR * n * width**2 / max(stored, 1), _ENTRY)


def limited(method: Method, iterations: int) -> Method | None:
    """The same method, stopped after so many iterations; None where it does not iterate or cannot be stopped.

    Example:
        >>> from pdekit.solvers import CG, Direct
        >>> limited(CG(), 7)
        CG(preconditioner=None, max_iterations=7)
        >>> limited(Direct(), 7) is None
        True
    """
    if not is_dataclass(method):
        return None
    values = {field.name: getattr(method, field.name) for field in fields(method)}
    if "max_iterations" in values:
        return replace(method, max_iterations=min(iterations, values["max_iterations"]))
    for name, value in values.items():
        if isinstance(value, Method) and (inner := limited(value, iterations)) is not None:
            return replace(method, **{name: inner})
    return None


def _holds(recipe: Any, kind: type) -> bool:
    """Whether a recipe is of this kind, or one of its parts is."""
    if isinstance(recipe, kind):
        return True
    if not is_dataclass(recipe) or isinstance(recipe, type):
        return False
    return any(_holds(getattr(recipe, field.name), kind) for field in fields(recipe))

"""The one entry point for linear systems."""

import time
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Inexact
from torch import Tensor

from pdekit.core.checks import check_finite, check_tolerances, first_index
from pdekit.core.errors import InputError
from pdekit.solvers.auto import Auto
from pdekit.solvers.implicit import solve_differentiably
from pdekit.solvers.method import Method, Prepared, check_method
from pdekit.solvers.nullspace import check_balance
from pdekit.solvers.operators.base import LinearOperator
from pdekit.solvers.operators.convert import MatrixLike, VectorLike, as_operator, as_vector
from pdekit.solvers.operators.csr import CSR
from pdekit.solvers.operators.dense import DenseMatrix
from pdekit.solvers.parts import solve_by_parts
from pdekit.solvers.solution import NotConverged, Solution

__all__ = ["solve"]

_SMALLEST = 1e-140
"""Norm of a right-hand side other than 0 below which residuals of rtol 1e-14 could not be measured any more."""


def solve(
    A: MatrixLike,
    b: VectorLike,
    method: Method | Prepared = Auto(),  # noqa: B008 - immutable
    *,
    rtol: float = 1e-8,
    atol: float = 0.0,
    x0: VectorLike | None = None,
    throw: bool = True,
) -> Solution:
    """Solve A x = b, for a batch of matrices, right-hand sides or both, in float64 or complex128.

    A system has converged where ``||b - A x||_2 <= max(rtol ||b||_2, atol)``, with the residual recomputed from the
    returned ``x``. Iterations that believed to have converged but miss are restarted from that residual; if this gains
    nothing, the reason is STAGNATION. Systems that have converged are frozen while others go on; b = 0 gives x = 0.

    Of a matrix whose null space is known (a :class:`Stencil` without any ground, a :class:`CSR` made with
    ``nullspace``, a symmetric sparse matrix whose rows all sum to 0) the right-hand side must balance, and the solution
    orthogonal to the null space is returned: of diffusion the one with mean zero, of elasticity the one without rigid
    motion. The solution says so.

    Gradients flow to ``b`` and to the stored values of ``A`` (for a :class:`Stencil` its conductances and sink) by the
    implicit function theorem: the backward pass is one more solve with the adjoint matrix and the adjoint
    preconditioner, by the same method and to the same tolerance, and can itself be differentiated. None flow to ``x0``
    or to anything in a SciPy matrix.

    Args:
        A: an operator, a SciPy sparse matrix, or dense matrices ``(*batch, n, n)`` (torch or NumPy), real or complex.
        b: ``(*batch, n)``, torch or NumPy, real or complex; its batch broadcasts with that of ``A``.
        method: how to solve; or what ``method.prepare(A)`` returned, to factor one matrix only once.
        rtol: tolerance relative to ``||b||``, below 1.
        atol: absolute tolerance.
        x0: first guess.
        throw: raise if any system misses its tolerance, rather than only report it.

    Returns:
        The solution and how it was reached; ``x`` is of the kind of ``b``.

    Raises:
        InputError: shapes that do not fit, entries that are not finite (with their index), a row of zeros, a method
            that does not fit, or a right-hand side that does not balance.
        NotConverged: a system missed its tolerance and ``throw`` is set; it carries the solution.

    Example:
        >>> import scipy.sparse
        >>> A = scipy.sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(3, 3))
        >>> solve(A, np.ones(3)).x
        array([1.5, 2. , 1.5])
    """
    check_tolerances(rtol, atol)
    check_method(method)
    began = time.perf_counter()
    operator = as_operator(A)
    _check_entries(operator)
    right = as_vector("b", b, operator)
    check_finite("b", right)
    _check_scale(right.detach(), atol)
    batch = torch.broadcast_shapes(right.shape[:-1], operator.batch_shape)
    right = right.expand(*batch, right.shape[-1])
    start = None
    if x0 is not None:
        start = as_vector("x0", x0, operator).detach()
        check_finite("x0", start)
        if start.ndim > right.ndim or torch.broadcast_shapes(start.shape, right.shape) != right.shape:
            raise InputError(f"x0 has shape {tuple(start.shape)}, and the systems are {tuple(right.shape)}.")
        start = start.expand(right.shape)
    nullspace = check_balance(operator, right.detach())
    prepared, setup_seconds = _prepared(method, operator)
    if right.is_complex() and not operator.dtype.is_complex:
        start = None if start is None else start.to(right.dtype)
        solution = solve_by_parts(prepared, right, start, rtol, atol)
    else:
        if start is not None and start.is_complex() and not right.is_complex():
            raise InputError("x0 is complex, but A and b are real; expected a real first guess.")
        solution = solve_differentiably(prepared, right, start, rtol, atol)
    setup_seconds += solution.setup_seconds
    solution = replace(
        solution,
        x=torch.as_tensor(solution.x).detach().cpu().numpy() if isinstance(b, np.ndarray) else solution.x,
        setup_seconds=setup_seconds,
        solve_seconds=time.perf_counter() - began - setup_seconds,
        nullspace=nullspace,
    )
    if throw and not bool(solution.converged.all()):
        raise NotConverged(solution)
    return solution


def _check_entries(A: LinearOperator) -> None:
    """Refuse entries that are not finite, and rows of zeros."""
    if isinstance(A, CSR):

        def place(where: tuple[int, ...]) -> tuple[int, ...]:
            return (*where[:-1], int(A.rows[where[-1]]), int(A.indices[where[-1]]))

        check_finite("A", A.entries, place)
    else:
        for number, values in enumerate(A.values):
            check_finite(f"A.values[{number}]" if len(A.values) > 1 else "A", values)
    if not isinstance(A, CSR | DenseMatrix) or A.nullspace is not None:
        return
    if bool((A.diagonal().detach() != 0).all()):
        return
    entries = (A.entries if isinstance(A, CSR) else A.matrix).detach().abs()
    if isinstance(A, CSR):
        total = entries.new_zeros((*A.batch_shape, A.shape[0])).index_add(-1, A.rows, entries)
    else:
        total = entries.sum(-1)
    if bool((empty := total == 0).any()):
        *matrix, row = first_index(empty)
        which = f"the matrix {matrix} of A" if matrix else "A"
        raise InputError(
            f"Row {row} of {which} is zero ({int(empty.sum())} of {empty.numel()} rows are), so the unknown {row} "
            "is in no equation of its own and the matrix is singular. Such a row is left by a node that belongs to no "
            "element, or by a boundary condition that cleared it without writing 1 on the diagonal."
        )


def _check_scale(b: Inexact[Tensor, "*batch n"], atol: float) -> None:
    """Refuse right-hand sides so small that their norms, sums of squares, would vanish: they would pass as solved."""
    if b.numel() == 0 or atol >= _SMALLEST:
        return
    norm = torch.linalg.vector_norm(b, dim=-1)
    if bool((norm >= _SMALLEST).all()):
        return
    lost = (norm < _SMALLEST) & (b != 0).any(-1)
    if bool(lost.any()):
        where = first_index(lost)
        raise InputError(
            f"b{list(where) or ''} has entries of at most {float(b[where].abs().max()):.1e}, whose squares are below "
            f"what float64 holds; scale b (and then x) by a constant, to a norm above {_SMALLEST:g}."
        )


@torch.no_grad()
def _prepared(method: Method | Prepared, operator: LinearOperator) -> tuple[Prepared, float]:
    """The method bound to the matrix, and the seconds that took."""
    if isinstance(method, Prepared):
        if method.operator is not operator:
            raise InputError(
                f"The method was prepared for another matrix ({method.operator.name}); pass the operator that it was "
                "prepared for."
            )
        return method, 0.0
    began = time.perf_counter()
    return method.prepare(operator), time.perf_counter() - began

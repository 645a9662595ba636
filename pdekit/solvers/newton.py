"""Newton's method for systems of nonlinear equations."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Inexact, Int, Shaped
from torch import Tensor
from torch.autograd.function import once_differentiable

from pdekit.core.checks import as_numbers, check_finite, check_limit, check_tolerances
from pdekit.core.errors import InputError
from pdekit.solvers.auto import Auto
from pdekit.solvers.confirm import confirmed
from pdekit.solvers.method import Method
from pdekit.solvers.operators.base import LinearOperator
from pdekit.solvers.operators.convert import MatrixLike, VectorLike, as_operator, precise
from pdekit.solvers.operators.dense import DenseMatrix
from pdekit.solvers.operators.stencil import Stencil
from pdekit.solvers.solution import NotConverged, Reason, Solution, reasons_of

__all__ = ["NewtonSolution", "newton"]

_SUFFICIENT = 1e-4
_HALVINGS = 30
_LOOSEST = 0.1
_DENSE = 2000
"""Unknowns up to which a Jacobian is taken column by column."""

Residual = Callable[[Shaped[Tensor, "..."]], Shaped[Tensor, "..."]]
Jacobian = Callable[[Shaped[Tensor, "..."]], MatrixLike]


@dataclass(frozen=True, repr=False)
class NewtonSolution(Solution):
    """The solution of a batch of nonlinear systems F(u) = 0; print it for a report.

    The fields are those of :class:`Solution`, with F in place of the linear residual: ``residual`` is ``||F(x)||`` over
    ``||F(x0)||``, ``iterations`` are Newton steps.

    Args:
        linear_iterations: ``(*batch,)``, iterations of the linear solves of all steps; 0 for direct methods.
    """

    linear_iterations: Int[Tensor, "*batch"] | None = None

    def __str__(self) -> str:
        lines = super().__str__().splitlines()
        if self.linear_iterations is not None and self.linear_iterations.numel():
            least, most = (int(v) for v in torch.aminmax(self.linear_iterations))
            place = next(i for i, line in enumerate(lines) if line.startswith("  iterations"))
            lines[place] += f" Newton steps, {least if least == most else f'{least} to {most}'} linear iterations"
        return "\n".join(lines)

    __repr__ = __str__


def newton(
    residual: Residual,
    x0: VectorLike,
    jacobian: Jacobian | None = None,
    *,
    method: Method = Auto(),  # noqa: B008 - immutable
    rtol: float = 1e-8,
    atol: float = 0.0,
    max_steps: int = 25,
    throw: bool = True,
) -> NewtonSolution:
    """Solve F(u) = 0 for a batch of systems, by Newton steps of which each is shortened until it gains enough.

    A system has converged where ``||F(u)||_2 <= max(rtol ||F(x0)||_2, atol)``. The linear systems are solved only as
    well as the progress so far deserves. A step is halved until ``||F||`` falls by at least 1e-4 of the share that the
    linear model promises (Armijo); where F is not finite it is halved as well. Systems that have converged are frozen.

    Gradients flow to every tensor that ``residual`` depends on, by the implicit function theorem: the backward pass is
    one linear solve with the adjoint of the Jacobian at the solution. It can not be differentiated again.

    Args:
        residual: F, from tensors ``(*batch, n)`` to the same shape; each system depends on its own unknowns alone.
        x0: first guess, ``(*batch, n)``, torch or NumPy, real or complex.
        jacobian: from u to the matrices dF/du, such as a :class:`CSR` from ``fem.assemble``; None takes dense ones by
            automatic differentiation, for up to 2,000 real unknowns.
        method: for the linear systems.
        rtol: tolerance relative to the residual of the first guess.
        atol: absolute tolerance.
        max_steps: Newton steps per system.
        throw: raise if any system misses its tolerance, rather than only report it.

    Returns:
        The solution and how it was reached; ``x`` is of the kind of ``x0``.

    Raises:
        InputError: a residual that is not finite at x0 (with its index), no tensor, of another shape, or without a
            Jacobian; a Jacobian that is not finite or of another size.
        NotConverged: a system missed its tolerance and ``throw`` is set; it carries the solution.

    Example:
        >>> root = newton(lambda u: u * u - torch.tensor([2.0, 9.0]), np.ones(2))
        >>> root.x.round(6), int(root.iterations)
        (array([1.414214, 3.      ]), 4)

    Source:
        Eisenstat, Walker, "Choosing the forcing terms in an inexact Newton method", SIAM J. Sci. Comput. 17, 1996.
    """
    check_tolerances(rtol, atol)
    check_limit("newton", "max_steps", max_steps)
    _check_kinds(residual, jacobian, method)
    began = time.perf_counter()
    start = precise(as_numbers("x0", x0)).detach()
    if start.ndim == 0:
        raise InputError("x0 is a single number; expected (*batch, n), such as one of shape (1,).")
    check_finite("x0", start)
    if jacobian is None:
        if start.is_complex() or start.shape[-1] > _DENSE:
            raise InputError(
                f"x0 has {start.shape[-1]} {'complex' if start.is_complex() else 'real'} unknowns; automatic Jacobians "
                f"are dense and for at most {_DENSE:,} real ones. Pass jacobian: from u to the matrix dF/du."
            )
        jacobian = _by_autograd(residual)
    search = _Search(residual, jacobian, method, start)
    for _ in range(max_steps):
        if not search.advance(rtol, atol):
            break
    solution = search.solution(rtol, atol, began)
    x = _attached(solution.x, residual, jacobian, method, rtol)
    x = x.detach().cpu().numpy() if isinstance(x0, np.ndarray) else x
    solution = replace(solution, x=x)
    if throw and not bool(solution.converged.all()):
        raise NotConverged(solution)
    return solution


def _check_kinds(residual: Any, jacobian: Any, method: Any) -> None:
    if not callable(residual):
        raise InputError(f"residual is a {type(residual).__name__}; expected a function from u to F(u).")
    if jacobian is not None and not callable(jacobian):
        raise InputError(
            f"jacobian is a {type(jacobian).__name__}; expected a function from u to the matrix dF/du, as in "
            "jacobian=lambda u: A."
        )
    if not isinstance(method, Method):
        given = f"the class {method.__name__}" if isinstance(method, type) else repr(method)
        raise InputError(f"method is {given}; expected an object such as Auto(), Direct() or CG(Jacobi()).")


def _value(residual: Residual, u: Tensor) -> Tensor:
    """F(u), of a copy of u that the function may write to."""
    F = residual(u.clone())
    if not isinstance(F, Tensor):
        raise InputError(f"residual returned a {type(F).__name__}; expected a tensor made from u, of its shape.")
    if F.shape != u.shape:
        raise InputError(f"residual returned the shape {tuple(F.shape)} for u of {tuple(u.shape)}; expected equal.")
    return precise(F)


def _by_autograd(residual: Residual) -> Jacobian:
    """Dense Jacobians, a row a backward pass."""

    def jacobian(u: Tensor) -> DenseMatrix:
        with torch.enable_grad():
            leaf = u.detach().requires_grad_()
            F = _value(residual, leaf)
            if not F.requires_grad and u.numel():
                raise InputError(
                    "residual does not depend on u by torch operations: it is constant, detached, or went through "
                    "NumPy, so that there is no automatic Jacobian. Pass jacobian: from u to the matrix dF/du."
                )
            rows = [
                torch.autograd.grad(F[..., i].sum(), leaf, retain_graph=True, materialize_grads=True)[0]
                for i in range(u.shape[-1])
            ]
        return DenseMatrix(torch.stack(rows, dim=-2))

    return jacobian


def _matrix(jacobian: Jacobian, u: Tensor) -> LinearOperator:
    A = as_operator(jacobian(u))
    if A.shape[0] != u.shape[-1]:
        raise InputError(f"jacobian returned a {A.name}, for {u.shape[-1]} unknowns; expected the square matrix dF/du.")
    for values in A.values:
        check_finite("jacobian(u)", values)
    if u.is_complex() and not A.dtype.is_complex:
        if isinstance(A, Stencil):
            raise InputError(f"u is complex, and jacobian returned a {A.name}, which is real; expected a CSR.")
        A = A.with_values([values.to(u.dtype) for values in A.values])
    return A


class _Search:
    """The state of the iteration."""

    def __init__(self, residual: Residual, jacobian: Jacobian, method: Method, start: Tensor):
        self.residual, self.jacobian, self.method = residual, jacobian, method
        self.u, self.F = start.clone(), self._evaluate(start)
        check_finite("residual(x0)", self.F)
        self.norm = torch.linalg.vector_norm(self.F, dim=-1)
        self.scale = torch.where(self.norm > 0, self.norm, 1.0)
        self.history = [self.norm]
        self.steps = torch.zeros_like(self.norm, dtype=torch.int64)
        self.linear = torch.zeros_like(self.steps)
        # Entries whose squares overflow have no norm, and nothing could be compared with it.
        lost = ~torch.isfinite(self.norm)
        self.reason = torch.where(lost, Reason.NOT_FINITE.code, torch.full_like(self.steps, Reason.CONVERGED.code))
        self.forcing = torch.full_like(self.norm, _LOOSEST)
        self.setup_seconds, self.name = 0.0, "no step"

    @torch.no_grad()
    def _evaluate(self, u: Tensor) -> Tensor:
        return _value(self.residual, u)

    @torch.no_grad()
    def advance(self, rtol: float, atol: float) -> bool:
        """One step of every system that is not done; whether there was one to do."""
        tolerance = (rtol * self.scale).clamp(min=atol)
        active = ~(self.norm <= tolerance) & (self.reason == Reason.CONVERGED.code)
        if not bool(active.any()):
            return False
        A = _matrix(self.jacobian, self.u)
        began = time.perf_counter()
        prepared = self.method.prepare(A)
        self.setup_seconds += time.perf_counter() - began
        # No better than the step deserves, and no better than the goal needs.
        enough = (0.5 * tolerance / self.norm).clamp(max=_LOOSEST)
        wanted = float(torch.where(active, self.forcing.maximum(enough), _LOOSEST).min())
        solved = confirmed(prepared, torch.where(active.unsqueeze(-1), -self.F, 0.0), None, wanted, 0.0)
        self.setup_seconds += solved.setup_seconds
        self.name = solved.method
        self.linear = self.linear + torch.where(active, solved.iterations, 0)
        usable = solved.converged | (solved.residual < 0.9)
        self._fail(active & ~usable, self._why(solved))
        moved = self._line_search(active & usable, torch.as_tensor(solved.x), solved.residual)
        self.steps = self.steps + moved
        self.history.append(torch.where(moved, self.norm, torch.nan))
        return True

    @staticmethod
    def _why(solved: Solution) -> Tensor:
        singular = np.asarray(solved.reason == Reason.SINGULAR)
        code = np.where(singular, Reason.SINGULAR_JACOBIAN.code, Reason.LINEAR_SOLVE.code)
        return torch.from_numpy(np.asarray(code)).to(solved.residual.device)

    def _fail(self, systems: Bool[Tensor, "*batch"], code: Tensor | int) -> None:
        self.reason = torch.where(systems, code, self.reason)

    def _line_search(self, active: Tensor, direction: Tensor, left: Tensor) -> Bool[Tensor, "*batch"]:
        """Move along the direction, as far as the residual falls; which systems did."""
        step = torch.where(active, 1.0, 0.0)
        searching, moved = active, torch.zeros_like(active)
        promise = _SUFFICIENT * (1 - left.clamp(max=0.9))
        unknown = torch.zeros_like(active)
        for _ in range(_HALVINGS):
            trial = torch.where(searching.unsqueeze(-1), self.u + step.unsqueeze(-1) * direction, self.u)
            F = self._evaluate(trial)
            norm = torch.linalg.vector_norm(F, dim=-1)
            unknown = searching & ~torch.isfinite(norm)
            good = searching & (norm <= (1 - promise * step) * self.norm)
            forcing = 0.9 * (norm / self.norm).square()
            self.forcing = torch.where(good, forcing.clamp(max=_LOOSEST), self.forcing)
            rows = good.unsqueeze(-1)
            self.u, self.F = torch.where(rows, trial, self.u), torch.where(rows, F, self.F)
            self.norm = torch.where(good, norm, self.norm)
            moved, searching = moved | good, searching & ~good
            if not bool(searching.any()):
                break
            step = torch.where(searching, 0.5 * step, step)
        self._fail(searching, torch.where(unknown, Reason.NOT_FINITE.code, Reason.LINE_SEARCH.code))
        return moved

    def solution(self, rtol: float, atol: float, began: float) -> NewtonSolution:
        residual = self.norm / self.scale
        tolerance = torch.full_like(residual, rtol).maximum(atol / self.scale)
        converged = residual <= tolerance
        reason = torch.where(~converged & (self.reason == Reason.CONVERGED.code), Reason.MAX_STEPS.code, self.reason)
        reason = torch.where(converged, Reason.CONVERGED.code, reason)
        return NewtonSolution(
            x=self.u,
            converged=converged,
            residual=residual,
            tolerance=tolerance,
            iterations=self.steps,
            reason=reasons_of(reason),
            history=torch.stack(self.history) / self.scale,
            setup_seconds=self.setup_seconds,
            solve_seconds=time.perf_counter() - began - self.setup_seconds,
            method=f"Newton, {self.name}",
            linear_iterations=self.linear,
        )


def _attached(x: Any, residual: Residual, jacobian: Jacobian, method: Method, rtol: float) -> Inexact[Tensor, "..."]:
    """The solution as a function of what the residual depends on."""
    if not torch.is_grad_enabled():
        return x
    F = _value(residual, x)
    if not F.requires_grad:
        return x
    with torch.no_grad():
        A = _matrix(jacobian, x)
        A = A.with_values([values.detach() for values in A.values])
    return _Implicit.apply(F, x, A, method, rtol or 1e-10)  # pyright: ignore[reportReturnType]


class _Implicit(torch.autograd.Function):
    """x with the gradient of -J^-1 F: where F = 0 stays true, dx = -J^-1 dF."""

    @staticmethod
    def forward(ctx: Any, F: Tensor, x: Tensor, A: LinearOperator, method: Method, rtol: float) -> Tensor:
        ctx.A, ctx.method, ctx.rtol = A, method, rtol
        return x.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: Tensor):
        prepared = ctx.method.prepare(ctx.A).adjoint()
        multiplier = confirmed(prepared, -cotangents[0], None, ctx.rtol, 0.0)
        if not bool(multiplier.converged.all()):
            raise NotConverged(multiplier)
        return multiplier.x, None, None, None, None

"""The one stopping rule: a method's result is confirmed, restarted from, or declared stagnant."""

import time
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Inexact, Int
from torch import Tensor

from pdekit.solvers.method import Prepared
from pdekit.solvers.rounding import blurred
from pdekit.solvers.solution import Reason, Solution, reasons_of

__all__ = ["confirmed"]

_RESTARTS = 6


@torch.no_grad()
def confirmed(
    prepared: Prepared,
    b: Inexact[Tensor, "*batch n"],
    x0: Inexact[Tensor, "*batch n"] | None,
    rtol: float,
    atol: float,
) -> Solution:
    """Run a method, recompute the residual, and restart the systems that miss until they meet it or gain nothing.

    What still misses then goes to what the method names as its fallback, if it names any.

    Args:
        prepared: the method, bound to its matrix.
        b: right-hand sides of the full batch; parts outside the range of a singular matrix are left out.
        x0: first guess.
        rtol: relative tolerance.
        atol: absolute tolerance.
    """
    basis = prepared.operator.nullspace
    b = _without(basis, b)
    norm = torch.linalg.vector_norm(b, dim=-1)
    scale = torch.where(norm > 0, norm, 1.0)
    tolerance = torch.full_like(norm, rtol).maximum(atol / scale)
    if x0 is not None:
        x0 = torch.where((norm > 0).unsqueeze(-1), _without(basis, x0), 0.0)

    if b.numel() == 0:
        none = torch.zeros_like(norm, dtype=torch.int64)
        met = torch.ones_like(none, dtype=torch.bool)
        history = torch.zeros((1, *norm.shape), dtype=norm.dtype, device=norm.device)
        return Solution(b, met, norm, tolerance, none, reasons_of(none), history, 0.0, 0.0, "nothing")

    goal = _Goal(basis, scale, tolerance, rtol, atol)
    found = _restarted(prepared, b, x0, goal)
    histories, name, setup_seconds = [found.history], found.name, found.setup_seconds
    while bool((missed := ~(found.residual <= tolerance)).any()):
        began = time.perf_counter()
        following = prepared.fallback()
        if following is None:
            break
        prepared = following
        setup_seconds += time.perf_counter() - began
        again = _restarted(prepared, torch.where(missed.unsqueeze(-1), b, 0.0), None, goal)
        better = missed & ((again.residual <= found.residual) | ~torch.isfinite(found.residual))
        found = replace(
            found,
            x=torch.where(better.unsqueeze(-1), again.x, found.x),
            residual=torch.where(better, again.residual, found.residual),
            reason=torch.where(better, again.reason, found.reason),
            iterations=torch.where(missed, found.iterations + again.iterations, found.iterations),
        )
        histories.append(torch.where(missed, again.history[1:], torch.nan))
        setup_seconds += again.setup_seconds
        count = "" if missed.numel() == 1 else f" for {int(missed.sum())} of {missed.numel()} systems"
        name += f"; then {again.name}{count}"
    converged = found.residual <= tolerance
    reason = torch.where(~converged & (found.reason == Reason.CONVERGED.code), Reason.STAGNATION.code, found.reason)
    reason = torch.where(converged, Reason.CONVERGED.code, reason)
    return Solution(
        x=found.x,
        converged=converged,
        residual=found.residual,
        tolerance=tolerance,
        iterations=found.iterations,
        reason=reasons_of(reason),
        history=torch.cat(histories),
        setup_seconds=setup_seconds,
        solve_seconds=0.0,
        method=name,
    )


@dataclass(frozen=True)
class _Goal:
    """What to reach: residuals of at most ``tolerance * scale``, in the complement of the null space."""

    basis: Inexact[Tensor, "n k"] | None
    scale: Float[Tensor, "*batch"]
    tolerance: Float[Tensor, "*batch"]
    rtol: float
    atol: float


@dataclass(frozen=True)
class _Attempt:
    """An outcome with its residual recomputed; residual and history are relative to the scale."""

    x: Inexact[Tensor, "*batch n"]
    residual: Float[Tensor, "*batch"]
    reason: Int[Tensor, "*batch"]
    iterations: Int[Tensor, "*batch"]
    history: Float[Tensor, "steps *batch"]
    setup_seconds: float
    name: str


def _without(basis: Tensor | None, v: Tensor) -> Tensor:
    """The part of v orthogonal to the null space."""
    if basis is None:
        return v
    basis = basis.to(v.dtype)
    return v - (v @ basis.conj()) @ basis.mT


def _attempt(prepared: Prepared, b: Tensor, x0: Tensor | None, goal: _Goal) -> _Attempt:
    A = prepared.operator
    outcome = prepared.run(b, x0, goal.rtol, goal.atol)
    x, residual = _without(goal.basis, outcome.x), outcome.residual
    if residual is None or goal.basis is not None:
        residual = torch.linalg.vector_norm(b - A.matvec(x), dim=-1)
    residual = blurred(A, x / goal.scale.unsqueeze(-1), residual / goal.scale, goal.tolerance)
    history = outcome.history
    if history is None:
        start = b if x0 is None else b - A.matvec(x0)
        history = torch.stack([torch.linalg.vector_norm(start, dim=-1), residual * goal.scale])
    broken = ~torch.isfinite(residual) & (outcome.reason == Reason.CONVERGED.code)
    reason = torch.where(broken, Reason.NOT_FINITE.code, outcome.reason)
    history = history / goal.scale
    return _Attempt(x, residual, reason, outcome.iterations, history, outcome.setup_seconds, outcome.name)


def _restarted(prepared: Prepared, b: Tensor, x0: Tensor | None, goal: _Goal) -> _Attempt:
    """The method, again from its result where that believed to be converged but is not, as long as this gains."""
    first = _attempt(prepared, b, x0, goal)
    x, residual, reason, iterations = first.x, first.residual, first.reason, first.iterations
    histories, setup_seconds = [first.history], first.setup_seconds
    for _ in range(_RESTARTS):
        missed = (reason == Reason.CONVERGED.code) & ~(residual <= goal.tolerance)
        if not bool(missed.any()):
            break
        rows = missed.unsqueeze(-1)
        again = _attempt(prepared, torch.where(rows, b, 0.0), torch.where(rows, x, 0.0), goal)
        closer = missed & (again.residual < residual)  # not where one of them is NaN
        x = torch.where(closer.unsqueeze(-1), again.x, x)
        gained = (again.residual <= 0.5 * residual) | (again.residual <= goal.tolerance)
        reason = torch.where(missed, torch.where(gained, again.reason, Reason.STAGNATION.code), reason)
        residual = torch.where(closer, again.residual, residual)
        iterations = torch.where(missed, iterations + again.iterations, iterations)
        histories.append(torch.where(missed, again.history[1:], torch.nan))
        setup_seconds += again.setup_seconds
    return _Attempt(x, residual, reason, iterations, torch.cat(histories), setup_seconds, first.name)

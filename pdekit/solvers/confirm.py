"""The one stopping rule: a method's result is confirmed, restarted from, or declared stagnant."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.solvers.method import Prepared
from pdekit.solvers.solution import Reason, Solution, reasons_of

__all__ = ["confirmed"]

_RESTARTS = 6


class _Attempt(NamedTuple):
    x: Tensor
    residual: Tensor
    reason: Tensor
    iterations: Tensor
    history: Tensor
    setup_seconds: float
    name: str


@torch.no_grad()
def confirmed(
    prepared: Prepared,
    b: Float[Tensor, "*batch n"],
    x0: Float[Tensor, "*batch n"] | None,
    rtol: float,
    atol: float,
) -> Solution:
    """Run a method, recompute the residual, and restart the systems that miss until they meet it or gain nothing.

    Args:
        prepared: the method, bound to its matrix.
        b: right-hand sides of the full batch; parts outside the range of a singular matrix are left out.
        x0: first guess.
        rtol: relative tolerance.
        atol: absolute tolerance.
    """
    A, basis = prepared.operator, prepared.operator.nullspace

    def without_nullspace(v: Tensor) -> Tensor:
        return v if basis is None else v - (v @ basis) @ basis.mT

    b = without_nullspace(b)
    norm = torch.linalg.vector_norm(b, dim=-1)
    scale = torch.where(norm > 0, norm, 1.0)
    tolerance = torch.full_like(norm, rtol).maximum(atol / scale)
    if x0 is not None:
        x0 = torch.where((norm > 0).unsqueeze(-1), without_nullspace(x0), 0.0)

    if b.numel() == 0:
        none = torch.zeros_like(norm, dtype=torch.int64)
        met = torch.ones_like(none, dtype=torch.bool)
        history = torch.zeros((1, *norm.shape), dtype=norm.dtype, device=norm.device)
        return Solution(b, met, norm, tolerance, none, reasons_of(none), history, 0.0, 0.0, "nothing")

    def attempt(b: Tensor, x0: Tensor | None) -> _Attempt:
        outcome = prepared.run(b, x0, rtol, atol)
        x, residual = without_nullspace(outcome.x), outcome.residual
        if residual is None or basis is not None:
            residual = torch.linalg.vector_norm(b - A.matvec(x), dim=-1)
        residual = residual / scale
        history = outcome.history
        if history is None:
            start = b if x0 is None else b - A.matvec(x0)
            history = torch.stack([torch.linalg.vector_norm(start, dim=-1), residual * scale])
        broken = ~torch.isfinite(residual) & (outcome.reason == Reason.CONVERGED.code)
        reason = torch.where(broken, Reason.NOT_FINITE.code, outcome.reason)
        return _Attempt(x, residual, reason, outcome.iterations, history / scale, outcome.setup_seconds, outcome.name)

    first = attempt(b, x0)
    x, residual, reason, iterations = first.x, first.residual, first.reason, first.iterations
    histories, setup_seconds = [first.history], first.setup_seconds
    for _ in range(_RESTARTS):
        missed = (reason == Reason.CONVERGED.code) & ~(residual <= tolerance)
        if not bool(missed.any()):
            break
        rows = missed.unsqueeze(-1)
        again = attempt(torch.where(rows, b, 0.0), torch.where(rows, x, 0.0))
        x = torch.where(rows & (again.residual < residual).unsqueeze(-1), again.x, x)
        gained = (again.residual <= 0.5 * residual) | (again.residual <= tolerance)
        reason = torch.where(missed, torch.where(gained, again.reason, Reason.STAGNATION.code), reason)
        residual = torch.where(missed, torch.minimum(again.residual, residual), residual)
        iterations = torch.where(missed, iterations + again.iterations, iterations)
        histories.append(torch.where(missed, again.history[1:], torch.nan))
        setup_seconds += again.setup_seconds
    converged = residual <= tolerance
    reason = torch.where(~converged & (reason == Reason.CONVERGED.code), Reason.STAGNATION.code, reason)
    reason = torch.where(converged, Reason.CONVERGED.code, reason)
    return Solution(
        x=x,
        converged=converged,
        residual=residual,
        tolerance=tolerance,
        iterations=iterations,
        reason=reasons_of(reason),
        history=torch.cat(histories),
        setup_seconds=setup_seconds,
        solve_seconds=0.0,
        method=first.name,
    )

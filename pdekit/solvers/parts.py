"""Real matrices with complex right-hand sides: the two parts are two right-hand sides."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor

from pdekit.solvers.implicit import solve_differentiably
from pdekit.solvers.method import Prepared
from pdekit.solvers.solution import Reason, Solution

__all__ = ["solve_by_parts"]


def solve_by_parts(
    prepared: Prepared,
    b: Complex[Tensor, "*batch n"],
    x0: Complex[Tensor, "*batch n"] | None,
    rtol: float,
    atol: float,
) -> Solution:
    """Like :func:`solve_differentiably`, of a real matrix and complex vectors.

    Each part is solved to the tolerance over the square root of 2, so that both together meet it.

    Args:
        prepared: the method, bound to a real matrix.
        b: right-hand sides of the full batch.
        x0: first guess.
        rtol: relative tolerance.
        atol: absolute tolerance.
    """

    def apart(v: Tensor) -> Tensor:
        return torch.stack([v.real, v.imag])

    parts = apart(b)
    root = 0.5**0.5
    found = solve_differentiably(prepared, parts, None if x0 is None else apart(x0), root * rtol, root * atol)
    norms = torch.linalg.vector_norm(parts.detach(), dim=-1)
    scales = torch.where(norms > 0, norms, 1.0)
    norm = torch.hypot(*norms)
    scale = torch.where(norm > 0, norm, 1.0)
    residual = torch.hypot(*(found.residual * scales)) / scale
    tolerance = torch.full_like(norm, rtol).maximum(atol / scale)
    converged = residual <= tolerance
    reason = np.asarray(np.where(found.reason[0] != Reason.CONVERGED, *found.reason), dtype=object)
    reason[converged.cpu().numpy()] = Reason.CONVERGED
    x = torch.as_tensor(found.x)
    return replace(
        found,
        x=torch.complex(x[0], x[1]),
        converged=converged,
        residual=residual,
        tolerance=tolerance,
        iterations=found.iterations.amax(0),
        reason=reason,
        history=_together(found.history, scales) / scale,
        method=f"{found.method}, real and imaginary parts apart",
    )


def _together(history: Float[Tensor, "steps 2 *batch"], scales: Float[Tensor, "2 *batch"]) -> Float[Tensor, "..."]:
    """The norm of both parts, the last one known of a part that has stopped."""
    known = ~history.isnan()
    steps = torch.arange(len(history), device=history.device).reshape(-1, *(1,) * (history.ndim - 1))
    last = torch.where(known, steps, 0).cummax(0).values
    norms = history.gather(0, last) * scales
    return torch.where(known.any(1), torch.hypot(norms[:, 0], norms[:, 1]), torch.nan)

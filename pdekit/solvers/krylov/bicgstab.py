"""The stabilised bi-conjugate gradient method, for any matrix in constant memory."""

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from pdekit.core.checks import check_limit
from pdekit.solvers.krylov.base import PreparedKrylov, check_preconditioner, start
from pdekit.solvers.method import Method, Outcome, Prepared
from pdekit.solvers.operators.base import LinearOperator
from pdekit.solvers.preconditioners.base import Preconditioner
from pdekit.solvers.solution import Reason

__all__ = ["BiCGStab", "stabilised_bi_conjugate_gradients"]


@dataclass(frozen=True)
class BiCGStab(Method):
    """Stabilised bi-conjugate gradients: any matrix, short recurrences, two products an iteration, no guarantee.

    The residual may jump, and the recurrence may break down, which is named; :class:`GMRES` does neither.

    Args:
        preconditioner: acts from the right; None means none.
        max_iterations: per system.

    Example:
        >>> from pdekit.solvers import solve
        >>> float(solve(np.array([[2.0, 1.0], [0.0, 1.0]]), np.ones(2), BiCGStab()).x[1])
        1.0

    Source:
        van der Vorst, "Bi-CGSTAB", SIAM J. Sci. Stat. Comput. 13, 1992.
    """

    preconditioner: Preconditioner | None = None
    max_iterations: int = 1000

    def __post_init__(self):
        check_preconditioner("BiCGStab", self.preconditioner, linear=True, instead="GMRES takes it as it is.")
        check_limit("BiCGStab", "max_iterations", self.max_iterations)

    def prepare(self, A: LinearOperator) -> Prepared:
        iterate = partial(stabilised_bi_conjugate_gradients, max_iterations=self.max_iterations)
        return PreparedKrylov(A, self.preconditioner, iterate, "BiCGStab")


def stabilised_bi_conjugate_gradients(
    A: LinearOperator,
    preconditioner: LinearOperator | None,
    b: Inexact[Tensor, "*batch n"],
    x0: Inexact[Tensor, "*batch n"] | None,
    wanted: Float[Tensor, "*batch"],
    max_iterations: int,
    *,
    check_every: int | None = 1,
    name: str = "BiCGStab",
) -> Outcome:
    """The iteration itself, on whole batches, with columns frozen as they stop.

    Args:
        A: any matrix.
        preconditioner: approximate inverse of ``A``, already set up, or None.
        b: right-hand sides.
        x0: first guess, or None for zero.
        wanted: norm of the residual at which a column stops.
        max_iterations: per column, each of two products with ``A``.
        check_every: after how many steps to ask whether all columns have stopped; None never asks.
        name: of the method, for the outcome.

    Returns:
        The outcome; the residuals it knows are those of the recurrence.
    """

    def preconditioned(v: Tensor) -> Tensor:
        return v if preconditioner is None else preconditioner.matvec(v)

    def length(v: Tensor) -> Tensor:
        return torch.linalg.vector_norm(v, dim=-1)

    def column(scalar: Tensor) -> Tensor:
        return scalar.unsqueeze(-1)

    rounding = torch.finfo(b.dtype).eps
    x, r, norm, reason, iterations, active = start(A, b, x0, wanted)
    history = [norm]
    shadow, p, v = r, torch.zeros_like(r), torch.zeros_like(r)
    rho = alpha = omega = torch.ones_like(norm).to(b.dtype)
    for step in range(max_iterations):
        if check_every is not None and step % check_every == 0 and not bool(active.any()):
            break
        rho, previous = torch.linalg.vecdot(shadow, r), rho
        beta = (rho / previous) * (alpha / omega)
        # Where the residual has turned orthogonal to the shadow, a new start from it is as good as any.
        fresh = rho.abs() <= rounding * length(shadow) * norm
        p = torch.where(column(fresh), r, r + column(beta) * (p - column(omega) * v))
        shadow = torch.where(column(fresh), r, shadow)
        rho = torch.where(fresh, norm.square().to(rho.dtype), rho)
        image = preconditioned(p)
        v = A.matvec(image)
        against = torch.linalg.vecdot(shadow, v)
        alpha = rho / against
        s = r - column(alpha) * v
        half = length(s)
        second = preconditioned(s)
        t = A.matvec(second)
        square = torch.linalg.vecdot(t, t).real
        omega = torch.linalg.vecdot(t, s) / square
        early = half <= wanted  # s itself is good enough, and t may be 0
        omega = torch.where(early, 0.0, omega)
        finite = torch.isfinite(half) & (early | torch.isfinite(omega))
        broken = (against.abs() <= rounding * length(shadow) * length(v)) | (~early & ((square == 0) | (omega == 0)))
        overflow = torch.where(torch.isfinite(square), Reason.BREAKDOWN.code, Reason.NOT_FINITE.code)
        bad = torch.where(broken, Reason.BREAKDOWN.code, overflow)
        reason = torch.where(active & (broken | ~finite), bad, reason)
        active = active & finite & ~broken
        moving = column(active)
        x = torch.where(moving, x + column(alpha) * image + column(omega) * second, x)
        r = torch.where(moving, torch.where(column(early), s, s - column(omega) * t), r)
        norm = torch.where(active, length(r), norm)
        iterations = iterations + active
        history.append(torch.where(active, norm, torch.nan))
        active = active & ~(norm <= wanted)
    reason = torch.where(active, Reason.MAX_ITERATIONS.code, reason)
    return Outcome(x, iterations, reason, torch.stack(history), None, name)

"""Restarted generalised minimal residuals, for any matrix."""

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from pdekit.core.checks import check_limit
from pdekit.solvers.krylov.arnoldi import Arnoldi
from pdekit.solvers.krylov.base import PreparedKrylov, check_preconditioner, start
from pdekit.solvers.method import Method, Outcome, Prepared
from pdekit.solvers.operators.base import LinearOperator
from pdekit.solvers.preconditioners.base import Preconditioner
from pdekit.solvers.solution import Reason

__all__ = ["GMRES", "STALLED", "generalised_minimal_residuals"]

STALLED = 1 - 1e-4
"""A cycle that leaves more than this part of the residual will not be followed by better ones."""


@dataclass(frozen=True)
class GMRES(Method):
    """Minimal residuals over the whole Krylov space, started afresh every ``restart`` steps, for any matrix.

    The preconditioner acts from the right, so that the residual that is made small is the true one. One whose map is
    not linear is taken as well: its images are then kept beside the basis (flexible GMRES), for twice the memory, which
    is ``restart`` vectors a system.

    Args:
        preconditioner: None means none.
        restart: steps between restarts; more of them means fewer iterations, each of which costs more.
        max_iterations: per system, over all cycles.

    Example:
        >>> from pdekit.solvers import solve
        >>> solve(np.array([[2.0, 1.0], [0.0, 1.0]]), np.ones(2), GMRES()).x.round(9) + 0
        array([0., 1.])

    Source:
        Saad, Schultz, "GMRES", SIAM J. Sci. Stat. Comput. 7, 1986; Saad, "A flexible inner-outer preconditioned GMRES
        algorithm", SIAM J. Sci. Comput. 14, 1993.
    """

    preconditioner: Preconditioner | None = None
    restart: int = 40
    max_iterations: int = 1000

    def __post_init__(self):
        check_preconditioner("GMRES", self.preconditioner)
        check_limit("GMRES", "restart", self.restart)
        check_limit("GMRES", "max_iterations", self.max_iterations)

    def prepare(self, A: LinearOperator) -> Prepared:
        flexible = self.preconditioner is not None and not self.preconditioner.linear
        iterate = partial(
            generalised_minimal_residuals,
            max_iterations=self.max_iterations,
            restart=self.restart,
            flexible=flexible,
        )
        title = f"{'flexible ' if flexible else ''}GMRES({self.restart})"
        return PreparedKrylov(A, self.preconditioner, iterate, title, apart=True)


def generalised_minimal_residuals(
    A: LinearOperator,
    preconditioner: LinearOperator | None,
    b: Inexact[Tensor, "*batch n"],
    x0: Inexact[Tensor, "*batch n"] | None,
    wanted: Float[Tensor, "*batch"],
    max_iterations: int,
    *,
    restart: int = 40,
    flexible: bool = False,
    check_every: int | None = 1,
    name: str = "GMRES",
) -> Outcome:
    """The iteration itself, on whole batches; a column that has stopped takes no part in later updates.

    Args:
        A: any matrix.
        preconditioner: approximate inverse of ``A``, already set up, or None.
        b: right-hand sides.
        x0: first guess, or None for zero.
        wanted: norm of the residual at which a column stops.
        max_iterations: per column.
        restart: steps of a cycle.
        flexible: keep the preconditioned vectors, for a preconditioner that is not linear.
        check_every: after how many steps to ask whether all columns have stopped; None never asks.
        name: of the method, for the outcome.

    Returns:
        The outcome, with the residuals recomputed after the last cycle.
    """

    def preconditioned(v: Tensor) -> Tensor:
        return v if preconditioner is None else preconditioner.matvec(v)

    x, r, norm, reason, iterations, active = start(A, b, x0, wanted)
    history = [norm]
    step = 0
    while step < max_iterations:
        if check_every is not None and not bool(active.any()):
            break
        size = min(restart, max_iterations - step, max(b.shape[-1], 1))
        arnoldi = Arnoldi(torch.where(active.unsqueeze(-1), r, 0.0), torch.where(active, norm, 0.0), size)
        images: list[Tensor] = []
        taken = torch.zeros_like(iterations)
        running = active
        for j in range(size):
            if check_every is not None and j % check_every == 0 and not bool(running.any()):
                break
            z = preconditioned(arnoldi.last)
            if flexible:
                images.append(z)
            estimate = arnoldi.extend(A.matvec(z))
            finite = torch.isfinite(estimate)
            reason = torch.where(running & ~finite, Reason.NOT_FINITE.code, reason)
            running = running & finite
            taken, iterations = taken + running, iterations + running
            history.append(torch.where(running, estimate, torch.nan))
            running = running & ~(estimate <= wanted)
        step += arnoldi.steps
        y = arnoldi.coefficients(taken).unsqueeze(-1)
        if flexible:
            update = (torch.stack(images, -1) @ y).squeeze(-1)
        else:
            update = preconditioned((arnoldi.basis[..., : arnoldi.steps, :].mT @ y).squeeze(-1))
        candidate = x + update
        left = b - A.matvec(candidate)
        true = torch.linalg.vector_norm(left, dim=-1)
        sound = active & (reason == Reason.CONVERGED.code) & torch.isfinite(true)
        keep = (sound & (true <= norm)).unsqueeze(-1)
        x, r = torch.where(keep, candidate, x), torch.where(keep, left, r)
        # A cycle whose own estimate was good while the true residual is not meets rounding, not a need for more steps.
        wrong = ~running & ~(true <= 0.5 * norm)
        stalled = sound & ~(true <= wanted) & (wrong | ~(true <= STALLED * norm))
        reason = torch.where(stalled, Reason.STAGNATION.code, reason)
        norm = torch.where(keep.squeeze(-1), true, norm)
        active = sound & ~stalled & ~(norm <= wanted)
    reason = torch.where(active, Reason.MAX_ITERATIONS.code, reason)
    return Outcome(x, iterations, reason, torch.stack(history), norm, name)

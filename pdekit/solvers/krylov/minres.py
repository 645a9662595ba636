"""The minimal residual method for symmetric indefinite matrices."""

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from pdekit.core.checks import check_limit
from pdekit.solvers.krylov.base import PreparedKrylov, check_preconditioner, start
from pdekit.solvers.krylov.cg import check_hermitian
from pdekit.solvers.method import Method, Outcome, Prepared
from pdekit.solvers.operators.base import LinearOperator
from pdekit.solvers.preconditioners.base import Preconditioner
from pdekit.solvers.solution import Reason

__all__ = ["MINRES", "minimal_residuals"]


@dataclass(frozen=True)
class MINRES(Method):
    """Minimal residuals by a short recurrence, for symmetric (complex: Hermitian) matrices, definite or not.

    The preconditioner must be positive definite even where the matrix is not; the method minimises the residual in the
    norm it defines, but stops by the 2-norm, for which it carries the residual along.

    Args:
        preconditioner: None means none.
        max_iterations: per system.

    Example:
        >>> from pdekit.solvers import solve
        >>> solve(np.diag([1.0, -2.0]), np.ones(2), MINRES()).x
        array([ 1. , -0.5])

    Source:
        Paige, Saunders, "Solution of sparse indefinite systems of linear equations", SIAM J. Numer. Anal. 12, 1975.
    """

    preconditioner: Preconditioner | None = None
    max_iterations: int = 1000

    def __post_init__(self):
        instead = "GMRES takes it as it is."
        check_preconditioner("MINRES", self.preconditioner, linear=True, symmetric=True, instead=instead)
        check_limit("MINRES", "max_iterations", self.max_iterations)

    def prepare(self, A: LinearOperator) -> Prepared:
        check_hermitian("MINRES", A)
        iterate = partial(minimal_residuals, max_iterations=self.max_iterations)
        return PreparedKrylov(A, self.preconditioner, iterate, "MINRES")


def minimal_residuals(
    A: LinearOperator,
    preconditioner: LinearOperator | None,
    b: Inexact[Tensor, "*batch n"],
    x0: Inexact[Tensor, "*batch n"] | None,
    wanted: Float[Tensor, "*batch"],
    max_iterations: int,
    *,
    check_every: int | None = 1,
    name: str = "MINRES",
) -> Outcome:
    """The iteration itself, on whole batches, with columns frozen as they stop.

    Args:
        A: symmetric (complex: Hermitian).
        preconditioner: positive definite approximate inverse of ``|A|``, already set up, or None.
        b: right-hand sides.
        x0: first guess, or None for zero.
        wanted: norm of the residual at which a column stops.
        max_iterations: per column.
        check_every: after how many steps to ask whether all columns have stopped; None never asks.
        name: of the method, for the outcome.

    Returns:
        The outcome; the residuals it knows are those of the recurrence.
    """

    rounding = 8 * torch.finfo(b.dtype).eps

    def scaled(y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """A vector and its preconditioned image with <v, z> = 1, the scale, and whether <v, z> was not negative."""
        if preconditioner is None:
            z, square = y, torch.linalg.vecdot(y, y).real
            definite = torch.ones_like(square, dtype=torch.bool)
        else:
            z = preconditioner.matvec(y)
            square = torch.linalg.vecdot(y, z).real
            size = torch.linalg.vector_norm(y, dim=-1) * torch.linalg.vector_norm(z, dim=-1)
            definite = ~(square < -rounding * size)
        beta = square.clamp(min=0).sqrt()
        over = torch.where(beta > 0, 1 / beta, 0.0).unsqueeze(-1)
        return y * over, z * over, beta, definite

    x, r, norm, reason, iterations, active = start(A, b, x0, wanted)
    history = [norm]
    v, z, beta, definite = scaled(r)
    reason = torch.where(active & ~definite, Reason.PRECONDITIONER_NOT_DEFINITE.code, reason)
    active = active & definite
    left = beta  # of the right-hand side of the least-squares problem
    previous = torch.zeros_like(r)
    directions = [torch.zeros_like(r), torch.zeros_like(r)]
    zero = torch.zeros_like(norm)
    cosine, sine, delta, epsilon = -torch.ones_like(norm), zero, zero, zero
    for step in range(max_iterations):
        if check_every is not None and step % check_every == 0 and not bool(active.any()):
            break
        # The next Lanczos vector: A z = beta' v' + alpha v + beta_next v_next.
        y = A.matvec(z)
        alpha = torch.linalg.vecdot(z, y).real
        y = y - alpha.unsqueeze(-1) * v - (beta.unsqueeze(-1) * previous if step else 0.0)
        previous = v
        following, image, following_beta, definite = scaled(y)
        # The two previous rotations applied to the new column of the tridiagonal matrix, and the one it needs itself.
        oldest, epsilon_next = epsilon, sine * following_beta
        middle = cosine * delta + sine * alpha
        corner = sine * delta - cosine * alpha
        delta_next = -cosine * following_beta
        length = torch.hypot(corner, following_beta)
        singular = length <= rounding * (alpha.abs() + beta + following_beta)
        cosine, sine = corner / length, following_beta / length
        weight, left_next = cosine * left, sine * left
        direction = z - oldest.unsqueeze(-1) * directions[0] - middle.unsqueeze(-1) * directions[1]
        direction = direction / length.unsqueeze(-1)
        directions = [directions[1], direction]
        epsilon, delta = epsilon_next, delta_next
        finite = torch.isfinite(length) & torch.isfinite(weight)
        bad = torch.where(finite, Reason.BREAKDOWN.code, Reason.NOT_FINITE.code)
        bad = torch.where(definite, bad, Reason.PRECONDITIONER_NOT_DEFINITE.code)
        sound = finite & ~singular & definite
        reason = torch.where(active & ~sound, bad, reason)
        active = active & sound
        moving = active.unsqueeze(-1)
        x = torch.where(moving, x + weight.unsqueeze(-1) * direction, x)
        shrunk = sine.square().unsqueeze(-1) * r - (left_next * cosine).unsqueeze(-1) * following
        r = torch.where(moving, shrunk, r)
        norm = torch.where(active, torch.linalg.vector_norm(r, dim=-1), norm)
        v, z, beta, left = following, image, following_beta, left_next
        iterations = iterations + active
        history.append(torch.where(active, norm, torch.nan))
        active = active & ~(norm <= wanted)
    reason = torch.where(active, Reason.MAX_ITERATIONS.code, reason)
    return Outcome(x, iterations, reason, torch.stack(history), None, name)

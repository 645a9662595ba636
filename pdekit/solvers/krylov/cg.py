"""Preconditioned conjugate gradients."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from pdekit.core.checks import check_limit
from pdekit.core.errors import InputError
from pdekit.solvers.krylov.base import PreparedKrylov, check_preconditioner, start, unit_of
from pdekit.solvers.krylov.directions import Directions, ShortRecurrence
from pdekit.solvers.krylov.fused import FusedCG, fits
from pdekit.solvers.krylov.sparse_cg import SparseCG
from pdekit.solvers.krylov.sparse_cg import fits as sparse_fits
from pdekit.solvers.method import Method, Outcome, Prepared
from pdekit.solvers.operators.base import LinearOperator
from pdekit.solvers.operators.csr import CSR
from pdekit.solvers.operators.stencil import Stencil
from pdekit.solvers.preconditioners.base import Preconditioner
from pdekit.solvers.preconditioners.jacobi import Jacobi
from pdekit.solvers.preconditioners.multigrid import Multigrid
from pdekit.solvers.solution import Reason

__all__ = ["CG", "check_hermitian", "conjugate_gradients"]


@dataclass(frozen=True)
class CG(Method):
    """Preconditioned conjugate gradients for symmetric (complex: Hermitian) positive definite matrices.

    A float64 :class:`Stencil` on the CPU with :class:`Multigrid` runs in one compiled kernel, a sample a thread; so
    does a float64 :class:`CSR` with AMG, a symmetric factor or the diagonal. All else runs as torch operations on the
    whole batch, on any device.

    Args:
        preconditioner: None means :class:`Jacobi`, or none where the operator does not know its diagonal.
        max_iterations: per system; of the compiled kernel never more than 100,000 or ten times the unknowns.

    Example:
        >>> from pdekit.solvers import solve
        >>> float(solve(np.diag([1.0, 2.0]), np.ones(2), CG()).x[1])
        0.5

    Source:
        Hestenes, Stiefel, "Methods of conjugate gradients for solving linear systems", 1952.
    """

    preconditioner: Preconditioner | None = None
    max_iterations: int = 1000

    def __post_init__(self):
        instead = "FlexibleCG takes it as it is; so does GMRES, for any matrix."
        check_preconditioner("CG", self.preconditioner, linear=True, symmetric=True, instead=instead)
        check_limit("CG", "max_iterations", self.max_iterations)

    def prepare(self, A: LinearOperator) -> Prepared:
        check_hermitian("CG", A)
        if isinstance(A, Stencil) and isinstance(self.preconditioner, Multigrid) and fits(A, self.preconditioner):
            return FusedCG(A, self.preconditioner, self.max_iterations)
        recipe = self.preconditioner or default_preconditioner(A)
        preconditioner = None if recipe is None else recipe.setup(A)
        if isinstance(A, CSR) and sparse_fits(A, preconditioner):
            return SparseCG(A, preconditioner, self.max_iterations)
        iterate = partial(conjugate_gradients, max_iterations=self.max_iterations)
        return PreparedKrylov(A, recipe, iterate, "CG", preconditioner if unit_of(A) == 1 else None)


def check_hermitian(method: str, A: LinearOperator) -> None:
    """Refuse matrices that are not known to equal their adjoint.

    Raises:
        InputError: names the methods that take the matrix.
    """
    if not A.hermitian:
        if A.dtype.is_complex:
            kind, mirror = "Hermitian", "conjugate transpose (one that equals its transpose does not: it is symmetric)"
        else:
            kind, mirror = "symmetric", "transpose"
        raise InputError(
            f"{method} needs a {kind} matrix, but {A.name} is not known to be one. Use Direct() or GMRES(), which take "
            f"any matrix, or pass a matrix that equals its {mirror}."
        )


def default_preconditioner(A: LinearOperator) -> Preconditioner | None:
    """Jacobi, or none where the operator does not know its diagonal."""
    try:
        A.diagonal()
    except NotImplementedError:
        return None
    return Jacobi()


def conjugate_gradients(
    A: LinearOperator,
    preconditioner: LinearOperator | None,
    b: Inexact[Tensor, "*batch n"],
    x0: Inexact[Tensor, "*batch n"] | None,
    wanted: Float[Tensor, "*batch"],
    max_iterations: int,
    *,
    check_every: int | None = 1,
    name: str = "CG",
    directions: Callable[[], Directions] = ShortRecurrence,
) -> Outcome:
    """The iteration itself, on whole batches, with columns frozen as they stop.

    Args:
        A: symmetric (complex: Hermitian) positive definite.
        preconditioner: approximate inverse of ``A``, already set up, or None.
        b: right-hand sides.
        x0: first guess, or None for zero.
        wanted: norm of the residual at which a column stops.
        max_iterations: per column.
        check_every: after how many steps to ask whether all columns have stopped; None never asks, so that exactly
            ``max_iterations`` steps run without waiting for the device.
        name: of the method, for the outcome.
        directions: makes the rule that chooses the search directions.

    Returns:
        The outcome; the residuals it knows are those of the recurrence.

    Example:
        >>> from pdekit.solvers.operators.dense import DenseMatrix
        >>> A = DenseMatrix(torch.diag(torch.tensor([1.0, 2.0], dtype=torch.float64)))
        >>> b = torch.ones(2, dtype=torch.float64)
        >>> conjugate_gradients(A, None, b, None, torch.tensor(1e-8), 2, check_every=None).x
        tensor([1.0000, 0.5000], dtype=torch.float64)
    """
    x, r, norm, reason, iterations, active = start(A, b, x0, wanted)
    history = [norm]
    rule = directions()
    for step in range(max_iterations):
        if check_every is not None and step % check_every == 0 and not bool(active.any()):
            break
        z = r if preconditioner is None else preconditioner.matvec(r)
        p, slope = rule.step(z, r, active)
        q = rule.product(A, p)
        curvature = torch.linalg.vecdot(p, q).real
        finite = torch.isfinite(curvature) & torch.isfinite(slope)
        sound = (curvature > 0) & (slope.real > 0 if rule.definite else slope != 0)
        failed = torch.where(curvature > 0, rule.without_slope.code, Reason.NOT_DEFINITE.code)
        failed = torch.where(finite, failed, Reason.NOT_FINITE.code)
        reason = torch.where(active & ~(sound & finite), failed, reason)
        active = active & sound & finite
        rule.used(p, q, curvature, active)
        alpha = torch.where(active, slope / curvature, 0.0).unsqueeze(-1)
        # A column that has stopped keeps x and r bit for bit, whatever its directions have become.
        moving = active.unsqueeze(-1)
        x = torch.where(moving, x + alpha * p, x)
        r = torch.where(moving, r - alpha * q, r)
        norm = torch.where(active, torch.linalg.vector_norm(r, dim=-1), norm)
        iterations = iterations + active
        history.append(torch.where(active, norm, torch.nan))
        active = active & ~(norm <= wanted)
    reason = torch.where(active, Reason.MAX_ITERATIONS.code, reason)
    return Outcome(x, iterations, reason, torch.stack(history), None, name + rule.report)

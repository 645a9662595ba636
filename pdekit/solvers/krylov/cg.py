"""Preconditioned conjugate gradients."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.core.errors import InputError
from pdekit.solvers.krylov.fused import FusedCG, fits
from pdekit.solvers.method import Method, Outcome, Prepared
from pdekit.solvers.operators.base import LinearOperator, Tag
from pdekit.solvers.operators.stencil import Stencil
from pdekit.solvers.preconditioners.base import Preconditioner
from pdekit.solvers.preconditioners.jacobi import Jacobi
from pdekit.solvers.preconditioners.multigrid import Multigrid
from pdekit.solvers.solution import Reason

__all__ = ["CG", "conjugate_gradients"]


@dataclass(frozen=True)
class CG(Method):
    """Preconditioned conjugate gradients for symmetric positive definite matrices.

    A float64 :class:`Stencil` on the CPU with :class:`Multigrid` runs in one compiled kernel, a sample a thread; all
    else runs as torch operations on the whole batch, on any device.

    Args:
        preconditioner: None means :class:`Jacobi`, or none where the operator does not know its diagonal.
        max_iterations: per system.

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
        if self.max_iterations < 1:
            raise InputError(f"CG has max_iterations={self.max_iterations}; expected at least 1.")
        given = self.preconditioner
        if given is not None and not (given.linear and given.symmetric):
            lack = "linear" if not given.linear else "symmetric"
            raise InputError(
                f"CG cannot use the preconditioner {given}, whose map is not {lack}: conjugate gradients need a fixed "
                "symmetric positive definite one. Use Jacobi() or Multigrid(), or solve with Direct()."
            )

    def prepare(self, A: LinearOperator) -> Prepared:
        if Tag.SYMMETRIC not in A.tags:
            raise InputError(
                f"CG needs a symmetric matrix, but {A.name} is not known to be one. Use Direct(), which takes any "
                "matrix, or pass a matrix that equals its transpose."
            )
        if isinstance(A, Stencil) and isinstance(self.preconditioner, Multigrid) and fits(A, self.preconditioner):
            return FusedCG(A, self.preconditioner, self.max_iterations)
        return _PreparedCG(A, self.preconditioner, self.max_iterations)


class _PreparedCG(Prepared):
    def __init__(self, operator: LinearOperator, recipe: Preconditioner | None, max_iterations: int):
        super().__init__(operator)
        self.max_iterations = max_iterations
        if recipe is None:
            try:
                self.preconditioner = Jacobi().setup(operator)
            except NotImplementedError:
                self.preconditioner = None
        else:
            self.preconditioner = recipe.setup(operator)
        self.name = f"CG, {self.preconditioner.name if self.preconditioner else 'no'} preconditioner"

    def run(
        self, b: Float[Tensor, "*batch n"], x0: Float[Tensor, "*batch n"] | None, rtol: float, atol: float
    ) -> Outcome:
        wanted = (rtol * torch.linalg.vector_norm(b, dim=-1)).clamp(min=atol)
        # Asking whether all have converged waits for an accelerator, so it is not asked at every step there.
        every = 1 if b.device.type == "cpu" else 8
        return conjugate_gradients(
            self.operator, self.preconditioner, b, x0, wanted, self.max_iterations, check_every=every, name=self.name
        )


def conjugate_gradients(
    A: LinearOperator,
    preconditioner: LinearOperator | None,
    b: Float[Tensor, "*batch n"],
    x0: Float[Tensor, "*batch n"] | None,
    wanted: Float[Tensor, "*batch"],
    max_iterations: int,
    *,
    check_every: int | None = 1,
    name: str = "CG",
) -> Outcome:
    """The iteration itself, on whole batches, with columns frozen as they stop.

    Args:
        A: symmetric positive definite.
        preconditioner: approximate inverse of ``A``, already set up, or None.
        b: right-hand sides.
        x0: first guess, or None for zero.
        wanted: norm of the residual at which a column stops.
        max_iterations: per column.
        check_every: after how many steps to ask whether all columns have stopped; None never asks, so that exactly
            ``max_iterations`` steps run without waiting for the device.
        name: of the method, for the outcome.

    Returns:
        The outcome; the residuals it knows are those of the recurrence.

    Example:
        >>> from pdekit.solvers.operators.dense import DenseMatrix
        >>> A = DenseMatrix(torch.diag(torch.tensor([1.0, 2.0], dtype=torch.float64)))
        >>> b = torch.ones(2, dtype=torch.float64)
        >>> conjugate_gradients(A, None, b, None, torch.tensor(1e-8), 2, check_every=None).x
        tensor([1.0000, 0.5000], dtype=torch.float64)
    """
    x = torch.zeros_like(b) if x0 is None else x0.clone()
    r = b.clone() if x0 is None else b - A.matvec(x0)
    norm = torch.linalg.vector_norm(r, dim=-1)
    history = [norm]
    reason = torch.full_like(norm, Reason.CONVERGED.code, dtype=torch.int64)
    iterations = torch.zeros_like(reason)
    active = ~(norm <= wanted)
    rz = torch.ones_like(norm)
    p = torch.zeros_like(b)
    for step in range(max_iterations):
        if check_every is not None and step % check_every == 0 and not bool(active.any()):
            break
        z = r if preconditioner is None else preconditioner.matvec(r)
        rz, previous = torch.linalg.vecdot(r, z), rz
        beta = torch.where(active, rz / previous, 0.0) if step else torch.zeros_like(rz)
        p = z + beta.unsqueeze(-1) * p
        q = A.matvec(p)
        curvature = torch.linalg.vecdot(p, q)
        sound = (curvature > 0) & (rz > 0)
        finite = torch.isfinite(curvature) & torch.isfinite(rz)
        failed = torch.where(finite, Reason.NOT_DEFINITE.code, Reason.NOT_FINITE.code)
        reason = torch.where(active & ~(sound & finite), failed, reason)
        active = active & sound & finite
        alpha = torch.where(active, rz / curvature, 0.0).unsqueeze(-1)
        # A column that has stopped keeps x and r bit for bit, whatever its directions have become.
        moving = active.unsqueeze(-1)
        x = torch.where(moving, x + alpha * p, x)
        r = torch.where(moving, r - alpha * q, r)
        norm = torch.where(active, torch.linalg.vector_norm(r, dim=-1), norm)
        iterations = iterations + active
        history.append(torch.where(active, norm, torch.nan))
        active = active & ~(norm <= wanted)
    reason = torch.where(active, Reason.MAX_ITERATIONS.code, reason)
    return Outcome(x, iterations, reason, torch.stack(history), None, name)

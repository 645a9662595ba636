"""What a solve returns, and what it raises."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Inexact, Int, Shaped
from torch import Tensor
from torch.nn.functional import pad

from pdekit.core.errors import PdekitError

__all__ = ["NotConverged", "Reason", "Solution"]


class Reason(enum.Enum):
    """Why a solver stopped; each member is a sentence that lists the likely causes."""

    CONVERGED = "the residual, recomputed from the returned x, is within the tolerance"
    MAX_ITERATIONS = (
        "the iteration limit was reached: it is too low for this problem, or the preconditioner is too weak for its "
        "size or contrast (Multigrid() fits grids, AMG(), IC0() or ILU0() sparse matrices, Direct() anything small)"
    )
    STAGNATION = (
        "the residual stopped falling before it reached the tolerance: the tolerance is below what float64 can attain "
        "for matrices of this condition, the matrix is nearly singular, or restarts of GMRES stall (a larger restart, "
        "a stronger preconditioner or Direct() helps)"
    )
    NOT_DEFINITE = (
        "conjugate gradients met a direction of no or negative curvature: the matrix or the preconditioner is not "
        "symmetric positive definite (a negative coefficient, a wrong sign, a singular matrix); MINRES() takes any "
        "symmetric matrix, Direct() any"
    )
    NOT_FINITE = (
        "NaN or infinity came up while solving finite inputs: entries of extreme size overflowed, or a zero on the "
        "diagonal met a preconditioner that divides by it"
    )
    SINGULAR = (
        "the matrix is singular: a grid or graph without Dirichlet condition, disconnected unknowns, or a row of "
        "zeros; the system has no unique solution"
    )
    BREAKDOWN = (
        "the recurrence broke down, dividing by an inner product that vanished: the matrix is singular or nearly so, "
        "the preconditioner maps a residual to 0, or the method met its bad luck (BiCGStab does); another x0, GMRES() "
        "or Direct() helps"
    )
    PRECONDITIONER_NOT_DEFINITE = (
        "the preconditioner is not positive definite, which MINRES needs whatever the matrix is; use none, one that "
        "was made from a definite part of the matrix, or GMRES(), which takes any"
    )
    MAX_STEPS = (
        "the limit of Newton steps was reached: it is too low, the first guess is too far from a solution, or the "
        "Jacobian is not quite the derivative of the residual, which makes progress slow"
    )
    LINE_SEARCH = (
        "no step along the Newton direction made the residual smaller: the Jacobian is not the derivative of the "
        "residual, the residual has a kink or a minimum that is no root, or rounding is reached"
    )
    SINGULAR_JACOBIAN = (
        "the Jacobian is singular at the last iterate: two solutions meet there, an unknown has no influence, or a "
        "boundary condition is missing"
    )
    LINEAR_SOLVE = (
        "the linear system of a Newton step could not be solved: the method does not fit the Jacobian (CG needs a "
        "definite one), or its limit is too low; Direct() or GMRES() may do"
    )

    def __str__(self) -> str:
        return self.value

    @property
    def code(self) -> int:
        """Position in the enumeration, for tensors of reasons."""
        return _CODES[self]


_NEAR = 100
"""Residuals of so many tolerances are little more than the tolerance asked for."""
_REASONS = tuple(Reason)
_CODES = {reason: code for code, reason in enumerate(_REASONS)}


@dataclass(frozen=True, repr=False)
class Solution:
    """The solution of a batch of linear systems and how it was reached; print it for a report.

    Args:
        x: ``(*batch, n)``, of the kind (NumPy or torch) of the right-hand side given.
        converged: ``(*batch,)``, whether the residual recomputed from ``x`` is within the tolerance.
        residual: ``(*batch,)``, ``||b - A x||_2 / ||b||_2`` recomputed from ``x``; the absolute norm where b is 0.
        tolerance: ``(*batch,)``, what was asked for, in the same measure.
        iterations: ``(*batch,)``; 0 for direct methods that needed no correction.
        reason: ``(*batch,)`` array of :class:`Reason`; an array without axes for one system.
        history: ``(steps, *batch)``, the residual measure before the first and after each iteration, NaN after
            stopping.
        setup_seconds: wall time of set-up (hierarchies, factors) of the whole call.
        solve_seconds: wall time of the rest of the call.
        method: the method, its preconditioner and the choices that were made automatically.
        nullspace: what was done about a singular matrix; None where it has no null space.
    """

    x: Inexact[Tensor, "*batch n"] | np.ndarray
    converged: Bool[Tensor, "*batch"]
    residual: Float[Tensor, "*batch"]
    tolerance: Float[Tensor, "*batch"]
    iterations: Int[Tensor, "*batch"]
    reason: Shaped[np.ndarray, "*batch"]
    history: Float[Tensor, "steps *batch"]
    setup_seconds: float
    solve_seconds: float
    method: str
    nullspace: str | None = None

    def __str__(self) -> str:
        total = self.converged.numel()
        what = "1 system" if total == 1 else f"{total} systems"
        lines = [f"Solution of {what} with {self.x.shape[-1]:,} unknowns by {self.method}"]
        passed = int(self.converged.sum())
        if total:
            worst, wanted = float(self.residual.max()), float(self.tolerance.max())
            lines.append(
                f"  converged   {passed} of {total}, largest relative residual {worst:.2e} (wanted {wanted:.1e})"
            )
            least, most = (int(v) for v in torch.aminmax(self.iterations))
            lines.append(f"  iterations  {least if least == most else f'{least} to {most}'}")
        lines.append(f"  seconds     {self.setup_seconds:.3g} set-up, {self.solve_seconds:.3g} solving")
        if self.nullspace:
            lines.append(f"  null space  {self.nullspace}")
        for reason, indices in _by_reason(self).items():
            lines.append(f"  failed      {_listed(indices)}: {reason.value}")
        return "\n".join(lines)

    __repr__ = __str__

    @staticmethod
    def cat(parts: "Sequence[Solution]") -> "Solution":
        """The systems of several solutions with one batch axis each, in order; seconds are summed."""
        steps = max(len(part.history) for part in parts)
        histories = [pad(part.history, (0, 0, 0, steps - len(part.history)), value=torch.nan) for part in parts]
        return Solution(
            x=torch.cat([torch.as_tensor(part.x) for part in parts]),
            converged=torch.cat([part.converged for part in parts]),
            residual=torch.cat([part.residual for part in parts]),
            tolerance=torch.cat([part.tolerance for part in parts]),
            iterations=torch.cat([part.iterations for part in parts]),
            reason=np.concatenate([part.reason for part in parts]),
            history=torch.cat(histories, dim=1),
            setup_seconds=sum(part.setup_seconds for part in parts),
            solve_seconds=sum(part.solve_seconds for part in parts),
            method="; ".join(dict.fromkeys(part.method for part in parts)),
            nullspace=parts[0].nullspace,
        )


class NotConverged(PdekitError):
    """Some systems missed their tolerance; ``solution`` holds everything that was reached.

    Example:
        >>> from pdekit.solvers import CG, solve
        >>> try:
        ...     solve(np.array([[2.0, 1.0], [1.0, 3.0]]), np.ones(2), CG(max_iterations=1))
        ... except NotConverged as error:
        ...     print(int(error.solution.iterations))
        1
    """

    def __init__(self, solution: Solution):
        self.solution = solution
        total = solution.converged.numel()
        missed = int((~solution.converged).sum())
        head = "The system" if total == 1 else f"{missed} of {total} systems"
        lines = [f"{head} did not reach the tolerance with {solution.method}."]
        for reason, indices in _by_reason(solution).items():
            shown = indices[0]
            residual, wanted = float(solution.residual[shown]), float(solution.tolerance[shown])
            steps = int(solution.iterations[shown])
            place = f"{_listed(indices)}: " if total > 1 else ""
            worst = max(float(solution.residual[where]) for where in indices)
            near = ""
            if reason is Reason.STAGNATION and worst <= _NEAR * wanted:
                near = f" Little is missing: rtol={2 * worst:.0e} would be met."
            reached = f"residual {residual:.2e}, wanted {wanted:.1e}, after {steps} iterations"
            lines.append(f"  {place}{reached}; {reason.value}.{near}")
        lines.append("  Pass throw=False to get the solution as it is; this error carries it as .solution.")
        super().__init__("\n".join(lines))

    def __reduce__(self):
        return NotConverged, (self.solution,)


def _by_reason(solution: Solution) -> dict[Reason, list[tuple[int, ...]]]:
    found: dict[Reason, list[tuple[int, ...]]] = {}
    for where in torch.nonzero(~solution.converged).tolist():
        found.setdefault(Reason(solution.reason[tuple(where)]), []).append(tuple(where))
    return found


def _listed(indices: list[tuple[int, ...]], most: int = 8) -> str:
    names = [str(list(where)) for where in indices[:most]]
    more = f" and {len(indices) - most} more" if len(indices) > most else ""
    return ", ".join(names) + more


def reasons_of(codes: Int[Tensor, "*batch"]) -> Shaped[np.ndarray, "*batch"]:
    """The reasons that a tensor of codes stands for."""
    table = np.array(_REASONS, dtype=object)
    return np.asarray(table[codes.cpu().numpy()], dtype=object)

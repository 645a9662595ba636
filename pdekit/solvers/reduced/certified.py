"""The reduced solution where it is good enough, a full solve where it is not."""

import time
from typing import TYPE_CHECKING

import torch
from jaxtyping import Inexact
from torch import Tensor

from pdekit.solvers.method import Method, Outcome, Prepared
from pdekit.solvers.operators.base import LinearOperator
from pdekit.solvers.reduced.systems import matrices_of
from pdekit.solvers.solution import Reason

if TYPE_CHECKING:
    from pdekit.solvers.reduced.reduced_model import ReducedModel

__all__ = ["Certified"]


class Certified(Prepared):
    """A reduced model bound to full matrices; the systems it misses go to a method, from the reduced solution on.

    Args:
        model: of the family of the matrices.
        operator: the matrices.
        method: set up only for those systems that need it.
    """

    def __init__(self, model: "ReducedModel", operator: LinearOperator, method: Method):
        super().__init__(operator)
        self.model, self.method = model, method
        self.picked = model.matrices.pick(operator)

    def run(
        self, b: Inexact[Tensor, "*batch n"], x0: Inexact[Tensor, "*batch n"] | None, rtol: float, atol: float
    ) -> Outcome:
        x = self.model.lifted(self.picked, b) if x0 is None else x0
        if x.is_complex() and not b.is_complex():  # a complex model of real matrices: the real part is no worse
            x = x.real.contiguous()
        before, residual = (torch.linalg.vector_norm(r, dim=-1) for r in (b, b - self.operator.matvec(x)))
        x = torch.where(torch.isfinite(residual).unsqueeze(-1), x, 0.0)  # the model may be singular
        history = torch.stack([before, residual])
        missed = ~(residual <= (rtol * before).clamp(min=atol))
        iterations = torch.zeros_like(missed, dtype=torch.int64)
        reason = torch.full_like(iterations, Reason.CONVERGED.code)
        name = f"reduced model of {len(self.model)} vectors"
        if not bool(missed.any()):
            return Outcome(x, iterations, reason, history, residual, name)
        began = time.perf_counter()
        systems = torch.nonzero(missed.reshape(-1))[:, 0]
        prepared = self.method.prepare(matrices_of(self.operator, tuple(before.shape), systems))
        seconds = time.perf_counter() - began
        right, start = (v.reshape(-1, v.shape[-1])[systems] for v in (b, x))
        found = prepared.run(right, start, rtol, atol)
        name += f"; then {found.name} for {len(systems)} of {missed.numel()} systems"
        x = x.reshape(-1, x.shape[-1]).index_copy(0, systems, found.x).reshape(x.shape)
        iterations = iterations.reshape(-1).index_copy(0, systems, found.iterations).reshape(missed.shape)
        reason = reason.reshape(-1).index_copy(0, systems, found.reason).reshape(missed.shape)
        if found.history is not None:
            steps = history.new_full((len(found.history) - 1, missed.numel()), torch.nan)
            steps[:, systems] = found.history[1:]
            history = torch.cat([history, steps.reshape(-1, *missed.shape)])
        return Outcome(x, iterations, reason, history, None, name, seconds + found.setup_seconds)

    def adjoint(self) -> Prepared:
        return self.method.prepare(self.operator).adjoint()

    def fallback(self) -> Prepared:
        return self.method.prepare(self.operator)

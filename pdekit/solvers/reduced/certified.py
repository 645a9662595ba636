"""The reduced solution where it is good enough, a full solve where it is not."""

import time
from typing import TYPE_CHECKING

import torch
from jaxtyping import Inexact
from torch import Tensor

from pdekit.solvers.method import Method, Outcome, Prepared
from pdekit.solvers.operators.csr import CSR
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

    def __init__(self, model: "ReducedModel", operator: CSR, method: Method):
        super().__init__(operator)
        self.model, self.method, self.matrices = model, method, operator
        self.picked = model.matrices.pick(operator)

    def run(
        self, b: Inexact[Tensor, "*batch n"], x0: Inexact[Tensor, "*batch n"] | None, rtol: float, atol: float
    ) -> Outcome:
        before = torch.linalg.vector_norm(b, dim=-1)
        x = self.model.lifted(self.picked, b) if x0 is None else x0
        residual = torch.linalg.vector_norm(b - self.matrices.matvec(x), dim=-1)
        history = torch.stack([before, residual])
        missed = ~(residual <= (rtol * before).clamp(min=atol))
        iterations = torch.zeros_like(missed, dtype=torch.int64)
        reason = torch.full_like(iterations, Reason.CONVERGED.code)
        name = f"reduced model of {len(self.model)} vectors"
        if not bool(missed.any()):
            return Outcome(x, iterations, reason, history, residual, name)
        began = time.perf_counter()
        systems = torch.nonzero(missed.reshape(-1))[:, 0]
        prepared = self.method.prepare(matrices_of(self.matrices, tuple(before.shape), systems))
        seconds = time.perf_counter() - began
        start = torch.where(torch.isfinite(residual[missed])[:, None], x[missed], 0.0)
        found = prepared.run(b[missed], start, rtol, atol)
        x = x.index_put((missed,), found.x)
        iterations = iterations.index_put((missed,), found.iterations)
        reason = reason.index_put((missed,), found.reason)
        if found.history is not None:
            steps = history.new_full((len(found.history) - 1, *missed.shape), torch.nan)
            steps[:, missed] = found.history[1:]
            history = torch.cat([history, steps])
        name += f"; then {found.name} for {len(systems)} of {missed.numel()} systems"
        return Outcome(x, iterations, reason, history, None, name, seconds + found.setup_seconds)

    def adjoint(self) -> Prepared:
        return self.method.prepare(self.operator).adjoint()

    def fallback(self) -> Prepared:
        return self.method.prepare(self.operator)

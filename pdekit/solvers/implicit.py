"""Gradients of a solution by the implicit function theorem."""

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Inexact
from torch import Tensor

from pdekit.solvers.confirm import confirmed
from pdekit.solvers.method import Prepared
from pdekit.solvers.solution import NotConverged, Solution

__all__ = ["solve_differentiably"]


def solve_differentiably(
    prepared: Prepared,
    b: Inexact[Tensor, "*batch n"],
    x0: Inexact[Tensor, "*batch n"] | None,
    rtol: float,
    atol: float,
) -> Solution:
    """The confirmed solution, through which gradients flow to ``b`` and to the stored values of the matrix.

    With ``x = A^-1 b`` and a cotangent g, the multiplier ``w = A^-H g`` is the gradient to b and ``-w_i conj(x_j)``
    that to the entry (i, j) (A^H is the conjugate transpose, for real matrices the transpose). The multiplier comes
    from the same method with the adjoint preconditioner, to the tolerance rtol ||g||, and is differentiable again.

    Raises:
        NotConverged: in the backward pass, where the multiplier misses its tolerance.
    """
    values = prepared.operator.values
    if not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (b, *values))):
        return confirmed(prepared, b, x0, rtol, atol)
    report: list[Solution] = []
    x = _Implicit.apply(prepared, x0, rtol, atol, report, b, *values)
    return replace(report[0], x=x)


class _Implicit(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, prepared, x0, rtol, atol, report, b, *values):
        solution = confirmed(prepared, b, x0, rtol, atol)
        report.append(solution)
        ctx.prepared, ctx.rtol = prepared, rtol or 1e-10
        ctx.save_for_backward(solution.x, *values)
        return solution.x

    @staticmethod
    def backward(ctx: Any, *cotangents):
        x, *values = ctx.saved_tensors
        again = torch.is_grad_enabled()
        adjoint = ctx.prepared.adjoint()
        multiplier = solve_differentiably(adjoint, cotangents[0].contiguous(), None, ctx.rtol, 0.0)
        if not bool(multiplier.converged.all()):
            raise NotConverged(multiplier)
        w = multiplier.x
        gradients: list[Tensor | None] = [None] * len(values)
        wanted = [place for place in range(len(values)) if ctx.needs_input_grad[6 + place]]
        if wanted:
            with torch.enable_grad():
                # Fresh names for the values make this a partial derivative: w and x depend on the values too.
                leaves = [v.view_as(v) if again else v.detach().requires_grad_(v.requires_grad) for v in values]
                product = -torch.linalg.vecdot(w, ctx.prepared.operator.with_values(leaves).matvec(x)).real.sum()
            found = torch.autograd.grad(product, [leaves[place] for place in wanted], create_graph=again)
            for place, gradient in zip(wanted, found, strict=True):
                gradients[place] = gradient
        return None, None, None, None, None, w, *gradients

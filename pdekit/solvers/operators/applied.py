"""Linear maps computed outside autograd, with their adjoint as gradient."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Inexact
from torch import Tensor

from pdekit.solvers.operators.base import LinearOperator

__all__ = ["applied"]


def applied(
    operator: LinearOperator, compute: Callable[[Tensor], Tensor], x: Inexact[Tensor, "*batch n"]
) -> Inexact[Tensor, "*more n"]:
    """``compute(x)``, where gradients to x come from ``operator.adjoint()``; none flow to the operator.

    Args:
        operator: the linear map.
        compute: it, on plain numbers: compiled kernels, or operations that autograd need not remember.
        x: vectors, whose batch broadcasts with the operator's.
    """
    if not torch.is_grad_enabled():
        return compute(x)
    return _Applied.apply(x, operator, compute)  # pyright: ignore[reportReturnType]


class _Applied(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, operator: LinearOperator, compute: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.operator, ctx.shape = operator, x.shape
        return compute(x)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor):
        return ctx.operator.adjoint().matvec(cotangents[0]).sum_to_size(ctx.shape), None, None

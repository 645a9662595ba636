"""What rounding allows to be known of a residual."""

import math

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from pdekit.solvers.operators.base import LinearOperator
from pdekit.solvers.operators.csr import CSR
from pdekit.solvers.operators.dense import DenseMatrix

__all__ = ["blurred"]

_SURE = 100.0
"""How far rounding must exceed a tolerance before no residual within it is believed. Rounding errors are often ten
times smaller than eps |A| |x|, hardly ever a hundred times in the whole norm."""


@torch.no_grad()
def blurred(
    A: LinearOperator,
    x: Inexact[Tensor, "*batch n"],
    residual: Float[Tensor, "*batch"],
    tolerance: Float[Tensor, "*batch"],
) -> Float[Tensor, "*batch"]:
    """The residuals, none of which is smaller than its rounding errors where these exceed the tolerance by far.

    Each component of A x carries an error of about ``eps (|A| |x|)_i``. Where x is huge, as of a singular matrix, that
    exceeds b itself: a computed residual that is small, or 0, is then so by chance and says nothing about x. Only
    matrices with stored entries are looked at.

    Args:
        A: the matrices.
        x: solutions, in the unit of the residuals.
        residual: norms computed from them.
        tolerance: what they are compared with.

    Example:
        >>> ones = DenseMatrix(torch.ones(2, 2, dtype=torch.float64))
        >>> x, tolerance = torch.tensor([1e20, -1e20], dtype=torch.float64), torch.tensor(1e-8, dtype=torch.float64)
        >>> float(blurred(ones, x, torch.zeros_like(tolerance), tolerance))
        62803.698347351004
    """
    if not isinstance(A, CSR | DenseMatrix) or x.numel() == 0 or A.values[0].numel() == 0:
        return residual
    values, eps = A.values[0], torch.finfo(x.dtype).eps
    small = residual <= tolerance
    # || |A| |x| || is at most the Frobenius norm times ||x||: enough to let all but strange systems pass.
    stored = values.shape[-1] if isinstance(A, CSR) else A.shape[0] ** 2
    bound = torch.linalg.vector_norm(values, ord=math.inf) * stored**0.5 * torch.linalg.vector_norm(x, dim=-1)
    if not bool((small & ~(eps * bound <= _SURE * tolerance)).any()):
        return residual
    sums = (CSR(A.pattern, None, values.abs()) if isinstance(A, CSR) else DenseMatrix(values.abs())).matvec(x.abs())
    rounding = eps * torch.linalg.vector_norm(sums, dim=-1)
    return torch.where(small & ~(rounding <= _SURE * tolerance), torch.maximum(residual, rounding), residual)

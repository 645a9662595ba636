"""How far to trust a correction: what a few steps of conjugate gradients say of it, for each matrix."""

import math
from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pdekit.solvers.krylov.cg import conjugate_gradients
from pdekit.solvers.krylov.sparse_cg import SparseCG, fits
from pdekit.solvers.operators.base import LinearOperator
from pdekit.solvers.operators.csr import CSR

__all__ = ["counted", "searched"]

_STEPS = 5
"""Steps of conjugate gradients on each probe."""
_ALPHAS = (1.0, 0.5, 0.25)
"""What of the correction is tried, before none."""


def searched(A: CSR, operator: Callable[[Sequence[float]], LinearOperator], probes: int) -> list[float]:
    """The largest alpha for each matrix with which conjugate gradients do better than without a correction.

    A few steps are enough: right-hand sides of white noise have solutions that are smooth, and what a preconditioner
    does for smooth errors decides about the rest of the iterations.

    Args:
        A: the matrices.
        operator: makes the preconditioner from alpha of each matrix, counted through the batch.
        probes: right-hand sides.

    Returns:
        1, 1/2, 1/4 or 0 for each matrix; 0 where none of the others did better than it.
    """
    n, batch = A.shape[0], A.batch_shape
    noise = torch.randn(probes, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(A.device)
    b = noise.reshape(probes, *(1,) * len(batch), n).expand(probes, *batch, n)

    def gains(alphas: Sequence[float]) -> Tensor:
        """What the steps take from the square of the error in the norm of A: <b, x>, since x is A-orthogonal to it."""
        P = operator(alphas)
        if fits(A, P):  # a probe a thread
            x = SparseCG(A, P, _STEPS).run(b, None, 0.0, 0.0).x
        else:
            x = conjugate_gradients(A, P, b, None, b.new_zeros(b.shape[:-1]), _STEPS, check_every=None).x
        gain = torch.linalg.vecdot(b, x).sum(0).flatten()
        return torch.where(torch.isfinite(gain), gain, -torch.inf)

    count = math.prod(batch)
    chosen, classical = [0.0] * count, gains([0.0] * count)
    for alpha in _ALPHAS:
        better = gains([alpha] * count) > classical
        chosen = [alpha if not found and won else found for found, won in zip(chosen, better.tolist(), strict=True)]
        if all(chosen):
            break
    return chosen


def counted(alphas: Sequence[float]) -> str:
    """How names say what was found.

    Example:
        >>> counted([1.0, 1.0]), counted([1.0, 0.0, 1.0])
        ('alpha 1', 'alpha 1 in 2 matrices, 0 in 1')
    """
    counts = Counter(alphas)
    if len(counts) == 1:
        return f"alpha {alphas[0]:g}"
    first, *others = sorted(counts, reverse=True)
    rest = "".join(f", {alpha:g} in {counts[alpha]}" for alpha in others)
    return f"alpha {first:g} in {counts[first]} matri{'x' if counts[first] == 1 else 'ces'}{rest}"

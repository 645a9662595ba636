"""Functions of place, as all of ``pdekit.fem`` calls them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from pdekit.core.checks import as_numbers
from pdekit.core.errors import InputError
from pdekit.core.expressions import Expression

__all__ = ["as_dofs", "as_precise", "at_points"]


def at_points(
    function: Callable[[Tensor], Any], points: Shaped[Tensor, "m dim"], what: str
) -> tuple[Shaped[Tensor, "m *components"], int]:
    """The values of a user's function at points; the one place where such functions are called.

    The function gets the points with coordinates first, ``(dim, m)``: ``x[0]`` is the first coordinate of every point.
    It answers with numbers ``(m,)``, vectors ``(m, dim)``, matrices ``(m, dim, dim)``, one number, or a tuple of
    components, each a number or ``(m,)``. An :class:`~pdekit.core.expressions.Expression` is known and gets its points
    its own way.

    Args:
        function: of points.
        points: ``(m, dim)``.
        what: the function is, for messages.

    Returns:
        The values, and how many component axes they have.

    Raises:
        InputError: an answer of another shape, or that is not real.

    Example:
        >>> at_points(lambda x: (x[1], 0.0), torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "velocity")
        (tensor([[2., 0.],
                [4., 0.]], dtype=torch.float64), 1)
    """
    m, dim = points.shape
    try:
        answer = function(points) if isinstance(function, Expression) else function(points.T)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{what} failed with {type(error).__name__}: {error}. It gets coordinates first, ({dim}, {m}): x[0] is the "
            "first coordinate of every point."
        ) from error
    if isinstance(answer, tuple | list) and len(answer):
        parts = [_tensor(part, points, what) for part in answer]
        shapes = {tuple(part.shape) for part in parts} - {()}
        if len(parts) == dim and shapes <= {(m,)}:
            return torch.stack([part.expand(m) for part in parts], dim=-1), 1
        given = f"{len(parts)} components of shapes {sorted(shapes)}"
    else:
        values = _tensor(answer, points, what)
        if values.ndim == 0:
            return values.expand(m), 0
        for rank in range(3):
            if tuple(values.shape) == (m, *[dim] * rank):
                return values, rank
        given = f"the shape {tuple(values.shape)}"
    raise InputError(
        f"{what} answered with {given} for {m} points; expected ({m},), ({m}, {dim}) or a tuple of {dim} components. "
        f"It gets coordinates first: x[0] has the shape ({m},)."
    )


def _tensor(answer: Any, points: Tensor, what: str) -> Tensor:
    try:
        return as_precise(answer, points.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{what} answered with a {type(answer).__name__}; expected numbers.") from error


def as_precise(values: Any, device: torch.device) -> Shaped[Tensor, "..."]:
    """Numbers, sequences, arrays or tensors in float64 or complex128.

    Torch would take a Python number for one of single precision, and 0.1 would be 0.10000000149.
    """
    if not isinstance(values, Tensor):
        values = torch.from_numpy(np.array(values))
    return values.to(device=device, dtype=torch.complex128 if values.is_complex() else torch.float64)


def as_dofs(u: Any, n_dofs: int) -> Shaped[Tensor, "*batch dofs"]:
    """Degrees of freedom from a tensor or an array.

    Raises:
        InputError: no numbers, or another number of them.
    """
    values = as_numbers("u", u)
    if values.shape[-1:] != (n_dofs,):
        raise InputError(f"u has shape {tuple(values.shape)}; expected (*batch, {n_dofs}).")
    return values if values.is_complex() or values.is_floating_point() else values.to(torch.float64)

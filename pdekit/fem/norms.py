"""Norms of finite element functions, and of their errors."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from pdekit.core.errors import InputError
from pdekit.fem.arguments import check_space
from pdekit.fem.coefficients import interpolated
from pdekit.fem.patch import Patch
from pdekit.fem.points import as_dofs
from pdekit.fem.space import Space

__all__ = ["error_h1", "error_l2", "norm_h1", "norm_l2"]

_FINER = 3
"""How much higher than for assembly the order of quadrature is against a function that is no polynomial."""
_CHUNK = 2**18


def norm_l2(space: Space, u: Shaped[Tensor, "*batch dofs"] | np.ndarray) -> Shaped[Tensor, "*batch"]:
    """The root of the integral of ``|u|^2``.

    Args:
        space: where u lives.
        u: degrees of freedom.

    Raises:
        InputError: another number of degrees of freedom.

    Example:
        >>> from pdekit.domain import Interval
        >>> from pdekit.fem import P1
        >>> space = Space(Interval(cells=4, box=(0.0, 3.0)).mesh(), P1())
        >>> norm_l2(space, space.interpolate(lambda x: x[0]))
        tensor(3., dtype=torch.float64)
    """
    return _integral(space, u, None, slopes=False).sqrt()


def norm_h1(space: Space, u: Shaped[Tensor, "*batch dofs"] | np.ndarray) -> Shaped[Tensor, "*batch"]:
    """The root of the integral of ``|u|^2 + |grad u|^2``; arguments as for :func:`norm_l2`."""
    return _integral(space, u, None, slopes=True).sqrt()


def error_l2(space: Space, u: Shaped[Tensor, "*batch dofs"] | np.ndarray, exact: Any) -> Shaped[Tensor, "*batch"]:
    """The L2 norm of ``u - exact``, by quadrature of a higher order than that of the space.

    Args:
        space: where u lives.
        u: degrees of freedom.
        exact: a function of points, coordinates first (``lambda x: torch.sin(x[0])``), which answers for vector fields
            with a tuple or ``(points, dim)``; an Expression; or a number, for vector fields also a tuple.

    Raises:
        InputError: another number of degrees of freedom or of components; degrees of freedom as
            ``exact`` (``norm_l2(space, u - v)`` compares two functions of a space).
    """
    return _integral(space, u, exact, slopes=False).sqrt()


def error_h1(space: Space, u: Shaped[Tensor, "*batch dofs"] | np.ndarray, exact: Any) -> Shaped[Tensor, "*batch"]:
    """The H1 norm of ``u - exact``, whose gradient is found by differentiating ``exact``; as :func:`error_l2`."""
    return _integral(space, u, exact, slopes=True).sqrt()


def _integral(space: Space, given: Any, exact: Any, slopes: bool) -> Tensor:
    check_space(space)
    u = as_dofs(given, space.n_dofs)
    if isinstance(exact, Tensor | np.ndarray) and exact.ndim:
        raise InputError(
            f"exact has shape {tuple(exact.shape)}; expected a function of points, an Expression or a number. Of two "
            "functions of one space the difference is norm_l2(space, u - v)."
        )
    order = space.quadrature_order + (_FINER if exact is not None else 0)
    batch = u.shape[:-1]
    total = u.new_zeros(batch).real
    size = max(1, _CHUNK // (space.cell_dofs.shape[1] * max(1, batch.numel())))
    for first in range(0, space.n_items, size):
        patch = space.patch(first, min(first + size, space.n_items), u.device, order)
        nodes = space.node_dofs[patch.cells].to(u.device)
        values = u.unflatten(-1, (-1, space.components)) if space.rank else u
        local = values.index_select(len(batch), nodes.reshape(-1)).unflatten(len(batch), tuple(nodes.shape))
        function = interpolated(patch, space.scalar, local, space.rank)
        flat = (..., 0, 0, *[slice(None)] * space.rank)
        parts = [function.array[flat]]
        if slopes:
            parts.append(function.grad.array[(*flat, slice(None))])
        targets = _exact(space, patch, exact, slopes) if exact is not None else [None] * len(parts)
        for found, target in zip(parts, targets, strict=True):
            missed = found if target is None else found - target
            square = missed.abs() ** 2
            square = square.flatten(len(batch) + 2).sum(-1) if square.ndim > len(batch) + 2 else square
            total = total + (square * patch.dx).sum((-1, -2))
    return total


def _exact(space: Space, patch: Patch, exact: Any, slopes: bool) -> list[Tensor]:
    """Values ``(m, q, *components)`` of a function at the points of a patch, and its gradient."""
    x = patch.x.detach().reshape(-1, space.mesh.dim)
    with torch.enable_grad():
        place = x.clone().requires_grad_(slopes)
        values = space.values_at(exact, place, "The exact solution")
        shape = patch.x.shape[:2]
        out = [values.detach().reshape(*shape, *values.shape[1:])]
        if slopes:
            columns = values.reshape(len(x), -1).unbind(-1)
            rows = [_slope(column, place) for column in columns]
            gradient = torch.stack(rows, dim=1) if space.rank else rows[0]
            out.append(gradient.reshape(*shape, *gradient.shape[1:]))
    return out


def _slope(values: Tensor, place: Tensor) -> Tensor:
    if not values.requires_grad:
        return torch.zeros_like(place)
    (gradient,) = torch.autograd.grad(values.sum(), place, retain_graph=True, allow_unused=True)
    return torch.zeros_like(place) if gradient is None else gradient

"""What a field leaves of an equation, interior and boundary apart."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from pdekit.core.checks import check_shape
from pdekit.core.errors import InputError
from pdekit.domain import Boundary, Grid
from pdekit.solvers import LinearSystem, diffusion
from pdekit.solvers.operators.diffusion import FieldLike, Mean, on_side
from pdekit.solvers.operators.layout import Layout

__all__ = ["Residual", "diffusion_residual"]


@dataclass(frozen=True)
class Residual:
    """By how much a field misses a family's equations, in the family's own discretisation.

    Args:
        interior: ``(batch, *shape)``, the right-hand side minus the operator applied to u (with u's own values on the
            sides) at the nodes inside; 0 on the sides. On a mesh tested with the basis functions.
        boundary: by side, ``(batch, *side)``: u minus its value on a Dirichlet side; the missing flux, to second order,
            on a Neumann or Robin side. On a mesh by name (``(rest)`` for what no condition names), over the degrees of
            freedom of the part, in order: u minus its value where it is prescribed, elsewhere what the equation tested
            with the basis function misses.
    """

    interior: Inexact[Tensor, "batch *shape"]
    boundary: Mapping[str, Tensor]


def diffusion_residual(
    grid: Grid,
    u: Float[Tensor, "..."],
    coefficient: FieldLike,
    source: FieldLike,
    boundaries: Sequence[Boundary],
    mean: Mean = "harmonic",
    balance: bool = False,
    equations: Callable[..., LinearSystem] = diffusion,
) -> Residual:
    """What a field leaves of -div(a grad u) = f and of the boundary conditions; differentiable.

    Args:
        grid: the grid of all nodes.
        u: ``(batch, *grid.shape)``.
        coefficient: as :func:`pdekit.solvers.diffusion` takes it.
        source: likewise.
        boundaries: likewise.
        mean: likewise.
        balance: take a constant off the source where no side fixes u, as :meth:`LinearSystem.balanced` does.
        equations: makes them, called as :func:`pdekit.solvers.diffusion` is.

    Raises:
        InputError: u of another shape.
    """
    check_shape("the field", u, grid.shape)
    if u.ndim != grid.dim + 1:
        raise InputError(f"The field has shape {tuple(u.shape)}; expected one batch axis and the grid's {grid.shape}.")
    u = u.to(torch.float64)
    layout, dim = Layout(grid, boundaries), grid.dim
    fixed = [(k, end, side) for k, end, side in layout.sides() if side.kind == "dirichlet"]
    target = torch.zeros_like(u)
    for k, end, side in fixed:
        target.select(k - dim, -end).copy_(on_side(side.where, "value", side.value, grid, k, u))
    own = dict(layout.resolved)
    mismatch = {}
    for k, end, side in fixed:
        values = u.select(k - dim, -end)
        own[side.where] = replace(side, value=values)
        mismatch[side.where] = values - target.select(k - dim, -end)
    # With u's own values on the Dirichlet sides, what is left inside says nothing about the boundary conditions.
    system = equations(grid, coefficient, source, tuple(own.values()), mean=mean)
    system = system.balanced() if balance else system
    left = system.rhs - system.operator.matvec(system.reduce(u))
    left = left.reshape(*left.shape[:-1], *layout.lattice)
    inside = torch.ones(layout.lattice, dtype=u.dtype, device=u.device)
    for k, end, side in layout.sides():
        if side.kind in ("neumann", "robin"):
            inside.select(k, -end).zero_()
            flux = left.select(k - dim, -end) * grid.spacing[k]
            if (area := layout.share(u, without=k)) is not None:
                flux = flux / area
            mismatch[side.where] = layout.embed(flux, without=k)
    return Residual(layout.embed(left * inside), mismatch)

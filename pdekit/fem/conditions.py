"""Values of boundary conditions on the degrees of freedom of a part of the boundary."""

from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from pdekit.core.checks import check_finite
from pdekit.core.errors import InputError
from pdekit.fem.points import as_precise

if TYPE_CHECKING:
    from pdekit.fem.space import Space

__all__ = ["ELSEWHERE", "boundary_values"]

ELSEWHERE = {
    "dirichlet": "fem.eliminate takes it",
    "periodic": "a periodic condition needs a Grid",
    "impedance": "families.Helmholtz takes it",
}
"""Who takes a kind of condition that was given in the wrong place."""


def boundary_values(
    space: "Space", where: str, value: Any, dofs: Int64[Tensor, " m"], device: torch.device, what: str = "value"
) -> Shaped[Tensor, "*batch m"]:
    """A boundary value at each degree of freedom of a part of the boundary.

    Args:
        space: the space.
        where: name of the part.
        value: a number, a tensor ``(*batch, m)``, for vector fields also ``(dim,)`` or a tuple of ``dim`` numbers, or a
            function of points, coordinates first.
        dofs: ``space.dofs(where)``.
        device: of the values.
        what: the value is called in messages.

    Returns:
        ``(*batch, m)``.

    Raises:
        InputError: values that do not fit or are not finite.
    """
    name, d = f"The {what} of the boundary {where!r}", space.components
    if not isinstance(value, Tensor):
        values = space.values_at(value, space.dof_points[dofs[::d]].to(device), name).reshape(-1)
    else:
        values = as_precise(value, device)
        if values.ndim == 0:
            values = values.expand(len(dofs))
        elif values.shape[-1] != len(dofs) and space.rank and values.shape == (d,):
            values = values.repeat(len(dofs) // d)
        elif values.shape[-1] != len(dofs):
            vector = f", or ({d},) for all of them" if space.rank else ""
            raise InputError(
                f"{name} has shape {tuple(value.shape)}; expected (*batch, {len(dofs)}), one number for each of "
                f"space.dofs({where!r}){vector}."
            )
    check_finite(name, values)
    return values

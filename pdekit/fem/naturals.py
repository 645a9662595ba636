"""Neumann and Robin conditions as boundary terms."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor

from pdekit.core.errors import InputError
from pdekit.domain import Boundary
from pdekit.fem.arguments import check_boundaries, check_space
from pdekit.fem.assembly import assemble
from pdekit.fem.boundary_space import BoundarySpace
from pdekit.fem.coefficients import Field
from pdekit.fem.conditions import ELSEWHERE, boundary_values
from pdekit.fem.points import as_precise, at_points
from pdekit.fem.quantities import Function, Quantity, inner
from pdekit.fem.space import Space
from pdekit.fem.surroundings import Surroundings
from pdekit.solvers.operators.csr import CSR

__all__ = ["natural", "on_boundary"]


def natural(
    space: Space, boundaries: Sequence[Boundary], k: Any = 1.0
) -> tuple[CSR | None, Shaped[Tensor, "*batch dofs"]]:
    """The terms that Neumann and Robin conditions add to a matrix and a right-hand side.

    Of ``-div(k grad u) = f`` with ``du/dn = value`` or ``du/dn + coefficient u = value`` the weak form has on its right
    the integral of ``k value v`` over the part, and on its left that of ``k coefficient u v``. For vector fields the
    value is the traction (with k = 1). ``all`` is what the other conditions leave; a part that is not named has
    ``du/dn = 0``.

    Args:
        space: the space.
        boundaries: Neumann and Robin conditions. Values and coefficients: a number; a tensor ``(*batch, m)`` over
            ``space.dofs(where)``, of which the finite element function is taken; a function of points, coordinates
            first (``lambda x: x[1]``); for vector fields a value is also ``(dim,)`` or a tuple.
        k: the coefficient of the equation, as :func:`assemble` takes it.

    Returns:
        The matrix on the pattern of the space, to be added (None without a Robin condition), and the vector.

    Raises:
        InputError: another kind of condition, an unknown or repeated part, values that do not fit, a negative
            coefficient.

    Example:
        >>> from pdekit.domain import Interval
        >>> from pdekit.fem import P1, forms
        >>> space = Space(Interval(cells=2).mesh(), P1())
        >>> A, b = natural(space, [Boundary("left", "neumann", 3.0), Boundary("right", "robin", 1.0, coefficient=4.0)])
        >>> b, (assemble(forms.diffusion, space, k=1.0) + A).diagonal()
        (tensor([3., 0., 1.], dtype=torch.float64), tensor([2., 4., 6.], dtype=torch.float64))
    """
    named: set[str] = set()
    matrix: CSR | None = None
    vector: Tensor | None = None
    check_space(space)
    check_boundaries(boundaries, "neumann")
    for boundary in boundaries:
        _check(boundary, named)
    for boundary in boundaries:
        part = _part(space, boundary.where, named)
        added = assemble(_load, part, k=k, value=on_boundary(space, boundary.where, boundary.value, "value"))
        assert isinstance(added, Tensor)
        vector = added if vector is None else vector + added
        if boundary.kind == "robin":
            coefficient = on_boundary(space, boundary.where, boundary.coefficient, "coefficient")
            more = assemble(_mass, part, k=k, coefficient=coefficient)
            assert isinstance(more, CSR)
            matrix = more if matrix is None else matrix + more
    return matrix, torch.zeros(space.n_dofs, dtype=torch.float64) if vector is None else vector


def _load(v: Function, w: Surroundings) -> Quantity:
    return w.k * inner(w.value, v.value)


def _mass(u: Function, v: Function, w: Surroundings) -> Quantity:
    return w.k * w.coefficient * inner(u.value, v.value)


def _check(boundary: Boundary, named: set[str]) -> None:
    if boundary.kind not in ("neumann", "robin"):
        raise InputError(
            f"The boundary {boundary.where!r} is {boundary.kind}; natural takes neumann and robin: "
            f"{ELSEWHERE[boundary.kind]}."
        )
    if boundary.where in named:
        raise InputError(f"The boundary {boundary.where!r} is given twice; expected one condition a part.")
    named.add(boundary.where)


def _part(space: Space, where: str, named: set[str]) -> BoundarySpace:
    """Where a condition holds: ``all`` is what the others leave."""
    others = sorted(named - {"all"})
    if where != "all" or not others:
        return space.boundary(where)
    taken = torch.cat([space.mesh.boundary(name) for name in others])
    facets = space.mesh.boundary("all")
    return BoundarySpace(space, f"all but {', '.join(others)}", facets[~torch.isin(facets, taken)])


def _not_negative(where: str, function: Callable[[Tensor], Any]) -> Callable[[Tensor], Tensor]:
    """A Robin coefficient by place, which is refused where it is negative."""

    def checked(x: Tensor) -> Tensor:
        values, rank = at_points(function, x.T, f"The coefficient of the boundary {where!r}")
        if rank == 0 and not values.is_complex() and bool((values < 0).any()):
            first = int(torch.nonzero(values < 0)[0, 0])
            place = ", ".join(f"{c:.4g}" for c in x[:, first].tolist())
            raise InputError(
                f"The coefficient of the boundary {where!r} is {float(values[first]):.4g} at ({place}), which is "
                "negative; expected du/dn + coefficient u = value."
            )
        return values

    return checked


def on_boundary(space: Space, where: str, value: Any, what: str) -> Any:
    """A value of a condition as a coefficient of a form, in the ways that :class:`Boundary` promises.

    Args:
        space: the space.
        where: name of the part.
        value: a number, a tensor ``(*batch, m)`` over ``space.dofs(where)``, a function of points; for vector fields
            also a tuple.
        what: ``value`` or ``coefficient``, which is a scalar and not negative.

    Returns:
        What :func:`assemble` takes.

    Raises:
        InputError: values that do not fit, a negative coefficient (of a function: where the form is assembled).

    Example:
        >>> from pdekit.domain import Interval
        >>> on_boundary(Space(Interval(cells=2).mesh()), "right", torch.tensor([3.0]), "value").values
        tensor([0., 0., 3.], dtype=torch.float64)
    """
    if callable(value) and not isinstance(value, Tensor):
        return _not_negative(where, value) if what == "coefficient" else value
    home = space if what == "value" or not space.rank else Space(space.mesh, space.scalar)
    try:
        numbers = as_precise(value, torch.device("cpu")).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"The {what} of the boundary {where!r} is a {type(value).__name__}; expected a number, a tensor or a "
            "function of points."
        ) from error
    if what == "coefficient" and not numbers.is_complex() and bool((numbers < 0).any()):
        raise InputError(
            f"The coefficient of the boundary {where!r} is negative; expected du/dn + coefficient u = value."
        )
    if not isinstance(value, Tensor) and not home.rank:
        return value
    if home.scalar.degree == 0:
        raise InputError(f"{space.element} has no degrees of freedom on a boundary; expected a number or a function.")
    dofs = home.dofs(where)
    device = value.device if isinstance(value, Tensor) else torch.device("cpu")
    values = boundary_values(home, where, value, dofs, device, what)
    zeros = torch.zeros((*values.shape[:-1], home.n_dofs), dtype=values.dtype, device=device)
    return Field(home, zeros.index_copy(-1, dofs.to(device), values))

"""Boundary conditions as data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import Tensor

from pdekit.core.errors import InputError, did_you_mean
from pdekit.core.expressions import Expression
from pdekit.domain.grid import AXES, SIDES, Grid

__all__ = ["Boundary", "BoundaryKind", "BoundaryValue", "resolve_boundaries"]

BoundaryKind = Literal["dirichlet", "neumann", "robin", "periodic", "impedance"]
BoundaryValue = float | complex | str | tuple[float, ...] | Tensor | Callable[[Tensor], Any]


@dataclass(frozen=True)
class Boundary:
    """One condition on one named part of the boundary.

    Args:
        where: name of the part; on a Grid left, right, bottom, top, back, front, or ``all`` for every side.
        kind: ``dirichlet`` (u = value), ``neumann`` (du/dn = value), ``robin`` (du/dn + coefficient u = value), with n
            the outward normal, ``periodic`` (both sides of an open axis), or ``impedance`` (du/dn - i k u = value, for
            waves of wave number k: what :class:`pdekit.families.Helmholtz` takes).
        value: a number; for vector fields a tuple of components; a tensor ``(*batch, *side)`` over the points of the
            side; or a function. On a grid the function gets the points ``(*side, dim)``; on a mesh, as everywhere in
            ``pdekit.fem``, the coordinates first (``lambda x: x[1]``). A formula of x, y, z such as ``"x*(1-x)"`` fits
            both, and files; it becomes an :class:`~pdekit.core.expressions.Expression`.
        coefficient: of a Robin condition, like ``value`` and not negative.

    Raises:
        InputError: an unknown kind, a Robin condition without coefficient, or a coefficient without Robin condition.

    Example:
        >>> Boundary("left", "robin", 1.0, coefficient=2.0).kind
        'robin'
    """

    where: str
    kind: BoundaryKind
    value: BoundaryValue = 0.0
    coefficient: BoundaryValue | None = None

    def __post_init__(self):
        for name in ("value", "coefficient"):
            if isinstance(given := getattr(self, name), str):
                object.__setattr__(self, name, Expression(given))
        if self.kind not in get_args(BoundaryKind):
            hint = did_you_mean(str(self.kind), get_args(BoundaryKind))
            raise InputError(f"Boundary kind {self.kind!r} on {self.where!r} is unknown. {hint}")
        if self.kind == "robin" and self.coefficient is None:
            raise InputError(
                f"The robin boundary {self.where!r} has no coefficient; expected coefficient= in "
                "du/dn + coefficient u = value (without one it is a neumann boundary)."
            )
        if self.kind != "robin" and self.coefficient is not None:
            raise InputError(f"The {self.kind} boundary {self.where!r} has a coefficient; only robin takes one.")


def resolve_boundaries(grid: Grid, boundaries: Sequence[Boundary] = ()) -> dict[str, Boundary]:
    """The condition on each side of a grid: those given, periodic on open axes, otherwise homogeneous Dirichlet.

    Args:
        grid: the grid.
        boundaries: conditions by side name; ``all`` stands for every side not named otherwise.

    Returns:
        One Boundary per side name, in the order of ``SIDES``.

    Raises:
        InputError: an unknown or repeated side, a periodic condition on a closed axis, another on an open axis.

    Example:
        >>> resolve_boundaries(Grid((4,)), [Boundary("right", "neumann")])["left"].kind
        'dirichlet'
    """
    names = [name for pair in SIDES[: grid.dim] for name in pair]
    named: dict[str, Boundary] = {}
    for boundary in boundaries:
        if boundary.where not in (*names, "all"):
            hint = did_you_mean(boundary.where, [*names, "all"])
            raise InputError(f"A {grid.dim}-dimensional grid has no side {boundary.where!r}. {hint}")
        if boundary.where in named:
            raise InputError(f"The side {boundary.where!r} is given twice; expected one condition a side.")
        named[boundary.where] = boundary
    rest = named.pop("all", None)
    resolved = {}
    for axis in range(grid.dim):
        for name in SIDES[axis]:
            if grid.closed_axes[axis]:
                default = rest or Boundary(name, "dirichlet")
            else:
                default = Boundary(name, "periodic")
            found = named.get(name, default)
            if found.kind == "impedance":
                raise InputError(f"The side {name!r} is of the kind impedance; expected a mesh, and Helmholtz on it.")
            if (found.kind == "periodic") != (not grid.closed_axes[axis]):
                expected = "a closed" if found.kind != "periodic" else "an open (closed=False)"
                raise InputError(
                    f"The side {name!r} is {found.kind}, which needs {expected} axis {AXES[axis]}; "
                    f"the grid has closed={grid.closed_axes}."
                )
            resolved[name] = Boundary(name, found.kind, found.value, found.coefficient)
    return resolved

"""Coefficients of forms: what their shapes mean, and their values at quadrature points."""

import math
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Shaped
from torch import Tensor

from pdekit.core.checks import check_finite
from pdekit.core.errors import InputError
from pdekit.fem.elements import Element, first_order
from pdekit.fem.patch import Patch
from pdekit.fem.points import as_precise, at_points
from pdekit.fem.quantities import Function, Quantity

if TYPE_CHECKING:
    from pdekit.fem.space import Space

__all__ = ["Coefficient", "Field", "cellwise", "coefficient", "interpolated", "nodal", "uniform"]

Layout = Literal["uniform", "cells", "nodes", "dofs", "points"]


@dataclass(frozen=True, eq=False)
class Told:
    """Values whose shape is told rather than guessed; made by cellwise, nodal and uniform."""

    values: Any
    layout: Layout
    rank: int


def cellwise(values: Any, rank: int = 0) -> Told:
    """One value a cell: ``(*batch, cells)``, or vectors or matrices with rank 1 or 2, ``(*batch, cells, dim)``."""
    return Told(values, "cells", rank)


def nodal(values: Any, rank: int = 0) -> Told:
    """One value a node of the mesh, linear in between: ``(*batch, nodes)``, or more axes as in :func:`cellwise`."""
    return Told(values, "nodes", rank)


def uniform(values: Any, rank: int = 0) -> Told:
    """The same value everywhere, one for each sample: ``(*batch,)``, or with more axes as in :func:`cellwise`."""
    return Told(values, "uniform", rank)


@dataclass(frozen=True, eq=False)
class Field:
    """A finite element function: a space and the values of its degrees of freedom.

    Args:
        space: where it lives.
        values: ``(*batch, n_dofs)``.

    Raises:
        InputError: another number of values.

    Example:
        >>> from pdekit.domain import Interval
        >>> from pdekit.fem import P2, Space
        >>> space = Space(Interval(cells=2).mesh(), P2())
        >>> Field(space, space.interpolate(lambda x: x[0] ** 2))
        Field(P2 on 2 lines, batch ())
    """

    space: "Space"
    values: Shaped[Tensor, "*batch dofs"]

    def __post_init__(self):
        if not hasattr(self.space, "n_dofs"):
            raise InputError(f"Field was given a {type(self.space).__name__}; expected a Space, then its values.")
        if not isinstance(self.values, Tensor) or self.values.shape[-1:] != (self.space.n_dofs,):
            given = tuple(self.values.shape) if isinstance(self.values, Tensor) else type(self.values).__name__
            raise InputError(f"Field was given {given}; expected a tensor (*batch, {self.space.n_dofs}).")

    def __repr__(self) -> str:
        return f"Field({self.space.name}, batch {tuple(self.values.shape[:-1])})"


@dataclass(frozen=True, eq=False)
class Coefficient:
    """One coefficient of a form.

    Args:
        name: in the form.
        layout: what its values belong to.
        rank: number of component axes.
        values: ``(*batch, *extent, *components)``; None for a function of place or a plain number.
        constant: the function or the number.
        space: of a layout of degrees of freedom.
    """

    name: str
    layout: Layout
    rank: int
    values: Tensor | None = None
    constant: Any = None
    space: "Space | None" = None

    @property
    def _trailing(self) -> int:
        # The components of a field are numbered among its degrees of freedom.
        return (self.layout != "uniform") + (0 if self.layout == "dofs" else self.rank)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        if self.values is None:
            return ()
        return tuple(self.values.shape[: self.values.ndim - self._trailing])

    @property
    def key(self) -> Hashable:
        """Equal for coefficients that a form treats alike, whatever their values where those are stored in a tensor."""
        # All spaces of one element on a mesh number their degrees of freedom alike, whatever their quadrature.
        return self.name, self.layout, self.rank, self.space.element if self.space else None, self.constant

    def flat(self) -> Tensor:
        """The values as vectors ``(*batch, columns)``."""
        assert self.values is not None
        return self.values.reshape(*self.batch_shape, self.values.shape[len(self.batch_shape) :].numel())

    def flattened(self, batch: tuple[int, ...]) -> "Coefficient":
        """With one batch axis for all axes of a batch; one sample stays one."""
        if self.values is None or not self.batch_shape:
            return self
        one = self.values.shape[len(self.batch_shape) :]
        return self.with_values(self.values.expand(*batch, *one).reshape(-1, *one))

    def rows(self, start: int, stop: int) -> "Coefficient":
        """Some consecutive samples of a flattened batch."""
        return self.with_values(self.values[start:stop]) if self.values is not None and self.batch_shape else self

    def with_values(self, values: Tensor) -> "Coefficient":
        """Other values of the same layout."""
        return replace(self, values=values)

    def random(self, generator: torch.Generator) -> "Coefficient":
        """One sample of numbers of both signs and of magnitudes from 1e-4 to 1e4."""
        assert self.values is not None
        shape = self.values.shape[len(self.batch_shape) :]
        magnitude = 10 ** (8 * torch.rand(shape, generator=generator, dtype=torch.float64) - 4)
        signed = torch.where(torch.rand(shape, generator=generator) < 0.5, -magnitude, magnitude)
        return self.with_values(signed.to(self.values.device))

    def full(self, number: float) -> "Coefficient":
        """One sample of which all values are one number."""
        assert self.values is not None
        shape = self.values.shape[len(self.batch_shape) :]
        return self.with_values(torch.full(shape, number, dtype=torch.float64, device=self.values.device))

    def on(self, patch: Patch) -> Quantity:
        """Values at the points of a patch."""
        if self.layout == "points":
            x = patch.x
            values, rank = at_points(self.constant, x.reshape(-1, x.shape[-1]), f"The coefficient {self.name}")
            values = values.reshape(*x.shape[:2], 1, 1, *values.shape[1:])
            check_finite(f"The coefficient {self.name}, at the points,", values)
            return Quantity(values, rank)
        if self.values is None:
            return Quantity(as_precise(self.constant, patch.device), 0)
        at = len(self.batch_shape)
        if self.layout == "uniform":
            return Quantity(self.values.reshape(*self.batch_shape, 1, 1, 1, 1, *self.values.shape[at:]), self.rank)
        if self.layout == "cells":
            if patch.consecutive:
                chosen = self.values.narrow(at, int(patch.cells[0]), len(patch))
            else:
                chosen = self.values.index_select(at, patch.cells.to(self.values.device))
            return Quantity(chosen[(..., None, None, None, *[slice(None)] * self.rank)], self.rank)
        if self.layout == "nodes":
            numbers, element = patch.nodes, first_order(patch.mesh.kind)
            parts, rank = 1, self.rank
        else:
            assert self.space is not None
            numbers, element = self.space.node_dofs[patch.cells], self.space.scalar
            parts, rank = self.space.components, self.rank
        values = self.values
        if self.layout == "dofs" and rank:
            values = values.unflatten(-1, (-1, parts))
        chosen = values.index_select(at, numbers.reshape(-1).to(values.device))
        return interpolated(patch, element, chosen.unflatten(at, tuple(numbers.shape)), rank)

    def local_basis(self, patch: Patch) -> Iterator[tuple[Quantity, Tensor]]:
        """The functions that span the coefficient on a patch, each with its column ``(m,)`` in :meth:`flat`."""
        assert self.values is not None
        shape = self.values.shape[self.values.ndim - self._trailing :]
        components = [patch.mesh.dim] * self.rank if self.layout == "dofs" else list(shape[self.layout != "uniform" :])
        units = torch.eye(max(1, math.prod(components)), dtype=torch.float64, device=patch.device)
        units = units.reshape(-1, *components)
        if self.layout in ("uniform", "cells"):
            for k, unit in enumerate(units):
                cells = torch.zeros_like(patch.cells) if self.layout == "uniform" else patch.cells
                yield Quantity(unit.reshape(1, 1, 1, 1, *components), self.rank), cells * len(units) + k
            return
        if self.layout == "nodes":
            numbers, element = patch.nodes, first_order(patch.mesh.kind)
        else:
            assert self.space is not None
            numbers, element = self.space.node_dofs[patch.cells], self.space.scalar
        for node in range(numbers.shape[1]):
            for k, unit in enumerate(units):
                hat = torch.zeros((1, numbers.shape[1], *components), dtype=torch.float64, device=patch.device)
                hat[0, node] = unit
                yield interpolated(patch, element, hat, self.rank), numbers[:, node] * len(units) + k


def interpolated(patch: Patch, element: Element, values: Tensor, rank: int) -> Function:
    """The function with given values ``(*batch, m, k, *components)`` at the nodes of each cell of a patch."""
    table, after = patch.tabulate(element)[0], [slice(None)] * rank

    def total(weights: Tensor, extra: int) -> Tensor:
        out = None
        for k in range(weights.shape[2]):
            weight = weights[:, :, k].reshape(*weights.shape[:2], 1, 1, *[1] * rank, *weights.shape[3:])
            value = values[(..., k, *after)][(..., None, None, None, *after)]
            term = weight * (value[..., None] if extra else value)
            out = term if out is None else out + term
        assert out is not None
        return out

    return Function(total(table, 0), rank, lambda: total(patch.gradients(element), 1))


def coefficient(name: str, given: Any, space: "Space", device: torch.device) -> Coefficient:
    """What a value given to ``assemble`` means.

    Raises:
        InputError: a shape that fits nothing, or more than one thing; entries that are not finite.
    """
    if isinstance(given, Field):
        if given.space.mesh is not space.mesh:
            raise InputError(
                f"The coefficient {name} is a Field on another mesh; expected one on the mesh of the space."
            )
        values = _numbers(name, given.values, device)
        return Coefficient(name, "dofs", given.space.rank, values, None, given.space)
    if isinstance(given, Quantity):
        raise InputError(f"The coefficient {name} is a value inside a form; expected numbers, a tensor or a function.")
    if isinstance(given, bool | int | float | complex):
        check_finite(f"The coefficient {name}", torch.tensor(given))
        return Coefficient(name, "uniform", 0, None, given)
    if isinstance(given, Callable) and not isinstance(given, Tensor):
        return Coefficient(name, "points", 0, None, given)
    told = given if isinstance(given, Told) else None
    values = _numbers(name, told.values if told else given, device)
    layout, rank = (told.layout, told.rank) if told else _guess(name, tuple(values.shape), space)
    if told:
        _check_told(name, tuple(values.shape), told, space)
    return Coefficient(name, layout, rank, values)


def _numbers(name: str, given: Any, device: torch.device) -> Tensor:
    try:
        values = as_precise(given, device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"The coefficient {name} is a {type(given).__name__}; expected a number, a tensor, a Field or a function "
            "of x."
        ) from error
    if values.layout is not torch.strided:
        raise InputError(f"The coefficient {name} is a sparse tensor; expected a dense one: values.to_dense().")
    check_finite(f"The coefficient {name}", values)
    return values


def _guess(name: str, shape: tuple[int, ...], space: "Space") -> tuple[Layout, int]:
    d = space.mesh.dim
    extents: dict[Layout, list[int]] = {"uniform": [], "cells": [space.mesh.n_cells], "nodes": [space.mesh.n_nodes]}
    found: list[tuple[Layout, int]] = []
    for layout, extent in extents.items():
        for rank in range(3):
            tail = (*extent, *[d] * rank)
            if (shape if layout == "uniform" else shape[len(shape) - len(tail) :]) == tail and len(shape) >= len(tail):
                found.append((layout, rank))
    if len(found) == 1:
        return found[0]
    d_text, cells, nodes = f"{d}", space.mesh.n_cells, space.mesh.n_nodes
    if found:
        meanings = " or ".join(f"{_MAKERS[layout]}(values, rank={rank})" for layout, rank in found)
        raise InputError(
            f"The coefficient {name} has shape {shape}, which has more than one meaning on a mesh of {cells} cells and "
            f"{nodes} nodes; expected one of them said: {meanings}."
        )
    hint = ""
    if shape[-1:] == (space.n_dofs,):
        hint = f" {space.n_dofs} is the number of degrees of freedom: Field(space, values) is a coefficient too."
    elif shape:
        hint = " One number for each sample is fem.uniform(values)."
    raise InputError(
        f"The coefficient {name} has shape {shape}; expected (*batch, {cells}) by cells or (*batch, {nodes}) by "
        f"nodes, with a trailing {d_text} for vectors and {d_text}, {d_text} for matrices.{hint}"
    )


_MAKERS = {"cells": "fem.cellwise", "nodes": "fem.nodal", "uniform": "fem.uniform"}


def _check_told(name: str, shape: tuple[int, ...], told: Told, space: "Space") -> None:
    expected = [space.mesh.dim] * told.rank
    if told.layout != "uniform":
        expected.insert(0, space.mesh.n_cells if told.layout == "cells" else space.mesh.n_nodes)
    if told.rank not in (0, 1, 2) or list(shape[len(shape) - len(expected) :]) != expected:
        text = ", ".join(map(str, ["*batch", *expected]))
        raise InputError(
            f"The coefficient {name} was given as {_MAKERS[told.layout]}(values, rank={told.rank}) with the shape "
            f"{shape}; expected ({text})."
        )

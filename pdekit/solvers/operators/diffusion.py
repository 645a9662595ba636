"""Finite volumes for -div(a grad u) + c u = f on a grid."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn.functional import pad

from pdekit.core.checks import check_finite, check_positive, check_shape, first_index
from pdekit.core.errors import InputError
from pdekit.domain import SIDES, Boundary, Grid
from pdekit.domain.boundary import BoundaryValue
from pdekit.solvers.operators.layout import Layout
from pdekit.solvers.operators.stencil import Stencil
from pdekit.solvers.system import LinearSystem

__all__ = ["FieldLike", "Mean", "diffusion", "on_side"]

FieldLike = Shaped[Tensor, "..."] | np.ndarray | float
Mean = Literal["harmonic", "arithmetic"]


def diffusion(
    grid: Grid,
    coefficient: FieldLike,
    source: FieldLike,
    boundaries: Sequence[Boundary] = (),
    *,
    mean: Mean = "harmonic",
    reaction: FieldLike | None = None,
) -> LinearSystem:
    """The equations of -div(a grad u) + c u = f by vertex-centred finite volumes, second order for each boundary kind.

    Each node owns the box of points nearest to it (half a cell at a side, a quarter at an edge of two sides). The flux
    between two nodes is the difference of u times a mean of their coefficients. Nodes on Dirichlet sides are no
    unknowns; nodes on Neumann sides (a du/dn = a value) and Robin sides (a du/dn = a (value - coefficient u)) are.
    Each equation is divided by the volume of a full cell, so that the matrix is symmetric with entries like a/h^2.

    Args:
        grid: the grid of all nodes.
        coefficient: a > 0 at the nodes, ``(*batch, *grid.shape)`` or a number.
        source: f at the nodes, ``(*batch, *grid.shape)`` or a number.
        boundaries: one condition per side; homogeneous Dirichlet where none is given. Where two Dirichlet sides meet
            the later axis gives the corner its value.
        mean: ``harmonic``, which keeps the flux right across jumps of a, or ``arithmetic``.
        reaction: c >= 0, ``(*batch, *grid.shape)`` or a number.

    Returns:
        The system; differentiable with respect to every tensor given. Its operator is a :class:`Stencil` whose batch
        holds the coefficient's; the right-hand side has the batch of everything.

    Raises:
        InputError: a value that is not finite, a coefficient that is not positive or a reaction that is negative, each
            with its index; a shape that does not fit.

    Example:
        >>> from pdekit.domain import Grid
        >>> system = diffusion(Grid((5, 5)), coefficient=1.0, source=1.0)
        >>> system.operator
        Stencil(5-point stencil on 3 x 3 unknowns, batch (), torch.float64)
        >>> system.restore(system.rhs).shape
        torch.Size([5, 5])

    Source:
        Eymard, Gallouet, Herbin, "Finite volume methods", Handbook of Numerical Analysis VII, 2000.
    """
    layout = Layout(grid, boundaries)
    dim = grid.dim
    a = _at_nodes("coefficient", coefficient, grid, None)
    check_positive("coefficient", a)
    f = _at_nodes("source", source, grid, a)
    check_finite("source", f)
    c = None if reaction is None else _at_nodes("reaction", reaction, grid, a)
    if c is not None:
        _check_not_negative("reaction", c)
    values: dict[str, Tensor] = {}
    leaks: dict[str, Tensor] = {}
    for k, _, side in layout.sides():
        if side.kind != "periodic":
            values[side.where] = on_side(side.where, "value", side.value, grid, k, a)
        if side.coefficient is not None:
            leaks[side.where] = on_side(side.where, "coefficient", side.coefficient, grid, k, a)
            _check_not_negative(f"coefficient of the robin side {side.where!r}", leaks[side.where])
    nodes = {"coefficient": a, "source": f} | ({} if c is None else {"reaction": c})
    _check_batches(
        {name: tensor.shape[:-dim] for name, tensor in nodes.items()},
        {f"value of the side {where!r}": tensor.shape[: tensor.ndim - dim + 1] for where, tensor in values.items()},
        {
            f"coefficient of the side {where!r}": tensor.shape[: tensor.ndim - dim + 1]
            for where, tensor in leaks.items()
        },
    )

    volume = layout.share(a)
    rhs = layout.restrict(f) if volume is None else layout.restrict(f) * volume
    sink = None
    if c is not None:
        sink = layout.restrict(c) if volume is None else layout.restrict(c) * volume
    faces = [_faces(a, layout, k, mean) for k in range(dim)]
    for k, end, side in layout.sides():
        if side.kind == "dirichlet":
            conductance = faces[k].select(k - dim, -end)
        elif side.kind == "periodic":
            continue
        else:
            conductance = layout.restrict(a.select(k - dim, -end), without=k) / grid.spacing[k]
            if (area := layout.share(a, without=k)) is not None:
                conductance = conductance * area
        if not _is_zero(values[side.where]):
            rhs = _add(rhs, k - dim, end, conductance * layout.restrict(values[side.where], without=k))
        if side.where in leaks:
            sink = a.new_zeros(layout.lattice) if sink is None else sink
            sink = _add(sink, k - dim, end, conductance * layout.restrict(leaks[side.where], without=k))
    operator = _operator(faces, sink, layout)
    batch = torch.broadcast_shapes(operator.batch_shape, rhs.shape[:-dim])
    rhs = rhs.expand(*batch, *layout.lattice).reshape(*batch, operator.shape[0])
    share = None if volume is None else volume.expand(layout.lattice).flatten()
    return LinearSystem(operator, rhs, _Restore(layout, values), layout.reduce, share)


class _Restore:
    """From the unknowns back to the field with its Dirichlet values filled in."""

    def __init__(self, layout: Layout, given: dict[str, Tensor]):
        self.layout, self.given = layout, given

    def __call__(self, x: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch_and_shape"]:
        layout, dim = self.layout, self.layout.grid.dim
        field = layout.embed(x.reshape(*x.shape[:-1], *layout.lattice))
        fixed = [(k, end, self.given[side.where]) for k, end, side in layout.sides() if side.kind == "dirichlet"]
        if not all(_is_zero(value) for _, _, value in fixed):
            for k, end, value in fixed:
                field.select(k - dim, -end).copy_(value)
        return field


def _faces(a: Tensor, layout: Layout, axis: int, mean: Mean) -> Tensor:
    """Conductances along one axis, as :class:`Stencil` takes them."""
    dim, n, h = layout.grid.dim, layout.grid.shape[axis], layout.grid.spacing[axis]
    spans = tuple(slice(None) if k == axis else span for k, span in enumerate(layout.spans))
    nodes = a[(..., *spans)]
    k = axis - dim
    if not layout.grid.closed_axes[axis]:
        nodes = torch.cat([nodes.narrow(k, n - 1, 1), nodes, nodes.narrow(k, 0, 1)], dim=k)
    count = nodes.shape[k] - 1
    if mean == "harmonic":
        resistance = torch.div(nodes.new_tensor(h**2 / 2), nodes)
        faces = (resistance.narrow(k, 0, count) + resistance.narrow(k, 1, count)).reciprocal_()
    elif mean == "arithmetic":
        faces = (nodes.narrow(k, 0, count) + nodes.narrow(k, 1, count)) * (0.5 / h**2)
    else:
        raise InputError(f"mean={mean!r} is unknown; expected 'harmonic' or 'arithmetic'.")
    share = layout.share(a, without=axis)
    if share is not None:
        faces = faces * (share.unsqueeze(k) if dim > 1 else share)
    if ends := layout.natural(axis):
        widths = [0] * (2 * dim)
        for end in ends:
            widths[2 * (dim - 1 - axis) + end] = 1
        faces = pad(faces, widths)
    return faces


def _operator(faces: list[Tensor], sink: Tensor | None, layout: Layout) -> Stencil:
    dim = layout.grid.dim
    if sink is not None:
        batch = torch.broadcast_shapes(faces[0].shape[:-dim], sink.shape[:-dim])
        faces = [face.expand(*batch, *face.shape[-dim:]) for face in faces]
        sink = sink.expand(*batch, *layout.lattice)
    grounded = True if layout.grounded else (False if sink is None else None)
    periodic = [not closed for closed in layout.grid.closed_axes]
    return Stencil(faces, sink, periodic, layout.grid, grounded)


def _add(total: Tensor, axis: int, end: int, amount: Tensor) -> Tensor:
    """Add to the first or the last layer along an axis, out of place."""
    amount = amount.unsqueeze(axis)
    before, after = (0, total.shape[axis] - 1) if end == 0 else (total.shape[axis] - 1, 0)
    widths = [0, 0] * (-axis - 1) + [before, after]
    return total + pad(amount, widths)


def _at_nodes(name: str, given: FieldLike, grid: Grid, like: Tensor | None) -> Tensor:
    """A float64 tensor of node values, on the device of ``like`` where it is a number."""
    if isinstance(given, int | float):
        device = None if like is None else like.device
        return torch.tensor(float(given), dtype=torch.float64, device=device).expand(grid.shape)
    values = torch.as_tensor(given)
    if values.is_complex() or values.dtype == torch.bool:
        raise InputError(f"{name} has the type {values.dtype}; expected real numbers.")
    check_shape(name, values, grid.shape)
    return values.to(torch.float64)


def on_side(where: str, what: str, given: BoundaryValue, grid: Grid, axis: int, like: Tensor) -> Tensor:
    """Values of a boundary condition on a side, ``(*batch, *side)`` in the precision and on the device of ``like``."""
    name = f"{what} of the side {where!r}"
    shape = tuple(n for k, n in enumerate(grid.shape) if k != axis)
    if isinstance(given, int | float):
        values = torch.tensor(float(given), dtype=torch.float64, device=like.device).expand(shape)
    elif isinstance(given, Tensor):
        values = given
    elif not callable(given):
        raise InputError(
            f"{name} is a {type(given).__name__}; expected a number, a tensor {shape} or a function of the points of "
            "the side."
        )
    else:
        end = SIDES[axis].index(where)
        values = torch.as_tensor(given(grid.points(device=like.device).select(axis, -end)))
    check_shape(name, values, shape)
    check_finite(name, values)
    return values.to(like)


def _check_batches(*groups: dict[str, torch.Size]) -> None:
    given = {name: tuple(batch) for group in groups for name, batch in group.items() if batch}
    try:
        torch.broadcast_shapes(*given.values())
    except RuntimeError:
        listed = ", ".join(f"{batch} of {name}" for name, batch in given.items())
        raise InputError(f"The batch shapes {listed} do not go together; expected equal lengths, or 1.") from None


def _check_not_negative(name: str, values: Tensor) -> None:
    check_finite(name, values)
    if bool((bad := values < 0).any()):
        where = first_index(bad)
        raise InputError(
            f"{name}{list(where)} is {values[where].item()} ({int(bad.sum())} of {values.numel()} entries are "
            "negative); expected numbers of at least 0, or the problem may have no unique solution."
        )


def _is_zero(values: Tensor) -> bool:
    return not values.requires_grad and not bool(values.any())

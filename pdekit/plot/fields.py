"""Pictures of fields: lines in 1-D, images in 2-D, middle slices of grids and the surfaces of meshes in 3-D."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Num
from torch import Tensor

from pdekit.core.checks import check_shape
from pdekit.core.errors import InputError
from pdekit.domain import AXES, Grid, Mesh, RandomShape, Shape
from pdekit.plot.meshes import mesh_panels
from pdekit.plot.panels import Limits, Panel, colour_bar, finite_limits, plot_panels, titled

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

__all__ = ["GridPanel", "panels_of", "plot_fields"]


class GridPanel(Panel):
    """Values on a grid of one or two dimensions.

    Args:
        values: ``(*grid.shape)``.
        grid: in one or two dimensions.
        title: above the picture.
        colours: name of a colour map, or None to choose by the signs of the values.
        limits: lowest and highest value of the scale, or None for those of the values.
        axes: names of the grid's axes.
    """

    def __init__(
        self,
        values: np.ndarray,
        grid: Grid,
        title: str,
        *,
        colours: str | None = None,
        limits: Limits | None = None,
        axes: tuple[str, ...] = AXES,
    ):
        super().__init__(title, limits or finite_limits(values), colours)
        self.values = values
        self.grid = grid
        self.axes = axes

    @property
    def aspect(self) -> float:
        """Width over height."""
        lengths = self.grid.lengths
        return 1.4 if self.grid.dim == 1 else min(max(lengths[0] / lengths[1], 0.3), 4.0)

    def draw(self, axes: "matplotlib.axes.Axes") -> None:
        """Draw into a matplotlib Axes, with a colour bar where the grid has two dimensions."""
        if self.grid.dim == 1:
            self._draw_line(axes)
        else:
            self._draw_image(axes)

    def _draw_line(self, axes: "matplotlib.axes.Axes") -> None:
        axes.plot(self.grid.coordinates(0).numpy(), self.values, linewidth=1.4)
        low, high = self.limits
        margin = 0.06 * (high - low) or 1.0
        axes.set_ylim(low - margin, high + margin)
        axes.set_xlim(*_box(self.grid)[0])
        axes.set_xlabel(self.axes[0], fontsize=8)
        axes.grid(alpha=0.25)

    def _draw_image(self, axes: "matplotlib.axes.Axes") -> None:
        values, extent = self.values, []
        for k, (low, high) in enumerate(_box(self.grid)):
            if not self.grid.closed_axes[k]:  # the far end of a periodic axis repeats its first point
                values = np.concatenate([values, values.take([0], axis=k)], axis=k)
            half = self.grid.spacing[k] / 2
            extent += [low - half, high + half]  # pixels are centred at the points
        colours, low, high = self.scale()
        image = axes.imshow(
            values.T, origin="lower", extent=tuple(extent), aspect="equal", cmap=colours, vmin=low, vmax=high
        )
        axes.set_xlim(*_box(self.grid)[0])
        axes.set_ylim(*_box(self.grid)[1])
        axes.set_xlabel(self.axes[0], fontsize=8, labelpad=3)
        axes.set_ylabel(self.axes[1], fontsize=8, labelpad=3)
        for axis, (low, high) in zip((axes.xaxis, axes.yaxis), _box(self.grid), strict=True):
            axis.set_ticks([low, (low + high) / 2, high])
        colour_bar(axes, image)


def plot_fields(
    fields: Mapping[str, Num[Tensor, "*shape"]],
    domain: Grid | Mesh | Shape | RandomShape,
    *,
    units: Mapping[str, str] | None = None,
    title: str | None = None,
    columns: int = 4,
) -> "matplotlib.figure.Figure":
    """A figure with one panel a field; a complex field has two, its real part and its magnitude.

    On a grid in three dimensions each field has its three middle slices, on one scale. On a mesh in three dimensions
    the surface is shown, its colours darkened where it turns from the light. A vector field on a mesh is shown by its
    magnitude and arrows; one named ``displacement`` by its magnitude on the deformed mesh, with the factor of the
    deformation in the title.

    Args:
        fields: by name, on any device. On a grid each ``(*grid.shape)``; on a mesh ``(nodes,)`` or ``(cells,)``, or
            vectors ``(nodes, dim)`` or ``(cells, dim)``.
        domain: where the values are; a shape stands for its mesh.
        units: by field name, shown in brackets; ``"1"`` and missing names show none.
        title: above the whole figure.
        columns: panels a row; grids in three dimensions have 3.

    Returns:
        A matplotlib Figure; write it with :func:`save`.

    Raises:
        InputError: no field, or one whose shape is not that of the domain; a random shape, which is no one mesh.

    Example:
        >>> from pdekit.domain import Disk, Grid
        >>> grid = Grid((17, 17))
        >>> figure = plot_fields({"distance": grid.points().norm(dim=-1)}, grid, units={"distance": "m"})
        >>> figure.axes[0].get_title()
        'distance [m]'
        >>> mesh = Disk(refinements=3).mesh()
        >>> figure = plot_fields({"displacement": mesh.points}, mesh, units={"displacement": "m"})
        >>> figure.axes[0].get_title()
        '|displacement| [m], deformed 0.2 x'
    """
    if not fields:
        raise InputError("There is no field to plot; expected at least one, by name.")
    if isinstance(domain, RandomShape):
        raise InputError(
            f"The domain is {domain}, of which every sample has a mesh of its own; expected that of the sample shown: "
            "samples.sample(i).schema.domain, beside its fields samples.sample(i)[name][0]."
        )
    domain = domain.mesh() if isinstance(domain, Shape) else domain
    panels = []
    for name, values in fields.items():
        unit = (units or {}).get(name, "1")
        panels += panels_of(name, values, domain, unit=unit)
    slices = isinstance(domain, Grid) and domain.dim == 3
    return plot_panels(panels, columns=3 if slices else min(columns, len(panels)), title=title)


def panels_of(
    name: str,
    values: Num[Tensor, "*shape"],
    domain: Grid | Mesh,
    *,
    unit: str = "1",
    note: str = "",
    colours: str | None = None,
    limits: Limits | None = None,
) -> list[Panel]:
    """The panels that show one field; see :func:`plot_fields`.

    Args:
        name: the first part of the title.
        values: of one sample.
        domain: where the values are.
        unit: shown in brackets unless ``"1"``.
        note: the end of the title.
        colours: name of a colour map, or None to choose by the signs of the values.
        limits: of the scale; those of the whole field by default. For a complex field they are its magnitude's.

    Raises:
        InputError: the shape is not that of the domain.
    """
    if isinstance(domain, Mesh):
        return mesh_panels(name, values, domain, unit=unit, note=note, colours=colours, limits=limits)
    check_shape(name, values, domain.shape)
    if values.ndim != domain.dim:
        raise InputError(
            f"{name} has shape {tuple(values.shape)}; expected {domain.shape}. Plot one sample: {name}[0], say."
        )
    if values.is_complex():
        real = panels_of(f"Re {name}", values.real, domain, unit=unit, note=note)
        return real + panels_of(f"|{name}|", values.abs(), domain, unit=unit, note=note, colours=colours, limits=limits)
    array = values.detach().double().cpu().numpy()
    limits = limits or finite_limits(array)
    if domain.dim < 3:
        return [GridPanel(array, domain, titled(name, unit, note), colours=colours, limits=limits)]
    panels: list[Panel] = []
    for axis in range(3):
        middle = domain.shape[axis] // 2
        rest = [k for k in range(3) if k != axis]
        face = Grid(
            tuple(domain.shape[k] for k in rest),
            tuple(_box(domain)[k] for k in rest),
            tuple(domain.closed_axes[k] for k in rest),
        )
        where = f"{titled(name, unit)}, {AXES[axis]} = {float(domain.coordinates(axis)[middle]):.3g}{note}"
        axes = tuple(AXES[k] for k in rest)
        panels.append(GridPanel(array.take(middle, axis=axis), face, where, colours=colours, limits=limits, axes=axes))
    return panels


def _box(grid: Grid) -> tuple[tuple[float, float], ...]:
    return grid.box or ()

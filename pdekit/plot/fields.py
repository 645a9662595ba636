"""Pictures of fields on grids: lines in 1-D, images in 2-D, middle slices in 3-D.

Figures are built without pyplot, so that no backend, window or global list of figures is involved.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Real
from torch import Tensor

from pdekit.core.checks import check_shape
from pdekit.core.errors import InputError
from pdekit.domain import AXES, Grid

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

__all__ = ["Panel", "panels_of", "plot_fields", "plot_panels", "save"]

PANEL_INCHES, BAR_INCHES, TITLE_INCHES = 2.3, 0.75, 0.55
DIVERGING_SHARE = 0.25
"""A field whose weaker sign reaches this share of its stronger one gets a map centred at zero."""


class Panel:
    """One little picture: values on a grid of one or two dimensions, with its title and colours.

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
        limits: tuple[float, float] | None = None,
        axes: tuple[str, ...] = AXES,
    ):
        self.values = values
        self.grid = grid
        self.title = title
        self.colours = colours
        self.limits = limits or finite_limits(values)
        self.axes = axes

    def draw(self, axes: "matplotlib.axes.Axes") -> None:
        """Draw into a matplotlib Axes, with a colour bar where the grid has two dimensions."""
        axes.set_title(self.title, fontsize=9)
        axes.tick_params(labelsize=7)
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
        from matplotlib.ticker import ScalarFormatter

        values, extent = self.values, []
        for k, (low, high) in enumerate(_box(self.grid)):
            if not self.grid.closed_axes[k]:  # the far end of a periodic axis repeats its first point
                values = np.concatenate([values, values.take([0], axis=k)], axis=k)
            half = self.grid.spacing[k] / 2
            extent += [low - half, high + half]  # pixels are centred at the points
        low, high = self.limits
        colours = self.colours
        if colours is None:
            diverging = low < 0 < high and min(-low, high) > DIVERGING_SHARE * max(-low, high)
            colours = "RdBu_r" if diverging else "viridis"
            if diverging:
                low, high = -max(-low, high), max(-low, high)
        image = axes.imshow(
            values.T, origin="lower", extent=tuple(extent), aspect="equal", cmap=colours, vmin=low, vmax=high
        )
        axes.set_xlim(*_box(self.grid)[0])
        axes.set_ylim(*_box(self.grid)[1])
        axes.set_xlabel(self.axes[0], fontsize=8, labelpad=3)
        axes.set_ylabel(self.axes[1], fontsize=8, labelpad=3)
        for axis, (low, high) in zip((axes.xaxis, axes.yaxis), _box(self.grid), strict=True):
            axis.set_ticks([low, (low + high) / 2, high])
        numbers = ScalarFormatter()
        numbers.set_powerlimits((-2, 4))
        bar = axes.figure.colorbar(image, cax=axes.inset_axes((1.04, 0.0, 0.05, 1.0)), format=numbers)
        bar.ax.tick_params(labelsize=7)
        bar.ax.yaxis.get_offset_text().set_fontsize(7)


def plot_fields(
    fields: Mapping[str, Real[Tensor, "*shape"]],
    grid: Grid,
    *,
    units: Mapping[str, str] | None = None,
    title: str | None = None,
    columns: int = 4,
) -> "matplotlib.figure.Figure":
    """A figure with one panel a field; in three dimensions the three middle slices of each field, on one scale.

    Args:
        fields: by name, each ``(*grid.shape)``, on any device.
        grid: where the values are.
        units: by field name, shown in brackets; ``"1"`` and missing names show none.
        title: above the whole figure.
        columns: panels a row, in one and two dimensions.

    Returns:
        A matplotlib Figure; write it with :func:`save`.

    Raises:
        InputError: no field, or one whose shape is not that of the grid.

    Example:
        >>> from pdekit import Grid
        >>> grid = Grid((17, 17))
        >>> figure = plot_fields({"distance": grid.points().norm(dim=-1)}, grid, units={"distance": "m"})
        >>> figure.axes[0].get_title()
        'distance [m]'
    """
    if not fields:
        raise InputError("There is no field to plot; expected at least one, by name.")
    panels = []
    for name, values in fields.items():
        unit = (units or {}).get(name, "1")
        panels += panels_of(name, values, grid, unit=unit)
    return plot_panels(panels, columns=3 if grid.dim == 3 else min(columns, len(panels)), title=title)


def panels_of(
    name: str,
    values: Real[Tensor, "*shape"],
    grid: Grid,
    *,
    unit: str = "1",
    note: str = "",
    colours: str | None = None,
    limits: tuple[float, float] | None = None,
) -> list[Panel]:
    """The panels that show one field: one in one and two dimensions, three middle slices in three.

    Args:
        name: the first part of the title.
        values: ``(*grid.shape)``.
        grid: where the values are.
        unit: shown in brackets unless ``"1"``.
        note: the end of the title.
        colours: as in :class:`Panel`.
        limits: as in :class:`Panel`; those of the whole field by default.

    Raises:
        InputError: the shape is not that of the grid.
    """
    check_shape(name, values, grid.shape)
    if values.ndim != grid.dim:
        raise InputError(
            f"{name} has shape {tuple(values.shape)}; expected {grid.shape}. Plot one sample: {name}[0], say."
        )
    array = values.detach().double().cpu().numpy()
    limits = limits or finite_limits(array)
    title = name + ("" if unit == "1" else f" [{unit}]")
    if grid.dim < 3:
        return [Panel(array, grid, title + note, colours=colours, limits=limits)]
    panels = []
    for axis in range(3):
        middle = grid.shape[axis] // 2
        rest = [k for k in range(3) if k != axis]
        face = Grid(
            tuple(grid.shape[k] for k in rest),
            tuple(_box(grid)[k] for k in rest),
            tuple(grid.closed_axes[k] for k in rest),
        )
        where = f"{title}, {AXES[axis]} = {float(grid.coordinates(axis)[middle]):.3g}"
        panels.append(
            Panel(
                array.take(middle, axis=axis),
                face,
                where + note,
                colours=colours,
                limits=limits,
                axes=tuple(AXES[k] for k in rest),
            )
        )
    return panels


def plot_panels(
    panels: list[Panel], *, columns: int, title: str | None = None, share_labels: bool = False
) -> "matplotlib.figure.Figure":
    """A figure of panels in rows of ``columns``.

    Args:
        panels: row by row.
        columns: panels a row.
        title: above the whole figure.
        share_labels: label the outer axes only; for panels on one grid.

    Returns:
        A matplotlib Figure.
    """
    from matplotlib.figure import Figure

    aspects = [max(map(_aspect, panels[k::columns]), default=1.0) for k in range(columns)]
    height = PANEL_INCHES / max(*aspects, 1.0) ** 0.5
    rows = -(-len(panels) // columns)
    width = sum(aspect * height + BAR_INCHES for aspect in aspects)
    figure = Figure(figsize=(width, rows * (height + TITLE_INCHES) + (0.3 if title else 0)), layout="constrained")
    places = figure.subplots(rows, columns, squeeze=False, width_ratios=[a * height + BAR_INCHES for a in aspects])
    for place in places.flat[len(panels) :]:
        place.remove()
    for panel, place in zip(panels, places.flat, strict=False):
        panel.draw(place)
        if share_labels:
            place.label_outer()
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def save(figure: "matplotlib.figure.Figure", path: str | os.PathLike[str]) -> Path:
    """Write a figure; the kind of file follows from the ending (png, pdf, svg, ...).

    Args:
        figure: any matplotlib figure.
        path: of the file; missing folders are made. It appears under its name only when complete.

    Returns:
        The path.

    Raises:
        InputError: matplotlib cannot write files with that ending.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    target = Path(path)
    kind = target.suffix.lstrip(".")
    known = FigureCanvasAgg(figure).get_supported_filetypes()
    if kind not in known:
        raise InputError(f"A picture cannot be written as {target.name!r}; known endings: {', '.join(sorted(known))}.")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    try:
        figure.savefig(partial, format=kind, dpi=130)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def finite_limits(values: np.ndarray) -> tuple[float, float]:
    """Lowest and highest finite value; (0, 1) where there is none."""
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)


def _box(grid: Grid) -> tuple[tuple[float, float], ...]:
    return grid.box or ()


def _aspect(panel: Panel) -> float:
    lengths = panel.grid.lengths
    return 1.4 if panel.grid.dim == 1 else min(max(lengths[0] / lengths[1], 0.3), 4.0)

"""Figures of little pictures in rows, and what all of these pictures share: scales, colour bars, files.

Figures are built without pyplot, so that no backend, window or global list of figures is involved.
"""

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pdekit.core.errors import InputError

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.cm
    import matplotlib.figure

__all__ = ["Limits", "Panel", "colour_bar", "finite_limits", "picture_endings", "plot_panels", "save", "titled"]

PANEL_INCHES, BAR_INCHES, TITLE_INCHES = 2.3, 0.75, 0.55
DIVERGING_SHARE = 0.25
"""A field whose weaker sign reaches this share of its stronger one gets a map centred at zero."""

Limits = tuple[float, float]


class Panel(ABC):
    """One little picture of values: how wide it is for its height, and how it is drawn.

    Args:
        title: above the picture.
        limits: lowest and highest value of the scale.
        colours: name of a colour map, or None to choose by the signs of the values.
    """

    def __init__(self, title: str, limits: Limits, colours: str | None):
        self.title = title
        self.limits = limits
        self.colours = colours

    @property
    @abstractmethod
    def aspect(self) -> float:
        """Width over height."""

    @abstractmethod
    def draw(self, axes: "matplotlib.axes.Axes") -> None:
        """Draw into a matplotlib Axes."""

    def scale(self) -> tuple[str, float, float]:
        """The colour map, and the values at its ends."""
        return scale(self.limits, self.colours)


def scale(limits: Limits, colours: str | None) -> tuple[str, float, float]:
    """The colour map, and the values at its ends: centred at zero where both signs matter.

    Example:
        >>> scale((-1.0, 2.0), None), scale((0.0, 2.0), None)
        (('RdBu_r', -2.0, 2.0), ('viridis', 0.0, 2.0))
    """
    low, high = limits
    if colours is not None:
        return colours, low, high
    if low < 0 < high and min(-low, high) > DIVERGING_SHARE * max(-low, high):
        return "RdBu_r", -max(-low, high), max(-low, high)
    return "viridis", low, high


def colour_bar(axes: "matplotlib.axes.Axes", shown: "matplotlib.cm.ScalarMappable") -> None:
    """A thin bar at the right of the picture, as high as it."""
    from matplotlib.ticker import ScalarFormatter

    numbers = ScalarFormatter()
    numbers.set_powerlimits((-2, 4))
    bar = axes.figure.colorbar(shown, cax=axes.inset_axes((1.04, 0.0, 0.05, 1.0)), format=numbers)
    bar.ax.tick_params(labelsize=7)
    bar.ax.yaxis.get_offset_text().set_fontsize(7)


def plot_panels(
    panels: list[Panel], *, columns: int, title: str | None = None, share_labels: bool = False
) -> "matplotlib.figure.Figure":
    """A figure of panels in rows of ``columns``.

    Args:
        panels: row by row.
        columns: panels a row.
        title: above the whole figure.
        share_labels: label the outer axes only; for panels on one domain.

    Returns:
        A matplotlib Figure.
    """
    from matplotlib.figure import Figure

    aspects = [max((panel.aspect for panel in panels[k::columns]), default=1.0) for k in range(columns)]
    height = PANEL_INCHES / max(*aspects, 1.0) ** 0.5
    rows = -(-len(panels) // columns)
    width = sum(aspect * height + BAR_INCHES for aspect in aspects)
    figure = Figure(figsize=(width, rows * (height + TITLE_INCHES) + (0.3 if title else 0)), layout="constrained")
    places = figure.subplots(rows, columns, squeeze=False, width_ratios=[a * height + BAR_INCHES for a in aspects])
    for place in places.flat[len(panels) :]:
        place.remove()
    for panel, place in zip(panels, places.flat, strict=False):
        place.set_title(panel.title, fontsize=9)
        place.tick_params(labelsize=7)
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
    target = Path(path)
    kind = target.suffix.lstrip(".")
    if kind not in (known := picture_endings()):
        raise InputError(f"A picture cannot be written as {target.name!r}; known endings: {', '.join(known)}.")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    try:
        figure.savefig(partial, format=kind, dpi=130)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def picture_endings() -> list[str]:
    """The endings of files that :func:`save` can write."""
    from matplotlib.backend_bases import FigureCanvasBase

    return sorted(FigureCanvasBase.get_supported_filetypes())


def finite_limits(values: np.ndarray) -> Limits:
    """Lowest and highest finite value, of magnitudes where they are complex; (0, 1) where there is none."""
    finite = values[np.isfinite(values)]
    finite = np.abs(finite) if np.iscomplexobj(finite) else finite
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)


def titled(name: str, unit: str, note: str = "") -> str:
    """Name, unit in brackets unless it is 1, and a note."""
    return name + ("" if unit == "1" else f" [{unit}]") + note

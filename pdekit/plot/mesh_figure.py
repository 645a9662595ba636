"""A mesh and the names of its parts."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pdekit.domain import AXES, Mesh
from pdekit.plot.meshes import aspect_of, frame, frame_body
from pdekit.plot.surfaces import BACK, FRONT, View, see

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

__all__ = ["plot_mesh"]

MOST_LINES = 200_000
"""Edges beyond which only the boundary is drawn."""
UNNAMED = "0.55"


def plot_mesh(mesh: Mesh, *, title: str | None = None) -> "matplotlib.figure.Figure":
    """A mesh, with its named boundaries in colours and its regions in pale ones; in three dimensions from two sides.

    Args:
        mesh: in one, two or three dimensions.
        title: above the picture; numbers of nodes and cells by default.

    Returns:
        A matplotlib Figure; write it with :func:`pdekit.plot.save`.

    Example:
        >>> from pdekit.domain import Annulus
        >>> figure = plot_mesh(Annulus(cells=(2, 12)).mesh())
        >>> [text.get_text() for text in figure.legends[0].get_texts()]
        ['inner (12)', 'outer (12)']
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    views = (FRONT, BACK) if mesh.dim == 3 else (FRONT,)
    height = 1.2 if mesh.dim == 1 else 3.4
    width = 4.5 if mesh.dim == 1 else sum(aspect_of(mesh.points.numpy(), view) for view in views) * height
    figure = Figure(figsize=(max(width, 2.5) + 2.2, height + 0.7), layout="constrained")
    for axes, view in zip(np.atleast_1d(figure.subplots(1, len(views))), views, strict=True):
        axes.tick_params(labelsize=7)
        (_draw_line, _draw_plane, _draw_body)[mesh.dim - 1](axes, mesh, view)
    figure.suptitle(title or f"{mesh.n_nodes:,} nodes, {mesh.n_cells:,} {mesh.cell_kind.plural}", fontsize=10)
    entries: list = [
        Line2D([], [], color=colour, linewidth=3, label=f"{name} ({len(mesh.boundaries[name])})")
        for name, colour in _colours(mesh).items()
    ]
    if mesh.dim == 2:
        entries += [Patch(color=colour, label=f"region {name}") for name, colour in _pale(mesh).items()]
    if entries:
        figure.legend(handles=entries, loc="outside right center", fontsize=8, frameon=False)
    return figure


def _colours(mesh: Mesh) -> dict[str, str]:
    return {name: f"C{number % 10}" for number, name in enumerate(mesh.boundaries)}


def _pale(mesh: Mesh) -> dict[str, str]:
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return {name: to_hex(colormaps["Pastel2"](number % 8)) for number, name in enumerate(mesh.regions)}


def _draw_line(axes: "matplotlib.axes.Axes", mesh: Mesh, view: View) -> None:
    x = mesh.points[:, 0].numpy()
    axes.plot([x.min(), x.max()], [0, 0], color=UNNAMED, linewidth=1.0)
    axes.plot(x, np.zeros_like(x), "|", color=UNNAMED, markersize=8)
    for name, colour in _colours(mesh).items():
        ends = x[mesh.facets[mesh.boundaries[name]].numpy().ravel()]
        axes.plot(ends, np.zeros_like(ends), "o", color=colour)
    axes.set_yticks([])
    axes.set_xlabel(AXES[0], fontsize=8)


def _draw_plane(axes: "matplotlib.axes.Axes", mesh: Mesh, view: View) -> None:
    from matplotlib.collections import LineCollection, PolyCollection

    points = mesh.points.numpy()
    for name, colour in _pale(mesh).items():
        cells = PolyCollection(list(points[mesh.cells[mesh.regions[name]].numpy()]), facecolors=colour, rasterized=True)
        axes.add_collection(cells)
    few = len(mesh.edges) <= MOST_LINES
    lines = mesh.edges if few else mesh.facets[mesh.boundary("all")]
    width = min(max(25 / mesh.n_cells**0.5, 0.15), 0.6)
    grey = LineCollection(list(points[lines.numpy()]), colors=UNNAMED, linewidths=width, rasterized=mesh.n_cells > 5000)
    axes.add_collection(grey)
    for name, colour in _colours(mesh).items():
        sides = points[mesh.facets[mesh.boundaries[name]].numpy()]
        axes.add_collection(LineCollection(list(sides), colors=colour, linewidths=2.2, capstyle="round"))
    frame(axes, points)
    axes.set_xlabel(AXES[0], fontsize=8)
    axes.set_ylabel(AXES[1], fontsize=8)


def _draw_body(axes: "matplotlib.axes.Axes", mesh: Mesh, view: View) -> None:
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgb

    shades: npt.NDArray[np.float64] = np.full((len(mesh.facets), 3), 0.82)
    for name, colour in _colours(mesh).items():
        shades[mesh.boundaries[name].numpy()] = to_rgb(colour)
    points, outside = mesh.points.numpy(), mesh.boundary("all")
    body = see(points[mesh.facets[outside].numpy()], view)
    faces = shades[outside.numpy()[body.faces]] * body.light[:, None]
    width = min(max(12 / len(body.faces) ** 0.5, 0.0), 0.5)
    painted = PolyCollection(list(body.corners), facecolors=faces, edgecolors=0.6 * faces, linewidths=width)
    painted.set_rasterized(len(body.faces) > 5000)
    axes.add_collection(painted, autolim=False)
    frame_body(axes, points, view, points)

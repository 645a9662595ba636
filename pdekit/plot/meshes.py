"""Pictures on meshes: lines in 1-D, coloured cells in 2-D, lit surfaces in 3-D, and the meshes themselves."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Num
from torch import Tensor

from pdekit.core.errors import InputError
from pdekit.domain import AXES, Mesh
from pdekit.plot.panels import Limits, Panel, colour_bar, finite_limits, titled
from pdekit.plot.surfaces import FRONT, View, see

if TYPE_CHECKING:
    import matplotlib.axes

__all__ = ["MeshPanel", "aspect_of", "frame", "frame_body", "mesh_panels"]

FloatArray = npt.NDArray[np.float64]
MOST_LINES = 3000
"""Cells beyond which their sides would hide the colours."""
ARROWS = 14
"""Arrows along the longer side of a picture."""
DEFORMATION = 0.1
"""The largest displacement shown, as a share of the size of the mesh."""


class MeshPanel(Panel):
    """Real values at the nodes or in the cells of a mesh.

    Args:
        values: ``(nodes,)`` or ``(cells,)``.
        mesh: where they are.
        title: above the picture.
        colours: name of a colour map, or None to choose by the signs of the values.
        limits: lowest and highest value of the scale, or None for those of the values.
        points: ``(nodes, dim)`` where the nodes are drawn, if not where they are.
        arrows: ``(nodes, 2)`` vectors drawn on a mesh in two dimensions.
        view: from where a mesh in three dimensions is seen.
    """

    def __init__(
        self,
        values: FloatArray,
        mesh: Mesh,
        title: str,
        *,
        colours: str | None = None,
        limits: Limits | None = None,
        points: FloatArray | None = None,
        arrows: FloatArray | None = None,
        view: View = FRONT,
    ):
        super().__init__(title, limits or finite_limits(values), colours)
        self.values = values
        self.mesh = mesh
        self.points = mesh.points.numpy() if points is None else points
        self.moved = points is not None
        self.arrows = arrows
        self.view = view

    @property
    def aspect(self) -> float:
        """Width over height."""
        return 1.4 if self.mesh.dim == 1 else aspect_of(self.points, self.view)

    @property
    def nodal(self) -> bool:
        """Whether the values belong to the nodes."""
        return len(self.values) == self.mesh.n_nodes

    def draw(self, axes: "matplotlib.axes.Axes") -> None:
        """Draw into a matplotlib Axes, with a colour bar in two and three dimensions."""
        (self._draw_line, self._draw_plane, self._draw_surface)[self.mesh.dim - 1](axes)

    def _draw_line(self, axes: "matplotlib.axes.Axes") -> None:
        cells = self.mesh.cells.numpy()
        cells = cells[np.argsort(self.points[cells[:, 0], 0])]
        ends = self.points[cells, 0]
        heights = self.values[cells] if self.nodal else np.repeat(self.values[:, None], 2, axis=1)
        gap = np.full((len(cells), 1), np.nan)
        axes.plot(np.hstack([ends, gap]).ravel(), np.hstack([heights, gap]).ravel(), linewidth=1.4)
        low, high = self.limits
        margin = 0.06 * (high - low) or 1.0
        axes.set_ylim(low - margin, high + margin)
        axes.set_xlim(ends.min(), ends.max())
        axes.set_xlabel(AXES[0], fontsize=8)
        axes.grid(alpha=0.25)

    def _draw_plane(self, axes: "matplotlib.axes.Axes") -> None:
        from matplotlib.collections import LineCollection
        from matplotlib.tri import Triangulation

        colours, low, high = self.scale()
        triangles, owner = split(self.mesh.cells.numpy())
        values = self.values if self.nodal else self.values[owner]
        plane = Triangulation(self.points[:, 0], self.points[:, 1], triangles)
        look = {"cmap": colours, "vmin": low, "vmax": high, "rasterized": True}
        if self.nodal:
            plane.set_mask(~np.isfinite(values[triangles]).all(axis=1))
            shown = axes.tripcolor(plane, np.nan_to_num(values), shading="gouraud", **look)
        else:
            shown = axes.tripcolor(plane, facecolors=np.ma.masked_invalid(values), **look)
        if self.mesh.n_cells <= MOST_LINES:
            sides = self.points[self.mesh.edges.numpy()]
            axes.add_collection(LineCollection(list(sides), colors="black", linewidths=0.3, alpha=0.25))
        outline = self.mesh.facets[self.mesh.boundary("all")].numpy()
        axes.add_collection(LineCollection(list(self.points[outline]), colors="0.25", linewidths=0.7))
        if self.moved:
            before = self.mesh.points.numpy()[outline]
            axes.add_collection(LineCollection(list(before), colors="0.6", linewidths=0.7, linestyles="dotted"))
        if self.arrows is not None:
            nodes, apart = spread(self.points, ARROWS)
            longest = max(float(np.nanmax(np.hypot(*self.arrows.T), initial=0.0)), 1e-300)
            options = {"angles": "xy", "scale_units": "xy", "scale": longest / (1.4 * apart), "pivot": "mid"}
            axes.quiver(*self.points[nodes].T, *self.arrows[nodes].T, alpha=0.7, width=0.006, **options)
        everything = np.vstack([self.points, self.mesh.points.numpy()])
        frame(axes, everything)
        axes.set_xlabel(AXES[0], fontsize=8, labelpad=3)
        axes.set_ylabel(AXES[1], fontsize=8, labelpad=3)
        for axis, (first, last) in zip((axes.xaxis, axes.yaxis), extent(self.mesh.points.numpy()), strict=True):
            axis.set_ticks([first, (first + last) / 2, last], [f"{v:.3g}" for v in (first, (first + last) / 2, last)])
        colour_bar(axes, shown)

    def _draw_surface(self, axes: "matplotlib.axes.Axes") -> None:
        from matplotlib import colormaps
        from matplotlib.cm import ScalarMappable
        from matplotlib.collections import TriMesh
        from matplotlib.colors import Normalize
        from matplotlib.tri import Triangulation

        colours, low, high = self.scale()
        scalars = ScalarMappable(Normalize(low, high), colormaps[colours].with_extremes(bad="0.8"))
        outside = self.mesh.boundary("all")
        faces = self.mesh.facets[outside].numpy()
        body = see(self.points[faces], self.view)
        if self.nodal:
            values = self.values[faces[body.faces]]
        else:
            inside = self.mesh.facet_cells[outside, 0].numpy()[body.faces]
            values = np.repeat(self.values[inside][:, None], faces.shape[1], axis=1)
        shades: Any = scalars.to_rgba(np.ma.masked_invalid(values))
        shades[..., :3] *= body.light[:, None, None]
        triangles, _ = split(np.arange(values.size).reshape(values.shape))
        corners = body.corners.reshape(-1, 2)
        painted = TriMesh(Triangulation(corners[:, 0], corners[:, 1], triangles), rasterized=True)
        painted.set_facecolor(shades.reshape(-1, 4))
        axes.add_collection(painted, autolim=False)
        frame_body(axes, self.points, self.view, self.mesh.points.numpy())
        colour_bar(axes, scalars)


def mesh_panels(
    name: str,
    values: Num[Tensor, "*shape"],
    mesh: Mesh,
    *,
    unit: str = "1",
    note: str = "",
    colours: str | None = None,
    limits: Limits | None = None,
) -> list[Panel]:
    """The panels that show one field on a mesh; see :func:`pdekit.plot.plot_fields`.

    Args:
        name: the first part of the title.
        values: ``(nodes,)`` or ``(cells,)``, or vectors ``(nodes, dim)`` or ``(cells, dim)``.
        mesh: where the values are.
        unit: shown in brackets unless ``"1"``.
        note: the end of the title.
        colours: as in :class:`MeshPanel`.
        limits: as in :class:`MeshPanel`; of the magnitude of complex numbers and vectors.

    Raises:
        InputError: the shape is not that of values at the nodes or cells.
    """
    _check(name, values, mesh)
    options: dict[str, Any] = {"colours": colours, "limits": limits}
    array: Any = values.detach().cpu().numpy()
    array = array[..., 0] if array.ndim == 2 and array.shape[1] == 1 else array
    array = array.astype(np.complex128 if values.is_complex() else np.float64)
    if array.ndim == 2:
        return [_vector_panel(name, array, mesh, unit, note, options)]
    if not values.is_complex():
        return [MeshPanel(array, mesh, titled(name, unit, note), **options)]
    real: Panel = MeshPanel(array.real, mesh, titled(f"Re {name}", unit, note))
    return [real, MeshPanel(np.abs(array), mesh, titled(f"|{name}|", unit, note), **options)]


def _vector_panel(name: str, vectors: Any, mesh: Mesh, unit: str, note: str, options: dict) -> Panel:
    length = np.sqrt((np.abs(vectors) ** 2).sum(axis=1))
    title = titled(f"|{name}|", unit)
    real, nodal = vectors.real, len(vectors) == mesh.n_nodes
    if name == "displacement" and nodal:
        factor = deformation(mesh.points.numpy(), real)
        points = mesh.points.numpy() + factor * np.nan_to_num(real)
        return MeshPanel(length, mesh, f"{title}, deformed {factor:g} x{note}", points=points, **options)
    arrows = real if nodal and mesh.dim == 2 else None
    return MeshPanel(length, mesh, title + note, arrows=arrows, **options)


def _check(name: str, values: Tensor, mesh: Mesh) -> None:
    shape, counts = tuple(values.shape), (mesh.n_nodes, mesh.n_cells)
    if len(shape) in (1, 2) and shape[0] in counts and shape[1:] in ((), (1,), (mesh.dim,)):
        return
    hint = ""
    if len(shape) > 1 and shape[1] in counts:
        hint = f" Plot one sample: {name}[0], say."
    elif len(shape) == 1 and shape[0] > mesh.n_nodes:
        hint = f" Of an element of order 2 the first {mesh.n_nodes} values are those at the nodes."
    raise InputError(
        f"{name} has shape {shape}; expected ({mesh.n_nodes},) at the nodes or ({mesh.n_cells},) in the cells, "
        f"with a last axis of {mesh.dim} for vectors.{hint}"
    )


def deformation(points: FloatArray, displacement: FloatArray) -> float:
    """1, 2 or 5 times a power of ten, so that the largest displacement is well seen."""
    largest = float(np.sqrt((np.nan_to_num(displacement) ** 2).sum(axis=1)).max())
    if largest == 0:
        return 1.0
    wanted = DEFORMATION * float(np.ptp(points, axis=0).max()) / largest
    power = 10.0 ** math.floor(math.log10(wanted))
    return max(step * power for step in (1, 2, 5) if step * power <= wanted * (1 + 1e-9))


def split(cells: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Triangles as they are and quads as two, and the number of the cell of each."""
    if cells.shape[1] == 3:
        return cells, np.arange(len(cells))
    return cells[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3), np.repeat(np.arange(len(cells)), 2)


def spread(points: FloatArray, along: int) -> tuple[npt.NDArray[np.int64], float]:
    """Nodes about evenly spread, at most ``along`` on the longer side, and about how far apart."""
    apart = float(np.ptp(points, axis=0).max()) / along
    places = np.floor((points - points.min(axis=0)) / (apart * (1 + 1e-9))).astype(np.int64)
    _, box = np.unique(places, axis=0, return_inverse=True)
    far = np.abs((points - points.min(axis=0)) / apart - places - 0.5).max(axis=1)  # from the middle of its box
    order = np.lexsort((far, box.ravel()))
    return order[np.unique(box.ravel()[order], return_index=True)[1]], apart


def extent(points: FloatArray) -> list[Limits]:
    """Lowest and highest coordinate along each axis."""
    return [(float(low), float(high)) for low, high in zip(points.min(axis=0), points.max(axis=0), strict=True)]


def aspect_of(points: FloatArray, view: View) -> float:
    """Width over height of the picture, within reason."""
    width, height = np.ptp(flat(points, view), axis=0)
    return float(min(max(width / max(height, 1e-300), 0.3), 4.0))


def flat(points: FloatArray, view: View) -> FloatArray:
    """Points in the picture."""
    if points.shape[1] == 2:
        return points
    right, up, _ = view.frame()
    return np.stack([points @ right, points @ up], axis=1)


def frame(axes: "matplotlib.axes.Axes", points: FloatArray) -> None:
    """Equal scales, and a little room around the points."""
    ends = extent(points)
    room = 0.03 * max(high - low for low, high in ends)
    axes.set_aspect("equal")
    axes.set_xlim(ends[0][0] - room, ends[0][1] + room)
    axes.set_ylim(ends[1][0] - room, ends[1][1] + room)


def frame_body(axes: "matplotlib.axes.Axes", points: FloatArray, view: View, measured: FloatArray) -> None:
    """Room around a projected body, the size of what was measured in words, and where the axes point."""
    frame(axes, flat(points, view))
    axes.set_axis_off()
    size = " x ".join(f"{high - low:.3g}" for low, high in extent(measured))
    axes.text(1.0, 0.0, f"size {size}", transform=axes.transAxes, fontsize=6, ha="right", va="top", color="0.4")
    for name, tip in zip(AXES, 16 * flat(np.eye(3), view), strict=True):
        axes.annotate(
            name, xy=(0.04, 0.04), xycoords="axes fraction", xytext=tuple(tip), textcoords="offset points",
            ha="center", va="center", fontsize=7, color="0.3",
            arrowprops={"arrowstyle": "<-", "color": "0.3", "linewidth": 0.7, "shrinkA": 3, "shrinkB": 0},
        )  # fmt: skip

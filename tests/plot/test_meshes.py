"""Pictures on meshes: values where they belong, hidden faces hidden, deformations stated, names in the legend."""

import math

import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection, PolyCollection, TriMesh

from pdekit.core.errors import InputError
from pdekit.domain import Annulus, Ball, Box, Disk, Interval, LShape, Mesh, Rectangle, Star
from pdekit.families import Poisson
from pdekit.fields import GaussianField
from pdekit.plot import plot_fields, plot_mesh, prediction_figure, samples_figure, save
from pdekit.plot.surfaces import BACK, DARKEST, FRONT, see
from pdekit.samples import FieldSpec, Inputs, Samples, Schema

MESHES = {
    "line": Interval(cells=5).mesh(),
    "triangle": Disk(refinements=2).mesh(),
    "quad": Annulus(cells=(2, 12), kind="quad").mesh(),
    "tetra": Ball(refinements=1).mesh(),
    "hexahedron": Box(cells=2, kind="hexahedron").mesh(),
}


def titles(figure):
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


def drawn(figure, kind):
    return [item for axes in figure.axes[:1] for item in axes.collections if type(item) is kind]


@pytest.mark.parametrize("kind", MESHES)
def test_every_kind_of_cell_and_of_field_is_drawn(kind, tmp_path):
    mesh = MESHES[kind]
    cellwise = mesh.points[mesh.cells].mean(dim=1)
    fields = {
        "u": mesh.points[:, 0],
        "k": cellwise[:, 0],
        "p": torch.complex(mesh.points[:, 0], mesh.points[:, -1]),
        "velocity": mesh.points,
        "flux": cellwise,
        "displacement": 1e-6 * mesh.points,
    }
    shown = plot_fields(fields, mesh, units={"u": "K"})
    assert titles(shown)[:4] == ["u [K]", "k", "Re p", "|p|"]
    save(shown, tmp_path / "fields.png")
    save(plot_mesh(mesh), tmp_path / "mesh.pdf")
    assert (tmp_path / "fields.png").stat().st_size > 5000


def test_a_line_shows_nodal_values_in_order_and_steps_in_cells():
    mesh = Mesh([[1.0], [0.0], [0.5]], [[1, 2], [2, 0]], "line")
    figure = plot_fields({"u": torch.tensor([4.0, 2.0, 3.0]), "k": torch.tensor([5.0, 6.0])}, mesh)
    nodal, steps = (axes.lines[0].get_ydata() for axes in figure.axes)
    np.testing.assert_array_equal(nodal, [2, 3, np.nan, 3, 4, np.nan])
    np.testing.assert_array_equal(steps, [5, 5, np.nan, 6, 6, np.nan])


def test_triangles_take_the_values_of_their_nodes_and_cells():
    mesh = Disk(refinements=2).mesh()
    nodal = plot_fields({"u": mesh.points[:, 0]}, mesh)
    (shown,) = drawn(nodal, TriMesh)
    np.testing.assert_array_equal(shown.get_array(), mesh.points[:, 0])
    cellwise = plot_fields({"k": torch.arange(mesh.n_cells)}, mesh)
    (shown,) = drawn(cellwise, PolyCollection)
    np.testing.assert_array_equal(shown.get_array(), np.arange(mesh.n_cells))


def test_quads_are_split_in_two_of_the_same_colour():
    mesh = Rectangle(cells=2, kind="quad").mesh()
    (shown,) = drawn(plot_fields({"k": torch.arange(4.0)}, mesh), PolyCollection)
    np.testing.assert_array_equal(shown.get_array(), [0, 0, 1, 1, 2, 2, 3, 3])
    covered = [area(path.vertices[:3]) for path in shown.get_paths()]
    assert sum(abs(triangle) for triangle in covered) == pytest.approx(1.0)


def area(corners):
    """Signed area of a triangle."""
    (a, b), (c, d) = corners[1] - corners[0], corners[2] - corners[0]
    return (a * d - b * c) / 2


def test_a_displacement_deforms_the_mesh_by_a_round_factor_in_the_title():
    mesh = Rectangle(cells=2).mesh()
    displacement = torch.zeros_like(mesh.points)
    displacement[:, 1] = -3e-5 * mesh.points[:, 0]
    figure = plot_fields({"displacement": displacement}, mesh, units={"displacement": "m"})
    assert titles(figure) == ["|displacement| [m], deformed 2000 x"]  # a tenth of 1 is 3333 x 3e-5
    (shown,) = drawn(figure, TriMesh)
    moved = np.stack([shown._triangulation.x, shown._triangulation.y], axis=1)
    np.testing.assert_allclose(moved, (mesh.points + 2000 * displacement).numpy())
    np.testing.assert_allclose(shown.get_array(), displacement.norm(dim=1))


def test_no_displacement_at_all_is_drawn_as_it_is():
    mesh = Rectangle(cells=2).mesh()
    assert titles(plot_fields({"displacement": 0 * mesh.points}, mesh)) == ["|displacement|, deformed 1 x"]


def test_other_vectors_are_arrows_in_their_direction():
    mesh = Disk(refinements=3).mesh()
    figure = plot_fields({"velocity": torch.tensor([0.0, 2.0]).expand(mesh.n_nodes, 2)}, mesh)
    (arrows,) = (item for item in figure.axes[0].collections if type(item).__name__ == "Quiver")
    assert set(arrows.U) == {0.0}
    assert set(arrows.V) == {2.0}
    assert 50 < len(arrows.U) < 250


def test_nan_leaves_holes(tmp_path):
    mesh = Disk(refinements=2).mesh()
    values = mesh.points[:, 0].clone()
    values[0] = torch.nan
    (shown,) = drawn(plot_fields({"u": values}, mesh), TriMesh)
    assert shown._triangulation.mask.sum() == int((mesh.cells == 0).any(dim=1).sum())
    ball = Ball(refinements=1).mesh()
    save(plot_fields({"u": torch.full((ball.n_nodes,), torch.nan)}, ball), tmp_path / "nothing.png")


def test_only_faces_towards_the_eye_are_seen_the_nearest_last():
    mesh = Box(cells=1, kind="hexahedron").mesh()
    outside = mesh.boundary("all")
    corners = mesh.points.numpy()[mesh.facets[outside].numpy()]
    for view in (FRONT, BACK):
        body = see(corners, view)
        towards = view.frame()[2]
        centres = corners[body.faces].mean(axis=1) - 0.5
        assert len(body.faces) == 3
        assert (centres @ towards > 0).all()
        assert (np.diff(centres @ towards) >= 0).all()
        assert ((body.light >= DARKEST) & (body.light <= 1)).all()
        assert np.linalg.det(np.stack(view.frame())) == pytest.approx(1.0)  # right, up, towards: no mirror image
    assert set(see(corners, FRONT).faces) | set(see(corners, BACK).faces) == set(range(6))


def test_surfaces_keep_the_colours_of_their_values_up_to_light():
    """Oracle: the hue of the colour map at the value of the face; brightness is the light's."""
    from matplotlib import colormaps

    mesh = Box(cells=2, kind="hexahedron").mesh()
    figure = plot_fields({"k": torch.arange(8.0)}, mesh)
    (shown,) = drawn(figure, TriMesh)
    faces = np.asarray(shown.get_facecolor())[::4, :3]
    known = colormaps["viridis"](np.arange(8) / 7)[:, :3]
    for face in faces:
        ratios = face / known
        assert (np.ptp(ratios, axis=1) < 0.02).any()


def test_names_of_boundaries_and_regions_stand_in_the_legend():
    mesh = LShape().mesh()
    mesh = mesh.with_names(mesh.boundaries, {"steel": [0, 1, 2]})
    figure = plot_mesh(mesh)
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown == [*(f"{name} ({len(facets)})" for name, facets in mesh.boundaries.items()), "region steel"]
    lines = drawn(figure, LineCollection)
    assert [len(line.get_segments()) for line in lines[1:]] == [len(f) for f in mesh.boundaries.values()]
    assert plot_mesh(Mesh([[0.0], [1.0]], [[0, 1]], "line")).legends == []


def test_bodies_are_shown_from_two_sides():
    assert len(plot_mesh(Box(cells=2).mesh()).axes) == 2
    assert len(plot_mesh(Rectangle(cells=2).mesh()).axes) == 1


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((7,), r"u has shape \(7,\); expected \(41,\) at the nodes or \(64,\) in the cells"),
        ((145,), "Of an element of order 2 the first 41 values are those at the nodes"),
        ((3, 41), r"Plot one sample: u\[0\]"),
        ((41, 3), "with a last axis of 2 for vectors"),
        ((), r"u has shape \(\)"),
    ],
)
def test_values_that_belong_nowhere_are_refused(shape, message):
    with pytest.raises(InputError, match=message):
        plot_fields({"u": torch.zeros(shape)}, Disk(refinements=2).mesh())


def test_samples_and_predictions_on_a_mesh():
    mesh = Disk(refinements=2).mesh()
    specs = (
        FieldSpec("coefficient", "input", shape=(mesh.n_cells,)),
        FieldSpec("wavenumber", "input", shape=()),
        FieldSpec("solution", "output", complex=True),
    )
    schema = Schema(mesh, specs)
    given = {"coefficient": torch.rand(3, mesh.n_cells), "wavenumber": torch.tensor([1.0, 2.0, 3.0])}
    solution = torch.complex(torch.rand(3, mesh.n_nodes), torch.ones(3, mesh.n_nodes)).to(torch.complex128)
    inputs, truth = Inputs(schema, given), Samples(schema, {**given, "solution": solution})
    prediction = Samples(schema, {**given, "solution": solution * complex(math.cos(0.1), math.sin(0.1))})
    rows = titles(samples_figure(truth, rows=2))
    assert rows[:2] == ["coefficient, wavenumber = 1", "|solution|"]
    assert rows[2:4] == ["coefficient, wavenumber = 2", "|solution|"]
    shown = titles(prediction_figure(inputs, truth, prediction, rows=1))
    assert shown[1:3] == ["|solution|", "|prediction|"]
    assert shown[3] == f"|error|, relative L2 {2 * math.sin(0.05):.2%}"


def test_vectors_of_predictions_are_compared_by_their_lengths():
    mesh = Rectangle(cells=3).mesh()
    vectors = (mesh.n_nodes, 2)
    specs = (FieldSpec("force", "input", shape=vectors), FieldSpec("displacement", "output", "m", shape=vectors))
    schema = Schema(mesh, specs)
    given = {"force": torch.ones(1, *vectors)}
    truth = Samples(schema, {**given, "displacement": mesh.points[None]})
    prediction = Samples(schema, {**given, "displacement": 1.5 * mesh.points[None]})
    figure = prediction_figure(truth, truth, prediction)
    assert titles(figure)[1].startswith("|displacement| [m], deformed")
    assert titles(figure)[2:] == ["|prediction| [m]", "|error| [m], relative L2 50.00%"]
    given, true, guess, error = (axes.collections[0] for axes in figure.axes[:4])
    np.testing.assert_allclose(given.get_array(), math.sqrt(2))
    assert true.get_clim() == guess.get_clim() == (0.0, pytest.approx(math.sqrt(2)))
    assert error.get_array().max() == pytest.approx(0.5 * math.sqrt(2))


def test_samples_with_a_mesh_each():
    """Random geometry: every row has its own outline, and one scale for the inputs."""
    star = Star(rings=(3, 6))
    family = Poisson(star, GaussianField(alpha=2, tau=3))
    samples = family.solve(family.draw(range(3), seed=0), rtol=1e-8)
    figure = samples_figure(samples)
    shown = [axes.collections[0] for axes in figure.axes if axes.get_title()]
    assert len(shown) == 6
    for row, mesh in enumerate(samples.meshes):
        np.testing.assert_array_equal(shown[2 * row]._triangulation.x, mesh.points[:, 0])
    assert shown[0].get_clim() == shown[2].get_clim() == shown[4].get_clim()
    rows = titles(prediction_figure(samples.inputs, samples, samples, rows=2))
    assert rows[3] == rows[7] == "|error|, relative L2 0.00%"


def test_a_shape_stands_for_its_mesh_and_a_random_one_for_none():
    figure = plot_fields({"x": Disk(2).mesh().points[:, 0]}, Disk(2))
    assert figure.axes[0].get_title() == "x"
    with pytest.raises(InputError, match=r"Star\(.*every sample has a mesh of its own.*sample\(i\)"):
        plot_fields({"x": torch.zeros(5)}, Star())

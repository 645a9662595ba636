"""``pdekit solve --mesh``: conditions by the names in the file, numbers, formulas and arrays, files, refusals."""

import math
from pathlib import Path

import meshio
import numpy as np
import pytest
import torch

from pdekit.cli.main import main
from pdekit.domain import Annulus, Box, Interval, Mesh, Rectangle
from pdekit.samples.hdf5 import read, read_metadata

BRACKET = Path(__file__).parents[2] / "examples" / "data" / "bracket.msh"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Rectangle(cells=6).mesh().write("part.msh")
    return tmp_path


def solve(*words):
    assert main(["solve", *words, "--overwrite"]) == 0


def complaint(words, capsys):
    assert main(["solve", *words]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("pdekit: error: ")
    return shown


def field(name, what="solution"):
    """Of a VTU file, with its points."""
    found = meshio.read(name)
    return found.points[:, 0], found.points[:, 1], found.point_data[what]


@pytest.mark.parametrize(
    "shape", [Rectangle(cells=4), Rectangle(cells=4, kind="quad"), Box(cells=3), Box(cells=2, kind="hexahedron")]
)
@pytest.mark.parametrize("family", ["poisson", "darcy"])
def test_a_linear_function_is_reproduced(shape, family):
    """Oracle: x + 2y is harmonic, and in every space of order 1."""
    shape.mesh().write("part.vtu")
    formula = ["--boundary.left", "2*y", "--boundary.all", "x+2*y", "--rtol", "1e-12"]
    solve(family, "--mesh", "part.vtu", *formula, "--out", "out.vtu")
    x, y, u = field("out.vtu")
    np.testing.assert_allclose(u, x + 2 * y, atol=1e-10)


def test_the_report_says_what_was_solved(capsys):
    words = ["--boundary.left", "1", "--boundary.right=robin", "0", "2.5", "--boundary.all", "neumann"]
    solve("poisson", "--mesh", "part.msh", *words, "--refine", "1")
    shown = capsys.readouterr().out
    assert "poisson on part.msh, refined 1 time: 169 nodes, 288 triangles, P1\n" in shown
    assert "  left      u = 1, 12 facets\n" in shown
    assert "  right     du/dn + 2.5 u = 0, 12 facets\n" in shown
    assert "  the rest  du/dn = 0, 24 facets (bottom, top)\n" in shown
    assert "1 of 1 samples certified by residual" in shown
    assert "iterations, " in shown


def test_all_sides_named_leave_no_rest(capsys):
    Interval(cells=4).mesh().write("line.vtu")
    solve("poisson", "--mesh", "line.vtu", "--boundary.left", "0", "--boundary.right", "0", "--source", "2")
    shown = capsys.readouterr().out
    assert "the rest" not in shown
    assert "solution: 0 .. 0.25" in shown


def test_natural_conditions_on_a_line():
    """Oracle: u = x^2 has u(0) = 0, u' + 3 u = 5 at 1, -u'' = -2; P2 holds it."""
    Interval(cells=3).mesh().write("line.vtu")
    words = ["--boundary.left", "0", "--boundary.right", "robin", "5", "3", "--source", "-2", "--element", "P2"]
    solve("poisson", "--mesh", "line.vtu", *words, "--out", "out.vtu")
    x, _, u = field("out.vtu")
    np.testing.assert_allclose(u, x**2, atol=1e-10)


def test_arrays_at_nodes_and_cells_are_carried_to_a_refined_mesh():
    """Oracle: flow through two materials in series: u' jumps from 1.8 to 0.2 where a does from 1 to 9."""
    mesh = Rectangle(cells=6).mesh()
    x, cells = mesh.points[:, 0].numpy(), mesh.points[mesh.cells].mean(1)[:, 0].numpy()
    np.save("cells.npy", np.where(cells < 0.5, 1.0, 9.0))
    np.save("nodes.npy", 6 * x)
    walls = ["--boundary.left", "0", "--boundary.right", "1", "--boundary.all", "neumann", "0"]
    solve("darcy", "--mesh", "part.msh", "--coefficient", "cells.npy", *walls, "--refine", "1", "--out", "out.vtu")
    fine, _, u = field("out.vtu")
    np.testing.assert_allclose(u, np.where(fine < 0.5, 1.8 * fine, 0.8 + 0.2 * fine), atol=1e-7)
    solve("poisson", "--mesh", "part.msh", "--source", "nodes.npy", "--refine", "2", "--out", "s.h5")
    samples = read("s.h5")
    torch.testing.assert_close(samples["source"][0], 6 * samples.schema.domain.points[:, 0])
    assert read_metadata("s.h5")["family"]["init_args"]["source"] == {"file": "nodes.npy"}


def test_expressions_survive_in_the_dataset():
    solve("poisson", "--mesh", "part.msh", "--boundary.left", "sin(y)", "--source", "x*y", "--out", "s.h5")
    samples = read("s.h5")
    assert str(samples.schema.boundaries[0].value) == "sin(y)"
    assert read_metadata("s.h5")["family"]["init_args"]["source"] == {"expression": "x*y"}
    assert samples.certificate.accepted.all()


def test_elasticity_of_a_linear_displacement(capsys):
    """Oracle: without body force any linear displacement is in balance (patch test); von Mises by hand, nu = 0."""
    where = ["--boundary.all", "0.1*x+0.2*y", "-0.3*y"]
    solve("elasticity", "--mesh", "part.msh", *where, "--poisson", "0", "--young", "2", "--out", "out.vtu")
    x, y, u = field("out.vtu", "displacement")
    np.testing.assert_allclose(u, np.stack([0.1 * x + 0.2 * y, -0.3 * y, 0 * x], axis=1), atol=1e-9)
    # sigma = 2 strain: 0.2, -0.6, shear 0.2
    expected = math.sqrt(0.2**2 + 0.2 * 0.6 + 0.6**2 + 3 * 0.2**2)
    stress = meshio.read("out.vtu").cell_data["von_mises"][0]
    np.testing.assert_allclose(stress, expected, rtol=1e-7)
    assert f"von_mises: {expected:.4g}" in capsys.readouterr().out


def test_parts_of_an_elastic_body_without_a_condition_are_free(capsys):
    """Oracle: a bar under pressure p gets shorter by p / E, and wider by nothing for nu = 0."""
    words = ["--boundary.left", "0", "0", "--boundary.right", "pressure", "0.5", "--poisson", "0", "--plot", "bar.png"]
    solve("elasticity", "--mesh", "part.msh", *words, "--out", "out.vtu")
    x, _, u = field("out.vtu", "displacement")
    np.testing.assert_allclose(u[:, 0], -0.5 * x, atol=1e-7)
    assert "the rest  traction 0, 12 facets (bottom, top)" in capsys.readouterr().out
    solve(
        "elasticity",
        "--mesh",
        "part.msh",
        *words[:3],
        "--boundary.right",
        "neumann",
        "0",
        "-1e-3",
        "--source",
        "0",
        "-1",
    )
    assert "load" not in capsys.readouterr().out


def test_vectors_survive_in_the_dataset(capsys):
    words = ["elasticity", "--mesh", "part.msh", "--boundary.right", "neumann", "0", "-1"]
    solve(*words, "--boundary.left", "0", "0.5", "--out", "s.h5")
    samples = read("s.h5")
    assert [boundary.value for boundary in samples.schema.boundaries] == [(0.0, -1.0), (0.0, 0.5), 0.0]
    assert samples["displacement"].shape == (1, 49, 2)
    refused = complaint([*words, "--boundary.left", "0", "y", "--out", "t.h5"], capsys)
    assert "the boundary 'left' is a function, which a file cannot hold; expected a number, a tuple" in refused
    solve(*words, "--boundary.left", "0", "y", "--out", "t.vtu")


def test_a_free_body(capsys):
    """Oracle: under pressure p all around, plane strain, E = 1, nu = 0 it shrinks by p, about its centre."""
    solve("elasticity", "--mesh", "part.msh", "--boundary.all", "pressure", "0.1", "--poisson", "0", "--out", "o.vtu")
    x, y, u = field("o.vtu", "displacement")
    np.testing.assert_allclose(u[:, :2], -0.1 * np.stack([x - 0.5, y - 0.5], axis=1), atol=1e-7)
    falls = complaint(["elasticity", "--mesh", "part.msh", "--boundary.left", "neumann", "0", "-1"], capsys)
    assert "null space" in falls


def test_waves_leave_through_an_impedance_boundary():
    """Oracle: exp(ikx), up to the phase error k (kh)^2 x / 24 of Galerkin."""
    Interval(cells=80).mesh().write("line.vtu")
    ends = ["--boundary.left", "1", "--boundary.right", "impedance"]
    solve("helmholtz", "--mesh", "line.vtu", "--wavenumber", "10", *ends, "--out", "w.vtu", "--plot", "w.png")
    x, _, real = field("w.vtu", "solution_real")
    _, _, imaginary = field("w.vtu", "solution_imag")
    np.testing.assert_allclose(real + 1j * imaginary, np.exp(10j * x), atol=10 * (10 / 80) ** 2 / 10)


@pytest.mark.parametrize("velocity", [["5", "-y"], ["-x", "0"]])
def test_a_flow_carries_a_linear_profile(velocity):
    """Oracle: u = x solves -0.5 laplace u + v . grad u + u = v_x + x."""
    source = f"{velocity[0]}+x"
    words = [
        "--velocity",
        *velocity,
        "--coefficient",
        "0.5",
        "--reaction",
        "1",
        "--source",
        source,
        "--max_peclet",
        "2",
    ]
    solve("advection-diffusion", "--mesh", "part.msh", *words, "--boundary.all", "x", "--out", "out.vtu")
    x, _, u = field("out.vtu")
    np.testing.assert_allclose(u, x, atol=1e-7)


def test_nonlinear_diffusion():
    """Oracle: Kirchhoff: u + u^3 is linear between its ends, 0 and 2, where (1 + 3 u^2) u' is constant."""
    Interval(cells=60).mesh().write("line.vtu")
    words = ["--nonlinearity", "3", "--boundary.left", "0", "--boundary.right", "1", "--element", "P2"]
    solve("nonlinear-diffusion", "--mesh", "line.vtu", *words, "--out", "out.vtu")
    x, _, u = field("out.vtu")
    np.testing.assert_allclose(u + u**3, 2 * x, atol=1e-5)


@pytest.mark.parametrize("method", ["AMG", "Chebyshev", "Direct"])
def test_methods_by_name(method, capsys):
    solve("poisson", "--mesh", "part.msh", "--source", "1", "--method", method)
    assert method in capsys.readouterr().out


@pytest.mark.parametrize("method", ["Jacobi", "BiCGStab"])
def test_methods_for_matrices_that_are_not_symmetric(method, capsys):
    words = ["--velocity", "1", "0", "--source", "1", "--method", method]
    solve("advection-diffusion", "--mesh", "part.msh", *words)
    assert method in capsys.readouterr().out


def test_what_is_drawn_beside_the_solution(monkeypatch):
    from pdekit import plot

    drawn = []
    unchanged = plot.plot_fields
    monkeypatch.setattr(
        plot, "plot_fields", lambda fields, *a, **k: drawn.append(list(fields)) or unchanged(fields, *a, **k)
    )
    solve("darcy", "--mesh", "part.msh", "--coefficient", "1+x", "--source", "1", "--plot", "d.png")
    solve("darcy", "--mesh", "part.msh", "--source", "1", "--element", "P2", "--plot", "d.png")
    assert drawn == [["coefficient", "solution"], ["solution"]]


def test_a_number_is_a_number_even_beside_a_file_of_that_name(capsys):
    Path("1").write_text("no array")
    solve("poisson", "--mesh", "part.msh", "--source", "1")
    assert "source: 1 .. 1" in capsys.readouterr().out


def test_notes(capsys):
    solve("poisson", "--mesh", "part.msh")
    assert "note: the solution is 0 everywhere: source and boundary values are" in capsys.readouterr().out
    solve("poisson", "--mesh", "part.msh", "--boundary.all", "neumann", "--source", "1+x")
    assert "the source acts without the constant 1.5" in capsys.readouterr().out
    sides = ["--boundary.right", "neumann", "0.5", "--boundary.all", "neumann"]
    solve("darcy", "--mesh", "part.msh", *sides, "--source", "x", "--coefficient", "3")
    assert "without the constant 2, so that it balances the fluxes\n" in capsys.readouterr().out
    solve("poisson", "--mesh", "part.msh", *sides, "--source", "x-1")
    assert "gets the mean 0\n" in capsys.readouterr().out


PART = ["poisson", "--mesh", "part.msh"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([*PART, "--boundary.lefft", "0"], "names no such part of the boundary. Did you mean left? Known: all, bott"),
        ([*PART, "--boundary.left", "periodic"], "only the sides of a grid can be"),
        ([*PART, "--boundary.left", "x*q"], "--boundary.left x*q: In the expression 'x*q', q is not known"),
        ([*PART, "--boundary.left", "z"], "z is not known, the domain has 2 dimensions"),
        ([*PART, "--boundary.left", "impedance"], "no such condition here. Known: dirichlet, neumann, robin"),
        ([*PART, "--element", "Q1"], "--element Q1: the mesh has triangles; expected P1 or P2"),
        ([*PART, "--refine", "-1"], "--refine -1: expected 0 or more"),
        ([*PART, "--refine", "20"], "would make 79,164,837,199,872 cells; expected at most 50,000,000"),
        ([*PART, "--source", "part.msh"], "part.msh is no plain .npy file"),
        ([*PART, "--source", "1", "--method", "Multigrid"], "Multigrid"),
        ([*PART, "--seed", "1"], "--seed is for problems on a grid"),
        ([*PART, "--source", "1", "+", "x"], "expected one value. Quote an expression that has spaces"),
        ([*PART, "--source", "nan"], "--source nan: expected a finite number"),
        ([*PART, "--source", "a.npy"], "--source a.npy has the shape (7,); expected (49,) at the nodes of the mesh"),
        ([*PART, "--out", "s.txt"], "--out s.txt: expected a name that ends with .h5 or .vtu"),
        ([*PART, "--young", "1"], "--young is for elasticity; poisson takes --source"),
        ([*PART, "--method", "BlockJacobi"], "--method BlockJacobi: it needs size"),
        (["poisson", "--mesh", "nowhere.msh"], "There is no file nowhere.msh"),
        (["poisson", "--mesh", "part.step"], "holds a geometry, not a mesh"),
        (["poisson", "--mesh", "a.npy"], "names no mesh format"),
        (["poisson", "--mesh", ""], "--mesh is empty"),
        (["darcy", "--mesh", "part.msh", "--coefficient", "a.npy"], "(49,) at the nodes or (72,) at the cells"),
        (["darcy", "--mesh", "part.msh", "--coefficient", "x-0.5"], "coefficient"),
        (["helmholtz", "--mesh", "part.msh"], "--wavenumber is missing: expected one number"),
        (["helmholtz", "--mesh", "part.msh", "--wavenumber", "x"], "--wavenumber x: expected one number"),
        (["helmholtz", "--mesh", "part.msh", "--wavenumber", "99"], "points a wave length"),
        (["helmholtz", "--wavenumber", "9"], "helmholtz is solved on a mesh; expected --mesh FILE"),
        (["advection-diffusion", "--mesh", "part.msh", "--velocity", "1"], "1: expected 2 values, one for each"),
        (["advection-diffusion", "--mesh", "part.msh"], "--velocity is missing: expected 2 values"),
        (["elasticity", "--mesh", "part.msh", "--boundary.left", "0"], "VALUES, 2 numbers or expressions, one a com"),
        (["elasticity", "--mesh", "part.msh", "--boundary.left", "0", "0", "0"], "expected VALUES, 2 numbers"),
        (["elasticity", "--mesh", "part.msh", "--boundary.left", "robin", "0", "1"], "no such condition here"),
        (["elasticity", "--mesh", "part.msh", "--boundary.left", "pressure", "x"], "pressures that vary are tractions"),
        (["elasticity", "--mesh", "part.msh", "--source", "1", "x"], "expected numbers, the same everywhere"),
    ],
)  # fmt: skip
def test_refusals(words, expected, capsys):
    np.save("a.npy", np.ones(7))
    assert expected in complaint(words, capsys)


def test_a_mesh_without_names_takes_one_condition_for_all(capsys):
    mesh = Rectangle(cells=2).mesh()
    Mesh(mesh.points, mesh.cells, mesh.kind).write("bare.vtu")
    solve("poisson", "--mesh", "bare.vtu", "--boundary.all", "x")
    shown = complaint(["poisson", "--mesh", "bare.vtu", "--boundary.wall", "0"], capsys)
    assert "names no part of its boundary, so that only --boundary.all can be given" in shown
    assert 'Physical Curve("wall")' in shown


def test_faults_of_a_mesh_are_repaired_on_request(capsys):
    points = np.vstack([Rectangle(cells=2).mesh().points, [[5.0, 5.0]]])
    meshio.write(
        "torn.vtu", meshio.Mesh(np.pad(points, ((0, 0), (0, 1))), [("triangle", Rectangle(cells=2).mesh().cells)])
    )
    assert "--repair drop_orphans leaves them out" in complaint(["poisson", "--mesh", "torn.vtu"], capsys)
    solve("poisson", "--mesh", "torn.vtu", "--repair", "drop_orphans", "--source", "1")
    assert "9 nodes, 8 triangles" in capsys.readouterr().out


def test_a_damaged_mesh_file(capsys):
    Path("cut.msh").write_bytes(Path("part.msh").read_bytes()[:400])
    assert "The mesh file cut.msh cannot be used" in complaint(["poisson", "--mesh", "cut.msh"], capsys)


def test_a_mesh_is_not_replaced_by_its_solution(capsys):
    Annulus(cells=(2, 12)).mesh().write("ring.vtu")
    words = ["poisson", "--mesh", "ring.vtu", "--out", "ring.vtu", "--overwrite"]
    assert "would replace an input" in complaint(words, capsys)


def test_the_part_read_from_gmsh(folder, capsys):
    """The command of the issue, on the part made for this project."""
    words = ["--boundary.wall", "0", "--boundary.inlet", "x*(1-x)", "--out", "out/part.vtu", "--plot", "out/part.png"]
    solve("poisson", "--mesh", str(BRACKET), *words)
    found = meshio.read("out/part.vtu")
    x, y = found.points[:, 0], found.points[:, 1]
    inlet = (y == 1) & (x > 0) & (x < 0.3)
    np.testing.assert_allclose(found.point_data["solution"][inlet], (x * (1 - x))[inlet])
    assert "boundary:inlet" in found.cell_data
    assert (folder / "out" / "part.png").read_bytes()[:4] == b"\x89PNG"
    assert f"bracket.msh: {len(x):,} nodes" in capsys.readouterr().out


@pytest.mark.parametrize("times", ["40", "99999999999999999999"])
def test_a_refinement_without_end_is_refused(times, capsys):
    said = complaint(["poisson", "--mesh", "part.msh", "--refine", times], capsys)
    assert f"--refine: {times} refinements would make far more cells; expected at most 50,000,000" in said

"""``pdekit solve --mesh``: materials as formulas, and parts of the boundary that meet."""

import numpy as np
import pytest

from pdekit.cli.main import main
from pdekit.core.expressions import Expression
from pdekit.domain import Boundary, Box, Interval, Mesh, Rectangle
from pdekit.families import Darcy
from pdekit.fields import Constant
from pdekit.samples.hdf5 import read_metadata

JUMP = "where(x < 0.5, 1, 10)"
BAR = ["--boundary.left", "0", "--boundary.all", "neumann"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def solve(*words):
    assert main(["solve", *words, "--overwrite"]) == 0
    return Mesh.read("out.vtu")


def values(what="solution"):
    import meshio

    found = meshio.read("out.vtu")
    return found.point_data[what] if what in found.point_data else found.cell_data[what][0]


@pytest.mark.parametrize(
    ("shape", "element"),
    [
        (Interval(cells=4), "P1"),
        (Interval(cells=4), "P2"),
        (Rectangle(cells=2), "P2"),
        (Rectangle(cells=4, kind="quad"), "Q1"),
        (Rectangle(cells=2, kind="quad"), "Q2"),
    ],
)
@pytest.mark.parametrize(
    "family", [["darcy"], ["advection-diffusion", "--velocity", "0", "0"], ["nonlinear-diffusion", "--nonlinearity=0"]]
)
def test_a_jump_between_cells_stays_sharp(shape, element, family):
    """-(a u')' = 1, u(0) = 0, u'(1) = 0: u(1) = 3/8 + 1/80 by hand, and these elements are exact at the nodes."""
    mesh = shape.mesh()
    mesh.write("mesh.vtu")
    family = family[:3] if mesh.dim == 1 else family
    solve(*family, "--mesh", "mesh.vtu", "--coefficient", JUMP, *BAR, "--source=1", "--element", element,
          "--out", "out.vtu")  # fmt: skip
    assert values().max() == pytest.approx(0.3875, abs=1e-7)
    assert set(values("coefficient")) == {1.0, 10.0}  # in the cells


def test_a_bar_of_two_materials_under_its_weight():
    """With poisson = 0 and rollers' symmetry u_x is that of a bar: 0.3875."""
    Rectangle(cells=2, kind="quad").mesh().write("mesh.vtu")
    solve("elasticity", "--mesh", "mesh.vtu", "--young", JUMP, "--poisson=0", "--boundary.left", "0", "0",
          "--source", "1", "0", "--element", "Q2", "--out", "out.vtu")  # fmt: skip
    assert values("displacement")[:, 0].max() == pytest.approx(0.3875, abs=1e-7)


def test_a_smooth_formula_keeps_the_order_of_the_element():
    """-((1 + x) u')' = -2 - 4x for u = x^2: P2 holds the solution."""
    Interval(cells=3).mesh().write("mesh.vtu")
    ends = ["--boundary.left", "0", "--boundary.right", "1"]
    solve("darcy", "--mesh", "mesh.vtu", "--coefficient=1+x", "--source=-2-4*x", *ends, "--element=P2", "--out=out.vtu")
    x = Mesh.read("out.vtu").points[:, 0].numpy()
    np.testing.assert_allclose(values()[: len(x)], x**2, atol=1e-6)


def test_files_and_pictures_keep_the_formula():
    Rectangle(cells=4).mesh().write("mesh.vtu")
    words = ["helmholtz", "--mesh=mesh.vtu", "--wavenumber=1", "--source=1", "--index", JUMP, "--overwrite"]
    assert main(["solve", *words, "--out=out.h5", "--plot=out.png"]) == 0
    assert read_metadata("out.h5")["family"]["init_args"]["index"] == {"expression": JUMP}


def test_a_formula_that_is_not_positive_is_refused(capsys):
    Rectangle(cells=4).mesh().write("mesh.vtu")
    assert main(["solve", "darcy", "--mesh", "mesh.vtu", "--coefficient", "x-0.5", "--source", "1"]) == 2
    assert "The coefficient x-0.5 is -0.4" in capsys.readouterr().err


@pytest.mark.parametrize("order", [("left", "bottom"), ("bottom", "left")])
def test_where_parts_meet_the_later_holds_and_the_line_says_so(order, capsys):
    Rectangle(cells=4).mesh().write("mesh.vtu")
    given = {"left": "1", "bottom": "2"}
    words = [word for name in order for word in (f"--boundary.{name}", given[name])]
    mesh = solve("poisson", "--mesh", "mesh.vtu", *words, "--out", "out.vtu")
    corner = (mesh.points == 0).all(1).numpy()
    assert values()[corner] == float(given[order[1]])
    first, last = order
    said = f"{first} and {last} meet at 1 node with different values; {last}, given later, holds there"
    assert said in capsys.readouterr().out


def test_parts_that_agree_where_they_meet_say_nothing(capsys):
    Rectangle(cells=4).mesh().write("mesh.vtu")
    solve("poisson", "--mesh", "mesh.vtu", "--boundary.left", "y", "--boundary.bottom", "x", "--out", "out.vtu")
    assert "meet" not in capsys.readouterr().out


@pytest.mark.parametrize("rest", [[], [Boundary("all", "dirichlet", 0.0)]])
def test_named_parts_win_over_the_rest(rest):
    """As fem.eliminate says: any part over all."""
    mesh = Rectangle(cells=4).mesh()
    family = Darcy(mesh, Constant(1.0), 0.0, [Boundary("left", "dirichlet", 1.0), *rest])
    u = family.solve(family.draw([0], seed=0), rtol=1e-10)["solution"][0]
    x = mesh.points[:, 0]
    assert (u[x == 0] == 1).all()
    assert (u[x == 1] == 0).all()


def test_a_family_with_a_formula_draws_its_source():
    family = Darcy(Interval(cells=4), Expression(JUMP), Constant(1.0), [Boundary("right", "neumann")])
    samples = family.solve(family.draw([0], seed=0), rtol=1e-10)
    assert family.schema.inputs == ("source",)
    assert float(samples["solution"].max()) == pytest.approx(0.3875)


@pytest.mark.parametrize(("shape", "weight"), [(Rectangle(cells=3), ["0", "-1"]), (Box(cells=2), ["0", "0", "-1"])])
def test_a_body_that_nothing_holds_is_explained(shape, weight, capsys):
    shape.mesh().write("mesh.vtu")
    assert main(["solve", "elasticity", "--mesh", "mesh.vtu", "--source", *weight]) == 2
    assert "The body can translate and rotate." in capsys.readouterr().err


@pytest.mark.parametrize("family", ["poisson", "darcy"])
def test_a_constant_source_between_free_sides_leaves_nothing(family, capsys):
    """What is left of it after balancing is rounding, which must not be judged as a source."""
    Rectangle(cells=4).mesh().write("mesh.vtu")
    solve(family, "--mesh", "mesh.vtu", "--source", "1", "--boundary.all", "neumann", "--out", "out.vtu")
    assert not values().any()
    assert "nothing is left of it. Fix u somewhere" in capsys.readouterr().out


def test_methods_are_named_as_the_command_names_them(capsys):
    Rectangle(cells=4).mesh().write("mesh.vtu")
    words = ["--mesh", "mesh.vtu", "--source", "1", "--method"]
    assert main(["solve", "poisson", *words, "amg"]) == 2
    assert "Did you mean AMG?" in capsys.readouterr().err
    assert main(["solve", "advection-diffusion", "--velocity", "1", "0", *words, "CG"]) == 2
    assert "those of advection-diffusion are not; expected Auto, Direct, GMRES" in capsys.readouterr().err


def test_a_tolerance_just_out_of_reach_is_named(capsys):
    Rectangle(cells=4).mesh().write("mesh.vtu")
    assert main(["solve", "poisson", "--mesh", "mesh.vtu", "--source", "x*y", "--rtol", "2e-17", "--method", "CG"]) == 2
    shown = capsys.readouterr().err
    assert "would be met" in shown
    rtol = shown.partition("--rtol ")[2].split()[0]
    assert main(["solve", "poisson", "--mesh", "mesh.vtu", "--source", "x*y", "--rtol", rtol, "--method", "CG"]) == 0

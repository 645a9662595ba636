"""``pdekit solve``: arrays of one's own, random problems, boundary conditions, refusals."""

import math

import numpy as np
import pytest
import torch

from pdekit.cli.main import main
from pdekit.families import Darcy
from pdekit.samples.hdf5 import read, read_metadata
from pdekit.solvers import Direct


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def coefficient(shape=(17, 13)):
    array = np.exp(np.random.default_rng(0).standard_normal(shape))
    np.save("a.npy", array)
    return array


def complaint(words, capsys):
    assert main(["solve", *words]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("pdekit: error: ")
    return shown


def test_own_coefficient_to_file_and_picture(folder, capsys):
    """Oracle: SuperLU on the same system."""
    array = coefficient()
    assert main(["solve", "darcy", "--coefficient", "a.npy", "--out", "solution.h5", "--plot", "solution.png"]) == 0
    assert "1 of 1 samples certified by residual" in capsys.readouterr().out
    samples = read("solution.h5")
    assert samples["coefficient"].shape == (1, *array.shape)
    law = read_metadata("solution.h5")["family"]["init_args"]["coefficient"]
    assert law == {"file": "a.npy"}, "an array of one's own has no law"
    import pdekit as pk

    family = pk.families.Darcy(pk.Grid(array.shape), pk.fields.Constant(1.0))
    expected = family.solve(family.inputs_from(array), rtol=1e-12, method=Direct())["solution"]
    assert float((samples["solution"] - expected).norm() / expected.norm()) < 1e-7
    assert (folder / "solution.png").read_bytes()[:4] == b"\x89PNG"


def test_the_seed_draws_a_sample_of_the_training_stream(capsys):
    assert main(["solve", "darcy", "--resolution", "17", "--seed", "3", "--out", "s.h5"]) == 0
    import pdekit as pk

    law = pk.fields.Threshold(pk.fields.GaussianField(alpha=2, tau=3), low=3, high=12)
    drawn = pk.families.Darcy(pk.Grid((17, 17)), law).draw([0], seed=3)
    assert (read("s.h5")["coefficient"] == drawn["coefficient"]).all()


def test_the_seed_draws_the_same_coefficient_for_every_source():
    for source in ("2", "x"):
        words = ["--resolution", "9", "--seed", "3", "--source", source, "--out", f"{source}.h5"]
        assert main(["solve", "darcy", *words]) == 0
    number, expression = read("2.h5"), read("x.h5")
    assert set(number.schema.inputs) == {"coefficient"}
    assert set(expression.schema.inputs) == {"coefficient", "source"}
    assert torch.equal(number["coefficient"], expression["coefficient"])
    assert (number["solution"] > expression["solution"])[0, 1:-1, 1:-1].all()


def test_fields_are_read_and_drawn_once(monkeypatch):
    coefficient((9, 9))
    np.save("f.npy", np.ones((9, 9)))
    read_files, draws = [], []
    load, draw = np.load, Darcy.draw
    monkeypatch.setattr(np, "load", lambda path, **how: read_files.append(path) or load(path, **how))
    monkeypatch.setattr(Darcy, "draw", lambda self, *a, **how: draws.append(self) or draw(self, *a, **how))
    assert main(["solve", "darcy", "--coefficient", "a.npy", "--source", "f.npy"]) == 0
    assert (sorted(read_files), len(draws)) == (["a.npy", "f.npy"], 0)
    assert main(["solve", "darcy", "--source", "f.npy"]) == 0
    assert main(["solve", "darcy", "--resolution", "9"]) == 0
    assert len(draws) == 2


def test_boundary_conditions_by_side():
    """Oracle: u = 1 + x/2 solves -u'' = 0 with u(0) = 1 and du/dn = 1/2 on the right."""
    np.save("f.npy", np.zeros((9, 9)))
    sides = ["--boundary.left", "1", "--boundary.right", "neumann", "0.5", "--boundary.all", "neumann", "0"]
    assert main(["solve", "poisson", "--source", "f.npy", *sides, "--out", "s.h5"]) == 0
    u = read("s.h5")["solution"][0].double()
    x = np.linspace(0, 1, 9)
    assert np.allclose(u, (1 + x / 2)[:, None], atol=1e-6)


def test_a_periodic_side_opens_its_axis():
    assert main(["solve", "darcy", "--resolution", "9", "--boundary.left", "periodic", "--out", "s.h5"]) == 0
    assert read("s.h5").schema.domain.closed_axes == (False, True)


@pytest.mark.parametrize("method", ["Direct", "CG", "Jacobi", "Multigrid", "Auto"])
def test_methods_and_preconditioners_by_name(method, capsys):
    assert main(["solve", "darcy", "--resolution", "9", "--method", method]) == 0


@pytest.mark.parametrize("dimension", ["1", "2", "3"])
def test_dimensions(dimension):
    assert main(["solve", "poisson", "--resolution", "9", "--dimension", dimension]) == 0


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda a: a.__setitem__((3, 4), np.nan), "coefficient[3, 4] is nan"),
        (lambda a: a.__setitem__((2, 1), 0.0), "coefficient[2, 1] is 0.0"),
        (lambda a: a.__setitem__((5, 5), -1.0), "coefficient[5, 5] is -1.0"),
    ],
)
def test_bad_entries_are_named_with_their_index(change, expected, capsys):
    array = coefficient((9, 9))
    change(array)
    np.save("a.npy", array)
    assert expected in complaint(["darcy", "--coefficient", "a.npy"], capsys)


def test_pickles_are_never_loaded(folder, capsys):
    class Bomb:
        def __reduce__(self):
            return (open, (str(folder / "exploded"), "w"))

    np.save("a.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    assert "Pickled objects are never loaded" in complaint(["darcy", "--coefficient", "a.npy"], capsys)
    assert not (folder / "exploded").exists()


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.ones((3, 3, 3, 3)), "expected one real array with 1, 2 or 3 axes"),
        (np.ones((5, 5), dtype=complex), "expected one real array"),
        (np.float64(1.0), "expected one real array"),
        (np.ones((2, 5)), "axis x has 2 points"),
    ],
)
def test_arrays_that_are_no_fields(array, expected, capsys):
    np.save("a.npy", array)
    assert expected in complaint(["darcy", "--coefficient", "a.npy"], capsys)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["darcy", "--coefficient", "missing.npy"], "missing.npy cannot be read: No such file"),
        (["darcy", "--coefficient", "text.npy"], "text.npy is no plain .npy file"),
        (["darcy", "--coefficient", "a.npy", "--source", "b.npy"], "shape (17, 13) and --source (5, 5)"),
        (["darcy", "--coefficient", "a.npy", "--rtol", "1e-30"], "wanted 1.0e-30"),
        (["darcy", "--rtol", "0"], "greater than 0"),
        (["darcy", "--rtol", "5"], "below 1"),
        (["darcy", "--resolution", "2"], "at least 3"),
        (["darcy", "--boundary.top", "roben", "1"], "Did you mean robin?"),
        (["darcy", "--boundary.top", "robin", "1"], "expected robin VALUE COEFFICIENT"),
        (
            ["darcy", "--boundary.top", "neumann", "x", "+", "1"],
            "expected neumann [VALUE], with numbers or expressions. Quote",
        ),
        (["darcy", "--boundary.top", "neumann", "z"], "--boundary.top z: z is not known, the domain has 2 dimensions"),
        (["darcy", "--boundary.top", "t"], "there is no time in a steady problem"),
        (["darcy", "--boundary.top", "nan"], "expected a finite number"),
        (["darcy", "--boundary.top", "import os"], "import os: The expression"),
        (["darcy", "--boundary.top"], "--boundary.top has no value; expected VALUE, neumann VALUE, or another"),
        (["darcy", "--boundary.", "1"], "names no part of the boundary"),
        (["darcy", "--boundary.top", "1", "--boundary.top=2"], "--boundary.top is given twice"),
        (["darcy", "--boundary.topp", "1"], "a grid has no such side. Did you mean top?"),
        (["darcy", "--refine", "1"], "--refine needs a mesh"),
        (["darcy", "--element", "P2"], "--element needs a mesh"),
        (["darcy", "--out", "s.vtu"], "ends with .h5 (.vtu is for meshes)"),
        (["darcy", "--plot", "s.h5"], "ends with .png"),
        (["darcy", "--method", "Multigird"], "Did you mean Multigrid?"),
        (["poisson", "--coefficient", "a.npy"], "nonlinear-diffusion; poisson takes --source."),
        (["laplace"], "'poisson', 'darcy'"),
    ],
)
def test_refusals(words, expected, capsys):
    coefficient()
    np.save("b.npy", np.ones((5, 5)))
    with open("text.npy", "w") as file:
        file.write("no array")
    assert expected in complaint(words, capsys)


def test_nothing_is_overwritten_unasked(folder, capsys):
    (folder / "kept.h5").write_text("precious")
    words = ["darcy", "--resolution", "9", "--out", "kept.h5"]
    assert "kept.h5 exists" in complaint(words, capsys)
    assert (folder / "kept.h5").read_text() == "precious"
    assert main(["solve", *words, "--overwrite"]) == 0
    assert len(read("kept.h5")) == 1


def test_expressions_and_numbers_on_a_grid():
    """Oracle: u = sin(pi x) y solves -laplace u = pi^2 u with its own values on the sides."""
    sides = ["--boundary.top", "sin(pi*x)", "--boundary.all=0", "--source", "pi**2*sin(pi*x)*y"]
    assert main(["solve", "poisson", "--resolution", "65", *sides, "--out", "s.h5"]) == 0
    samples = read("s.h5")
    x, y = samples.schema.domain.points().unbind(-1)
    assert (samples["solution"][0] - torch.sin(math.pi * x) * y).abs().max() < 3e-4
    assert read_metadata("s.h5")["family"]["init_args"]["source"] == {"expression": "pi**2*sin(pi*x)*y"}
    assert main(["solve", "poisson", "--source", "-x", "--resolution", "9", "--out", "minus.h5"]) == 0
    assert read("minus.h5")["solution"].max() <= 0


@pytest.mark.parametrize(
    ("source", "note"),
    [
        ("1", "without the constant 1, so that it balances the fluxes: nothing is left of it. Fix u somewhere"),
        ("1+x", "which gets the mean 0; the source acts without the constant 1.5, so that it balances the fluxes\n"),
        ("x-0.5", "no part of the boundary fixes u, which gets the mean 0\n"),
    ],
)
def test_what_is_done_to_a_source_that_does_not_balance_is_said(source, note, capsys):
    words = ["solve", "poisson", "--resolution", "9", "--boundary.all", "neumann", "0", "--source", source]
    assert main(words) == 0
    assert note in capsys.readouterr().out


def test_fluxes_are_part_of_the_balance(capsys):
    words = ["--boundary.right", "neumann", "0.5", "--boundary.all", "neumann", "0", "--resolution", "9"]
    assert main(["solve", "poisson", *words, "--source", "x-1"]) == 0
    assert "gets the mean 0\n" in capsys.readouterr().out
    np.save("a.npy", np.full((9, 9), 3.0))
    assert main(["solve", "darcy", "--coefficient", "a.npy", *words[:-2], "--source", "x"]) == 0
    assert "without the constant 2," in capsys.readouterr().out


def test_names_that_cannot_be_used(folder, capsys):
    """Refused before any work: nothing is solved, and nothing that was there is touched."""
    coefficient()
    before = (folder / "a.npy").read_bytes()
    own = ["darcy", "--coefficient", "a.npy", "--overwrite"]
    assert "would replace an input" in complaint([*own, "--out", "a.npy"], capsys)
    assert "would replace an input" in complaint([*own, "--plot", "./a.npy"], capsys)
    assert "named for two different files" in complaint([*own, "--out", "s.png", "--plot", "s.png"], capsys)
    assert "is a folder" in complaint([*own, "--out", "."], capsys)
    assert "is a device" in complaint([*own, "--out", "/dev/null"], capsys)
    assert "--coefficient is empty" in complaint(["darcy", "--coefficient", ""], capsys)
    assert "the grid has 2 axes only" in complaint([*own, "--boundary.back", "periodic"], capsys)
    assert (folder / "a.npy").read_bytes() == before
    assert [path.name for path in folder.iterdir()] == ["a.npy"]


def test_a_file_that_claims_more_than_the_memory_holds(folder, capsys):
    with open("forged.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f8", "fortran_order": False, "shape": (99_999_999, 99_999_999)}
        )
    assert "forged.npy claims to hold more than the memory does" in complaint(
        ["darcy", "--coefficient", "forged.npy"], capsys
    )

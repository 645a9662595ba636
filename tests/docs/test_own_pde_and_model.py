"""The how-to "your own PDE and your own model, each in one file, used from YAML", from its files to a loaded model."""

import json
import re
import sys
from pathlib import Path

import pytest
import torch

import pdekit as pk
from pdekit.cli.main import main
from pdekit.testing import check_family

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "own-pde-and-model.md"
TRUST = ["--allow", "my_pde", "--allow", "my_model"]


def files(page: Path) -> dict[str, str]:
    """The blocks of a page that have the name of a file as their caption."""
    shown = re.findall(r"^```\{code-block\} \w+\n:caption: (\S+)\n(.*?)^```", page.read_text(), flags=re.M | re.S)
    return dict(shown)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with the files of the page, which is not where the command runs; imports are forgotten afterwards."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name, text in files(PAGE).items():
        (folder / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place not in ("", str(tmp_path))])
    yield folder
    for name in ("my_pde", "my_model"):
        sys.modules.pop(name, None)


def test_the_page_has_three_files():
    assert list(files(PAGE)) == ["my_pde.py", "my_model.py", "run.yaml"]


def test_training_and_evaluating(project, tmp_path, capsys):
    small = ["--trainer.max_steps", "4", "--stream.capacity", "32", "--stream.watermark", "16"]
    assert main(["train", str(project / "run.yaml"), *TRUST, *small, "--evaluation.samples", "4"]) == 0
    report = json.loads((tmp_path / "runs" / "plate" / "report.json").read_text())
    assert report["steps"] == 4
    assert (tmp_path / "runs" / "plate" / "prediction.png").is_file()
    assert main(["evaluate", "runs/plate/model", *TRUST, "--samples", "4"]) == 0
    assert "temperature, relative L2" in capsys.readouterr().out
    surrogate = pk.load("runs/plate/model", allow=["my_model"])
    assert type(surrogate.model).__module__ == "my_model"


def test_the_module_may_lie_in_the_working_folder(project, tmp_path, capsys):
    (tmp_path / "elsewhere").mkdir()
    (project / "run.yaml").rename(tmp_path / "elsewhere" / "run.yaml")
    for name in ("my_pde.py", "my_model.py"):
        (project / name).rename(tmp_path / name)
    assert main(["train", "elsewhere/run.yaml", *TRUST, "--print_config"]) == 0
    assert "class_path: my_pde.Plate" in capsys.readouterr().out


def test_nothing_is_imported_that_is_not_trusted(project, capsys):
    assert main(["train", str(project / "run.yaml"), "--allow", "my_pde"]) == 2
    assert "If you trust it, pass --allow my_model." in capsys.readouterr().err
    assert "my_model" not in sys.modules
    before = list(sys.path)
    assert main(["train", str(project / "run.yaml")]) == 2
    assert sys.path == before


def test_a_module_that_is_nowhere(project, capsys):
    (project / "my_pde.py").unlink()
    assert main(["train", str(project / "run.yaml"), *TRUST]) == 2
    assert "there is no class my_pde.Plate" in capsys.readouterr().err


def test_the_family_of_the_page_is_a_family(project, monkeypatch):
    """Oracle: far from the rim, in lengths sqrt(a/c), the plate has the temperature 1/c."""
    monkeypatch.syspath_prepend(str(project))
    import my_pde  # type: ignore[import-not-found]

    from pdekit.fields import Constant

    family = my_pde.Plate(pk.shapes.Disk(refinements=4), Constant(1.0), loss=400.0)
    check_family(family)
    samples = family.solve(family.draw([0], seed=0), rtol=1e-10)
    inner = family.place.points.norm(dim=1) < 0.5
    torch.testing.assert_close(
        samples["temperature"][0, inner] * 400, torch.ones(int(inner.sum())).double(), rtol=1e-3, atol=0
    )

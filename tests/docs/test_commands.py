"""The ``pdekit solve`` commands that the documents and the command's own help show do what they say."""

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from pdekit.cli.main import main
from pdekit.cli.solve import EXAMPLES
from pdekit.learned.base import TrainedOn
from pdekit.learned.corrected import CorrectedFactor

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def shown() -> list[str]:
    """Every command once; the lines of text blocks, and the examples of the help."""
    blocks = [
        block for page in PAGES for block in re.findall(r"^```text\n(.*?)^```", page.read_text(), flags=re.M | re.S)
    ]
    lines = [line.strip() for text in (*blocks, EXAMPLES) for line in text.splitlines()]
    return list(dict.fromkeys(line for line in lines if line.startswith("pdekit solve ")))


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The inputs that the commands name."""
    monkeypatch.chdir(tmp_path)
    bracket = ROOT / "examples" / "data" / "bracket.msh"
    (tmp_path / "examples" / "data").mkdir(parents=True)
    for name in ("bracket.msh", "part.msh", "room.msh", "examples/data/bracket.msh"):
        shutil.copy(bracket, name)
    for name in ("my_field.npy", "f.npy"):
        np.save(name, np.ones((9, 9)))
    CorrectedFactor(trained_on=TrainedOn("Darcy", 2)).save("runs/precondition_darcy/model")


@pytest.mark.parametrize("command", shown())
def test_command(command, files, capsys):
    words = shlex.split(command)[1:]
    assert main(words) == 0, capsys.readouterr().err
    for option in ("--out", "--plot"):
        if option in words:
            assert Path(words[words.index(option) + 1]).stat().st_size > 1000


def test_there_are_commands_on_grids_and_on_meshes():
    assert len(shown()) >= 6
    assert {"--mesh" in command for command in shown()} == {True, False}

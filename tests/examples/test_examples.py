"""Every example runs as a script and asserts a number of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.name for path in EXAMPLES.glob("*.py"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One working folder for all, in order: the prediction uses the model that the training saved."""
    return tmp_path_factory.mktemp("examples")


@pytest.mark.parametrize("name", NAMES)
def test_example(name, folder):
    arguments = ["picture.png"] if name.startswith("01") else []
    command = [sys.executable, os.fspath(EXAMPLES / name), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    if arguments:
        assert (folder / "picture.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", NAMES)
def test_examples_are_short_and_assert(name):
    lines = (EXAMPLES / name).read_text().splitlines()
    assert len(lines) < 60
    assert any(line.lstrip().startswith("assert ") for line in lines)
    assert lines[0].startswith('"""')

"""The package as a whole: cheap to import, complete, layered, and packed without strays."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import pdekit

ROOT = Path(pdekit.__file__).parents[1]


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_import_is_cheap_and_leaves_torch_alone():
    code = (
        "import time; start = time.perf_counter(); import pdekit; seconds = time.perf_counter() - start; "
        "import sys; heavy = [m for m in ('torch', 'numpy', 'numba', 'lightning', 'matplotlib') if m in sys.modules]; "
        "print(seconds); print(heavy)"
    )
    seconds, heavy = run_python(code).splitlines()
    assert float(seconds) < 1.0
    assert heavy == "[]"


@pytest.mark.parametrize("name", pdekit.__all__)
def test_every_public_name_resolves(name):
    assert getattr(pdekit, name) is not None
    assert name in dir(pdekit)


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(AttributeError, match=r"no attribute 'Gird'.*Grid"):
        pdekit.Gird  # noqa: B018


@pytest.mark.parametrize("package", ["solvers", "learned"])
def test_packages_are_there_before_anything_else_is(package):
    assert run_python(f"import pdekit; print(pdekit.{package}.__name__)").strip() == f"pdekit.{package}"


def test_a_solver_needs_neither_lightning_nor_matplotlib():
    code = (
        "import pdekit; pdekit.solve; pdekit.Grid((3,)); import sys; "
        "print([m for m in ('lightning', 'matplotlib', 'tensorboard') if m in sys.modules])"
    )
    assert run_python(code).strip() == "[]"


def test_every_package_says_what_it_offers():
    for init in (ROOT / "pdekit").rglob("__init__.py"):
        text = init.read_text()
        if init.parent.name != "pdekit" and "import" in text:
            assert "__all__" in text, f"{init.relative_to(ROOT)} re-exports without __all__"


def test_files_have_one_subject():
    long = {p.relative_to(ROOT).as_posix(): n for p in (ROOT / "pdekit").rglob("*.py") if (n := count_lines(p)) > 400}
    assert not long, f"over 400 lines: {long}"


def count_lines(path: Path) -> int:
    with path.open() as file:
        return sum(1 for _ in file)


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory) -> list[str]:
    hatchling = pytest.importorskip("hatchling.builders.wheel")
    folder = tmp_path_factory.mktemp("wheel")
    path = next(hatchling.WheelBuilder(os.fspath(ROOT)).build(directory=os.fspath(folder), versions=["standard"]))
    return zipfile.ZipFile(path).namelist()


def test_the_wheel_holds_the_package_and_nothing_else(wheel_names):
    tops = {name.split("/")[0] for name in wheel_names}
    assert tops == {"pdekit", f"pdekit-{pdekit.__version__}.dist-info"}
    assert "pdekit/py.typed" in wheel_names

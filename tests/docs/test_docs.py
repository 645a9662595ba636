"""The documentation's code runs, its commands exist, and its tables are those of the stored results."""

import re
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))

import benchmark_page  # noqa: E402

INSTALL_AND_TRAIN = "pip install -c constraints.txt -e . && pdekit train configs/quickstart.yaml"
INSTALL_AND_TEST = 'pip install -c constraints.txt -e ".[test]" && pytest'
PAGES = re.findall(r"^((?:tutorials|howto)/\S+)$", (ROOT / "docs" / "index.md").read_text(), flags=re.MULTILINE)
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One working folder for all pages, in the order of the index: one loads the model that another has trained."""
    folder = tmp_path_factory.mktemp("docs")
    shutil.copy(ROOT / "examples" / "data" / "bracket.msh", folder)  # as the pages on meshes ask for
    return folder


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs(page, folder, monkeypatch):
    monkeypatch.chdir(folder)
    if code := "\n".join(blocks(ROOT / "docs" / f"{page}.md", "python")):
        exec(compile(code, page, "exec"), {"__name__": "__main__"})
    else:
        assert page in ("howto/configure", "howto/own-pde-and-model"), "a page without code that runs"


def test_the_readme_has_the_two_commands_as_they_are():
    lines = [line for block in blocks(ROOT / "README.md", "text") for line in block.splitlines()]
    assert INSTALL_AND_TRAIN in lines
    assert INSTALL_AND_TEST in lines


def test_ci_installs_and_tests_as_the_readme_says():
    script = (ROOT / ".ci" / "run").read_text()
    for command in INSTALL_AND_TEST.split(" && "):
        assert command.replace("pip install", "pip install --quiet") in script


def test_every_linked_file_exists():
    for path in TEXTS:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text()):
            if "://" not in target:
                assert (path.parent / target).exists(), f"{path.relative_to(ROOT)} links to {target}"


def commands_shown() -> list[tuple[str, list[str]]]:
    found = []
    for path in TEXTS:
        shown = "\n".join(blocks(path, "(?:text|console)"))
        inline = re.findall(r"`(pdekit [^`]+)`", path.read_text())
        for line in re.findall(r"(?:^|\$ |&& )pdekit (.*)", "\n".join([shown, *inline]), flags=re.MULTILINE):
            found.append((path.relative_to(ROOT).as_posix(), line.split("#")[0].split()))
    return found


def test_every_command_and_option_shown_exists(capsys):
    from pdekit.cli.main import COMMANDS, main

    helps = {}
    for where, (command, *rest) in commands_shown():
        assert command in COMMANDS, f"{where} shows pdekit {command}"
        if command not in helps:
            assert main([command, "--help"]) == 0
            helps[command] = capsys.readouterr().out
        for option in (word.split("=")[0] for word in rest if word.startswith("--")):
            is_key_of_a_file = "." in option
            assert is_key_of_a_file or option in helps[command], f"{where} shows pdekit {command} {option}"
        for file in (word for word in rest if word.endswith(".yaml")):
            shown_there = f":caption: {file}\n" in (ROOT / where).read_text()
            assert shown_there or (ROOT / file).is_file(), f"{where} names {file}"


def test_no_path_of_a_machine_stands_in_the_documents():
    for path in TEXTS:
        assert not re.search(r"(?<![\w.])/(home|root|tmp|opt|work|mnt)/", path.read_text()), path


def test_the_tables_are_those_of_the_stored_results():
    results = benchmark_page.load()
    advice = "run: python docs/benchmark_page.py"
    assert (ROOT / "docs/benchmarks/index.md").read_text() == benchmark_page.page(results), advice
    readme = (ROOT / "README.md").read_text()
    assert readme == benchmark_page.with_block(readme, benchmark_page.readme_block(results)), advice


def test_a_claim_that_fails_is_shown_as_failing():
    result = {
        "benchmark": "demo",
        "machine": {"cpu": "a processor", "cores": 2, "python": "3.11"},
        "versions": {"torch": "2.13.0"},
        "claims": [
            {"id": "demo.ratio", "what": "times faster", "value": 1.234, "sense": ">=", "bound": 2.0, "holds": False}
        ],
        "rows": [{"method": "a|b", "seconds": 0.12345}, {"method": "c", "iterations": 7}],
    }
    page = benchmark_page.page([result])
    assert "| demo.ratio | times faster | 1.23 (at least 2) | **no** |" in page
    assert "| a\\|b | 0.123 |  |" in page
    assert "$ pdekit bench demo --json demo.json" in page
    assert "a processor, 2 cores; Python 3.11, torch 2.13.0" in benchmark_page.readme_block([result])
    assert benchmark_page.readme_block([]) == ""

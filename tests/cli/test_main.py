"""The command itself: dispatch, help, exit codes, errors in one line."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pdekit.bench import BENCHMARKS
from pdekit.bench.harness import Benchmark, Claim, Peer
from pdekit.cli import main as cli
from pdekit.cli.main import COMMANDS, main


@pytest.mark.parametrize("command", [name for name in COMMANDS])
def test_every_command_explains_itself_with_examples(command, capsys):
    assert main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"usage: pdekit {command}" in shown
    assert "examples:" in shown
    assert f"  pdekit {command}" in shown.split("examples:")[1]


def test_help_lists_all_commands(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in COMMANDS)


def test_nothing_is_answered_with_help_and_failure(capsys):
    assert main([]) == 2
    assert "usage: pdekit" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--help"], ["list", "families"], ["bench"], ["train", "--help"]])
def test_answers_without_importing_torch(words):
    code = (
        f"import sys; from pdekit.cli.main import main; code = main({words!r}); "
        "assert code == 0, code; assert 'torch' not in sys.modules"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - start < 10  # about 0.1 s on a quiet machine


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("pdekit ")


def test_unknown_command_names_the_nearest(capsys):
    assert main(["trian"]) == 2
    assert "pdekit: error: There is no command 'trian'. Did you mean train?" in capsys.readouterr().err


def test_unknown_option_names_the_nearest(capsys):
    assert main(["bench", "multigrid", "--quik"]) == 2
    assert "Did you mean --quick?" in capsys.readouterr().err


def test_options_are_not_abbreviated(capsys):
    assert main(["bench", "multigrid", "--qui"]) == 2
    assert "--qui" in capsys.readouterr().err


class Fake:
    """Stands in for a command's module."""

    def __init__(self, error):
        self.error = error

    def parser(self):
        return self

    def parse_args(self, rest):
        return rest

    def run(self, arguments):
        raise self.error


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (OSError(28, "No space left on device", "data/x.h5"), 2, "No space left on device (data/x.h5)"),
        (KeyboardInterrupt("Resume with: --resume"), 130, "interrupted. Resume with: --resume"),
        (RuntimeError("odd"), 1, "unforeseen RuntimeError: odd"),
    ],
)
def test_errors_are_one_line_on_stderr(error, code, message, capsys, monkeypatch):
    monkeypatch.setattr(cli, "import_module", lambda name: Fake(error))
    assert main(["list"]) == code
    shown = capsys.readouterr()
    assert message in shown.err
    assert "Traceback" not in shown.err


def test_traceback_on_request(monkeypatch):
    monkeypatch.setattr(cli, "import_module", lambda name: Fake(RuntimeError("odd")))
    with pytest.raises(RuntimeError, match="odd"):
        main(["list", "--traceback"])
    monkeypatch.setenv("PDEKIT_TRACEBACK", "1")
    with pytest.raises(RuntimeError, match="odd"):
        main(["list"])


def test_list_shows_names_arguments_and_one_line(capsys):
    assert main(["list", "fields"]) == 0
    shown = capsys.readouterr().out
    assert "Threshold(field, low, high, level=0.0)" in shown
    assert "two materials" in shown


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("shapes", "MeshFile(path,"),
        ("shapes", "Star(amplitude=0.15"),
        ("families", "AdvectionDiffusion(domain, velocity,"),
        ("families", "components={}"),
        ("methods", "GMRES(preconditioner=None, restart=40,"),
        ("preconditioners", "AMG("),
        ("learned", "CorrectedFactor("),
    ],
)
def test_list_knows_what_came_with_meshes(kind, expected, capsys):
    assert main(["list", kind]) == 0
    shown = capsys.readouterr().out
    assert expected in shown
    assert "`" not in shown, "markup of the reference"


def test_list_of_an_unknown_kind(capsys):
    assert main(["list", "familie"]) == 2
    assert "'families'" in capsys.readouterr().err


def measure(session):
    session.record("fake.ratio", 3.0, seed=0)


FAKE = Benchmark("fake", (Claim("fake.ratio", ">=", 4.0, "times faster"),), measure)


@pytest.fixture
def fake_benchmark(monkeypatch):
    def install(benchmark):
        module = type(sys)("fake_benchmark")
        module.BENCHMARK = benchmark
        monkeypatch.setitem(sys.modules, "fake_benchmark", module)
        monkeypatch.setitem(BENCHMARKS, "fake", "fake_benchmark")

    return install


def test_bench_exits_0_whatever_the_claims_say(fake_benchmark, tmp_path, capsys):
    fake_benchmark(FAKE)
    assert main(["bench", "fake"]) == 0
    assert "FAILS  fake.ratio: 3 >= 4" in capsys.readouterr().out
    assert main(["bench", "fake", "--quick", "--json", str(tmp_path / "fake.json")]) == 0
    shown = capsys.readouterr().out
    assert "quick  fake.ratio: 3 >= 4" in shown
    assert "no evidence" in shown
    report = json.loads((tmp_path / "fake.json").read_text())
    assert report["quick"] is True
    assert report["claims"][0]["holds"] is False


def test_bench_with_a_missing_peer_exits_2_with_its_install_line(fake_benchmark, capsys):
    fake_benchmark(Benchmark("fake", FAKE.claims, measure, peers=(Peer("no_such_module_x", "no-such-x==1.0"),)))
    assert main(["bench", "fake"]) == 2
    assert "pip install 'no-such-x==1.0'" in capsys.readouterr().err


def test_bench_of_an_unknown_name(capsys):
    assert main(["bench", "generatio"]) == 2
    assert "Did you mean generation?" in capsys.readouterr().err


def test_every_benchmark_has_a_line(capsys):
    assert main(["bench"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in shown] == list(BENCHMARKS)


def test_the_hint_to_resume_repeats_the_changes(monkeypatch, tmp_path, capsys):
    config = tmp_path / "run.yaml"
    config.write_text((Path(__file__).parents[1] / "train" / "tiny.yaml").read_text())

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("pdekit.train.runner.run", interrupted)
    words = ["train", str(config), "--trainer.max_steps", "7", "--out", str(tmp_path / "two words")]
    assert main(words) == 130
    shown = capsys.readouterr().err
    assert "--trainer.max_steps 7" in shown
    assert f"--out '{tmp_path}/two words' --resume" in shown

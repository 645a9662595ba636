"""``pdekit generate``, ``train`` and ``evaluate``, in a row as a user would."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from pdekit.cli.main import main
from pdekit.samples.hdf5 import read

ROOT = Path(__file__).parents[2]
RECIPE = str(ROOT / "datasets" / "darcy" / "recipe.yaml")
TINY = str(ROOT / "tests" / "train" / "tiny.yaml")
SMALL = ["--family.domain.shape", "[17, 17]", "--count", "5"]


def complaint(words, capsys):
    assert main(words) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("pdekit: error: ")
    return shown


def test_generate_makes_a_folder(tmp_path, capsys):
    out = tmp_path / "darcy"
    assert main(["generate", RECIPE, *SMALL, "--out", str(out), "--split", "test", "--dtype", "float64"]) == 0
    assert "5 samples" in capsys.readouterr().out
    samples = read(out)
    assert len(samples) == 5
    assert samples.identity.split == "test"
    assert samples.certificate.accepted.all()
    assert (out / "samples.png").read_bytes()[:4] == b"\x89PNG"
    recipe = yaml.safe_load((out / "recipe.yaml").read_text())
    assert recipe["family"]["init_args"]["domain"]["shape"] == [17, 17]
    again = tmp_path / "again"
    assert main(["generate", str(out / "recipe.yaml"), "--out", str(again)]) == 0
    assert (again / "part-00000.h5").read_bytes() == (out / "part-00000.h5").read_bytes()


def test_a_recipe_says_in_which_order_to_solve(tmp_path):
    out = tmp_path / "darcy"
    assert main(["generate", RECIPE, *SMALL, "--out", str(out), "--order", "sorted"]) == 0
    assert read(out).identity.indices.tolist() == [0, 1, 2, 3, 4]
    assert yaml.safe_load((out / "recipe.yaml").read_text())["order"] == "sorted"


def test_generate_refuses_a_folder_in_use(tmp_path, capsys):
    (tmp_path / "note.txt").write_text("mine")
    assert "not empty" in complaint(["generate", RECIPE, *SMALL, "--out", str(tmp_path)], capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--family", "Dracy"], "Did you mean Darcy?"),
        (["--family.domain.shap", "[9]"], "Did you mean shape?"),
        (["--family", "os.system"], "--allow os"),
        (["--dtype", "float16"], "float16"),
        (["--count", "0"], "count is 0"),
        (["--rtl", "1"], "Did you mean --rtol?"),
    ],
)
def test_generate_names_mistakes(words, expected, tmp_path, capsys):
    assert expected in complaint(["generate", RECIPE, *SMALL, *words, "--out", str(tmp_path / "new")], capsys)
    assert not (tmp_path / "new").exists()


def test_a_recipe_with_an_unknown_key(tmp_path, capsys):
    (tmp_path / "r.yaml").write_text("familly: {}\n")
    words = ["generate", str(tmp_path / "r.yaml"), "--out", str(tmp_path / "new")]
    assert "Did you mean family?" in complaint(words, capsys)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "tiny"
    assert main(["train", TINY, "--out", str(out), "--trainer.max_steps", "6"]) == 0
    return out


def test_train_prints_the_test_error(tmp_path, capsys):
    words = ["train", TINY, "--out", str(tmp_path / "t"), "--trainer.max_steps=2", "--evaluation.samples", "2"]
    assert main(words) == 0
    shown = capsys.readouterr()
    assert "test relative L2 error 0." in shown.out
    assert "on 2 held-out samples" in shown.out
    assert "Tip" not in shown.out + shown.err
    assert "GPU available" not in shown.out + shown.err


def test_train_again_names_both_ways_out(trained, capsys):
    shown = complaint(["train", TINY, "--out", str(trained)], capsys)
    assert "--resume" in shown
    assert "--overwrite" in shown


def test_train_resume_of_a_finished_run(trained, capsys):
    assert main(["train", TINY, "--out", str(trained), "--trainer.max_steps", "6", "--resume"]) == 0
    assert "is finished at step 6" in capsys.readouterr().out


def test_print_config_prints_what_repeats_it(tmp_path, capsys):
    assert main(["train", TINY, "--model.width", "4", "--out", str(tmp_path / "x"), "--print_config"]) == 0
    text = capsys.readouterr().out
    assert yaml.safe_load(text)["model"]["init_args"]["width"] == 4
    (tmp_path / "c.yaml").write_text(text)
    assert main(["train", str(tmp_path / "c.yaml"), "--print_config"]) == 0
    assert capsys.readouterr().out == text
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--modle.width", "3"], "--modle.width"),
        (["--model.widht", "3"], "model.widht: FNO has no argument 'widht'. Did you mean width?"),
        (["--family", "os.system"], "pass --allow os"),
        (["--trainer.max_steps"], "--trainer.max_steps has no value"),
        (["--resme"], "Did you mean --resume?"),
        (["--resume", "--overwrite"], "contradict"),
    ],
)
def test_train_names_mistakes(words, expected, tmp_path, capsys):
    assert expected in complaint(["train", TINY, "--out", str(tmp_path / "x"), *words], capsys)


def test_train_without_a_file(capsys):
    assert "nowhere.yaml cannot be read" in complaint(["train", "nowhere.yaml"], capsys)


def test_evaluate_at_another_resolution(trained, tmp_path, capsys):
    out = tmp_path / "at33"
    words = ["evaluate", str(trained / "model"), "--resolution", "33", "--samples", "3", "--out", str(out)]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "3 held-out samples on 33 x 33 points" in shown
    assert "relative L2" in shown
    report = json.loads((out / "evaluation.json").read_text())
    assert report["resolution"] == [33, 33]
    assert report["metrics"]["solution"]["rel_l2_mean"] > 0
    assert (out / "prediction.png").is_file()
    assert "exists" in complaint(words, capsys)


def test_evaluate_agrees_with_the_report(trained, tmp_path, capsys):
    """Oracle: the run's own test error, on the same samples."""
    out = tmp_path / "same"
    assert main(["evaluate", str(trained / "model"), "--samples", "6", "--out", str(out)]) == 0
    found = json.loads((out / "evaluation.json").read_text())["metrics"]["solution"]["rel_l2_mean"]
    assert found == pytest.approx(json.loads((trained / "report.json").read_text())["test_rel_l2"], rel=1e-6)


def test_evaluate_refuses_the_training_split_and_other_folders(trained, tmp_path, capsys):
    assert "trained on" in complaint(["evaluate", str(trained / "model"), "--split", "train"], capsys)
    assert "no saved surrogate" in complaint(["evaluate", str(tmp_path)], capsys)


def test_killed_and_resumed_in_lockstep_ends_bit_for_bit_alike(trained, tmp_path):
    """Oracle: the uninterrupted run; the kill is a real SIGKILL of the command."""
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "pdekit", "train", TINY, "--out", str(out), "--trainer.max_steps", "6"]
    command += ["--trainer.checkpoint_every_n_steps", "1"]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list((out / "checkpoints").glob("step-*.ckpt")) and running.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    assert main([*command[3:], "--resume"]) == 0
    assert (out / "batches.csv").read_bytes() == (trained / "batches.csv").read_bytes()
    weights = [(folder / "model" / "weights.safetensors").read_bytes() for folder in (out, trained)]
    assert weights[0] == weights[1]

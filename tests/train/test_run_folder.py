"""Run folders: what a run leaves, how it is resumed, what it refuses."""

import csv
import json
import signal
from pathlib import Path

import pytest
import torch
import yaml

import pdekit
from pdekit.core.errors import ConfigError, InputError
from pdekit.train.config import load_config
from pdekit.train.operator_learning import OperatorLearning
from pdekit.train.report import Report
from pdekit.train.runner import run

TINY = Path(__file__).parent / "tiny.yaml"


def tiny(out, **changes):
    return load_config(TINY, [("out", str(out)), *changes.items()])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A tiny run from beginning to end."""
    lines = []
    out = tmp_path_factory.mktemp("runs") / "tiny"
    report = run(tiny(out), say=lines.append)
    return out, report, lines


def test_the_folder_holds_everything(finished):
    out, _, _ = finished
    names = {path.name for path in out.iterdir()}
    assert {"config.yaml", "logs", "batches.csv", "checkpoints", "model", "report.json", "prediction.png"} <= names
    assert not [path for path in out.rglob("*") if "partial" in path.name]
    assert (out / "prediction.png").read_bytes()[:4] == b"\x89PNG"
    assert list((out / "logs").glob("events.out.tfevents*"))
    rows = list(csv.DictReader((out / "logs" / "metrics.csv").open()))
    assert [int(row["step"]) for row in rows if row.get("train_loss")]
    assert [int(row["step"]) for row in rows if row.get("validation_loss")] == [3, 7, 11]
    assert len((out / "batches.csv").read_text().splitlines()) == 13


def test_the_report_counts(finished):
    out, report, lines = finished
    content = json.loads((out / "report.json").read_text())
    for key in ("test_rel_l2", "samples_seen", "solve_seconds", "train_seconds", "reuse"):
        assert content[key] > 0
    assert content["steps"] == 12
    assert content["samples_drawn"] == 12 * 8
    assert 0 < content["samples_seen"] <= content["samples_drawn"]
    assert Report.read(out / "report.json") == report
    assert any("on 6 held-out samples" in line for line in lines)
    assert str(out) not in (out / "report.json").read_text()


def test_the_test_error_is_that_of_the_saved_model(finished):
    """Oracle: the mean over samples of ||e|| / ||u|| in the trapezoid rule, computed here."""
    out, report, _ = finished
    config = load_config(out / "config.yaml")
    inputs = config.family.draw(range(6), seed=0, split="test")
    truth = config.family.solve(inputs, rtol=1e-10)["solution"]
    prediction = pdekit.load(out / "model").predict(inputs)["solution"]
    weights = config.family.domain.quadrature()
    squares = [(weights * v.square()).sum((1, 2)) for v in (prediction - truth, truth)]
    assert float((squares[0] / squares[1]).sqrt().mean()) == pytest.approx(report.test_rel_l2, rel=1e-6)


def test_the_saved_configuration_repeats_the_run(finished, tmp_path):
    out, _, _ = finished
    again = load_config(out / "config.yaml", [("out", str(tmp_path / "again"))])
    run(again, say=lambda line: None)
    assert (tmp_path / "again" / "batches.csv").read_bytes() == (out / "batches.csv").read_bytes()
    inputs = again.family.draw([0], seed=0, split="test")
    predictions = [pdekit.load(folder / "model").predict(inputs)["solution"] for folder in (out, tmp_path / "again")]
    assert torch.equal(*predictions)


def test_a_second_run_is_refused_and_both_ways_out_are_named(finished):
    out, _, _ = finished
    with pytest.raises(ConfigError, match=r"(?s)is in use.*--resume.*--overwrite"):
        run(tiny(out))


def test_resuming_a_finished_run_says_so_and_changes_nothing(finished):
    out, report, _ = finished
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    lines = []
    assert run(tiny(out), resume=True, say=lines.append) == report
    assert "is finished at step 12" in lines[0]
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_resumed_run_ends_like_an_uninterrupted_one(finished, tmp_path, monkeypatch):
    out, report, _ = finished
    step = OperatorLearning.training_step

    def interrupted(task, batch, batch_idx):
        if task.global_step == 8:
            raise KeyboardInterrupt  # Ctrl-C, three steps after a checkpoint
        return step(task, batch, batch_idx)

    monkeypatch.setattr(OperatorLearning, "training_step", interrupted)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(tiny(tmp_path / "cut"), say=lambda line: None)
    assert signal.getsignal(signal.SIGINT) is handler
    monkeypatch.undo()
    lines = []
    resumed = run(tiny(tmp_path / "cut"), resume=True, say=lines.append)
    assert any("from step-00000005.ckpt" in line for line in lines)
    assert resumed.steps == 12
    assert resumed.test_rel_l2 == report.test_rel_l2
    assert (tmp_path / "cut" / "batches.csv").read_bytes() == (out / "batches.csv").read_bytes()
    assert (tmp_path / "cut" / "logs" / "metrics-part-1.csv").is_file()


def test_killed_before_the_report_and_resumed_ends_alike(tmp_path):
    run(tiny(tmp_path / "run", schedule=None), say=lambda line: None)
    kept = {name: (tmp_path / "run" / name).read_bytes() for name in ("batches.csv", "model/weights.safetensors")}
    (tmp_path / "run" / "report.json").unlink()
    run(tiny(tmp_path / "run", schedule=None), resume=True, say=lambda line: None)
    assert kept == {name: (tmp_path / "run" / name).read_bytes() for name in kept}
    longer = run(tiny(tmp_path / "run", schedule=None, **{"trainer.max_steps": 14}), resume=True, say=lambda line: None)
    assert longer.steps == 14
    assert (tmp_path / "run" / "batches.csv").read_bytes().startswith(kept["batches.csv"])


def test_a_pickle_in_place_of_a_checkpoint_is_refused(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    run(tiny(tmp_path / "run", **{"evaluation.samples": 1}), say=lambda line: None)
    (tmp_path / "run" / "report.json").unlink()
    torch.save({"x": Bomb()}, tmp_path / "run" / "checkpoints" / "step-00000099.ckpt")
    with pytest.raises(InputError, match=r"is a pickle"):
        run(tiny(tmp_path / "run", **{"evaluation.samples": 1}), resume=True, say=lambda line: None)
    assert not (tmp_path / "exploded").exists()


def test_resume_refuses_another_configuration(finished):
    out, _, _ = finished
    with pytest.raises(ConfigError, match=r"holds a run with model.width = 8, the configuration says 4"):
        run(tiny(out, **{"model.width": 4}), resume=True)


def test_nothing_to_resume_starts_from_the_beginning(tmp_path):
    lines = []
    report = run(
        tiny(tmp_path / "new", **{"trainer.max_steps": 1, "evaluation.samples": 1}), resume=True, say=lines.append
    )
    assert "nothing to resume" in lines[0]
    assert report.steps == 1


def test_overwrite_starts_again(finished, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("{}")
    (tmp_path / "run" / "old.txt").write_text("old")
    run(
        tiny(tmp_path / "run", **{"trainer.max_steps": 1, "evaluation.samples": 1}),
        overwrite=True,
        say=lambda line: None,
    )
    assert not (tmp_path / "run" / "old.txt").exists()


@pytest.mark.parametrize("flag", ["resume", "overwrite"])
def test_a_folder_that_is_no_run_is_never_touched(tmp_path, flag):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match="is no run folder"):
        run(tiny(tmp_path), **{flag: True})
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(ConfigError, match="is a file"):
        run(tiny(tmp_path / "run"))


def test_resume_and_overwrite_exclude_each_other(tmp_path):
    with pytest.raises(ConfigError, match="contradict"):
        run(tiny(tmp_path / "run"), resume=True, overwrite=True)


def test_a_stream_that_cannot_work_is_refused_before_the_folder_is_made(tmp_path):
    with pytest.raises(ConfigError, match="policy"):
        run(tiny(tmp_path / "run", **{"stream.policy": "fifoo"}))
    assert not (tmp_path / "run").exists()


def test_nothing_global_is_left_behind(tmp_path):
    import logging
    import warnings

    torch.manual_seed(5)
    expected = torch.rand(3, generator=torch.Generator().manual_seed(5))
    before = (list(warnings.filters), logging.getLogger("lightning.pytorch").level)
    run(tiny(tmp_path / "run", **{"trainer.max_steps": 1, "evaluation.samples": 1}), say=lambda line: None)
    assert torch.equal(torch.rand(3), expected)
    assert (list(warnings.filters), logging.getLogger("lightning.pytorch").level) == before


def test_config_yaml_is_plain(finished):
    out, _, _ = finished
    content = yaml.safe_load((out / "config.yaml").read_text())
    assert content["family"]["class_path"] == "Darcy"
    assert content["trainer"]["max_steps"] == 12

"""The error of the model in training reaches the stream, and a run file can ask for a tolerance that follows it."""

import csv
from pathlib import Path

import pytest
import torch
from train.test_operator_learning import SCHEMA, batch, make
from train.test_run_config import message, tiny
from train.toy_training import Linear, make_stream, trainer

from pdekit.core.errors import InputError
from pdekit.stream import LabelTolerance
from pdekit.train import ErrorReport, Loss, StreamData, config_from, latest_checkpoint, read_checkpoint, run

RULE = LabelTolerance(start=1e-2, tightest=1e-6, factor=0.1)


class MeanSquare(Loss):
    def forward(self, prediction, truth, weights):
        return (prediction - truth).square().mean()


def test_the_error_is_relative_l2_whatever_the_loss():
    """Oracle: the relative L2 error of the surrogate's own predictions, by hand."""
    one, root = batch(6), SCHEMA.domain.quadrature().float().sqrt()
    for settings in ({}, {"loss": MeanSquare()}):
        task = make(**settings)
        task.fit_normaliser(one.samples)
        task.training_step(one, 0)
        error = (task.surrogate.predict(one.samples.inputs)["solution"] - one.samples["solution"]) * root
        expected = (error.norm(dim=1) / (one.samples["solution"] * root).norm(dim=1)).mean()
        assert torch.isclose(task.training_error, expected, rtol=1e-5)
        assert not task.training_error.requires_grad


class Knowing(Linear):
    """Says that its error is 0.001."""

    training_error = 1e-3


def train(folder, model, **settings):
    stream = make_stream(**settings)
    trainer(folder, 3, ErrorReport(stream), limit_val_batches=0).fit(model, datamodule=StreamData(stream, validation=0))
    return stream


def test_every_batch_is_reported_before_the_checkpoint(tmp_path):
    stream = train(tmp_path, Knowing(), rtol=RULE)
    assert stream.rtol == pytest.approx(1e-4)
    saved = read_checkpoint(latest_checkpoint(tmp_path / "checkpoints"))["StreamData"]["tightening"]
    assert saved["reports"] == 3
    assert saved["rtol"] == stream.rtol


def test_a_module_that_does_not_know_its_error_is_told_what_is_missing(tmp_path):
    with pytest.raises(InputError, match=r"Linear does not say how wrong its model is.*training_error"):
        train(tmp_path, Linear(), rtol=RULE)


def test_with_a_fixed_tolerance_nothing_is_asked(tmp_path):
    assert train(tmp_path, Linear(), rtol=1e-5).rtol == 1e-5


def test_a_run_file_names_the_tolerance():
    assert tiny().stream.get("rtol", 1e-5) == 1e-5
    assert tiny("--stream.rtol", "1e-4").stream["rtol"] == 1e-4
    config = tiny("--stream.rtol", "{class_path: LabelTolerance, init_args: {start: 1e-3}}")
    assert config.stream["rtol"] == LabelTolerance(start=1e-3)
    assert config_from(config.resolved).stream["rtol"] == LabelTolerance(start=1e-3)
    assert config_from(config.resolved).resolved == config.resolved
    assert tiny("--stream.rtol", "LabelTolerance").stream["rtol"] == LabelTolerance()
    assert tiny("--stream.rtol", "LabelTolerance", "--stream.rtol.factor", "0.2").stream["rtol"].factor == 0.2


def test_a_run_file_names_the_order():
    assert tiny().resolved["stream"]["order"] == "drawn"
    assert tiny("--stream.order", "sorted").stream["order"] == "sorted"
    assert "expected one of 'drawn', 'sorted'" in message("--stream.order", "sort")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--stream.rtol", "{class_path: LabelTolerence}"], "Did you mean LabelTolerance?"),
        (["--stream.rtol", "Auto"], "stream.rtol"),
        (["--stream.rtol", "{class_path: LabelTolerance, init_args: {fctor: 1}}"], "Did you mean factor?"),
        (["--stream.rtol", "{class_path: LabelTolerance, init_args: {start: 2}}"], "rtol: LabelTolerance(start=2.0"),
    ],
)
def test_mistakes_are_named_with_their_key(words, expected):
    assert expected in message(*words)


LOOSE = "{class_path: LabelTolerance, init_args: {start: 1e-2, tightest: 1e-4, factor: 0.01}}"


def trained(out: Path, steps: int, **settings) -> None:
    words = ["--stream.rtol", LOOSE, "--trainer.checkpoint_every_n_steps", "3", "--evaluation.samples", "2"]
    words += ["--out", str(out), "--trainer.max_steps", str(steps), "--schedule", "null"]
    run(tiny(*words), say=lambda line: None, **settings)


def test_a_run_tightens_and_resumes_bit_for_bit(tmp_path):
    trained(tmp_path / "whole", 16)
    trained(tmp_path / "parts", 9)
    trained(tmp_path / "parts", 16, resume=True)
    assert (tmp_path / "parts" / "batches.csv").read_bytes() == (tmp_path / "whole" / "batches.csv").read_bytes()
    rows = csv.DictReader((tmp_path / "whole" / "logs" / "metrics.csv").open())
    rtols = [float(row["online/rtol"]) for row in rows if row.get("online/rtol")]
    assert rtols == sorted(rtols, reverse=True)
    assert rtols[-1] < rtols[0] <= 1e-2
    states = [read_checkpoint(latest_checkpoint(tmp_path / part / "checkpoints")) for part in ("whole", "parts")]
    tightenings = [state["StreamData"]["tightening"] for state in states]
    assert tightenings[0] == tightenings[1]
    weights = [state["state_dict"] for state in states]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])

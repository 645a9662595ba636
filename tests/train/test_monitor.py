"""The progress line, the scalars and the verdict."""

import csv
import re
import sys
import time

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from train.toy_training import Linear, make_stream, trainer

from pdekit.stream import Statistics, Stream
from pdekit.train.data import StreamData
from pdekit.train.monitor import StreamMonitor, progress_line, scalars, verdict

EMPTY = Statistics(100, 0, 0, 0, 0, 0, 0, 0.0, 0.0, 0.0)


def after(trainer: float, solver: float, *, fill: float = 0.0, gets: int = 300) -> Statistics:
    """Ten seconds in which trainer and solver waited these shares; the first fill took ``fill`` seconds more."""
    waits = {"samples": trainer * 10, "watermark": fill}
    seconds = 10 + fill
    return Statistics(100, 80, 20, 100, gets, 0, 700, 5.0, seconds, seconds, waits, {"reuse": solver * seconds})


@pytest.mark.parametrize(
    ("now", "kind", "advice"),
    [
        (after(0.4, 0.0), "Producer-bound", "more workers"),
        (after(0.0, 0.8), "Trainer-bound", "smaller lower reuse"),
        (after(0.0, 0.8, gets=100), "Trainer-bound", "as fresh as it can be"),
        (after(0.05, 0.05), "Balanced", "nothing to change"),
        (after(0.0, 0.0, fill=8.0), "Balanced", "first fill took 8.0 s"),
    ],
)
def test_the_verdict_names_who_waited_and_what_to_change(now, kind, advice):
    sentence = verdict(EMPTY, now)
    assert sentence.startswith(kind)
    assert advice in sentence


def test_the_line_speaks_of_the_last_interval():
    before, now = after(0.0, 0.0), after(0.0, 0.0)
    now = Statistics(100, 50, 10, 200, 900, 3, 1400, 9.0, 20.0, 20.0, {"samples": 1.0}, {"reuse": 2.5})
    line = progress_line(40, 100, 0.5, before, now)
    assert line == (
        "step 40/100 | loss 0.5 | buffer 50 % (20 % fresh) | in 10/s out 60/s | reuse 6 | "
        "waits: trainer 10 %, solver 25 % | 3 rejected"
    )


def test_scalars_have_the_agreed_names():
    values = scalars(EMPTY, after(0.1, 0.2))
    for name in ("fill", "unseen_frac", "put_rate", "get_rate", "reuse", "stall_consumer", "stall_producer"):
        assert f"online/{name}" in values
    assert values["online/fill"] == 0.8
    assert values["online/stall_consumer"] == pytest.approx(0.1)
    assert values["online/wait_seconds_producer_reuse"] == pytest.approx(2.0)


def run_training(tmp_path, stream: Stream, model=None) -> None:
    monitor = StreamMonitor(stream, every=0.0)
    data = StreamData(stream, validation=0)
    logger = CSVLogger(tmp_path, name="", version="")
    trainer(tmp_path, 20, monitor, limit_val_batches=0, logger=logger).fit(model or Linear(), datamodule=data)


def test_a_training_prints_lines_logs_scalars_and_ends_with_the_verdict(tmp_path, capsys):
    run_training(tmp_path, make_stream())
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 21
    number = r"[\d.]+"
    assert re.fullmatch(
        rf"step 20/20 \| loss {number} \| buffer \d+ % \(\d+ % fresh\) \| in {number}k?/s out {number}k?/s \| "
        rf"reuse {number} \| waits: trainer \d+ %, solver \d+ %( \| 1 rejected)?",
        lines[-2],
    )
    assert re.match("Producer-bound|Trainer-bound|Balanced", lines[-1])
    with (tmp_path / "metrics.csv").open() as file:
        logged = [row for row in csv.DictReader(file) if row["online/fill"]]
    assert [int(row["step"]) for row in logged] == [5, 10, 15, 20]


class SlowLinear(Linear):
    def training_step(self, batch, batch_idx):
        time.sleep(0.01)
        return super().training_step(batch, batch_idx)


def test_a_slow_trainer_is_told_so(tmp_path, capsys):
    run_training(tmp_path, make_stream(), SlowLinear())
    assert capsys.readouterr().out.splitlines()[-1].startswith("Trainer-bound")


def test_a_slow_solver_is_told_so(tmp_path, capsys):
    stream = make_stream()
    stream.source.delay = lambda first: 0.02
    run_training(tmp_path, stream)
    assert capsys.readouterr().out.splitlines()[-1].startswith("Producer-bound")


def test_in_a_terminal_the_line_is_rewritten(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    run_training(tmp_path, make_stream())
    printed = capsys.readouterr().out
    assert printed.count("\n") == 2
    assert printed.count("\r") == 21


def test_a_loss_that_is_a_tensor_is_printed():
    assert "loss 0.25" in progress_line(1, 2, float(torch.tensor(0.25)), EMPTY, after(0, 0))

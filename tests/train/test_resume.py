"""Interrupted and resumed trainings, compared with uninterrupted ones."""

import csv
import multiprocessing
import time
from pathlib import Path

import numpy as np
import pytest
from train.toy_training import Linear, make_stream, train, trainer

from pdekit.core import PdekitError
from pdekit.train.data import StreamData

STEPS = 30
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["lightning.pytorch"])


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "batches.csv").open() as file:
        return list(csv.DictReader(file))


def lines(folder: Path) -> int:
    path = folder / "batches.csv"
    return path.read_bytes().count(b"\n") - 1 if path.exists() else 0


def train_until_killed(folder: Path, kill_at: int, **settings) -> None:
    """Train in a process of its own, which gets SIGKILL once that many batches are logged."""
    process = processes.Process(target=train, args=(folder, STEPS), kwargs=settings)
    process.start()
    while lines(folder) < kill_at:
        assert process.is_alive(), "the training ended before it could be killed"
        time.sleep(0.001)
    process.kill()
    process.join()


def train_to_the_end(folder: Path, **settings) -> None:
    process = processes.Process(target=train, args=(folder, STEPS), kwargs=settings)
    process.start()
    process.join()
    assert process.exitcode == 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """An uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole")
    train_to_the_end(folder)
    return folder


def test_killed_and_resumed_gives_the_same_batches_and_weights(whole, tmp_path):
    random = np.random.default_rng()
    kills = np.sort(random.choice(np.arange(1, STEPS - 2), 3, replace=False)).tolist()
    print("killed at", kills)
    for number, kill_at in enumerate(kills):
        train_until_killed(tmp_path, kill_at, workers=number + 1)
    train_to_the_end(tmp_path, workers=2)
    assert (tmp_path / "batches.csv").read_bytes() == (whole / "batches.csv").read_bytes()
    assert (tmp_path / "weights.sha256").read_text() == (whole / "weights.sha256").read_text()


def test_the_log_has_every_step_once(whole):
    logged = rows(whole)
    assert [int(row["step"]) for row in logged] == list(range(1, STEPS + 1))
    assert all(len(set(row["indices"].split())) == 6 for row in logged)
    assert len({row["batch_sha256"] for row in logged}) == STEPS


def test_async_resumes_without_losing_a_sample(tmp_path):
    """Oracle: with a budget, every sample but the rejected one is used."""
    settings = {"schedule": "async", "budget": 120, "reuse": (1, 2)}
    train_until_killed(tmp_path, 9, **settings)
    train_to_the_end(tmp_path, **{**settings, "workers": 2})
    logged = rows(tmp_path)
    assert [int(row["step"]) for row in logged] == list(range(1, len(logged) + 1))
    used = {int(index) for row in logged for index in row["indices"].split()}
    assert used == set(range(120)) - {12}


def test_more_steps_continue_a_finished_run(tmp_path):
    """Oracle: one run of 14 steps; the shorter one is resumed from its last step, which no checkpoint interval hits."""
    train(tmp_path / "once", 14, every=100)
    train(tmp_path / "twice", 9, every=100)
    train(tmp_path / "twice", 14, every=100)
    for name in ("batches.csv", "weights.sha256"):
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "twice" / name).read_bytes()


def test_a_fresh_run_starts_a_fresh_log(tmp_path):
    (tmp_path / "batches.csv").write_text("something else\n")
    train(tmp_path, 6, every=100)
    assert len(rows(tmp_path)) == 6


class Prefetching(StreamData):
    """What Lightning does to loaders without a length."""

    def train_dataloader(self):
        return iter_ahead(super().train_dataloader())


class iter_ahead:
    def __init__(self, loader):
        self.loader = loader

    def __iter__(self):
        yield from self.loader


def test_a_prefetching_loader_is_refused(tmp_path):
    data = Prefetching(make_stream(), validation=0)
    with pytest.raises(PdekitError, match=r"5 batches were drawn and 4 trained on"):
        trainer(tmp_path, 8, limit_val_batches=0).fit(Linear(), datamodule=data)

"""Checkpoints: complete or absent, and never code."""

import os
import pickle
import resource
import signal
import warnings
from contextlib import contextmanager

import pytest
import torch
from train.toy_training import Linear, make_stream, train, trainer

from pdekit.core import InputError, PdekitError
from pdekit.train.checkpoint import (
    Checkpoints,
    DamagedCheckpoint,
    latest_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from pdekit.train.data import StreamData


class Code:
    def __reduce__(self):
        return os.system, ("touch /nonexistent/pwned",)


@contextmanager
def limited_file_size():
    """Writing more than a few kilobytes fails, as on a full disk.

    No fixture: pytest writes its own progress, maybe to a file, before a fixture is torn down.
    """
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_training_keeps_its_two_newest_and_they_load_safely(tmp_path):
    train(tmp_path, 10, every=3)
    folder = tmp_path / "checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == ["step-00000009.ckpt", "step-00000010.ckpt"]
    state = torch.load(folder / "step-00000010.ckpt", weights_only=True)
    assert state["global_step"] == 10
    assert state["StreamData"]["limiter"]["gets"] == 60
    assert len(state["optimizer_states"]) == len(state["lr_schedulers"]) == 1
    assert torch.is_tensor(state["callbacks"]["Checkpoints"]["cpu"])


@pytest.mark.parametrize("legacy", [True, False])
def test_a_pickle_with_code_is_refused_by_name(tmp_path, legacy):
    path = tmp_path / "step-00000005.ckpt"
    if legacy:
        path.write_bytes(pickle.dumps({"state_dict": Code()}))
    else:
        torch.save({"state_dict": Code()}, path)
    with pytest.raises(InputError, match=r"step-00000005.ckpt is a pickle that could run any code"):
        read_checkpoint(path)
    with pytest.raises(InputError, match=r"is a pickle" if legacy else r"asks for posix\.system"):
        latest_checkpoint(tmp_path)


def test_a_training_refuses_a_pickle_with_code(tmp_path):
    torch.save({"state_dict": Code()}, tmp_path / "evil.ckpt")
    with pytest.raises(InputError, match=r"evil.ckpt is a pickle"):
        trainer(tmp_path, 5).fit(
            Linear(), datamodule=StreamData(make_stream(), validation=0), ckpt_path=tmp_path / "evil.ckpt"
        )


@pytest.mark.parametrize("left", [0, 3, 1000, 0.5, 0.99])
def test_a_truncated_newest_checkpoint_falls_back_and_says_so(tmp_path, left):
    folder = tmp_path / "checkpoints"
    train(tmp_path, 8, every=4)
    newest = folder / "step-00000008.ckpt"
    content = newest.read_bytes()
    newest.write_bytes(content[: left if isinstance(left, int) else int(left * len(content))])
    with pytest.warns(UserWarning, match=r"step-00000008.ckpt is .*Falling back"):
        assert latest_checkpoint(folder) == folder / "step-00000004.ckpt"


def test_zeroed_blocks_are_damage_not_code(tmp_path):
    (tmp_path / "step-00000008.ckpt").write_bytes(b"\0" * 4096)
    with pytest.warns(UserWarning, match="empty"), pytest.raises(DamagedCheckpoint, match=r"No checkpoint in .* read"):
        latest_checkpoint(tmp_path)


def test_no_checkpoint_at_all(tmp_path):
    assert latest_checkpoint(tmp_path) is None
    assert latest_checkpoint(tmp_path / "missing") is None


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "step-00000001.ckpt"
    write_checkpoint({"value": torch.zeros(3)}, path)
    with limited_file_size(), pytest.raises(OSError, match=r"step-00000001.ckpt"):
        write_checkpoint({"value": torch.zeros(10_000)}, path)
    assert read_checkpoint(path)["value"].shape == (3,)
    assert [file.name for file in tmp_path.iterdir()] == ["step-00000001.ckpt"]


def test_training_goes_on_when_a_checkpoint_cannot_be_written(tmp_path):
    unwritten = r"step-0000000[46].ckpt could not be written .*training goes on"
    with limited_file_size(), pytest.warns(UserWarning, match=unwritten):
        train(tmp_path, 6)
    assert list((tmp_path / "checkpoints").iterdir()) == []
    assert (tmp_path / "weights.sha256").exists()


def test_a_record_that_cannot_be_written_stops_the_training(tmp_path):
    too_large = r"batches.csv could not be written at step \d+: .*too large"
    with limited_file_size(), pytest.raises(PdekitError, match=too_large):
        train(tmp_path, 60, every=1000)


def test_what_a_killed_run_left_half_done_is_cleared_away(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / ".step-00000003.ckpt.partial").write_bytes(b"half")
    train(tmp_path, 6, every=100)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000006.ckpt"]


def test_what_could_not_be_loaded_is_not_saved(tmp_path):
    path = tmp_path / "step-00000001.ckpt"
    with pytest.raises(PdekitError, match=r"cannot be saved to .*step-00000001.ckpt"):
        write_checkpoint({"model": Linear()}, path)
    assert list(tmp_path.iterdir()) == []


def test_lightning_loads_them_with_weights_only(tmp_path):
    """The whole checkpoint through Lightning's own reading, without the safe reader in between."""
    train(tmp_path, 8, every=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = Linear.load_from_checkpoint(tmp_path / "checkpoints" / "step-00000008.ckpt", weights_only=True)
    assert model.map.weight.shape == (8, 8)


def test_bad_intervals_are_refused(tmp_path):
    with pytest.raises(InputError, match="every=0"):
        Checkpoints(tmp_path, every=0)

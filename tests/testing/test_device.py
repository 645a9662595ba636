"""check_device finds what would fail on an accelerator, and passes what would not."""

from functools import partial

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from pdekit.core.errors import InputError
from pdekit.nn import FNO
from pdekit.testing import check_device
from pdekit.testing.device import _explain


def train_step(width: int, device: torch.device):
    """Forward, backward and an optimiser step of an FNO in every basis."""
    for settings in (
        {"basis": "fourier"},
        {"basis": "fourier", "padding": 0.125},
        {"basis": "sine"},
        {"basis": "cosine"},
        {"basis": ["sine", "fourier", "cosine"], "dim": 3},
    ):
        with device:
            model = FNO(1, 1, modes=3, width=width, layers=2, lifting=4, channel_mlp=4, **settings)
        optimizer = torch.optim.AdamW(model.parameters())
        x = torch.randn(2, *(9,) * len(model.bases), 1, device=device)
        y = model(x)
        assert y.device.type == device.type
        y.square().mean().backward()
        optimizer.step()
        assert all(p.grad.device.type == device.type for p in model.parameters())


def leave_a_tensor_behind(device: torch.device):
    return torch.ones(3, device=device) + torch.ones(3)


def die(device: torch.device):
    import os

    os._exit(3)


def wait(device: torch.device):
    import time

    time.sleep(60)


def test_fno_trains_on_an_accelerator():
    check_device(partial(train_step, 4))


def test_a_tensor_left_on_the_cpu_is_found():
    with pytest.raises(AssertionError, match=r"leave_a_tensor_behind .*left on the CPU(.|\n)*test_device.py:\d+"):
        check_device(leave_a_tensor_behind)


def test_reading_a_value_is_explained():
    """Oracle: the same pretence without another process; on the CPU no device is missed, only the numbers."""
    with FakeTensorMode():
        total = torch.ones(3).sum()
        try:
            float(total)
        except Exception as error:
            report = _explain(error)
    assert "a value is read" in report
    assert "test_device.py" in report


def test_a_dying_process_is_reported():
    with pytest.raises(AssertionError, match="died with exit code 3"):
        check_device(die)


def test_a_hanging_function_is_given_up():
    with pytest.raises(AssertionError, match=r"did not end within 0\.5 s"):
        check_device(wait, timeout=0.5)


def test_a_function_that_cannot_travel_is_refused():
    with pytest.raises(InputError, match="define it at the top of a module"):
        check_device(lambda device: None)


@pytest.mark.gpu
def test_fno_trains_on_the_real_one():
    train_step(4, torch.accelerator.current_accelerator())

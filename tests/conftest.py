"""Set-up shared by all tests: argument checks switched on, threads bounded, torch's generator seeded."""

import sys
from contextlib import contextmanager

import pytest
import torch
from jaxtyping import config, install_import_hook

# The annotated shapes and types of these floors are checked at every call, in the tests only (torch.compile and users'
# speed would suffer). The floors with numba kernels stay out: numba cannot compile a function that is wrapped so.
FLOORS = ("domain", "samples", "solvers", "fem", "fields", "nn", "plot", "families", "learned", "stream", "train")
CHECKED = [f"pdekit.{floor}" for floor in FLOORS]
loaded = [name for name in sys.modules if any(name == floor or name.startswith(f"{floor}.") for floor in CHECKED)]
assert not loaded, f"imported before the checks could be switched on: {loaded}"
install_import_hook(CHECKED, "argument_checks.check")

torch.set_num_threads(min(torch.get_num_threads(), 2))  # small tensors: more threads only wait for each other

unchanged_raises = pytest.raises


def raises(*args, **kwargs):
    """pytest.raises, inside which pdekit's own messages are under test: they answer instead of the annotations."""
    outcome = unchanged_raises(*args, **kwargs)
    return unchecked(outcome) if hasattr(outcome, "__enter__") else outcome


@contextmanager
def unchecked(context):
    config.update("jaxtyping_disable", True)
    try:
        with context as caught:
            yield caught
    finally:
        config.update("jaxtyping_disable", False)


pytest.raises = raises


@pytest.fixture(autouse=True)
def seeded():
    """The same weights and random tensors in every run and in any order of the tests."""
    torch.manual_seed(0)


def pytest_collection_modifyitems(items):
    if torch.accelerator.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no accelerator on this machine"))

"""Whoever waits long is told why; whoever does not is left alone."""

import time

import pytest

from pdekit.core.patience import patience


def test_silence_when_it_is_quick():
    lines = []
    with patience(lines.append, after=5.0):
        pass
    assert lines == []


def test_a_word_when_it_takes_long():
    lines = []
    with patience(lines.append, "compiling ...", after=0.01):
        deadline = time.monotonic() + 10
        while not lines and time.monotonic() < deadline:
            time.sleep(0.001)
    assert lines[0] == "compiling ..."
    assert lines[1].startswith("... done after")


def test_errors_pass():
    with pytest.raises(ZeroDivisionError), patience(print, after=5.0):
        1 / 0  # noqa: B018

"""A bar in a terminal, a line now and then elsewhere."""

import sys
import time
from typing import Self

__all__ = ["Progress", "progress_line"]


class Progress:
    """Shows how many of ``total`` are done.

    Args:
        total: when it is finished.
        what: the noun.
        every: seconds between lines where there is no terminal.
    """

    def __init__(self, total: int, what: str, *, every: float = 5.0):
        self.total, self.what, self.every = total, what, every
        self._bar = self._task = None
        self._start = self._last = time.monotonic()

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (TextColumn(self.what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(self.what, total=self.total)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def at(self, done: int, *_: object) -> None:
        """Say how many are done so far."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done)
        elif (now := time.monotonic()) - self._last >= self.every:
            self._last = now
            rate = done / (now - self._start)
            print(f"{done} of {self.total} {self.what}, {rate:.3g}/s", file=sys.stderr, flush=True)


def progress_line(line: str) -> None:
    """A line for whoever waits; on standard error, so that results can be piped."""
    print(line, file=sys.stderr, flush=True)

"""A word to whoever waits."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["COMPILING", "patience"]

COMPILING = "compiling solver kernels, once per machine (up to a minute) ..."


@contextmanager
def patience(say: Callable[[str], None], message: str = COMPILING, *, after: float = 2.0) -> Iterator[None]:
    """Says something if the body takes long, and again when it is done; nothing if it is quick.

    Args:
        say: shows a line.
        message: what is probably going on.
        after: seconds until it is said.

    Example:
        >>> with patience(print):
        ...     pass
    """
    said = threading.Event()

    def speak() -> None:
        said.set()
        say(message)

    timer = threading.Timer(after, speak)
    timer.daemon = True
    start = time.perf_counter()
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
    if said.is_set():
        say(f"... done after {time.perf_counter() - start:.0f} s")

"""Fair clocks: both sides alternate, and both use every core."""

import contextlib
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

__all__ = ["Processes", "alternate"]


def alternate(sides: Mapping[str, Callable[[], Any]], *, repeats: int, warm_up: int = 1) -> dict[str, float]:
    """Median wall-clock seconds of each side, all taking turns so that a busy machine slows all alike.

    Args:
        sides: what to time, by name.
        repeats: rounds that count.
        warm_up: rounds before, which do not (compilation, caches).

    Example:
        >>> sorted(alternate({"a": lambda: sum(range(10)), "b": lambda: None}, repeats=3))
        ['a', 'b']
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(warm_up + repeats):
        for name, call in sides.items():
            start = time.perf_counter()
            call()
            if turn >= warm_up:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


class Processes:
    """A peer that uses one core, run as one single-threaded process per part of the work.

    The parts are sent once, when the processes start, so that a call counts the peer's own work alone.

    Args:
        work: a module-level function of a part; what it returns is handed back by each call.
        parts: one per process.
    """

    def __init__(self, work: Callable[[Any], Any], parts: Sequence[Any]):
        context = multiprocessing.get_context("spawn")
        self._pipes, self._processes = [], []
        with _one_thread():
            for part in parts:
                ours, theirs = context.Pipe()
                process = context.Process(target=_serve, args=(theirs, work, part), daemon=True)
                process.start()
                theirs.close()
                self._pipes.append(ours)
                self._processes.append(process)
        self._replies()

    def __call__(self) -> list[Any]:
        """Run all parts at once and wait for all; their results in order."""
        for pipe in self._pipes:
            pipe.send("go")
        return self._replies()

    def _replies(self) -> list[Any]:
        replies = []
        for pipe in self._pipes:
            try:
                kind, value = pipe.recv()
            except EOFError as error:
                raise RuntimeError("A peer's process died; its own message is above.") from error
            if kind == "error":
                raise RuntimeError(f"A peer's process failed: {value}")
            replies.append(value)
        return replies

    def close(self) -> None:
        """End the processes."""
        for pipe in self._pipes:
            with contextlib.suppress(OSError):
                pipe.send("stop")
            pipe.close()
        for process in self._processes:
            process.join(timeout=10)

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _serve(pipe: Any, work: Callable[[Any], Any], part: Any) -> None:
    pipe.send(("ready", None))
    while pipe.recv() == "go":
        try:
            pipe.send(("done", work(part)))
        except Exception as error:
            pipe.send(("error", repr(error)))


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Children started inside inherit an environment that asks for one thread."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

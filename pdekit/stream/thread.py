"""The engine of worker threads in this process."""

import atexit
import contextlib
import queue
import threading
import time

from pdekit.stream.engine import Engine
from pdekit.stream.ledger import Ticket
from pdekit.stream.work import Result, Worker

__all__ = ["Thread"]

GRACE = 30.0
"""Seconds that :meth:`Thread.close` waits for a ticket in work."""


class Thread(Engine):
    """Solves while the trainer trains: compiled kernels and torch operations release the interpreter lock.

    Args:
        worker: does one ticket; called from several threads at once if ``workers`` is above 1.
        workers: number of threads. One is enough where the solver itself uses all cores.
    """

    def __init__(self, worker: Worker, workers: int = 1):
        super().__init__(worker, workers)
        self._tickets: queue.SimpleQueue[Ticket | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[Result] = queue.SimpleQueue()
        self._out = 0
        self._busy = 0.0
        self._since: dict[int, float] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._run, args=(k,), name=f"pdekit-worker-{k}", daemon=True)
            for k in range(workers)
        ]
        for thread in self._threads:
            thread.start()
        atexit.register(self.close)  # a thread still in compiled code when the interpreter goes down would crash it

    def _run(self, number: int) -> None:
        while (ticket := self._tickets.get()) is not None:
            if self._closed:
                continue
            start = time.perf_counter()
            with self._lock:
                self._since[number] = start
            try:
                result = self.worker(ticket)
            except BaseException as error:  # a worker that died silently would leave the consumer waiting
                result = Result(ticket, None, [], 0.0, error)
            with self._lock:
                del self._since[number]
                self._busy += time.perf_counter() - start
            self._results.put(result)

    def submit(self, ticket: Ticket) -> None:
        """Order a ticket."""
        self._out += 1
        self._tickets.put(ticket)

    def poll(self, *, wait: bool) -> list[Result]:
        """The results that have come; with ``wait``, at least one if any ticket is out."""
        results = []
        if wait and self._out:
            results.append(self._results.get())
        with contextlib.suppress(queue.Empty):
            while True:
                results.append(self._results.get_nowait())
        self._out -= len(results)
        return results

    def busy_seconds(self) -> float:
        """Worker seconds spent in work so far, tickets not yet finished included."""
        with self._lock:
            now = time.perf_counter()
            return self._busy + sum(now - since for since in self._since.values())

    def close(self) -> None:
        """Drop what is queued and wait for what is in work; a worker that hangs is left behind as a daemon."""
        self._closed = True
        atexit.unregister(self.close)
        for _ in self._threads:
            self._tickets.put(None)
        deadline = time.monotonic() + GRACE
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

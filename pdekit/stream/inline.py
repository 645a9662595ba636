"""The engine without workers: a ticket is worked on when somebody waits for it."""

from collections import deque

from pdekit.stream.engine import Engine
from pdekit.stream.ledger import Ticket
from pdekit.stream.work import Result, Worker

__all__ = ["Inline"]


class Inline(Engine):
    """Works in the caller's thread, one ticket a ``poll(wait=True)``; for tests, debugging and single cores.

    Args:
        worker: does one ticket.
    """

    def __init__(self, worker: Worker):
        super().__init__(worker, workers=1)
        self._queue: deque[Ticket] = deque()
        self._busy = 0.0

    def submit(self, ticket: Ticket) -> None:
        """Order a ticket."""
        self._queue.append(ticket)

    def poll(self, *, wait: bool) -> list[Result]:
        """With ``wait``, work on the next ticket."""
        if not wait or not self._queue:
            return []
        result = self.worker(self._queue.popleft())
        self._busy += result.seconds
        return [result]

    def busy_seconds(self) -> float:
        """Seconds spent in work so far."""
        return self._busy

    def close(self) -> None:
        """Drop what is queued."""
        self._queue.clear()

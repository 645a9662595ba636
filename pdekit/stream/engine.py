"""What runs the work: the interface of all engines."""

from abc import ABC, abstractmethod

from pdekit.stream.ledger import Ticket
from pdekit.stream.work import Result, Worker

__all__ = ["Engine"]


class Engine(ABC):
    """Takes tickets, gives results in any order.

    Args:
        worker: does one ticket; it never raises.
        workers: how many tickets are in work at once.
    """

    def __init__(self, worker: Worker, workers: int = 1):
        self.worker = worker
        self.workers = workers

    @abstractmethod
    def submit(self, ticket: Ticket) -> None:
        """Order a ticket; returns at once."""

    @abstractmethod
    def poll(self, *, wait: bool) -> list[Result]:
        """The results that have come; with ``wait``, at least one if any ticket is out."""

    @abstractmethod
    def busy_seconds(self) -> float:
        """Worker seconds spent in work so far, tickets not yet finished included."""

    @abstractmethod
    def close(self) -> None:
        """Drop what is queued, let what is in work finish, and end the workers."""

"""Which samples were ordered, which have come, and which were refused."""

from collections import deque
from dataclasses import dataclass
from typing import Any

from pdekit.core.errors import InputError

__all__ = ["Ledger", "Rejection", "Ticket"]


@dataclass(frozen=True)
class Ticket:
    """An order for a run of consecutive samples, drawn and solved as one batch.

    Runs are aligned (``first`` is a multiple of the ticket size), so that sample k is always solved in the same
    company, whoever solves it and however often.

    Args:
        first: number of the first sample.
        count: how many.
        attempt: 0, or the number of the redraw.
        rtol: relative tolerance of the certificates.
        method: a solver method; None lets the source choose.
    """

    first: int
    count: int
    attempt: int = 0
    rtol: float = 1e-5
    method: Any = None

    @property
    def indices(self) -> range:
        """The sample numbers."""
        return range(self.first, self.first + self.count)

    def __str__(self) -> str:
        redraw = f", attempt {self.attempt}" if self.attempt else ""
        return f"samples {self.first} to {self.first + self.count - 1} (rtol {self.rtol:g}{redraw})"


@dataclass(frozen=True)
class Rejection:
    """A sample that was not let into the buffer, and why."""

    index: int
    attempt: int
    reason: str


class Ledger:
    """Issues tickets in order and records what became of each.

    Args:
        size: samples a ticket.
        rtol: relative tolerance of the tickets.
        method: solver method of the tickets.
        budget: samples to order in all; None for no end.

    Raises:
        InputError: a size or budget below 1.

    Example:
        >>> ledger = Ledger(32, rtol=1e-5, budget=40)
        >>> [str(ledger.issue()) for _ in range(3)]
        ['samples 0 to 31 (rtol 1e-05)', 'samples 32 to 39 (rtol 1e-05)', 'None']
    """

    def __init__(self, size: int, *, rtol: float, method: Any = None, budget: int | None = None):
        if size < 1:
            raise InputError(f"ticket_size={size}; expected at least 1 sample a ticket.")
        if budget is not None and budget < 1:
            raise InputError(f"budget={budget}; expected at least 1 sample, or None for no end.")
        self.size, self.rtol, self.method, self.budget = int(size), float(rtol), method, budget
        self.issued = 0
        self.done = 0
        self.rejected: list[Rejection] = []
        self._open: dict[int, tuple[Ticket, int]] = {}
        self._again: deque[Ticket] = deque()

    @property
    def outstanding(self) -> int:
        """Tickets issued and not done."""
        return len(self._open) - len(self._again)

    @property
    def exhausted(self) -> bool:
        """Whether the budget is spent and every ticket is done."""
        return not self._open and self.budget is not None and self.issued >= self.budget

    @property
    def oldest(self) -> int | None:
        """First sample of the oldest ticket not done; the one that an ordered schedule takes next."""
        return min(self._open, default=None)

    def issue(self) -> Ticket | None:
        """The next ticket, those open when the state was saved first; None when the budget is spent."""
        if self._again:
            return self._again.popleft()
        left = self.size if self.budget is None else min(self.size, self.budget - self.issued)
        if left <= 0:
            return None
        ticket = Ticket(self.issued, left, 0, self.rtol, self.method)
        self.issued += left
        self._open[ticket.first] = (ticket, 0)
        return ticket

    def consumed(self, ticket: Ticket) -> int:
        """How many accepted samples of the ticket have entered the buffer."""
        return self._open[ticket.first][1]

    def consume(self, ticket: Ticket, count: int) -> None:
        """Record that ``count`` more samples of the ticket have entered the buffer."""
        self._open[ticket.first] = (ticket, self.consumed(ticket) + count)

    def close(self, ticket: Ticket, rejected: list[Rejection]) -> None:
        """Record that the ticket is done, and which of its samples were refused."""
        del self._open[ticket.first]
        self.done += ticket.count
        self.rejected.extend(rejected)

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers and strings; the open tickets with how far each was consumed."""
        tickets = [self._open[first] for first in sorted(self._open)]
        return {
            "issued": self.issued,
            "done": self.done,
            "open": [[t.first, t.count, t.attempt, t.rtol, consumed] for t, consumed in tickets],
            "rejected": [[r.index, r.attempt, r.reason] for r in self.rejected],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where :meth:`state_dict` was taken: open tickets will be issued again, then new ones."""
        self.issued, self.done = int(state["issued"]), int(state["done"])
        self.rejected = [Rejection(*row) for row in state["rejected"]]
        self._open = {
            first: (Ticket(first, count, attempt, rtol, self.method), consumed)
            for first, count, attempt, rtol, consumed in state["open"]
        }
        self._again = deque(ticket for ticket, _ in self._open.values())

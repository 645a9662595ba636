"""What a worker does with a ticket."""

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch

from pdekit.core.errors import PdekitError
from pdekit.samples import Inputs, Samples, Source
from pdekit.stream.ledger import Rejection, Ticket
from pdekit.stream.orders import Order, solving_order

__all__ = ["Result", "TicketFailed", "Worker", "solve_in_order", "split_rejected"]


class TicketFailed(PdekitError):
    """Drawing or solving a ticket raised; the message names the ticket, ``__cause__`` is the error itself."""


@dataclass(frozen=True)
class Result:
    """What became of a ticket.

    Args:
        ticket: the order.
        samples: the accepted samples, on the CPU, or None if the work raised.
        rejected: the samples that were refused, with reasons.
        seconds: wall time of drawing, solving and checking.
        error: what was raised, or None.
    """

    ticket: Ticket
    samples: Samples | None
    rejected: list[Rejection]
    seconds: float
    error: BaseException | None = None


@dataclass(frozen=True)
class Worker:
    """Draws, solves and checks tickets of one source.

    Args:
        source: makes the samples.
        seed: of the experiment.
        split: ``train``, ``validation``, ``test``, ...
        order: in which the systems of a ticket are solved.
        solving: entered for as long as a ticket is solved.
    """

    source: Source
    seed: int
    split: str
    order: Order = "drawn"
    solving: AbstractContextManager[Any] = field(default_factory=nullcontext)

    def __call__(self, ticket: Ticket) -> Result:
        """Never raises: an error travels in the result, so that the consumer hears of it."""
        start = time.perf_counter()
        try:
            with torch.no_grad(), self.solving:
                inputs = self.source.draw(ticket.indices, seed=self.seed, split=self.split, attempt=ticket.attempt)
                samples = solve_in_order(self.source, inputs, ticket, self.order)
                accepted, rejected = split_rejected(ticket, samples)
        except Exception as error:
            return Result(ticket, None, [], time.perf_counter() - start, error)
        return Result(ticket, accepted, rejected, time.perf_counter() - start)


def solve_in_order(source: Source, inputs: Inputs, ticket: Ticket, order: Order) -> Samples:
    """The samples of a ticket, in the order in which they were drawn, whatever the order in which they are solved."""
    if order == "drawn":
        return source.solve(inputs, rtol=ticket.rtol, method=ticket.method, throw=False)
    rows = solving_order(inputs)
    samples = source.solve(inputs[rows], rtol=ticket.rtol, method=ticket.method, throw=False)
    return samples[rows.argsort()] if len(samples) == len(rows) else samples


def split_rejected(ticket: Ticket, samples: Samples) -> tuple[Samples, list[Rejection]]:
    """Split off the samples with a field that is not finite, or that missed their tolerance."""
    if len(samples) != ticket.count:
        raise PdekitError(f"The source returned {len(samples)} samples for {ticket.count} drawn inputs.")
    reasons: dict[int, str] = {}
    certificate = samples.certificate
    if certificate is not None:
        for row in torch.nonzero(~certificate.accepted).flatten().tolist():
            value, tolerance = float(certificate.value[row]), float(certificate.tolerance[row])
            reasons[row] = f"{certificate.kind} {value:.2e} above the tolerance {tolerance:.2e}"
    for name in (*samples.schema.inputs, *samples.schema.outputs):
        finite = torch.isfinite(samples[name]).unsqueeze(-1).flatten(1).all(dim=1)
        for row in torch.nonzero(~finite).flatten().tolist():
            reasons[row] = f"the field {name} is not finite"
    if not reasons:
        return samples, []
    keep = torch.tensor([row for row in range(len(samples)) if row not in reasons], dtype=torch.int64)
    rejected = [Rejection(ticket.first + row, ticket.attempt, reasons[row]) for row in sorted(reasons)]
    return samples[keep], rejected

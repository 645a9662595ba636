"""From a source of samples to training batches: buffer, limits, ledger, engines."""

from pdekit.stream.batch import Batch
from pdekit.stream.engine import Engine
from pdekit.stream.fifo import Fifo
from pdekit.stream.firo import Firo
from pdekit.stream.generate import GenerateReport, TooManyRejected, generate
from pdekit.stream.held_out import held_out
from pdekit.stream.inline import Inline
from pdekit.stream.label_tolerance import LabelTolerance, Tightening
from pdekit.stream.ledger import Ledger, Rejection, Ticket
from pdekit.stream.limiter import Limiter
from pdekit.stream.orders import greedy, hilbert, low_frequencies, solving_order
from pdekit.stream.policy import Policy
from pdekit.stream.reservoir import Reservoir
from pdekit.stream.schedules import Asynchronous, Lockstep, Schedule
from pdekit.stream.statistics import Statistics
from pdekit.stream.storage import Storage, training_precision
from pdekit.stream.stream import EndOfStream, Stream
from pdekit.stream.thread import Thread
from pdekit.stream.work import Result, TicketFailed, Worker

__all__ = [
    "Asynchronous",
    "Batch",
    "EndOfStream",
    "Engine",
    "Fifo",
    "Firo",
    "GenerateReport",
    "Inline",
    "LabelTolerance",
    "Ledger",
    "Limiter",
    "Lockstep",
    "Policy",
    "Rejection",
    "Reservoir",
    "Result",
    "Schedule",
    "Statistics",
    "Storage",
    "Stream",
    "Thread",
    "Ticket",
    "TicketFailed",
    "Tightening",
    "TooManyRejected",
    "Worker",
    "generate",
    "greedy",
    "held_out",
    "hilbert",
    "low_frequencies",
    "solving_order",
    "training_precision",
]

"""A source of samples as an endless sequence of training batches."""

import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any, Self, get_args

from pdekit.core.errors import InputError, PdekitError
from pdekit.samples import Samples, Source
from pdekit.stream.batch import Batch
from pdekit.stream.clock import Clock
from pdekit.stream.engine import Engine
from pdekit.stream.inline import Inline
from pdekit.stream.label_tolerance import LabelTolerance, Tightening
from pdekit.stream.ledger import Ledger
from pdekit.stream.limiter import Limiter, Reuse
from pdekit.stream.orders import Order
from pdekit.stream.policy import Policy
from pdekit.stream.schedules import Asynchronous, Lockstep
from pdekit.stream.settings import (
    check_capacity,
    check_choice,
    check_memories,
    check_rtol,
    check_uses,
    describe,
    make_policy,
    number_of_workers,
)
from pdekit.stream.statistics import Statistics
from pdekit.stream.storage import Storage
from pdekit.stream.thread import Thread
from pdekit.stream.work import Result, TicketFailed, Worker

__all__ = ["EndOfStream", "Stream"]

SCHEDULES = {"async": Asynchronous, "lockstep": Lockstep}
ENGINES = ("inline", "thread")
HOPELESS = 4
"""Tickets in a row without one accepted sample after which the stream gives up."""
AHEAD = 8
"""Tickets ahead of a batch in lockstep with a LabelTolerance: how late reports come must not depend on the workers."""


class EndOfStream(PdekitError):
    """The budget is spent and every sample has been used."""


class Stream:
    """Solves samples while they are trained on, and mixes them in a buffer.

    All decisions are taken in the caller's thread, inside :meth:`next_batch`; workers only turn tickets into samples.

    Args:
        source: makes the samples.
        seed: of inputs and draws.
        rtol: relative tolerance of the certificates: a number, or a :class:`LabelTolerance` that follows the error
            given to :meth:`report`.
        method: a solver method; None lets the source choose. Its memories (:class:`pdekit.solvers.Memory`) go from
            ticket to ticket, and are saved with the stream; one worker can use them, and lockstep refuses them.
        order: in which the systems of a ticket are solved: ``drawn``, or ``sorted``, neighbours one after another, for
            methods that carry something from one to the next. Which samples there are does not depend on it.
        policy: ``reservoir``, ``firo`` or ``fifo``, or a policy of one's own, whose capacity and watermark then count.
        capacity: samples held at most.
        watermark: batches start when more samples than this are held; None for a quarter of the capacity.
        reuse: how often a sample is used on average: one number, a pair (least, largest), or None for no limit.
        schedule: ``async`` (whatever is solved enters) or ``lockstep`` (identical batches whatever the timing and the
            number of workers; the lower end of ``reuse`` is then met exactly).
        engine: ``thread`` or ``inline``.
        workers: threads; ``auto`` is one, because the solver itself spreads a ticket over the cores.
        ticket_size: samples drawn and solved together.
        batch_size: samples a batch.
        split: ``train``, or another stream of samples.
        budget: samples to solve in all; then the buffer drains and :class:`EndOfStream` is raised. None for no end.

    Raises:
        InputError: settings that contradict each other.

    Example:
        >>> from pdekit.core.random import uniform
        >>> from pdekit.domain import Grid
        >>> from pdekit.samples import FieldSpec, Schema
        >>> schema = Schema(Grid((5,)), (FieldSpec("a", "input"), FieldSpec("square", "output")))
        >>> source = Source.from_function(
        ...     schema,
        ...     draw=lambda keys: {"a": torch.from_numpy(uniform(keys.named("a"), 5))},
        ...     solve=lambda fields, rtol: {"square": fields["a"] ** 2},
        ... )
        >>> with Stream(source, capacity=64, reuse=2, schedule="lockstep", batch_size=4) as stream:
        ...     batch = stream.next_batch()
        >>> batch.samples["square"].shape, batch.samples["square"].dtype
        (torch.Size([4, 5]), torch.float32)

    Source:
        Meyer et al., Training deep surrogate models with large scale online learning, ICML 2023; Cassirer et al.,
        Reverb, 2021.
    """

    def __init__(
        self,
        source: Source,
        *,
        seed: int = 0,
        rtol: float | LabelTolerance = 1e-5,
        method: Any = None,
        order: Order = "drawn",
        policy: str | Policy = "reservoir",
        capacity: int = 4096,
        watermark: int | None = None,
        reuse: Reuse = (1.0, 4.0),
        schedule: str = "async",
        engine: str = "thread",
        workers: int | str = "auto",
        ticket_size: int = 32,
        batch_size: int = 16,
        split: str = "train",
        budget: int | None = None,
    ):
        check_choice("schedule", schedule, SCHEDULES)
        check_choice("engine", engine, ENGINES)
        check_choice("order", order, get_args(Order))
        self._tightening = Tightening(rtol) if isinstance(rtol, LabelTolerance) else None
        first_rtol = check_rtol(rtol)
        if batch_size < 1:
            raise InputError(f"batch_size={batch_size}; expected at least 1.")
        self.source, self.seed, self.split, self.batch_size = source, int(seed), split, int(batch_size)
        self.policy = make_policy(policy, capacity, watermark, self.seed, self.batch_size)
        check_capacity(self.policy, self.batch_size)
        self.limiter = Limiter(reuse, watermark=self.policy.watermark, batch_size=self.batch_size)
        check_uses(self.policy, self.limiter)
        self.schedule = SCHEDULES[schedule](self.policy, self.limiter, self.batch_size)
        self.ledger = Ledger(ticket_size, rtol=first_rtol, method=method, budget=budget)
        self.storage = Storage(source.schema, self.policy.capacity, seed=self.seed, split=split)
        self.workers = number_of_workers(workers, engine)
        self.solving = threading.Lock()
        """Held while a ticket is solved by a method with memories; to be taken by whoever else uses the method."""
        self._memories = check_memories("lockstep" if self.schedule.ordered else "the stream", method, self.workers,
                                        ordered=self.schedule.ordered)  # fmt: skip
        self._order: Order = order
        self._engine_name = engine
        self._engine: Engine | None = None
        self._closed = False
        fixed = self._tightening is not None and self.schedule.ordered
        self._lookahead = (AHEAD if fixed else self.workers + 1) + -(-self.batch_size // self.ledger.size)
        self._results: dict[int, Result] = {}
        self._barren = 0
        self._batches = 0
        self._iterations = 0
        self._solve_seconds = 0.0
        self._clock = Clock()
        self._settings = {
            "seed": self.seed, "split": split, "method": describe(method), "budget": budget, "order": order,
            "rtol": repr(rtol) if isinstance(rtol, LabelTolerance) else first_rtol,
            "policy": type(self.policy).__name__, "capacity": self.policy.capacity, "schedule": schedule,
            "watermark": self.policy.watermark, "reuse": None if reuse is None else list(self.limiter.band or ()),
            "ticket_size": self.ledger.size, "batch_size": self.batch_size,
            "fields": [spec.name for spec in source.schema.fields], "shape": list(source.schema.one_domain.shape),
            "mesh": getattr(source.schema.one_domain, "fingerprint", None),
        }  # fmt: skip

    @property
    def batches(self) -> int:
        """Batches drawn so far, resumed parts included."""
        return self._batches

    @property
    def follows_error(self) -> bool:
        """Whether the tolerance is a :class:`LabelTolerance`, which wants to hear the model's error."""
        return self._tightening is not None

    @property
    def rtol(self) -> float:
        """Relative tolerance of the tickets that are issued next."""
        return self.ledger.rtol

    def report(self, error: float) -> None:
        """Tell a :class:`LabelTolerance` how wrong the model in training is; with a fixed tolerance nothing happens.

        To be called after each batch. In lockstep the tolerance of a ticket depends on the reports before the batch
        for which the buffer had room for it, so the same reports give the same samples whatever the timing.

        Args:
            error: relative L2 error of the model on the last batch.

        Raises:
            InputError: a negative error.
        """
        if self._tightening is not None:
            self._tightening.report(float(error))
            self.ledger.rtol = self._tightening.rtol

    def next_batch(self) -> Batch:
        """The next batch, waiting for the solver where the limits say so.

        Returns:
            float32 samples with their numbers; fresh tensors, on the CPU.

        Raises:
            EndOfStream: the budget is spent and the buffer is empty.
            TicketFailed: the source raised; the message names the samples.
            PdekitError: the source has been producing nothing but rejected samples.
        """
        self._wait_until_ready()
        if not self.schedule.ready():
            raise EndOfStream(
                f"The stream has ended: all {self.ledger.issued} samples of the budget were solved "
                f"({len(self.ledger.rejected)} rejected) and used {self.limiter.reuse:.2g} times on average."
            )
        slots = self.policy.get(self.batch_size)
        self.limiter.got(len(slots))
        self._batches += 1
        return Batch(*self.storage.gather(slots))

    def first_fill(self) -> Samples:
        """All samples held when the first batch is due, in float32; nothing is drawn.

        What a normaliser is fitted on. In lockstep these are the same samples in every run.
        """
        self._wait_until_ready()
        return self.storage.gather(self.policy.occupied())[0]

    def _wait_until_ready(self) -> None:
        if self._closed:
            raise PdekitError("The stream is closed.")
        try:
            self._advance()
            while not self.schedule.ready() and not self.policy.over:
                cause = self.schedule.trainer_waits_for()
                start = time.perf_counter()
                results = self._running().poll(wait=True)
                self._clock.trainer_waited(cause, time.perf_counter() - start)
                self._advance(results)
                if not results and not self.schedule.ready() and not self.policy.over:
                    raise PdekitError(
                        f"Solver and trainer wait for each other: the trainer for {cause}, the solver for "
                        f"{self.schedule.solver_waits_for()}. Raise the capacity or widen the reuse."
                    )
        except BaseException:
            self.close()
            raise

    def _advance(self, results: list[Result] | None = None) -> None:
        """Order tickets, take in what has come, and let in what may enter."""
        engine = self._running()
        self._clock.solver_worked(engine.busy_seconds())
        for result in engine.poll(wait=False) if results is None else results:
            if result.error is not None:
                raise TicketFailed(
                    f"Solving {result.ticket} of split {self.split!r}, seed {self.seed}, failed: "
                    f"{type(result.error).__name__}: {result.error}"
                ) from result.error
            self._results[result.ticket.first] = result
        self._ingest()
        while self.ledger.outstanding < self._lookahead and (ticket := self.ledger.issue()) is not None:
            engine.submit(ticket)
        if self.ledger.exhausted and not self.policy.over:
            self.policy.close()
        self._clock.solver_waits_for = self.schedule.solver_waits_for()

    def _ingest(self) -> None:
        # In order, nothing is taken in before there is room for it, not even a ticket without an accepted sample: when
        # a ticket is done, and the next one issued, must not depend on when its result came.
        while self._results and not (self.schedule.ordered and self.schedule.room() == 0):
            first = self.ledger.oldest if self.schedule.ordered else next(iter(self._results))
            if first not in self._results:
                return
            result = self._results[first]
            ticket, samples = result.ticket, result.samples
            assert samples is not None
            done = self.ledger.consumed(ticket)
            count = min(self.schedule.room(), len(samples) - done)
            if count > 0:
                rows = samples[done : done + count]
                self.storage.write(self.policy.put(count), rows)
                self.limiter.inserted(count)
                self.ledger.consume(ticket, count)
                if rows.certificate is not None:
                    self._iterations += int(rows.certificate.iterations.sum())
            if done + count < len(samples):
                return
            del self._results[first]
            self.ledger.close(ticket, result.rejected)
            self._solve_seconds += result.seconds
            self._check_barren(result)

    def _check_barren(self, result: Result) -> None:
        self._barren = 0 if result.samples else self._barren + 1
        if self._barren >= HOPELESS:
            first = result.rejected[0]
            raise PdekitError(
                f"Every sample of the last {HOPELESS} tickets was rejected; sample {first.index}: {first.reason}. "
                f"The tolerance asked for is rtol={result.ticket.rtol:g}: is it within reach of the solver?"
            )

    def _running(self) -> Engine:
        if self._engine is None:
            solving = self.solving if self._memories else nullcontext()
            worker = Worker(self.source, self.seed, self.split, self._order, solving)
            self._engine = Inline(worker) if self._engine_name == "inline" else Thread(worker, self.workers)
            self._clock.start(self.workers)
        return self._engine

    def statistics(self) -> Statistics:
        """Counters, rates and waits since the beginning, resumed parts included."""
        if self._engine is not None:
            self._clock.solver_worked(self._engine.busy_seconds())
        return Statistics(
            capacity=self.policy.capacity,
            population=self.policy.population,
            unseen=self.policy.unseen,
            inserts=self.limiter.inserts,
            gets=self.limiter.gets,
            rejected=len(self.ledger.rejected),
            iterations=self._iterations,
            solve_seconds=self._solve_seconds,
            seconds=self._clock.seconds(),
            worker_seconds=self._clock.worker_seconds(),
            trainer_waits=dict(self._clock.trainer_waits),
            solver_waits=dict(self._clock.solver_waits),
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on from this batch boundary: plain containers and tensors.

        Tickets in flight are not waited for: they are recorded and will be solved again. Only memories of the method
        are not read before the ticket that uses them is done.
        """
        with self.solving:
            learnt = [memory.state_dict() for memory in self._memories]
        return {
            "version": 1,
            "settings": dict(self._settings),
            "policy": self.policy.state_dict(),
            "limiter": self.limiter.state_dict(),
            "ledger": self.ledger.state_dict(),
            "storage": self.storage.state_dict(self.policy.occupied()),
            "counters": [self._batches, self._iterations, self._solve_seconds, self._barren],
            "clock": self._clock.state_dict(),
            "memories": learnt,
            "tightening": None if self._tightening is None else self._tightening.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved batch boundary; in lockstep with the same batches, bit for bit.

        The engine and the number of workers may differ from those of the saving run.

        Raises:
            InputError: the state is of a stream with other settings; the message names them.
        """
        differing = [
            f"{key} was {state['settings'].get(key)!r} and is {value!r}"
            for key, value in self._settings.items()
            if state["settings"].get(key) != value
        ]
        if differing:
            raise InputError(f"The saved stream has other settings: {'; '.join(differing)}.")
        self._stop()
        self._results.clear()
        self.policy.load_state_dict(state["policy"])
        self.limiter.load_state_dict(state["limiter"])
        self.ledger.load_state_dict(state["ledger"])
        self.storage.load_state_dict(state["storage"])
        self._batches, self._iterations, self._solve_seconds, self._barren = state["counters"]
        self._clock.load_state_dict(state["clock"])
        for memory, learnt in zip(self._memories, state["memories"] if self._memories else (), strict=True):
            memory.load_state_dict(learnt)
        if self._tightening is not None:
            self._tightening.load_state_dict(state["tightening"])
            self.ledger.rtol = self._tightening.rtol

    def _stop(self) -> None:
        if self._engine is not None:
            self._clock.stop()
            self._engine.close()
            self._engine = None

    def close(self) -> None:
        """End the workers; a second call does nothing."""
        self._closed = True
        self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Batch]:
        while True:
            try:
                yield self.next_batch()
            except EndOfStream:
                return

"""A source of samples as an endless sequence of training batches."""

import time
from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any, Self

from pdekit.core.errors import InputError, PdekitError, did_you_mean
from pdekit.samples import Samples, Source
from pdekit.stream.batch import Batch
from pdekit.stream.clock import Clock
from pdekit.stream.engine import Engine
from pdekit.stream.fifo import Fifo
from pdekit.stream.firo import Firo
from pdekit.stream.inline import Inline
from pdekit.stream.ledger import Ledger
from pdekit.stream.limiter import Limiter, Reuse
from pdekit.stream.policy import Policy
from pdekit.stream.reservoir import Reservoir
from pdekit.stream.schedules import Asynchronous, Lockstep
from pdekit.stream.statistics import Statistics
from pdekit.stream.storage import Storage
from pdekit.stream.thread import Thread
from pdekit.stream.work import Result, TicketFailed, Worker

__all__ = ["EndOfStream", "Stream"]

POLICIES = {"fifo": Fifo, "firo": Firo, "reservoir": Reservoir}
SCHEDULES = {"async": Asynchronous, "lockstep": Lockstep}
ENGINES = ("inline", "thread")
HOPELESS = 4
"""Tickets in a row without one accepted sample after which the stream gives up."""


class EndOfStream(PdekitError):
    """The budget is spent and every sample has been used."""


class Stream:
    """Solves samples while they are trained on, and mixes them in a buffer.

    All decisions are taken in the caller's thread, inside :meth:`next_batch`; workers only turn tickets into samples.

    Args:
        source: makes the samples.
        seed: of inputs and draws.
        rtol: relative tolerance of the certificates.
        method: a solver method; None lets the source choose.
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
        rtol: float = 1e-5,
        method: Any = None,
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
        _choice("schedule", schedule, SCHEDULES)
        _choice("engine", engine, ENGINES)
        if not rtol > 0:
            raise InputError(f"rtol={rtol}; expected a number greater than 0.")
        if batch_size < 1:
            raise InputError(f"batch_size={batch_size}; expected at least 1.")
        self.source, self.seed, self.split, self.batch_size = source, int(seed), split, int(batch_size)
        self.policy = _policy(policy, capacity, watermark, self.seed, self.batch_size)
        _check_capacity(self.policy, self.batch_size)
        self.limiter = Limiter(reuse, watermark=self.policy.watermark, batch_size=self.batch_size)
        _check_uses(self.policy, self.limiter)
        self.schedule = SCHEDULES[schedule](self.policy, self.limiter, self.batch_size)
        self.ledger = Ledger(ticket_size, rtol=rtol, method=method, budget=budget)
        self.storage = Storage(source.schema, self.policy.capacity, seed=self.seed, split=split)
        self.workers = _workers(workers, engine)
        self._engine_name = engine
        self._engine: Engine | None = None
        self._closed = False
        self._lookahead = self.workers + -(-self.batch_size // self.ledger.size) + 1
        self._results: dict[int, Result] = {}
        self._barren = 0
        self._batches = 0
        self._iterations = 0
        self._solve_seconds = 0.0
        self._clock = Clock()
        self._settings = {
            "seed": self.seed, "split": split, "rtol": float(rtol), "method": _describe(method), "budget": budget,
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
        while self._results:
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
                f"The tolerance asked for is rtol={self.ledger.rtol:g}: is it within reach of the solver?"
            )

    def _running(self) -> Engine:
        if self._engine is None:
            worker = Worker(self.source, self.seed, self.split)
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

        Tickets in flight are not waited for: they are recorded and will be solved again.
        """
        return {
            "version": 1,
            "settings": dict(self._settings),
            "policy": self.policy.state_dict(),
            "limiter": self.limiter.state_dict(),
            "ledger": self.ledger.state_dict(),
            "storage": self.storage.state_dict(self.policy.occupied()),
            "counters": [self._batches, self._iterations, self._solve_seconds, self._barren],
            "clock": self._clock.state_dict(),
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


def _choice(name: str, given: str, known) -> None:
    if given not in known:
        raise InputError(f"{name}={given!r} is unknown. {did_you_mean(str(given), known)}")


def _policy(policy: str | Policy, capacity: int, watermark: int | None, seed: int, batch_size: int) -> Policy:
    if isinstance(policy, Policy):
        return policy
    _choice("policy", policy, POLICIES)
    if watermark is None:
        watermark = max(0, min(max(batch_size, capacity // 4), capacity - batch_size))
    return POLICIES[policy](capacity, watermark=watermark, seed=seed)


def _check_capacity(policy: Policy, batch_size: int) -> None:
    if policy.capacity < policy.watermark + batch_size:
        raise InputError(
            f"The capacity {policy.capacity} is below watermark + batch size = {policy.watermark} + {batch_size}: "
            "solver and trainer could wait for each other for ever."
        )


def _check_uses(policy: Policy, limiter: Limiter) -> None:
    if policy.uses is None or limiter.band is None:
        return
    least, largest = limiter.band
    if not least <= policy.uses <= largest:
        raise InputError(
            f"{type(policy).__name__} uses each sample exactly {policy.uses} times, which lies outside "
            f"reuse=({least:g}, {largest:g}); expected reuse={policy.uses} or a pair around it."
        )


def _describe(method: Any) -> str:
    """A text equal for equal methods; the plain repr of an object holds its address."""
    return repr(method) if method is None or is_dataclass(method) else type(method).__qualname__


def _workers(workers: int | str, engine: str) -> int:
    if workers == "auto" or engine == "inline":
        return 1
    if not isinstance(workers, int) or workers < 1:
        raise InputError(f"workers={workers!r}; expected 'auto' or a number of at least 1.")
    return workers

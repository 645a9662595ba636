"""What a stream can say about itself."""

from dataclasses import dataclass, field, replace

__all__ = ["Statistics"]


@dataclass(frozen=True)
class Statistics:
    """Counters of a stream since its beginning, resumed parts included.

    Args:
        capacity: slots of the buffer.
        population: samples held.
        unseen: samples held and never drawn yet.
        inserts: samples that entered.
        gets: samples drawn.
        rejected: samples refused.
        iterations: solver iterations of the samples that entered, in sum.
        solve_seconds: worker seconds of drawing and solving the finished tickets.
        seconds: wall time since the first batch was asked for.
        worker_seconds: ``seconds`` times the number of workers.
        trainer_waits: seconds in which the trainer waited for samples, by cause (``watermark``: the first fill,
            ``reuse``: the limit, ``samples``: too few held).
        solver_waits: worker seconds without work, by cause (``unseen``: the buffer is full of unseen samples,
            ``reuse``: the limit, ``trainer``: results lay waiting while a training step ran).

    Example:
        >>> now = Statistics(100, 80, 20, 200, 600, 0, 1400, 1.5, 2.0, 2.0, {"reuse": 0.5})
        >>> now.fill, now.fresh, now.reuse, now.rate_in, now.mean_iterations, now.trainer_stall
        (0.8, 0.25, 3.0, 100.0, 7.0, 0.25)
    """

    capacity: int
    population: int
    unseen: int
    inserts: int
    gets: int
    rejected: int
    iterations: int
    solve_seconds: float
    seconds: float
    worker_seconds: float
    trainer_waits: dict[str, float] = field(default_factory=dict)
    solver_waits: dict[str, float] = field(default_factory=dict)

    @property
    def fill(self) -> float:
        """Share of the slots that is occupied."""
        return self.population / self.capacity

    @property
    def fresh(self) -> float:
        """Share of the held samples that was never drawn; 1/reuse in steady state."""
        return self.unseen / self.population if self.population else 0.0

    @property
    def reuse(self) -> float:
        """Draws per insert, which the limiter keeps within its band; samples still waiting count too."""
        return self.gets / self.inserts if self.inserts else 0.0

    @property
    def seen(self) -> int:
        """Different samples drawn so far."""
        return self.inserts - self.unseen

    @property
    def uses(self) -> float:
        """Draws per different sample drawn."""
        return self.gets / self.seen if self.seen else 0.0

    @property
    def rate_in(self) -> float:
        """Samples inserted per second, on average."""
        return self.inserts / self.seconds if self.seconds else 0.0

    @property
    def rate_out(self) -> float:
        """Samples drawn per second, on average."""
        return self.gets / self.seconds if self.seconds else 0.0

    @property
    def mean_iterations(self) -> float:
        """Solver iterations a sample."""
        return self.iterations / self.inserts if self.inserts else 0.0

    @property
    def trainer_stall(self) -> float:
        """Share of the wall time in which the trainer waited for samples."""
        return sum(self.trainer_waits.values()) / self.seconds if self.seconds else 0.0

    @property
    def solver_stall(self) -> float:
        """Share of the workers' time in which they had nothing to do."""
        return sum(self.solver_waits.values()) / self.worker_seconds if self.worker_seconds else 0.0

    def since(self, before: "Statistics") -> "Statistics":
        """The counters of the time since ``before``, with the present contents."""
        return replace(
            self,
            inserts=self.inserts - before.inserts,
            gets=self.gets - before.gets,
            rejected=self.rejected - before.rejected,
            iterations=self.iterations - before.iterations,
            solve_seconds=self.solve_seconds - before.solve_seconds,
            seconds=self.seconds - before.seconds,
            worker_seconds=self.worker_seconds - before.worker_seconds,
            trainer_waits=_difference(self.trainer_waits, before.trainer_waits),
            solver_waits=_difference(self.solver_waits, before.solver_waits),
        )


def _difference(now: dict[str, float], before: dict[str, float]) -> dict[str, float]:
    return {cause: seconds - before.get(cause, 0.0) for cause, seconds in now.items()}

"""Who waited for whom, and for how long."""

import time
from typing import Any

__all__ = ["Clock"]


class Clock:
    """Measures wall time, and the waits of trainer and solver by cause."""

    def __init__(self):
        self.trainer_waits: dict[str, float] = {}
        self.solver_waits: dict[str, float] = {}
        self.solver_waits_for = "trainer"
        self._before = 0.0
        self._worker_before = 0.0
        self._workers = 0
        self._started: float | None = None
        self._seen = 0.0
        self._busy = 0.0

    def start(self, workers: int) -> None:
        """An engine with so many workers has started."""
        self._workers, self._busy = workers, 0.0
        self._started = self._seen = time.perf_counter()

    def stop(self) -> None:
        """The engine has ended; its time is kept."""
        self._before, self._worker_before, self._started = self.seconds(), self.worker_seconds(), None

    def seconds(self) -> float:
        """Wall time with an engine, resumed parts included."""
        return self._before + (0.0 if self._started is None else time.perf_counter() - self._started)

    def worker_seconds(self) -> float:
        """The same, times the number of workers."""
        return self._worker_before + self._workers * (self.seconds() - self._before)

    def trainer_waited(self, cause: str, seconds: float) -> None:
        """Add a wait of the trainer."""
        self.trainer_waits[cause] = self.trainer_waits.get(cause, 0.0) + seconds

    def solver_worked(self, busy: float) -> None:
        """Charge the workers' idle time since the last call to what kept them waiting."""
        now = time.perf_counter()
        idle = self._workers * (now - self._seen) - (busy - self._busy)
        cause = self.solver_waits_for
        self.solver_waits[cause] = self.solver_waits.get(cause, 0.0) + max(0.0, idle)
        self._seen, self._busy = now, busy

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return {
            "seconds": self.seconds(),
            "worker_seconds": self.worker_seconds(),
            "trainer_waits": dict(self.trainer_waits),
            "solver_waits": dict(self.solver_waits),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from saved numbers."""
        self._before, self._worker_before = state["seconds"], state["worker_seconds"]
        self.trainer_waits, self.solver_waits = dict(state["trainer_waits"]), dict(state["solver_waits"])

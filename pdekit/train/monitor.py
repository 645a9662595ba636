"""One line that says how the training and its stream are doing."""

import math
import shutil
import sys
import time
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.callbacks import Callback

from pdekit.stream import Statistics, Stream

__all__ = ["StreamMonitor", "progress_line", "scalars", "verdict"]


class StreamMonitor(Callback):
    """Prints a progress line, logs the stream's figures, and ends with a verdict on who waited for whom.

    ``step 3120/20000 | loss 0.021 | buffer 78 % (24 % fresh) | in 412/s out 1.2k/s | reuse 2.9 | waits: trainer 3 %,
    solver 0 %``. Rates, reuse and waits are those since the previous line. In a terminal the line is rewritten every
    half second, elsewhere a new one is printed every ten.

    Args:
        stream: the one watched.
        every: seconds between lines; chosen by the kind of output if None.
    """

    def __init__(self, stream: Stream, *, every: float | None = None):
        self.stream = stream
        self._every = every
        self._before: Statistics | None = None
        self._logged: Statistics | None = None
        self._start: Statistics | None = None
        self._next = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin the first interval."""
        self._before = self._logged = self._start = self.stream.statistics()
        self._next = time.monotonic() + self._interval()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Print and log if it is time."""
        step = trainer.global_step
        last = step >= trainer.max_steps > 0
        interval: int = trainer.log_every_n_steps  # pyright: ignore[reportAttributeAccessIssue]
        if interval and (step % interval == 0 or last):
            self._log(trainer, step)
        if time.monotonic() < self._next and not last:
            return
        self._next = time.monotonic() + self._interval()
        assert self._before is not None
        now = self.stream.statistics()
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        line = progress_line(step, trainer.max_steps, math.nan if loss is None else float(loss), self._before, now)
        self._before = now
        self._print(line, last=last)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print the verdict on this run."""
        assert self._start is not None
        self._print(verdict(self._start, self.stream.statistics()), last=True)

    def _log(self, trainer: L.Trainer, step: int) -> None:
        now = self.stream.statistics()
        assert self._logged is not None
        values = scalars(self._logged, now)
        values["online/rtol"] = self.stream.rtol
        self._logged = now
        for logger in trainer.loggers:
            logger.log_metrics(values, step=step)

    def _interval(self) -> float:
        return self._every if self._every is not None else 0.5 if sys.stdout.isatty() else 10.0

    def _print(self, line: str, *, last: bool) -> None:
        if not sys.stdout.isatty():
            print(line, flush=True)
            return
        if not last:  # a line that wraps cannot be rewritten
            line = line[: shutil.get_terminal_size().columns - 1]
        print(f"\r\x1b[K{line}", end="\n" if last else "", flush=True)


def progress_line(step: int, steps: int, loss: float, before: Statistics, now: Statistics) -> str:
    """The line for the interval between two looks at the stream.

    Example:
        >>> from pdekit.stream import Statistics
        >>> start = Statistics(100, 0, 0, 0, 0, 0, 0, 0.0, 0.0, 0.0)
        >>> now = Statistics(100, 78, 19, 824, 2400, 0, 9888, 1.9, 2.0, 2.0, {"samples": 0.06})
        >>> print(progress_line(3120, 20000, 0.0213, start, now))  # doctest: +NORMALIZE_WHITESPACE
        step 3120/20000 | loss 0.0213 | buffer 78 % (24 % fresh) | in 412/s out 1.2k/s | reuse 2.9 |
        waits: trainer 3 %, solver 0 %
    """
    part = now.since(before)
    rejected = f" | {now.rejected} rejected" if now.rejected else ""
    return (
        f"step {step}/{steps} | loss {loss:.3g} | buffer {now.fill:.0%} ({now.fresh:.0%} fresh) | "
        f"in {_rate(part.rate_in)} out {_rate(part.rate_out)} | reuse {part.reuse or now.reuse:.2g} | "
        f"waits: trainer {part.trainer_stall:.0%}, solver {part.solver_stall:.0%}{rejected}"
    ).replace("%", " %")


def scalars(before: Statistics, now: Statistics) -> dict[str, float]:
    """What loggers get: rates and waits since ``before``, the rest as it stands."""
    part = now.since(before)
    values = {
        "online/fill": now.fill,
        "online/unseen_frac": now.fresh,
        "online/put_rate": part.rate_in,
        "online/get_rate": part.rate_out,
        "online/reuse": now.reuse,
        "online/stall_consumer": part.trainer_stall,
        "online/stall_producer": part.solver_stall,
        "online/rejected": float(now.rejected),
        "online/mean_iterations": now.mean_iterations,
        "online/solve_seconds": now.solve_seconds,
    }
    for side, waits in (("consumer", now.trainer_waits), ("producer", now.solver_waits)):
        for cause, seconds in waits.items():
            values[f"online/wait_seconds_{side}_{cause}"] = seconds
    return values


def verdict(start: Statistics, now: Statistics) -> str:
    """Who waited for whom, and what to change.

    Args:
        start: the statistics when the run began.
        now: the statistics when it ended.
    """
    part = now.since(start)
    first_fill = part.trainer_waits.get("watermark", 0.0)
    running = max(part.seconds - first_fill, 1e-9)
    trainer = (sum(part.trainer_waits.values()) - first_fill) / running
    solver = part.solver_stall
    waited = f"the trainer waited {trainer:.0%} of the time, the solver {solver:.0%}".replace("%", " %")
    if trainer > 0.1 and trainer > solver:
        kind = "Producer-bound"
        advice = "more workers, a looser rtol or a larger upper reuse would make it faster"
    elif solver > 0.1:
        kind = "Trainer-bound"
        freed = now.reuse > 1.5
        advice = (
            "a smaller lower reuse would make the data fresher at no cost"
            if freed
            else "the data is as fresh as it can be; a larger model or batch would be fed as well"
        )
    else:
        kind, advice = "Balanced", "nothing to change"
    fill = f" The first fill took {first_fill:.1f} s." if first_fill > 0.05 * part.seconds else ""
    return f"{kind}: {waited}, each sample was used {now.uses:.3g} times on average; {advice}.{fill}"


def _rate(samples: float) -> str:
    return f"{samples / 1000:.1f}k/s" if samples >= 1000 else f"{samples:.3g}/s"

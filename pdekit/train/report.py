"""What a run leaves for its reader: ``report.json``."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from pdekit.core.errors import InputError

__all__ = ["Report"]


@dataclass(frozen=True)
class Report:
    """The figures of a finished run.

    Args:
        test_rel_l2: mean relative L2 error over the held-out samples (all outputs together).
        test_samples: how many held-out samples.
        steps: optimiser steps, resumed parts included.
        samples_solved: samples that entered the buffer.
        samples_seen: different samples trained on.
        samples_drawn: samples drawn into batches, repetitions counted.
        reuse: draws per different sample trained on.
        rejected: samples that missed their tolerance and were left out.
        iterations: solver iterations of the training samples, in sum.
        solve_seconds: drawing and solving the training samples, summed over workers.
        train_seconds: wall time of training, first fill and waits included, resumed parts added up.
        seconds: wall time of this call by phase.
        test: metric name to figures of the held-out samples (see :func:`pdekit.train.evaluation.evaluate`).
        verdict: who waited for whom, in a sentence.
        parameters: real numbers in the network.
        machine: hardware and system.
        versions: of pdekit and what it stands on.
    """

    test_rel_l2: float
    test_samples: int
    steps: int
    samples_solved: int
    samples_seen: int
    samples_drawn: int
    reuse: float
    rejected: int
    iterations: int
    solve_seconds: float
    train_seconds: float
    seconds: dict[str, float]
    test: dict[str, Any]
    verdict: str
    parameters: int
    machine: dict[str, Any]
    versions: dict[str, str]

    def save(self, path: Path) -> None:
        """Write JSON, under its final name only once it is complete."""
        partial = path.with_name(path.name + ".partial")
        try:
            partial.write_text(json.dumps(asdict(self), indent=1) + "\n")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    @classmethod
    def read(cls, path: Path) -> Self:
        """The report in a file.

        Raises:
            InputError: the file is no report of a run.
        """
        try:
            content = json.loads(path.read_text())
            return cls(**{field.name: content[field.name] for field in fields(cls)})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is no report of a run: {error}.") from error

    def __str__(self) -> str:
        return (
            f"test relative L2 error {self.test_rel_l2:.4f} on {self.test_samples} held-out samples\n"
            f"  {self.steps} steps in {self.train_seconds:.0f} s; {self.samples_solved:,} samples solved in "
            f"{self.solve_seconds:.1f} s, {self.samples_seen:,} of them trained on, {self.reuse:.3g} times each"
        )

"""What a run leaves for its reader: ``report.json``, and a picture."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

from pdekit.core.errors import InputError

__all__ = ["Measured", "Report", "SolverReport", "SurrogateReport"]


@dataclass(frozen=True, kw_only=True)
class Report(ABC):
    """The figures of a finished run, whatever it trained.

    Args:
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
        test: figures of the held-out samples, by what they are of and then by their names.
        verdict: who waited for whom, in a sentence.
        parameters: real numbers in the network.
        machine: hardware and system.
        versions: of pdekit and what it stands on.
    """

    kind: ClassVar[str]
    """Of what was trained, in one word."""

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

    @property
    @abstractmethod
    def headline(self) -> str:
        """What was reached on held-out samples, in a line."""

    def save(self, path: Path) -> None:
        """Write JSON, under its final name only once it is complete."""
        common = {field.name for field in fields(Report)}
        figures = sorted(asdict(self).items(), key=lambda item: item[0] in common)  # what the kind adds comes first
        partial = path.with_name(path.name + ".partial")
        try:
            partial.write_text(json.dumps({"kind": self.kind, **dict(figures)}, indent=1) + "\n")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    @staticmethod
    def read(path: Path) -> "Report":
        """The report in a file, of its own kind.

        Raises:
            InputError: the file is no report of a run.
        """
        try:
            content = json.loads(path.read_text())
            cls = KINDS[content.get("kind", SurrogateReport.kind)]  # reports had no kind when there was only one
            return cls(**{field.name: content[field.name] for field in fields(cls)})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} is no report of a run: {error}.") from error

    def __str__(self) -> str:
        return (
            f"{self.headline}\n"
            f"  {self.steps} steps in {self.train_seconds:.0f} s; {self.samples_solved:,} samples solved in "
            f"{self.solve_seconds:.1f} s, {self.samples_seen:,} of them trained on, {self.reuse:.3g} times each"
        )


@dataclass(frozen=True, kw_only=True)
class SurrogateReport(Report):
    """The figures of a run that trained a surrogate.

    Args:
        test_rel_l2: mean relative L2 error over the held-out samples (all outputs together).
    """

    kind: ClassVar[str] = "surrogate"
    test_rel_l2: float

    @property
    def headline(self) -> str:
        """The error."""
        return f"test relative L2 error {self.test_rel_l2:.4f} on {self.test_samples} held-out samples"


@dataclass(frozen=True, kw_only=True)
class SolverReport(Report):
    """The figures of a run that trained a part of a solver: a preconditioner, or search directions.

    Args:
        test_iterations: mean over the held-out problems.
        classical_iterations: the same without the network; None where it starts from nothing.
        fastest: the fastest other method, set-up included.
        pays_after: solves after which training has paid for itself against that method; None for never.
    """

    kind: ClassVar[str] = "solver"
    test_iterations: float
    classical_iterations: float | None
    fastest: str
    pays_after: float | None

    @property
    def headline(self) -> str:
        """Iterations with and without the network, and what training is worth."""
        classical = (
            "" if self.classical_iterations is None else f", {self.classical_iterations:.1f} without the network"
        )
        pays = "never" if self.pays_after is None else f"after {self.pays_after:,.0f} solves"
        return (
            f"{self.test_iterations:.1f} iterations on {self.test_samples} held-out problems{classical}; training pays "
            f"{pays} against {self.fastest}, the fastest of the others"
        )


KINDS: dict[str, type[Report]] = {cls.kind: cls for cls in (SurrogateReport, SolverReport)}


class Measured(ABC):
    """What was found on held-out problems; print it for a table."""

    picture: ClassVar[str]
    """Name of the file that :meth:`draw` writes."""

    @abstractmethod
    def report(self, figures: Mapping[str, Any]) -> Report:
        """The report of a run.

        Args:
            figures: of :class:`Report`, without those of the held-out samples.
        """

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Plain containers."""

    @abstractmethod
    def draw(self, folder: Path) -> None:
        """Draw it into a folder."""

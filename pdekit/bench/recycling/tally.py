"""What became of the systems of a sequence, and of the chains of several cores together."""

import math
import statistics
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TypeVar

from pdekit.solvers import Solution

__all__ = ["Tally", "joined"]

Key = TypeVar("Key", bound=Hashable)


@dataclass
class Tally:
    """The systems that one method solved, one entry each; those that failed are counted and take no part in means.

    Example:
        >>> Tally([2.0, 9.0, 4.0], [10, 1000, 20], [1e-9, 1e-2, 1e-9], [True, False, True]).summary()["iterations"]
        15
    """

    seconds: list[float] = field(default_factory=list)
    iterations: list[int] = field(default_factory=list)
    residuals: list[float] = field(default_factory=list)
    converged: list[bool] = field(default_factory=list)

    def add(self, solution: Solution, seconds: float) -> None:
        """Take one more system, or a batch whose systems share the seconds.

        What another method had to finish is no success of this one.
        """
        count = solution.iterations.numel()
        alone = "; then" not in solution.method
        self.seconds += [seconds / count] * count
        self.iterations += solution.iterations.flatten().tolist()
        self.residuals += solution.residual.flatten().tolist()
        self.converged += [alone and done for done in solution.converged.flatten().tolist()]

    def of(self, column: Sequence[float]) -> list[float]:
        """The entries of a column that belong to systems that converged."""
        return [value for value, done in zip(column, self.converged, strict=True) if done]

    @property
    def mean_iterations(self) -> float:
        """Over the systems that converged; NaN where none did."""
        return statistics.mean(found) if (found := self.of(self.iterations)) else math.nan

    @property
    def mean_seconds(self) -> float:
        """Likewise."""
        return statistics.mean(found) if (found := self.of(self.seconds)) else math.nan

    @property
    def median_seconds(self) -> float:
        """Likewise."""
        return statistics.median(found) if (found := self.of(self.seconds)) else math.nan

    def summary(self) -> dict[str, float | int]:
        """Columns of a row."""
        return {
            "systems": len(self.converged),
            "failed": self.converged.count(False),
            "iterations": self.mean_iterations,
            "milliseconds": 1e3 * self.median_seconds,
            "mean_milliseconds": 1e3 * self.mean_seconds,
            "true_residual": max(self.of(self.residuals), default=math.nan),
        }


def joined(chains: Sequence[Mapping[Key, Tally]]) -> dict[Key, Tally]:
    """The systems of all chains together."""
    found: dict[Key, Tally] = {}
    for key, whole in ((key, tally) for tallies in chains for key, tally in tallies.items()):
        for column in fields(Tally):
            getattr(found.setdefault(key, Tally()), column.name).extend(getattr(whole, column.name))
    return found

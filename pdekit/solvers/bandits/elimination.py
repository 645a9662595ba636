"""The bandit that tries arms in the order of an expert and drops those that are clearly worse."""

from collections.abc import Mapping
from math import inf

import numpy as np

from pdekit.core.checks import check_limit
from pdekit.core.errors import InputError
from pdekit.solvers.bandits.base import Bandit

__all__ = ["SuccessiveElimination"]

_CONFIDENCE = 2.0
"""Standard errors by which the mean of an arm has to be worse than that of the best one."""

_LEAST_SCATTER = 0.05
"""Relative scatter of single losses that is assumed even where fewer was seen: three losses may agree by chance."""


class SuccessiveElimination(Bandit):
    """Try the arms in their order, drop those whose mean loss is clearly above the best, and take the best one left.

    The arms are ordered from what an expert would take to what is worth a try. The first loss of each is set aside, as
    it includes compiling, or filling what later systems profit from; `pulls` further ones are learnt before an arm can
    be the best one or be dropped. Of the arms left that one is taken whose mean loss, less its uncertainty, is least:
    close rivals are seen again until it is settled, others ever more rarely. Losses are taken to scatter around their
    means in proportion to these, by one factor for all arms.

    A censored loss stands in the mean with the value that is known to be exceeded; an arm whose losses were censored
    is dropped by the same rule.

    Args:
        arms: how many there are, the expert's choice first.
        pulls: losses of an arm, after its first one, that decide.

    Example:
        >>> bandit = SuccessiveElimination(3)
        >>> for _ in range(20):
        ...     arm = bandit.choose()
        ...     bandit.learn(arm, loss=[2.0, 1.0, 9.0][arm])
        >>> bandit
        SuccessiveElimination(3, pulls=3)
        >>> bandit.incumbent, bandit.left, bandit.pulls_of.tolist()
        (1, (1,), [4, 12, 4])

    Source:
        Even-Dar, Mannor, Mansour, "Action elimination and stopping conditions for the multi-armed bandit", JMLR 7,
        2006.
    """

    def __init__(self, arms: int, pulls: int = 3):
        super().__init__(arms)
        check_limit("SuccessiveElimination", "pulls", pulls)
        self.pulls = int(pulls)
        self._counts, self._censored = np.zeros((2, self.arms), dtype=np.int64)
        self._sums, self._squares = np.zeros((2, self.arms))
        self._dropped = np.zeros(self.arms, dtype=np.bool_)

    def __repr__(self) -> str:
        return f"SuccessiveElimination({self.arms}, pulls={self.pulls})"

    @property
    def pulls_of(self) -> np.ndarray:
        """How often each arm was taken, the first time included, ``(arms,)``."""
        return self._counts.copy()

    @property
    def means(self) -> np.ndarray:
        """The mean loss of each arm without its first one, ``(arms,)``; NaN before there is a second."""
        return np.where(self._counts > 1, self._sums / np.maximum(self._counts - 1, 1), np.nan)

    @property
    def left(self) -> tuple[int, ...]:
        """The arms that were not dropped."""
        return tuple(np.nonzero(~self._dropped)[0].tolist())

    @property
    def incumbent(self) -> int:
        """The arm with the least mean loss of those seen often enough; before there is one, the first arm left."""
        means = np.where(self._known & ~self._dropped, self.means, inf)
        return int(means.argmin()) if np.isfinite(means).any() else self.left[0]

    def drop(self, arm: int) -> None:
        """Take an arm no more, for reasons that only the caller knows; the last one left stays."""
        if self.left != (arm,):
            self._dropped[arm] = True

    def choose(self, context: float | None = None) -> int:
        waiting = np.nonzero(~self._known & ~self._dropped)[0]
        if len(waiting):
            return int(waiting[0])
        return int(np.where(self._dropped, inf, self.means - self._uncertainty()).argmin())

    @property
    def _known(self) -> np.ndarray:
        return self._counts > self.pulls

    def _uncertainty(self) -> np.ndarray:
        """Of the mean of each arm; all are taken to have the same relative scatter."""
        warm = np.maximum(self._counts - 1, 0)
        means = np.nan_to_num(self.means)
        inside = self._squares - warm * means**2
        seen = (warm > 0) & (means > 0) & (self._censored == 0)
        freedom = (warm[seen] - 1).sum()
        scatter = np.sqrt(max((inside[seen] / means[seen] ** 2).sum(), 0.0) / freedom) if freedom > 0 else 0.0
        return _CONFIDENCE * means * max(scatter, _LEAST_SCATTER) / np.sqrt(np.maximum(warm, 1))

    def _learn(self, arm: int, loss: float, context: float | None, censored: bool) -> None:
        self._counts[arm] += 1
        if self._counts[arm] == 1:
            return
        self._sums[arm] += loss
        self._squares[arm] += loss**2
        self._censored[arm] += censored
        best = self.incumbent
        if not self._known[best]:
            return
        means, uncertainty = self.means, self._uncertainty()
        worse = self._known & (means - uncertainty > means[best] + uncertainty[best])
        self._dropped |= worse

    _unsigned = ("counts", "censored", "sums", "squares")

    def _check(self, numbers: Mapping[str, np.ndarray]) -> None:
        if numbers["dropped"].all():
            raise InputError(f"The state has dropped all arms; expected one that {self} gave by state_dict().")

    def _numbers(self) -> dict[str, np.ndarray]:
        return {
            "counts": self._counts, "censored": self._censored, "sums": self._sums, "squares": self._squares,
            "dropped": self._dropped,
        }  # fmt: skip

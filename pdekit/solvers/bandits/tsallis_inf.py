"""The bandit that is optimal both where losses are random and where an adversary chooses them."""

from math import sqrt

import numpy as np

from pdekit.core.checks import check_limit
from pdekit.solvers.bandits.base import Randomised

__all__ = ["TsallisINF"]


class TsallisINF(Randomised):
    """Follow the regularised leader, by Tsallis' entropy of power 1/2: nearly as good as the best arm, no matter what.

    After t losses an arm has the probability ``4 / (eta (L - x))^2``: L is the sum of its losses, each divided by the
    probability with which it was seen so that the sum is right on average; ``eta = 4 / sqrt(t)``; and x makes the
    probabilities sum to 1. Arms that are not rare are measured from half the mean loss instead of from 0, which leaves
    the sums right and lessens their scatter. Losses count in units of their running mean, so their scale is free.

    Args:
        arms: how many there are.
        bins: parts of the interval of contexts, each with a bandit of its own; 1 disregards contexts.
        interval: of the contexts.
        seed: of the random choices.

    Example:
        >>> bandit = TsallisINF(3)
        >>> for _ in range(300):
        ...     arm = bandit.choose()
        ...     bandit.learn(arm, loss=[9.0, 5.0, 8.0][arm])
        >>> int(bandit.probabilities().argmax())
        1

    Source:
        Zimmert, Seldin, "Tsallis-INF: an optimal algorithm for stochastic and adversarial bandits", JMLR 22, 2021, with
        the estimators of reduced variance; for solver parameters Khodak, Chow, Balcan, Talwalkar, "Learning to relax",
        ICLR 2024.
    """

    def __init__(self, arms: int, bins: int = 1, interval: tuple[float, float] = (0.0, 1.0), seed: int = 0):
        super().__init__(arms, interval, seed)
        check_limit("TsallisINF", "bins", bins)
        self.bins = int(bins)
        self._sums = np.zeros((self.bins, self.arms))
        self._rounds = np.zeros(self.bins, dtype=np.int64)
        self._losses = np.zeros(self.bins)

    def __repr__(self) -> str:
        context = f", bins={self.bins}, interval={self.interval}" if self.bins > 1 else ""
        return f"TsallisINF({self.arms}{context}, seed={self.seed})"

    @property
    def draws(self) -> int:
        return int(self._rounds.sum())

    def probabilities(self, context: float | None = None) -> np.ndarray:
        return self._probabilities(self._bin(context))

    def _probabilities(self, k: int) -> np.ndarray:
        eta = 4 / sqrt(self._rounds[k] + 1)
        return follow_the_leader(eta * self._sums[k] / (self._unit(k) or 1.0))

    def _unit(self, k: int) -> float:
        """The mean loss of a bin; 0 before the first."""
        return float(self._losses[k] / max(self._rounds[k], 1))

    def _learn(self, arm: int, loss: float, context: float | None, censored: bool) -> None:
        k = self._bin(context)
        p = self._probabilities(k)
        start = np.where(p >= 16 / (self._rounds[k] + 1), self._unit(k) / 2, 0.0)
        self._sums[k] += start
        self._sums[k, arm] += (loss - start[arm]) / p[arm]
        self._rounds[k] += 1
        self._losses[k] += loss

    def _bin(self, context: float | None) -> int:
        if self.bins == 1:
            return 0
        return min(int((self._place(context) + 1) / 2 * self.bins), self.bins - 1)

    _unsigned = ("rounds", "losses")

    def _numbers(self) -> dict[str, np.ndarray]:
        return {"sums": self._sums, "rounds": self._rounds, "losses": self._losses}


def follow_the_leader(losses: np.ndarray) -> np.ndarray:
    """The probabilities ``4 / (losses - x)^2`` with the x that makes them sum to 1.

    Args:
        losses: ``(arms,)``, sums of losses times the learning rate.

    Example:
        >>> follow_the_leader(np.zeros(4))
        array([0.25, 0.25, 0.25, 0.25])
    """
    above = losses - losses.min()
    # Newton's method for the distance of x from the least loss. The sum of the probabilities is convex and at least 1
    # at the start, so that every step stays on that side.
    distance = 2.0
    for _ in range(50):
        p = 4 / (above + distance) ** 2
        excess = p.sum() - 1
        if excess <= 1e-15:
            break
        distance += excess / (p**1.5).sum()
    return p / p.sum()

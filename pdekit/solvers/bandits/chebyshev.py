"""The bandit that learns how the loss of each arm depends on a context."""

from math import sqrt

import numpy as np

from pdekit.core.checks import check_limit
from pdekit.solvers.bandits.base import Randomised

__all__ = ["ChebyshevBandit"]


class ChebyshevBandit(Randomised):
    """Fits the loss of each arm by a Chebyshev series in the context, and takes mostly the arm with the least (ChebCB).

    The series are fitted by least squares, with the bounds that theory has for their coefficients kept as penalties: a
    coefficient j of more than twice the range of losses over j weighs like an error of the predictions made so far. An
    arm that was never tried is predicted to cost nothing, so each gets its turn. Where the best prediction is
    ``s*``, an arm predicted to cost s has the probability ``1 / (arms + eta (s - s*))``, and the best one the rest;
    ``eta = 2 t sqrt(arms) / e``, with the root mean square e of the errors of its t predictions.

    Args:
        arms: how many there are.
        degree: of the series; losses that change faster with the context need more.
        interval: the contexts that there are; one outside counts as the nearest end.
        seed: of the random choices.

    Example:
        >>> bandit = ChebyshevBandit(3)
        >>> for step in range(300):
        ...     context = step % 50 / 49
        ...     arm = bandit.choose(context)
        ...     bandit.learn(arm, loss=1 + (arm / 2 - context) ** 2, context=context)
        >>> [int(bandit.predictions(context).argmin()) for context in (0.1, 0.5, 0.9)]
        [0, 1, 2]

    Source:
        Khodak, Chow, Balcan, Talwalkar, "Learning to relax: setting solver parameters across a sequence of linear
        system instances", ICLR 2024; Foster, Rakhlin, "Beyond UCB", ICML 2020, for the probabilities.
    """

    def __init__(self, arms: int, degree: int = 5, interval: tuple[float, float] = (0.0, 1.0), seed: int = 0):
        super().__init__(arms, interval, seed)
        check_limit("ChebyshevBandit", "degree", degree)
        self.degree = int(degree)
        self._order = np.arange(self.degree + 1)
        self._products = np.zeros((self.arms, self.degree + 1, self.degree + 1))
        self._moments = np.zeros((self.arms, self.degree + 1))
        self._totals = np.zeros(4)  # losses learnt, squares of the errors of predictions, least and largest loss

    def __repr__(self) -> str:
        return f"ChebyshevBandit({self.arms}, degree={self.degree}, interval={self.interval}, seed={self.seed})"

    @property
    def draws(self) -> int:
        return int(self._totals[0])

    def predictions(self, context: float | None = None) -> np.ndarray:
        """The loss that each arm is expected to have, ``(arms,)``; 0 for one that was not tried."""
        return self._predicted(self._features(context))

    def probabilities(self, context: float | None = None) -> np.ndarray:
        rounds, squares = self._totals[:2]
        above = self.predictions(context)
        best = int(above.argmin())
        above -= above[best]
        eta = 2 * rounds * sqrt(self.arms * rounds / squares) if squares > 0 else 0.0
        p = 1 / (self.arms + eta * above)
        p[best] = 0.0
        p[best] = 1 - p.sum()
        return p

    def _features(self, context: float | None) -> np.ndarray:
        return np.cos(self._order * np.arccos(self._place(context)))

    def _predicted(self, features: np.ndarray) -> np.ndarray:
        rounds, squares, least, largest = self._totals
        if rounds == 0:
            return np.zeros(self.arms)
        error, spread = squares / rounds, max(largest - least, 1e-3 * largest)
        bounds = np.append(largest, 2 * spread / self._order[1:])
        penalty = np.diag(np.maximum(error / np.maximum(bounds, 1e-300) ** 2, 1e-9))
        return np.linalg.solve(self._products + penalty, self._moments[..., None])[..., 0] @ features

    def _learn(self, arm: int, loss: float, context: float | None, censored: bool) -> None:
        features = self._features(context)
        first = self._totals[0] == 0
        self._totals[1] += (loss - self._predicted(features)[arm]) ** 2
        self._products[arm] += np.outer(features, features)
        self._moments[arm] += loss * features
        self._totals[0] += 1
        self._totals[2] = loss if first else min(self._totals[2], loss)
        self._totals[3] = max(self._totals[3], loss)

    _unsigned = ("totals",)

    def _numbers(self) -> dict[str, np.ndarray]:
        return {"products": self._products, "moments": self._moments, "totals": self._totals}

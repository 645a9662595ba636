"""What every bandit offers."""

from abc import abstractmethod
from collections.abc import Mapping
from math import inf, isfinite
from typing import Any

import numpy as np
import torch

from pdekit.core.checks import check_finite, check_limit, check_number
from pdekit.core.errors import InputError
from pdekit.solvers.memory import Memory

__all__ = ["Bandit", "Randomised"]


class Bandit(Memory):
    """Chooses one of several arms again and again, and learns from the loss that each choice had.

    An arm is a number; what it stands for (a parameter, a method) its user knows, and what a loss is (iterations,
    seconds). A choice is a function of all that was learnt: it stays the same until the next loss is learnt, and is the
    same after saving and resuming.

    Args:
        arms: how many there are.
    """

    def __init__(self, arms: int):
        check_limit(type(self).__name__, "arms", arms)
        self.arms = int(arms)

    @abstractmethod
    def choose(self, context: float | None = None) -> int:
        """The arm to take next, from 0 on.

        Args:
            context: a number that tells of the problem at hand; bandits without context disregard it.

        Raises:
            InputError: there is no context, and the bandit needs one.
        """

    def learn(self, arm: int, loss: float, context: float | None = None, *, censored: bool = False) -> None:
        """Take in what an arm has cost.

        Args:
            arm: that was taken; after :meth:`choose`, with nothing learnt in between.
            loss: what it cost, not negative.
            context: the one that the choice was made for.
            censored: the arm was stopped before it was done, so that its loss is at least this.

        Raises:
            InputError: an arm that does not exist, or a loss that is no finite number of at least 0.
        """
        who = type(self).__name__
        if not 0 <= arm < self.arms:
            raise InputError(f"{who} has the arms 0 to {self.arms - 1}, and was told of a loss of the arm {arm}.")
        check_number(who, "loss", loss)
        if not (isfinite(loss) and loss >= 0):
            raise InputError(f"{who} was told of the loss {loss}; expected a finite number of at least 0.")
        self._learn(int(arm), float(loss), context, censored)

    @abstractmethod
    def _learn(self, arm: int, loss: float, context: float | None, censored: bool) -> None:
        """The same, with arguments that were checked."""

    @abstractmethod
    def _numbers(self) -> dict[str, np.ndarray]:
        """The arrays that hold all it has learnt, 0 at first, by name."""

    def reset(self) -> None:
        for values in self._numbers().values():
            values[...] = 0

    def state_dict(self) -> dict[str, Any]:
        numbers = {name: torch.from_numpy(values.copy()) for name, values in self._numbers().items()}
        return {"bandit": type(self).__name__} | numbers

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        own = self._numbers()
        if not isinstance(state, Mapping):
            raise InputError(f"The state is {state!r}; expected one that {self} gave by state_dict().")
        if state.get("bandit") != type(self).__name__ or set(state) != {"bandit", *own}:
            given = state.get("bandit", f"something with the entries {sorted(map(str, state))}")
            raise InputError(f"The state is one of {given}; expected one that {self} gave by state_dict().")
        loaded: dict[str, np.ndarray] = {}
        for name, values in own.items():
            entry, kind = state[name], torch.from_numpy(values).dtype
            if not isinstance(entry, torch.Tensor) or entry.dtype != kind:
                raise InputError(f"The state has {name}={entry!r}; expected a tensor of {kind}, as state_dict() gives.")
            if (given := tuple(entry.shape)) != values.shape:
                raise InputError(
                    f"The state has {name} of shape {given}, and {self} needs {values.shape}: it is one of a bandit "
                    "with other arguments."
                )
            check_finite(f"{name} of the state", entry)
            loaded[name] = entry.detach().cpu().numpy()
        for name, values in loaded.items():
            if name in self._unsigned and bool((values < 0).any()):
                raise InputError(f"The state has {name} below 0; expected one that {self} gave by state_dict().")
        self._check(loaded)
        for name, values in own.items():
            values[...] = loaded[name]

    _unsigned: tuple[str, ...] = ()
    """Which of the arrays are never below 0."""

    def _check(self, numbers: Mapping[str, np.ndarray]) -> None:
        """Refuse numbers that learning cannot lead to, with an :class:`InputError`."""


class Randomised(Bandit):
    """A bandit that draws its arms, with probabilities that it can name.

    The random numbers are counter-based: the draw number t of a seed is the same whenever it is made.

    Args:
        arms: how many there are.
        interval: the contexts that there are, roughly; one outside counts as the nearest end.
        seed: of the random numbers.
    """

    def __init__(self, arms: int, interval: tuple[float, float], seed: int):
        super().__init__(arms)
        who = type(self).__name__
        if not (isinstance(interval, tuple | list) and len(interval) == 2):
            raise InputError(f"{who} has interval={interval!r}; expected a pair of numbers such as (0.0, 1.0).")
        for end in interval:
            check_number(who, "interval", end)
        if not -inf < interval[0] < interval[1] < inf:
            raise InputError(f"{who} has interval={interval}; expected finite numbers, the smaller one first.")
        if not isinstance(seed, int) or not 0 <= seed < 2**64:
            raise InputError(f"{who} has seed={seed!r}; expected a whole number of at least 0.")
        self.interval, self.seed = (float(interval[0]), float(interval[1])), seed

    @abstractmethod
    def probabilities(self, context: float | None = None) -> np.ndarray:
        """With which each arm is chosen next, ``(arms,)``, of sum 1."""

    @property
    @abstractmethod
    def draws(self) -> int:
        """How many losses were learnt so far, which is the number of the next draw."""

    def choose(self, context: float | None = None) -> int:
        from pdekit.core.random import Keys, uniform  # compiled code is loaded on first use

        number = uniform(Keys(self.seed, "bandit", [self.draws]).named("arm"), 1)[0, 0]
        reached = np.cumsum(self.probabilities(context))
        return int(np.searchsorted(reached, number * reached[-1], side="right"))

    def _place(self, context: float | None) -> float:
        """Where a context lies in the interval: from -1 to 1.

        Raises:
            InputError: there is none, or it is not a number.
        """
        if context is None:
            raise InputError(f"{self} chooses by a context; expected a number, and there is none.")
        check_number(type(self).__name__, "context", context)
        if context != context:
            raise InputError(f"{type(self).__name__} was given the context NaN; expected a number.")
        low, high = self.interval
        return min(max(2 * (float(context) - low) / (high - low) - 1, -1.0), 1.0)

"""What a buffer policy is: a pure state machine over numbered slots."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pdekit.core.errors import InputError

__all__ = ["Policy", "Slots"]

Slots = NDArray[np.int64]


class Policy(ABC):
    """Decides which slot a new sample enters and which slots make the next batch.

    It holds integers only: no threads, no tensors, no clock. The caller writes a sample into each slot that
    :meth:`put` returns and reads the slots that :meth:`get` returns before the next ``put``. Its randomness is a
    function of ``(seed, number of draws so far)``, so that two integers are its whole saved state.

    Args:
        capacity: number of slots.
        watermark: no batch is drawn while the population is at or below this, until :meth:`close`.
        seed: of the draws.

    Raises:
        InputError: a capacity below 1, or a watermark that the population can never exceed.
    """

    uses: int | None = None
    """How often each sample is used, exactly; None where the ratio of draws to inserts decides."""

    def __init__(self, capacity: int, *, watermark: int = 0, seed: int = 0):
        if capacity < 1:
            raise InputError(f"The buffer capacity is {capacity}; expected at least 1 sample.")
        if not 0 <= watermark < capacity:
            raise InputError(
                f"The watermark is {watermark} with a capacity of {capacity}; expected 0 to {capacity - 1}, "
                "because batches are drawn only while more samples than the watermark are held."
            )
        self.capacity = int(capacity)
        self.watermark = int(watermark)
        self.seed = int(seed)
        self.over = False
        self._draws = 0

    @property
    @abstractmethod
    def population(self) -> int:
        """Number of occupied slots."""

    @property
    @abstractmethod
    def unseen(self) -> int:
        """Number of occupied slots never drawn yet."""

    @abstractmethod
    def occupied(self) -> Slots:
        """The occupied slots, in the policy's own order."""

    @abstractmethod
    def room(self) -> int:
        """How many samples :meth:`put` would accept now."""

    @abstractmethod
    def _put(self, count: int) -> Slots: ...

    @abstractmethod
    def _get(self, count: int) -> Slots: ...

    @abstractmethod
    def _save(self) -> dict[str, Any]: ...

    @abstractmethod
    def _load(self, state: dict[str, Any]) -> None: ...

    def can_put(self, count: int = 1) -> bool:
        """Whether ``count`` samples may enter now."""
        return not self.over and self.room() >= count

    def put(self, count: int = 1) -> Slots:
        """Slots for ``count`` new samples; what they held before is gone.

        Raises:
            InputError: there is no room; ask :meth:`can_put` first.
        """
        if not self.can_put(count):
            state = "closed" if self.over else f"holding {self.population} of {self.capacity}, {self.unseen} unseen"
            raise InputError(f"{count} samples cannot enter a buffer that is {state}.")
        return self._put(count)

    def can_get(self, count: int) -> bool:
        """Whether a batch of ``count`` may be drawn now; after :meth:`close`, whether anything is left."""
        if self.over:
            return self.population > 0
        return self.population > self.watermark and self.population >= count

    def get(self, count: int) -> Slots:
        """The slots of a batch, no slot twice; after :meth:`close` the last batch may be smaller.

        Raises:
            InputError: no batch may be drawn now; ask :meth:`can_get` first.
        """
        if not self.can_get(count):
            raise InputError(
                f"A batch of {count} cannot be drawn: the buffer holds {self.population} samples, its watermark is "
                f"{self.watermark}."
            )
        return self._get(min(count, self.population))

    def close(self) -> None:
        """No more samples will come: the watermark is lifted and the buffer drains."""
        self.over = True

    def state_dict(self) -> dict[str, Any]:
        """Plain integers and integer tensors."""
        return {"over": self.over, "draws": self._draws, "seed": self.seed, **self._save()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where :meth:`state_dict` was taken; capacity and watermark must be the same."""
        self.over = bool(state["over"])
        self._draws = int(state["draws"])
        self.seed = int(state["seed"])
        self._load(state)

    def _generator(self) -> np.random.Generator:
        """A fresh generator for the next draw: Philox with the number of the draw in the counter's third word."""
        self._draws += 1
        return np.random.Generator(np.random.Philox(key=self.seed % 2**64, counter=[0, 0, self._draws, 0]))

    def _free(self) -> list[int]:
        """The slots not occupied; which of them is filled next changes no batch, so they are not saved."""
        taken = set(self.occupied().tolist())
        return [slot for slot in reversed(range(self.capacity)) if slot not in taken]


def as_tensor(slots: list[int]) -> torch.Tensor:
    """A list of slots as a tensor, which a checkpoint can hold."""
    return torch.tensor(slots, dtype=torch.int64)

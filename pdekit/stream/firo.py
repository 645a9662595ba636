"""First in, random out."""

from typing import Any

import numpy as np

from pdekit.core.errors import InputError
from pdekit.stream.policy import Policy, Slots, as_tensor

__all__ = ["Firo"]


class Firo(Policy):
    """Each sample exactly ``repeats`` times, in random order, then it leaves.

    With a slow producer the population sits at the watermark, so samples mix over the watermark, not the capacity.

    Args:
        capacity: number of slots.
        watermark: no batch is drawn while the population is at or below this.
        seed: of the draws.
        repeats: uses of each sample.

    Raises:
        InputError: ``repeats`` below 1.

    Example:
        >>> buffer = Firo(4, repeats=2)
        >>> slots = buffer.put(2)
        >>> first, second = buffer.get(2), buffer.get(2)
        >>> sorted(first.tolist()) == sorted(second.tolist()), buffer.population
        (True, 0)

    Source:
        Meyer et al., Training deep surrogate models with large scale online learning, ICML 2023, section 3.
    """

    def __init__(self, capacity: int, *, watermark: int = 0, seed: int = 0, repeats: int = 1):
        super().__init__(capacity, watermark=watermark, seed=seed)
        if repeats < 1:
            raise InputError(f"FIRO with repeats={repeats}; expected each sample to be used at least once.")
        self.uses = self._repeats = int(repeats)
        self._held: list[int] = []
        self._left = np.zeros(capacity, dtype=np.int64)
        self._vacant = self._free()

    @property
    def population(self) -> int:
        """Number of occupied slots."""
        return len(self._held)

    @property
    def unseen(self) -> int:
        """Number of occupied slots never drawn yet."""
        return int((self._left == self._repeats).sum())

    def occupied(self) -> Slots:
        """The occupied slots."""
        return np.array(self._held, dtype=np.int64)

    def room(self) -> int:
        """How many samples may enter now."""
        return len(self._vacant)

    def _put(self, count: int) -> Slots:
        slots = [self._vacant.pop() for _ in range(count)]
        self._held.extend(slots)
        self._left[slots] = self._repeats
        return np.array(slots, dtype=np.int64)

    def _get(self, count: int) -> Slots:
        places = self._generator().choice(len(self._held), count, replace=False)
        slots = np.array([self._held[i] for i in places], dtype=np.int64)
        self._left[slots] -= 1
        for i in sorted(places.tolist(), reverse=True):
            slot = self._held[i]
            if self._left[slot] == 0:
                self._held[i] = self._held[-1]
                self._held.pop()
                self._vacant.append(slot)
        return slots

    def _save(self) -> dict[str, Any]:
        return {"held": as_tensor(self._held), "left": as_tensor(self._left[self._held].tolist())}

    def _load(self, state: dict[str, Any]) -> None:
        self._held = state["held"].tolist()
        self._left[:] = 0
        self._left[self._held] = state["left"].tolist()
        self._vacant = self._free()

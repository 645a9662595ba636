"""First in, first out."""

from collections import deque
from typing import Any

import numpy as np

from pdekit.stream.policy import Policy, Slots, as_tensor

__all__ = ["Fifo"]


class Fifo(Policy):
    """Each sample once, in the order of arrival.

    Neighbouring samples share a batch; the baseline that the other policies are measured against.

    Args:
        capacity: number of slots.
        watermark: no batch is drawn while the population is at or below this.
        seed: unused, there is nothing random here.

    Example:
        >>> buffer = Fifo(4)
        >>> slots = buffer.put(3)
        >>> bool((buffer.get(2) == slots[:2]).all()), buffer.population
        (True, 1)

    Source:
        Meyer et al., Training deep surrogate models with large scale online learning, ICML 2023, section 3.
    """

    uses = 1

    def __init__(self, capacity: int, *, watermark: int = 0, seed: int = 0):
        super().__init__(capacity, watermark=watermark, seed=seed)
        self._queue: deque[int] = deque()
        self._vacant = self._free()

    @property
    def population(self) -> int:
        """Number of occupied slots."""
        return len(self._queue)

    @property
    def unseen(self) -> int:
        """Number of occupied slots never drawn yet: all of them."""
        return len(self._queue)

    def occupied(self) -> Slots:
        """The occupied slots, oldest first."""
        return np.array(self._queue, dtype=np.int64)

    def room(self) -> int:
        """How many samples may enter now."""
        return len(self._vacant)

    def _put(self, count: int) -> Slots:
        slots = [self._vacant.pop() for _ in range(count)]
        self._queue.extend(slots)
        return np.array(slots, dtype=np.int64)

    def _get(self, count: int) -> Slots:
        slots = [self._queue.popleft() for _ in range(count)]
        self._vacant.extend(slots)
        return np.array(slots, dtype=np.int64)

    def _save(self) -> dict[str, Any]:
        return {"queue": as_tensor(list(self._queue))}

    def _load(self, state: dict[str, Any]) -> None:
        self._queue = deque(state["queue"].tolist())
        self._vacant = self._free()

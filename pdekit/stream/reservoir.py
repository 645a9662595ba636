"""The reservoir of online training: seen samples make room, unseen ones never do."""

from typing import Any

import numpy as np

from pdekit.stream.policy import Policy, Slots, as_tensor

__all__ = ["Reservoir"]


class Reservoir(Policy):
    """A bounded bag: batches are uniform over what it holds, and a new sample replaces a random *seen* one.

    A sample that was never drawn is never evicted: a bag full of unseen samples accepts nothing until a batch is drawn.
    With r draws per insert, r >= 1, a share 1/r of the bag is unseen in steady state and the uses of a sample are
    geometric on 1, 2, ... with mean r and variance r (r - 1). This is not Vitter's reservoir sampling.

    Args:
        capacity: number of slots.
        watermark: no batch is drawn while the population is at or below this.
        seed: of the draws.

    Example:
        >>> buffer = Reservoir(4, seed=1)
        >>> _ = buffer.put(4)
        >>> buffer.can_put(), len(set(buffer.get(3).tolist())), buffer.room(), buffer.unseen
        (False, 3, 3, 1)

    Source:
        Meyer et al., Training deep surrogate models with large scale online learning, ICML 2023, algorithm 1, with
        batches drawn without replacement.
    """

    def __init__(self, capacity: int, *, watermark: int = 0, seed: int = 0):
        super().__init__(capacity, watermark=watermark, seed=seed)
        self._unseen: list[int] = []
        self._seen: list[int] = []
        self._vacant = self._free()

    @property
    def population(self) -> int:
        """Number of occupied slots."""
        return len(self._unseen) + len(self._seen)

    @property
    def unseen(self) -> int:
        """Number of occupied slots never drawn yet."""
        return len(self._unseen)

    def occupied(self) -> Slots:
        """The occupied slots, unseen ones first."""
        return np.array(self._unseen + self._seen, dtype=np.int64)

    def room(self) -> int:
        """How many samples may enter now: every slot that is vacant or seen."""
        return self.capacity - len(self._unseen)

    def _put(self, count: int) -> Slots:
        fill = min(count, len(self._vacant))
        slots = [self._vacant.pop() for _ in range(fill)]
        if count > fill:
            places = self._generator().choice(len(self._seen), count - fill, replace=False)
            slots += self._remove(self._seen, places)
        self._unseen.extend(slots)
        return np.array(slots, dtype=np.int64)

    def _get(self, count: int) -> Slots:
        places = self._generator().choice(self.population, count, replace=False)
        unseen = len(self._unseen)
        slots = np.array([self._unseen[i] if i < unseen else self._seen[i - unseen] for i in places], dtype=np.int64)
        fresh = self._remove(self._unseen, places[places < unseen])
        if self.over:
            taken = set(slots.tolist())
            self._seen = [slot for slot in self._seen if slot not in taken]
            self._vacant.extend(slots.tolist())
        else:
            self._seen.extend(fresh)
        return slots

    @staticmethod
    def _remove(slots: list[int], places: Slots) -> list[int]:
        """Take the entries at ``places`` out of ``slots``, each hole filled by the last entry."""
        removed = []
        for i in sorted(places.tolist(), reverse=True):
            removed.append(slots[i])
            slots[i] = slots[-1]
            slots.pop()
        return removed

    def _save(self) -> dict[str, Any]:
        return {"unseen": as_tensor(self._unseen), "seen": as_tensor(self._seen)}

    def _load(self, state: dict[str, Any]) -> None:
        self._unseen = state["unseen"].tolist()
        self._seen = state["seen"].tolist()
        self._vacant = self._free()

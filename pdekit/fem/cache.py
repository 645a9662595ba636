"""What a space keeps between calls."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TypeVar

__all__ = ["Cache"]

Item = TypeVar("Item")

_LIMIT = 2**30


class Cache:
    """Things by key, the least recently used of which are dropped once all together are larger than a limit.

    Args:
        limit: bytes; one thing is kept whatever its size.
    """

    def __init__(self, limit: int = _LIMIT):
        self.limit = limit
        self._kept: OrderedDict[Hashable, tuple[object, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable, make: Callable[[], Item], size: Callable[[Item], int]) -> Item:
        """What is kept under a key; made, and kept, if there is nothing."""
        found = self._kept.get(key)
        if found is None:
            made = make()
            found = (made, size(made))
        self._kept[key] = found
        self._kept.move_to_end(key)
        while len(self._kept) > 1 and sum(bytes_ for _, bytes_ in self._kept.values()) > self.limit:
            self._kept.popitem(last=False)
        return found[0]  # pyright: ignore[reportReturnType]

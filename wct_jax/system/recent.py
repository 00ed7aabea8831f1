"""A bounded mapping that keeps the entries used last."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


class Recent(Generic[_K, _V]):
    """Values by key; `trim` drops the least recently used. Threads may share it."""

    def __init__(self, most: int, size: Callable[[_V], int] = lambda _: 1) -> None:
        """Start empty.

        Args:
            most: Bound of the sum of all sizes.
            size: Function from a value to its size, by default 1.
        """
        self._most, self._size = most, size
        self._values: OrderedDict[_K, _V] = OrderedDict()
        self._lock = threading.Lock()
        self.dropped = 0
        """How many values have been dropped so far."""

    def get(self, key: _K) -> _V | None:
        """Return the value of a key, or None, and count it as used now."""
        with self._lock:
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
            return value

    def add(self, key: _K, value: _V) -> _V:
        """Add a value unless the key has one (another thread was faster), drop none, and return the key's value."""
        with self._lock:
            return self._values.setdefault(key, value)

    def trim(self, keep: int = 1) -> None:
        """Drop the least recently used values until the rest fits, but keep the last `keep` whatever their sizes."""
        with self._lock:
            total = sum(map(self._size, self._values.values()))
            while total > self._most and len(self._values) > keep:
                _, value = self._values.popitem(last=False)
                total -= self._size(value)
                self.dropped += 1

    def clear(self) -> None:
        """Drop all values."""
        with self._lock:
            self.dropped += len(self._values)
            self._values.clear()

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __len__(self) -> int:
        return len(self._values)

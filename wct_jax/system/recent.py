"""A mapping that forgets: the entries used last, up to a bound."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


class Recent(Generic[_K, _V]):
    """Values by key, of which `trim` drops the least recently used. It may be used from several threads."""

    def __init__(self, most: int, size: Callable[[_V], int] = lambda _: 1) -> None:
        """Start empty.

        Args:
            most: What the sizes of all values may add up to.
            size: Of a value; by default they are counted.
        """
        self._most, self._size = most, size
        self._values: OrderedDict[_K, _V] = OrderedDict()
        self._lock = threading.Lock()
        self.dropped = 0
        """How many values have been dropped so far."""

    def get(self, key: _K) -> _V | None:
        """The value of a key, which counts as used now, or None."""
        with self._lock:
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
            return value

    def add(self, key: _K, value: _V) -> _V:
        """Add a value without dropping any, unless another thread was faster, and return the one that is there now."""
        with self._lock:
            return self._values.setdefault(key, value)

    def trim(self, keep: int = 1) -> None:
        """Drop the least recently used values until the rest is within the bound.

        Args:
            keep: How many of those used last stay whatever their sizes.
        """
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

"""A place for the newest of many items: whoever is slow misses some, and nobody waits for the slow."""

import threading
from typing import Generic, TypeVar

_Item = TypeVar("_Item")


class Newest(Generic[_Item]):
    """Holds the last item that was put, for any number of threads that take it; older ones are gone.

    >>> newest = Newest()
    >>> for item in "abc":
    ...     newest.put(item)
    >>> newest.after(0)
    (3, 'c')
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._number, self._item = 0, None  # type: tuple[int, _Item | None]
        self._ended, self._error = False, None  # type: tuple[bool, BaseException | None]

    def put(self, item: _Item) -> None:
        """Put an item in place of the one before."""
        with self._changed:
            self._number, self._item = self._number + 1, item
            self._changed.notify_all()

    def end(self, error: BaseException | None = None) -> None:
        """Say that no more items come, because of an error or not."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def after(self, number: int, timeout: float | None = None) -> tuple[int, _Item] | None:
        """Wait for an item that is newer than the one with a number.

        Args:
            number: The number of the last item taken; 0 before the first.
            timeout: Seconds to wait at most.

        Returns:
            The item's number, counted from 1, and the item; or None if there is none in time, or none any more.

        Raises:
            BaseException: The error that the items ended with.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._number > number, timeout)
            if self._number > number:
                return self._number, self._item  # type: ignore[return-value]
            if self._error:
                raise self._error
            return None

    @property
    def ended(self) -> bool:
        """Whether no more items come."""
        with self._changed:
            return self._ended

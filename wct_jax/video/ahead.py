"""Iterators that work ahead in threads of their own."""

import queue
import threading
from collections.abc import Generator, Iterable
from typing import TypeVar

_Item = TypeVar("_Item")
_END = object()


def ahead(items: Iterable[_Item], waiting: int = 4) -> Generator[_Item]:
    """Iterate in another thread, so that the next items are made while one is used.

    Args:
        items: Used in that thread alone. An error there is raised here, after the items before it.
        waiting: Number of items that may wait.
    """
    made: queue.Queue[object] = queue.Queue(waiting)
    stopped = threading.Event()

    def put(item: object) -> None:
        while not stopped.is_set():
            try:
                made.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def work() -> None:
        iterator = iter(items)
        try:
            for item in iterator:
                put(item)
                if stopped.is_set():
                    break
            put(_END)
        except BaseException as error:  # Raised again where it is waited for.
            put(_Failure(error))
        finally:
            if isinstance(iterator, Generator):
                iterator.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while (item := made.get()) is not _END:
            if isinstance(item, _Failure):
                raise item.error
            yield item  # type: ignore[misc]
    finally:
        stopped.set()
        thread.join()


class _Failure:
    def __init__(self, error: BaseException) -> None:
        self.error = error

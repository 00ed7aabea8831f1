"""Which photos end the processes that work on them: decoders crash, and systems kill what takes too much memory."""

from collections import Counter
from typing import Any, Protocol

# A file is given up when that many processes have ended while they worked on it alone. One may end for other reasons.
MOST = 2


class Attempts:
    """Counts the attempts of all workers. Ray runs one of these in a process of its own."""

    def __init__(self) -> None:
        self._blocks: Counter[int] = Counter()
        self._rows: Counter[int] = Counter()

    def begin_block(self, block: int) -> int:
        """Note that a worker begins a block; return how many have begun it before."""
        self._blocks[block] += 1
        return self._blocks[block] - 1

    def begin_row(self, row: int) -> int:
        """Note that a worker begins a row of a block that was begun before; return how many ended while they did."""
        self._rows[row] += 1
        return self._rows[row] - 1

    def end_row(self, row: int) -> None:
        """Note that a worker got over a row."""
        del self._rows[row]


class Counting(Protocol):
    """Calls of an `Attempts`, wherever it runs."""

    def __call__(self, method: str, number: int) -> Any:
        """Call a method and wait for what it returns."""


class Remote:
    """Calls of an `Attempts` that Ray runs."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def __call__(self, method: str, number: int) -> Any:
        """Call a method and wait for what it returns."""
        import ray

        return ray.get(getattr(self._actor, method).remote(number))

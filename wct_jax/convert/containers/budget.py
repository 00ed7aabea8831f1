"""Limits on the memory and the objects that one foreign file may ask for."""

import os

from wct_jax.convert.checkpoint import CheckpointError

# VGG-19's convolutions take 160 MB in double precision; with the dense layers, which some formats do not separate,
# they take 575 MB in files of 510 MB.
_PLENTY = 512 << 20
# Weights hardly compress. Only files made to fill the memory unpack to more than this.
_RATIO = 16
# The largest real files, with an optimizer's state or the names of a thousand classes, hold some ten thousand.
_MOST_OBJECTS = 200_000


class Budget:
    """The memory and time that reading one file may still take, spent before anything is decoded."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        size = os.stat(path).st_size
        self._bytes = min(_RATIO * size, max(_PLENTY, 2 * size))
        self._objects = _MOST_OBJECTS

    def spend(self, count: int, name: str) -> None:
        """Spend `count` bytes on decoding `name`, or raise `CheckpointError` if the file cannot hold that many."""
        self._bytes -= count
        if count < 0 or self._bytes < 0:
            raise CheckpointError(f"it is damaged: {name[:60]} announces more values than the file can hold")

    def meet(self, count: int = 1) -> None:
        """Spend `count` objects, or raise `CheckpointError` if that is more than any network has."""
        self._objects -= count
        if self._objects < 0:
            raise CheckpointError(f"it holds more than {_MOST_OBJECTS} objects, expected a network's few hundred")

"""How much of memory, and how many objects, one foreign file may ask for."""

import os

from wct_jax.convert.checkpoint import CheckpointError

# All of VGG-19's convolutions take 160 MB in double precision; with its dense layers, which some formats hold in one
# piece with them, it takes 575 MB in files of 510 MB.
_PLENTY = 512 << 20
# Weights hardly can be compressed. Only what was made to fill the memory unpacks to more than this.
_RATIO = 16
# The largest real files, with an optimizer's state or the names of a thousand classes, have some ten thousand.
_MOST_OBJECTS = 200_000


class Budget:
    """What is left of the memory and time that one file may take, spent before anything is decoded.

    Args:
        path: The file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        size = os.stat(path).st_size
        self._bytes = min(_RATIO * size, max(_PLENTY, 2 * size))
        self._objects = _MOST_OBJECTS

    def spend(self, count: int, name: str) -> None:
        """Take the bytes of an array that is about to be decoded.

        Args:
            count: How many it announces.
            name: What does, worded for the message.

        Raises:
            CheckpointError: The file announces more than it can hold.
        """
        self._bytes -= count
        if count < 0 or self._bytes < 0:
            raise CheckpointError(f"it is damaged: {name[:60]} announces more values than the file can hold")

    def meet(self, count: int = 1) -> None:
        """Take objects that are about to be looked at.

        Raises:
            CheckpointError: There are more of them than any network has.
        """
        self._objects -= count
        if self._objects < 0:
            raise CheckpointError(f"it holds more than {_MOST_OBJECTS} objects, expected a network's few hundred")

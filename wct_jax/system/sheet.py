"""Arrays too large for memory."""

import math
import os
import tempfile
import weakref
from pathlib import Path
from typing import Any

import numpy as np

# Arrays of at most so many bytes stay in memory.
_SMALL = 2**26


class Sheet:
    """A float32 array in an unnamed file, with one window at a time in memory."""

    def __init__(self, shape: tuple[int, ...], folder: str | os.PathLike[str] | None) -> None:
        self._shape, size = shape, 4 * math.prod(shape)
        place = Path(folder or tempfile.gettempdir())
        try:
            self._file = tempfile.TemporaryFile(dir=place)  # noqa: SIM115 - as long as this lives
            weakref.finalize(self, self._file.close)
            # Now, because a full disk would kill the process when a mapped page has to be written.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(self._file.fileno(), 0, size)
            else:
                self._file.truncate(size)
        except OSError as error:
            raise ValueError(
                f"cannot keep {size / 1e9:.1f} GB of an unfinished image in {place}: {error.strerror}"
            ) from error

    def mapped(self) -> np.ndarray:
        """The whole array, whose pages are read from the file on access."""
        return np.memmap(self._file, np.float32, "r+", shape=self._shape)

    def __getitem__(self, window: Any) -> np.ndarray:
        # Mapped anew each time, because mapped pages count as memory of the process.
        return np.array(self.mapped()[window])

    def __setitem__(self, window: Any, values: np.ndarray) -> None:
        self.mapped()[window] = values


def sheet(shape: tuple[int, ...], folder: str | os.PathLike[str] | None) -> "np.ndarray | Sheet":
    """Make an uninitialised float32 array: in memory if it is small, otherwise in an unnamed file in a folder.

    Raises:
        ValueError: `folder`, or the system's folder for temporary files if None, has no space for it.
    """
    return np.empty(shape, np.float32) if 4 * math.prod(shape) <= _SMALL else Sheet(shape, folder)

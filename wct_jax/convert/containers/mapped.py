"""A file's bytes, left on disk until they are read."""

import mmap
from pathlib import Path


def map_file(path: Path) -> mmap.mmap:
    """Map a non-empty file, so that parts nobody reads, such as dense layers, take no memory.

    The map lives as long as the arrays that view it.
    """
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

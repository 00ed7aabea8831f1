"""A file's bytes, left on the disk until they are looked at."""

import mmap
from pathlib import Path


def map_file(path: Path) -> mmap.mmap:
    """Map a file, so that what nobody looks at, such as dense layers, takes no memory.

    Args:
        path: A file that is not empty.

    Returns:
        Its bytes, to be read as of a file or viewed; there for as long as arrays of them are in use.
    """
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

"""Zip archives, without trusting what they say of themselves."""

import contextlib
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from wct_jax.convert.checkpoint import CheckpointError

# Of the list of its files: some ten thousand of them.
_LARGEST_DIRECTORY = 1 << 20
# A comment of 64 KB, the end of the list of files, and what Zip64 has before it, are all at the end.
_TAIL = (1 << 16) + 22 + 20 + 56
# The records at the end, of zip and of Zip64, and the list's length in them.
_END = re.compile(rb"(?s)(?=PK\x05\x06.{8}(.{4})|PK\x06\x06.{36}(.{8}))")
_IN_ZIP64 = 0xFFFFFFFF


@contextlib.contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive whose list of files is not too long to be read.

    Args:
        path: The file.

    Yields:
        The archive.

    Raises:
        CheckpointError: It has too many files. Damaged archives raise other errors too.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - _TAIL, 0))
        tail = file.read()
    # zipfile makes an object of each file at once. It goes by one of these records: all of them must be small.
    for match in _END.finditer(tail):
        length = int.from_bytes(match[1] or match[2], "little")
        if length > _LARGEST_DIRECTORY and (match[2] or length != _IN_ZIP64):
            raise CheckpointError(f"its list of files has {length} bytes, expected at most {_LARGEST_DIRECTORY}")
    with zipfile.ZipFile(path) as archive:
        yield archive


def read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Read one file of an archive, no more of it than was announced.

    Args:
        archive: The archive.
        entry: Which; the caller has found its `file_size` to be reasonable.

    Raises:
        CheckpointError: It is packed in a way that can unpack to anything. Damaged ones raise other errors too.
    """
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise CheckpointError(
            f"{entry.filename[:60]} is packed by method {entry.compress_type}, expected it stored or deflated"
        )
    with archive.open(entry) as file:
        # With a number of bytes: asked for all, zipfile unpacks whatever comes before it compares.
        content = file.read(entry.file_size)
    if len(content) != entry.file_size:
        raise CheckpointError(f"it is cut short or damaged: {entry.filename[:60]} is shorter than announced")
    return content

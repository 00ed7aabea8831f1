"""Zip archives, read without trusting the sizes that they state."""

import contextlib
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from wct_jax.convert.checkpoint import CheckpointError

# Bytes of an archive's list of files: room for some ten thousand of them.
_LARGEST_DIRECTORY = 1 << 20
# The end of an archive: Zip64's records, the end of the list of files, a comment of up to 64 KB.
_TAIL = (1 << 16) + 22 + 20 + 56
# Matches the end records of zip and Zip64, and captures the length of the list of files.
_END = re.compile(rb"(?s)(?=PK\x05\x06.{8}(.{4})|PK\x06\x06.{36}(.{8}))")
_IN_ZIP64 = 0xFFFFFFFF


@contextlib.contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive, or raise `CheckpointError` if its list of files is too long; damage raises other errors."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - _TAIL, 0))
        tail = file.read()
    # zipfile makes an object per file at once, and goes by one of these records, so all of them must be small.
    for match in _END.finditer(tail):
        length = int.from_bytes(match[1] or match[2], "little")
        if length > _LARGEST_DIRECTORY and (match[2] or length != _IN_ZIP64):
            raise CheckpointError(f"its list of files has {length} bytes, expected at most {_LARGEST_DIRECTORY}")
    with zipfile.ZipFile(path) as archive:
        yield archive


def read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Read one file of an archive, and no more than the `file_size` that the caller has checked.

    Raises:
        CheckpointError: The file is packed without a bound, or shorter than announced; damage raises other errors.
    """
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise CheckpointError(
            f"{entry.filename[:60]} is packed by method {entry.compress_type}, expected it stored or deflated"
        )
    with archive.open(entry) as file:
        # Ask for a number of bytes: asked for all, zipfile unpacks everything before it compares.
        content = file.read(entry.file_size)
    if len(content) != entry.file_size:
        raise CheckpointError(f"it is cut short or damaged: {entry.filename[:60]} is shorter than announced")
    return content

"""Writing a file whole or not at all."""

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

_unfinished: set[Path] = set()


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a scratch path that becomes `path` if the block ends without an error.

    The scratch file has the same suffix and is in the same directory, so that the last step is a rename: readers see
    the old file or the new one, never half of one. If the block raises, `path` stays as it was.

    Args:
        path: Path to write. An existing regular file is replaced.

    Yields:
        The scratch path to write to.

    Raises:
        ValueError: The directory does not exist, `path` is not a regular file, or the system refuses to write.
    """
    target = check_target(path)
    scratch = target.with_name(f".{secrets.token_hex(6)}{target.suffix}")
    _unfinished.add(scratch)
    try:
        yield scratch
        # Without this, a power cut after the rename could leave an empty file under the final name.
        with open(scratch, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(scratch, target)
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            scratch.unlink()
        _unfinished.discard(scratch)


def discard_unfinished() -> None:
    """Remove the scratch files of writes in progress, before the process ends without leaving their blocks."""
    for scratch in tuple(_unfinished):
        with contextlib.suppress(OSError):
            scratch.unlink()


def discard_leftovers(folder: str | os.PathLike[str]) -> None:
    """Remove the scratch files that killed processes left in a folder and below. Nobody else may be writing there."""
    for path in Path(folder).rglob(".*"):
        if re.fullmatch(r"\.[0-9a-f]{12}(\.\w+)?", path.name):
            with contextlib.suppress(OSError):
                path.unlink()


def check_target(path: str | os.PathLike[str]) -> Path:
    """Check that a file can be written at a path, and return the path with its links resolved.

    Raises:
        ValueError: The directory does not exist, or `path` is a directory or a device.
    """
    target = os.path.realpath(path)
    directory = os.path.dirname(target)
    if not os.path.isdir(directory):
        raise ValueError(f"cannot write {path}: the directory {directory} does not exist")
    if os.path.exists(target) and not os.path.isfile(target):
        raise ValueError(f"cannot write {path}: it is not a regular file")
    return Path(target)

"""Opening a source: a regular file, a stream that the process was given, or an open file."""

import contextlib
import errno
import io
import os
import re
import stat
from collections.abc import Iterator
from typing import BinaryIO

PathLike = str | os.PathLike[str]

# Streams are held in memory as a whole.
_LONGEST_STREAM = 2**30
_CHUNK = 2**20


def source_name(source: PathLike | BinaryIO) -> str:
    """Return the name of a file in messages: its path, or the name of an open file."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    name = getattr(source, "name", None)
    standard = {"<stdin>": "standard input", "<stdout>": "standard output"}
    return standard.get(name, name) if isinstance(name, str) and name else "the stream"


@contextlib.contextmanager
def open_source(source: PathLike | BinaryIO, most: int | None = None) -> Iterator[BinaryIO]:
    """Open a source as a seekable binary file.

    A pipe is read to its end if the process was given it: as an open file, or as `/dev/stdin` or `/dev/fd/N`, which
    a shell substitutes for `<(command)`. A pipe that merely has a name in a folder may never have a writer, and is
    refused, as devices and sockets are.

    Args:
        source: A path, or an open binary file, which is read from its start if it can seek, and stays open.
        most: The most bytes of a stream to hold in memory; None for 1 GiB, which no encoded picture reaches.

    Yields:
        A binary file, at its start.

    Raises:
        ValueError: The source is not a regular file, or is a terminal, a text stream or too long a stream.
        OSError: The system cannot open or read it.
    """
    if not isinstance(source, str | os.PathLike):
        if not getattr(source, "seekable", bool)():
            yield _whole(source, most)
            return
        source.seek(0)
        if isinstance(source.read(0), str):
            raise ValueError(f"cannot read {source_name(source)}: expected a binary file, got one of text")
        yield source
        return
    descriptor = _own_descriptor(source)
    if descriptor is None or stat.S_ISREG(os.fstat(descriptor).st_mode):
        with open_regular(source) as file:
            yield file
    elif os.isatty(descriptor):
        raise ValueError(f"cannot read {os.fspath(source)}: expected a pipe or a file, got a terminal")
    else:
        with open(descriptor, "rb", closefd=False, buffering=0) as stream:
            yield _whole(stream, most)


def open_regular(path: PathLike) -> BinaryIO:
    """Open a regular file for reading without ever blocking, as on a pipe that has no writer.

    Raises:
        ValueError: The path is a pipe, a device or a socket.
        OSError: The system cannot open it, or it is a directory.
    """
    # Check before opening, which alone makes some devices act, and after, when the path may name another file.
    _check_regular(path, os.stat(path).st_mode)
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
    descriptor = os.open(path, flags)
    try:
        _check_regular(path, os.fstat(descriptor).st_mode)
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _check_regular(path: PathLike, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        kind = "pipe" if stat.S_ISFIFO(mode) else "socket" if stat.S_ISSOCK(mode) else "device"
        raise ValueError(f"cannot read {os.fspath(path)}: expected a regular file, got a {kind}")


def _own_descriptor(path: PathLike) -> int | None:
    """Return the descriptor that a path such as `/dev/fd/3` names in this process, or None."""
    absolute = os.path.abspath(os.fspath(path))
    if absolute == "/dev/stdin":
        return 0
    match = re.fullmatch(rf"/(?:dev|proc/self|proc/{os.getpid()})/fd/([0-9]{{1,9}})", absolute)
    return int(match[1]) if match else None


def _whole(stream: BinaryIO, most: int | None) -> io.BytesIO:
    file, longest = io.BytesIO(), min(_LONGEST_STREAM, most or _LONGEST_STREAM)
    while chunk := stream.read(_CHUNK):
        if not isinstance(chunk, bytes):
            raise ValueError(f"cannot read {source_name(stream)}: expected a binary file, got one of text")
        if file.tell() + len(chunk) > longest:
            raise ValueError(f"cannot read {source_name(stream)}: it goes on after {longest} bytes, the most we hold")
        file.write(chunk)
    file.seek(0)
    return file

"""Sources of pictures: paths, open files, streams and arrays."""

import contextlib
import io
import os
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from wct_jax.pictures.picture import Picture
from wct_jax.pictures.source import open_source, source_name

Source = str | os.PathLike[str] | BinaryIO | np.ndarray | Picture
"""A path, an open binary file, `[H, W, 3]` in 0..1, or what `read_picture` returned; a mask can be `[H, W]`, too."""


def is_file(source: object) -> bool:
    """Whether a source is a path or an open file, rather than in memory."""
    return isinstance(source, str | os.PathLike) or hasattr(source, "read")


def is_stream(source: object) -> bool:
    """Whether a source can be read only once: a pipe, `/dev/stdin`, or the path a shell puts for `<(command)`."""
    if isinstance(source, str | os.PathLike):
        return re.match(r"/dev/(stdin$|fd/)|/proc/self/fd/", os.path.abspath(source)) is not None
    return hasattr(source, "read") and not getattr(source, "seekable", bool)()


def name_of(source: Any, kind: str = "picture") -> str:
    """The name of a source in messages: its file's, or its kind."""
    return source_name(source) if is_file(source) else kind


class Held(io.BytesIO):
    """The content of a file, under its name."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name


def held(source: Any) -> Any:
    """Read a stream to its end, so that it can be read again; return any other source as it is.

    Raises:
        ValueError: The stream cannot be read.
    """
    if not is_stream(source):
        return source
    with opened(source) as file:
        return Held(file.read(), source_name(source))


@contextlib.contextmanager
def opened(source: Any) -> Iterator[BinaryIO]:
    """Open a file as `open_source` does.

    Raises:
        ValueError: The file cannot be opened or read.
    """
    try:
        with open_source(source) as file:
            yield file
    except OSError as error:
        raise ValueError(f"cannot read {source_name(source)}: {error.strerror or error}") from None

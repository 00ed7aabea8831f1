"""`-` in the place of a file: standard input, or standard output."""

import argparse
import io
import os
import re
import sys
from pathlib import Path
from typing import BinaryIO

from wct_jax.pictures.source import open_source, source_name

STANDARD = Path("-")


def is_stream(path: Path) -> bool:
    """Whether a path stands for a file that this process was started with: `-`, `/dev/stdin`, or `<(command)`."""
    return path == STANDARD or re.match(r"/dev/(stdin$|fd/)|/proc/self/fd/", os.path.abspath(path)) is not None


def check_streams(arguments: argparse.Namespace) -> None:
    """Refuse what cannot be asked of standard input and output.

    Args:
        arguments: Of the command line.

    Raises:
        ValueError: A stream is to be read twice, is a terminal, or leaves open what the result is to be called.
    """
    a = arguments
    groups = (a.content, a.style, a.mask, a.style_mask, [a.alpha_map])
    read = [path for group in groups for path in group or () if path and is_stream(path)]
    if sum(path == STANDARD or os.path.abspath(path) == "/dev/stdin" for path in read) > 1:
        raise ValueError("standard input can be read once: expected - for one file, got it for several")
    if STANDARD in read and (sys.stdin is None or sys.stdin.isatty()):
        raise ValueError("- reads a picture from standard input: expected a pipe or a file there, got a terminal")
    photos = [path for path in a.content or () if is_stream(path)]
    if photos and not a.output:
        raise ValueError(f"a photo from {photos[0]} has no name that the result could have: expected --output FILE")
    if read and a.sheet:
        raise ValueError(f"--sheet reads pictures again, and {read[0]} can be read once")
    if STANDARD in (a.sheet, a.save_style):
        raise ValueError("only --output can be -, standard output: expected a file")
    if a.output == STANDARD and sys.stdout.isatty():
        raise ValueError("--output - writes a PNG to standard output: expected a pipe or a file there, got a terminal")


class _Held(io.BytesIO):
    """What a stream had, under its name."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name


def hold(path: Path) -> BinaryIO:
    """Read a stream to its end, so that it can be read again and again.

    Args:
        path: A path that stands for one.

    Raises:
        ValueError: It cannot be read.
    """
    source = sys.stdin.buffer if path == STANDARD else path
    try:
        with open_source(source) as file:
            return _Held(file.read(), source_name(source))
    except OSError as error:
        raise ValueError(f"cannot read {source_name(source)}: {error.strerror or error}") from None

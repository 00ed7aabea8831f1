"""`-` in place of a file: standard input or standard output."""

import argparse
import os
import sys
from pathlib import Path
from typing import BinaryIO

from wct_jax.studio import sources

STANDARD = Path("-")


def is_stream(path: Path) -> bool:
    """Whether a path stands for a file that this process was started with: `-`, `/dev/stdin`, or `<(command)`."""
    return path == STANDARD or sources.is_stream(path)


def check_streams(arguments: argparse.Namespace) -> None:
    """Refuse what standard input and output cannot do.

    Raises:
        ValueError: A stream would be read twice, is a terminal, or does not give the result a name.
    """
    a = arguments
    structure = a.structure if isinstance(a.structure, list) else ()
    groups = (a.content, a.style, a.mask, a.style_mask, structure, [a.alpha_map, a.strength])
    read = [path for group in groups for path in group or () if isinstance(path, Path) and is_stream(path)]
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


def hold(path: Path) -> BinaryIO:
    """Read what a stream holds, so that several results can be made of it.

    Raises:
        ValueError: It cannot be read.
    """
    return sources.held(sys.stdin.buffer if path == STANDARD else path)

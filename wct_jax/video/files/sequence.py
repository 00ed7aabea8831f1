"""A film made of pictures in files of their own."""

import functools
import glob
import os
import re
from collections.abc import Generator
from fractions import Fraction

import numpy as np

from wct_jax.checks.arguments import as_number
from wct_jax.pictures.images import PICTURE_SUFFIXES, read_picture
from wct_jax.video.files.form import sequence_pattern
from wct_jax.video.files.frames import Film, Shown

_NUMBER = r"%(?:0\d+)?d"


def is_sequence(path: str) -> bool:
    """Whether a path stands for several pictures: a folder, or a pattern that is no file's name."""
    return os.path.isdir(path) or (not os.path.exists(path) and bool(glob.has_magic(path) or re.search(_NUMBER, path)))


def check_apart(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Refuse to write a film over one that is read, whatever names and links lead to it.

    Raises:
        ValueError: They have a file in common.
    """
    pattern = sequence_pattern(target)
    read = picture_files(os.fspath(source)) if is_sequence(os.fspath(source)) else [source]
    written = [target] if pattern is None else picture_files(pattern)
    if set(map(_place, read)) & set(map(_place, written)):
        raise ValueError(f"cannot write {target}: it is {source}, which is read, expected a file of its own")


class PictureSequence(Film):
    """Pictures of one size, shown one after another at a constant rate."""

    def __init__(self, path: str, fps: float | Fraction | None, start: Fraction | None, end: Fraction | None) -> None:
        super().__init__(path, start, end)
        if fps is None:
            raise ValueError(f"fps must be given for a sequence of pictures, such as fps=25 for {path}")
        if not as_number("fps", float(fps)) > 0:
            raise ValueError(f"fps must be above 0, got {float(fps):g}")
        self.frame_rate = Fraction(fps).limit_denominator(1001)
        self.time_base = 1 / self.frame_rate
        self.files = picture_files(path)
        if not self.files:
            raise ValueError(f"expected pictures at {path}, got none")
        first = read_picture(self.files[0])
        self.height, self.width = first.pixels.shape[:2]
        self.has_alpha = first.alpha is not None
        self._count = len(self.files)
        self.duration = float(self._count / self.frame_rate)

    def _shown(self) -> Generator[Shown]:
        for number, file in enumerate(self.files):
            yield Shown(number * self.time_base, self.time_base, functools.partial(self._load, file))

    def _load(self, file: str) -> tuple[np.ndarray, np.ndarray | None]:
        picture = read_picture(file)
        height, width = picture.pixels.shape[:2]
        if (width, height) != (self.width, self.height):
            raise ValueError(
                f"expected pictures of one size, {self.width} x {self.height}, got {file} of {width} x {height}"
            )
        if not self.has_alpha:
            return picture.pixels, None
        return picture.pixels, np.ones((height, width), np.float32) if picture.alpha is None else picture.alpha


def picture_files(path: str) -> list[str]:
    """List the pictures of a folder or pattern, by the numbers in their names."""
    if os.path.isdir(path):
        found = [os.path.join(path, name) for name in os.listdir(path) if name.lower().endswith(PICTURE_SUFFIXES)]
    elif glob.has_magic(path):
        found = glob.glob(path)
    else:
        folder, name = os.path.split(path)
        before, after = re.split(_NUMBER, name, maxsplit=1)
        shape = re.compile(re.escape(before) + r"\d+" + re.escape(after))
        names = os.listdir(folder or ".") if os.path.isdir(folder or ".") else []
        found = [os.path.join(folder, each) for each in names if shape.fullmatch(each)]
    return sorted(found, key=lambda file: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", file)])


def _place(path: str | os.PathLike[str]) -> object:
    try:
        there = os.stat(path)
    except OSError:
        return os.path.realpath(path)
    return there.st_dev, there.st_ino

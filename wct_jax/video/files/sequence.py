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
from wct_jax.video.files.frames import Film, Shown

_NUMBER = r"%(?:0\d+)?d"


def is_sequence(path: str) -> bool:
    """Whether a path stands for several pictures: a folder, or a pattern that is no file's name."""
    return os.path.isdir(path) or (not os.path.exists(path) and bool(glob.has_magic(path) or re.search(_NUMBER, path)))


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
        self._files = _files(path)
        if not self._files:
            raise ValueError(f"expected pictures at {path}, got none")
        first = read_picture(self._files[0])
        self.height, self.width = first.pixels.shape[:2]
        self.has_alpha = first.alpha is not None
        self._count = len(self._files)
        self.duration = float(self._count / self.frame_rate)

    def _shown(self) -> Generator[Shown]:
        for number, file in enumerate(self._files):
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


def _files(path: str) -> list[str]:
    """List the pictures of a folder or pattern, by the numbers in their names."""
    if os.path.isdir(path):
        found = [os.path.join(path, name) for name in os.listdir(path) if name.lower().endswith(PICTURE_SUFFIXES)]
    elif glob.has_magic(path):
        found = glob.glob(path)
    else:
        folder, name = os.path.split(path)
        before, after = re.split(_NUMBER, name, maxsplit=1)
        shape = re.compile(re.escape(before) + r"\d+" + re.escape(after))
        found = [os.path.join(folder, each) for each in os.listdir(folder or ".") if shape.fullmatch(each)]
    return sorted(found, key=lambda file: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", file)])

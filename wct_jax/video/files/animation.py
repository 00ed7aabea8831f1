"""Animated pictures: GIF, WebP, PNG and AVIF."""

import contextlib
import functools
import re
import warnings
from collections.abc import Generator, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from wct_jax.pictures.decoding import open_image
from wct_jax.pictures.pixels import to_srgb
from wct_jax.video.files.frames import Film, Shown

_PICTURES = re.compile(rb"GIF8|RIFF....WEBP|\x89PNG|....ftyp(avi[fs]|hei[cmsx]|mif1)|\xff\xd8\xff", re.DOTALL)
# As browsers do: who asks for less than 11 ms did not mean it.
_SHORTEST, _USUAL = 11, 100


def is_picture(path: str) -> bool:
    """Whether a file begins like a picture that may be animated, or that FFmpeg would take for a film."""
    try:
        with open(path, "rb") as file:
            return bool(_PICTURES.match(file.read(16)))
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None


class Animation(Film):
    """The frames of an animated picture, which Pillow puts together; its times are in milliseconds."""

    time_base = Fraction(1, 1000)

    def __init__(self, path: str, number: int | None, start: Fraction | None, end: Fraction | None) -> None:
        super().__init__(path, start, end)
        if number is not None:
            raise ValueError(f"stream is for films of several streams, and {path} is an animated picture")
        with _image(path) as image:
            self._count = getattr(image, "n_frames", 1)
            if self._count < 2 or image.format == "MPO":
                raise ValueError(f"expected a film, got a picture, {path}")
            self.width, self.height = image.size
            times = []
            for index in range(self._count):
                image.seek(index)
                image.load()
                times.append(_milliseconds(image))
                # Animated WebP files have an alpha whether they need one or not.
                self.has_alpha = self.has_alpha or image.convert("RGBA").getextrema()[3][0] < 255
        self.duration = sum(times) / 1000
        self.frame_rate = Fraction(1000 * self._count, sum(times)).limit_denominator(1001)

    def _shown(self) -> Generator[Shown]:
        time = Fraction(0)
        with _image(self.path) as image:
            for index in range(self._count or 0):
                try:
                    image.seek(index)
                    image.load()
                except (OSError, SyntaxError, EOFError):
                    raise ValueError(
                        f"{self.path} breaks off at {float(time):.2f} s: the file is damaged or cut short"
                    ) from None
                duration = _milliseconds(image) * self.time_base
                # Pillow holds one frame only, and this one is asked for after the next has been found.
                yield Shown(time, duration, functools.partial(_values, *self._load(image)))
                time += duration

    def _load(self, image: Any) -> tuple[np.ndarray, np.ndarray | None]:
        pixels, alpha = to_srgb(image)
        if not self.has_alpha:
            return pixels, None
        return pixels, np.ones(pixels.shape[:2], np.float32) if alpha is None else alpha


@contextlib.contextmanager
def _image(path: str) -> Iterator[Any]:
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")
            yield open_image(file, path)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}") from None


def _milliseconds(image: Any) -> int:
    stated = round(image.info.get("duration", 0) or 0)
    return stated if stated >= _SHORTEST else _USUAL


def _values(pixels: np.ndarray, alpha: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    return pixels, alpha

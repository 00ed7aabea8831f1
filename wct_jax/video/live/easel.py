"""The painting of a live picture: at a size that holds the rate, in one of several styles."""

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction

import numpy as np

from wct_jax.pictures.pixels import resized
from wct_jax.studio.frames import FramePainter
from wct_jax.video.brush import Brush, Steadiness
from wct_jax.video.cuts import Cuts
from wct_jax.video.files.frames import Frame
from wct_jax.video.flow import opencv
from wct_jax.video.live.pace import Pace
from wct_jax.video.survey import Shot
from wct_jax.video.turns import Turns


class Easel:
    """Paints frame after frame by a moving average of their statistics, and changes size and style in between.

    A size that has not been painted yet is compiled in another thread, while frames go on at the size before.

    Attributes:
        pace: The size.
        follow: Whether the painting follows the motion in the picture.
    """

    def __init__(
        self, painters: Sequence[FramePainter], source: tuple[int, int], pace: Pace, seconds: float, follow: bool | None
    ) -> None:
        """Set up; `measure` comes before the first frame.

        Args:
            painters: One for each style.
            source: Width and height of the picture.
            pace: Where to begin.
            seconds: Time constant of the moving average.
            follow: Whether the painting follows the motion in the picture; None to do so if it leaves the rate and the
                size as they are.
        """
        self._source, self._seconds, self._turns = source, seconds, [Turns([each], [Fraction(0)]) for each in painters]
        self.pace, self.follow, self._undecided = pace, bool(follow), follow is None
        self._known: set[int] = set()
        self._brushes: list[Brush] = []
        self._cuts, self._before, self._time = Cuts(), (0, 0), Fraction(0)
        self._ahead: tuple[Pace, Future[float]] | None = None
        self._other = ThreadPoolExecutor(1)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of what is painted next."""
        return self._size(self.pace.size)

    def measure(self) -> None:
        """Compile, measure how long painting takes, and choose the size and whether to follow motion."""
        while True:
            fitting = self.pace.fitting(self._timed(self.pace.size))
            if fitting in self._known:
                break
            self.pace = self.pace.at(fitting)
        self.pace = self.pace.at(min(fitting, self.pace.size))
        if self._undecided:
            self.follow = True
            self.follow = self.pace.fits(self._timed(self.pace.size))
        self._brushes = [self._brush(number) for number in range(len(self._turns))]

    def paint(self, pixels: np.ndarray, when: Fraction, style: int) -> np.ndarray:
        """Paint a frame.

        Args:
            pixels: sRGB colours `[H, W, 3]`, float32 in 0..1 or uint8.
            when: Its time in seconds.
            style: The number of the style, from 0.

        Returns:
            uint8 `[h, w, 3]`, of `size`.
        """
        if self._before != (self.pace.size, style):
            self._before, self._cuts = (self.pace.size, style), Cuts()
        frame = Frame(_scaled(pixels, self.size), when, max(when - self._time, Fraction(0)))
        self._time, brush = when, self._brushes[style]
        if self._cuts.is_cut(frame.pixels):  # The first frame is one, too.
            brush.begin()
        painted = brush.steady(frame, brush.paint(frame, Shot(0, ())))
        return np.rint(painted * 255).clip(0, 255).astype(np.uint8)

    def took(self, seconds: float) -> None:
        """Take in what the last frame took, with all that was done to it, and choose the size of the next."""
        if self._ahead is None:
            wanted = self.pace.after(seconds)
            if wanted.size in self._known:
                self.pace = wanted
            else:
                self._ahead = wanted, self._other.submit(self._timed, wanted.size)
        elif self._ahead[1].done():  # Until then, compiling takes time from painting.
            (wanted, compiled), self._ahead = self._ahead, None
            if compiled.exception():  # Such as a lack of memory.
                wanted = replace(self.pace, sizes=[each for each in self.pace.sizes if each != wanted.size])
            self.pace = wanted

    def close(self) -> None:
        """Stop compiling."""
        self._other.shutdown(wait=False, cancel_futures=True)

    def _timed(self, size: int) -> float:
        """Compile for a size, and measure how many seconds a frame takes."""
        brush, took = self._brush(0), []
        noise = np.random.default_rng(0).random((4, *self._size(size)[::-1], 3), np.float32)
        brush.begin()
        for number, pixels in enumerate(noise):
            began = time.perf_counter()
            frame = Frame(pixels, Fraction(number), Fraction(1, 24))
            brush.steady(frame, brush.paint(frame, Shot(0, ())))
            took.append(time.perf_counter() - began)
        self._known.add(size)
        return min(took[2:])  # The first is painted by its own statistics, the second compiles the moving average.

    def _size(self, short: int) -> tuple[int, int]:
        return resized(self._source, short)

    def _brush(self, number: int) -> Brush:
        return Brush(self._turns[number], Steadiness(self._seconds, self.follow))


def _scaled(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    cv2 = opencv()
    if size != pixels.shape[1::-1]:
        how = cv2.INTER_AREA if size[0] < pixels.shape[1] else cv2.INTER_LINEAR
        pixels = cv2.resize(pixels, size, interpolation=how)
    return pixels if pixels.dtype == np.float32 else np.multiply(pixels, 1 / 255, dtype=np.float32)

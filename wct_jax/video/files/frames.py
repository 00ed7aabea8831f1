"""A film as what all kinds have in common: frames with exact times, one after another, in constant memory."""

import abc
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np

_Item = TypeVar("_Item")


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame of a film.

    Attributes:
        pixels: sRGB colours, float32 `[H, W, 3]` in 0..1, upright.
        time: When the frame appears, in seconds, exactly as the file says.
        duration: How long it is shown, in seconds.
        alpha: Opacity, float32 `[H, W]` in 0..1, or None for an opaque film.
        masks: Where each style of a look goes, float32 `[H, W]` in 0..1 each, or None for those of the look.
    """

    pixels: np.ndarray
    time: Fraction
    duration: Fraction
    alpha: np.ndarray | None = None
    masks: Sequence[np.ndarray] | None = None


class Shown(NamedTuple):
    """A frame whose pixels have not been converted yet.

    Attributes:
        time: When it appears.
        duration: How long it is shown, if known.
        load: Converts it to pixels and alpha.
        small: Converts a small copy of the pixels, if that is faster.
    """

    time: Fraction
    duration: Fraction | None
    load: Callable[[], tuple[np.ndarray, np.ndarray | None]]
    small: Callable[[], np.ndarray] | None = None


class Glance(NamedTuple):
    """What can be seen of a frame without converting all of it.

    Attributes:
        time: When it appears, in seconds.
        small: The colours of a small copy, float32 `[h, w, 3]` in 0..1, or of the frame.
        load: Converts the frame to `[H, W, 3]`.
    """

    time: Fraction
    small: np.ndarray
    load: Callable[[], np.ndarray]


class Film(abc.ABC):
    """A film to iterate over, as often as wanted; every pass opens the file anew. Made by `open_film`.

    Attributes:
        path: The path it was opened with.
        files: The files that hold it.
        start: Frames earlier than this time in seconds are left out; None for none.
        end: Frames at this time or later are left out; None for none.
        width: Width of the upright frames in pixels.
        height: Height of the upright frames in pixels.
        sample_aspect: Width over height of a pixel.
        frame_rate: Frames per second, on average where they vary.
        time_base: The unit of which all times are multiples, in seconds.
        duration: Duration of the whole file in seconds, or None if the file does not say.
        has_alpha: Whether frames have an alpha.
        video_stream: The index of the stream of frames in its file, or None for pictures.
    """

    width: int
    height: int
    sample_aspect = Fraction(1)
    frame_rate: Fraction
    time_base: Fraction
    duration: float | None = None
    has_alpha = False
    video_stream: int | None = None
    # The time of the first frame, and an estimate of their number in the whole file.
    _first = Fraction(0)
    _count: int | None = None
    # When the last frame disappears, if known.
    _end: Fraction | None = None

    def __init__(self, path: str, start: Fraction | None, end: Fraction | None) -> None:
        self.path, self.start, self.end = path, start, end
        self.files = [path]
        self._notes: dict[str, None] = {}
        self._passes: list[Generator[Any]] = []

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences to show to a person on how the film was read; reading may add some."""
        return tuple(self._notes)

    @property
    def frame_count(self) -> int | None:
        """An estimate of the number of frames in `start`..`end`, or None."""
        if self._count is None or (self.start is None and self.end is None):
            return self._count
        last = self._first + self._count / self.frame_rate
        span = min(last, last if self.end is None else self.end) - max(self._first, self.start or self._first)
        return max(0, min(self._count, round(span * self.frame_rate)))

    def __iter__(self) -> Iterator[Frame]:
        return self._pass(self._frame(*each) for each in self._selected())

    def glances(self) -> Iterator[Glance]:
        """Pass over the film as iterating does, and glance at each frame; at most the last few can be loaded."""
        return self._pass(_glance(shown) for shown, _ in self._selected())

    def _pass(self, items: Generator[_Item]) -> Generator[_Item]:
        self._passes.append(items)
        return items

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End all passes over the film and close its file."""
        while self._passes:
            self._passes.pop().close()

    def _selected(self) -> Generator[tuple[Shown, Fraction]]:
        """Select the frames in `start`..`end`, each with the time at which the next appears."""
        held: Shown | None = None
        passing = self._shown()
        try:
            for shown in passing:
                if held is not None:
                    yield held, shown.time
                    held = None
                if self.end is not None and shown.time >= self.end:
                    return
                if self.start is None or shown.time >= self.start:
                    held = shown
        except ValueError:
            # The frames so far are good; whoever wants them has them before the error.
            if held is not None:
                yield held, held.time + (held.duration or 1 / self.frame_rate)
            raise
        finally:
            passing.close()
        if held is not None:
            last = held.time + (held.duration or 1 / self.frame_rate)
            yield held, last if self._end is None else max(last, self._end)

    def _frame(self, shown: Shown, until: Fraction) -> Frame:
        pixels, alpha = shown.load()
        until = until if self.end is None else min(until, self.end)
        return Frame(pixels, shown.time, until - shown.time, alpha)

    @abc.abstractmethod
    def _shown(self) -> Generator[Shown]:
        """Yield frames in order, at least all from `start` on."""


def _glance(shown: Shown) -> Glance:
    if shown.small:
        return Glance(shown.time, shown.small(), lambda: shown.load()[0])
    pixels = shown.load()[0]
    return Glance(shown.time, pixels, lambda: pixels)

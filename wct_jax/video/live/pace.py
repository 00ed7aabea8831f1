"""The size at which frames are painted, so that as many are painted in a second as wanted."""

import dataclasses
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

# Short sides. Canvases have them, and each is compiled once.
SIZES = (96, 144, 192, 256, 320, 384, 512, 768, 1024)
# Share of a frame's time that a larger size may take; the rest is for frames that take longer than usual.
_ROOM = 0.75
# Frames that tell how long painting takes.
_FRAMES = 9
# Seconds to wait before a larger size, first and at most: twice as many each time that a size was too slow.
_PATIENCE, _MOST_PATIENCE = 2, 64


@dataclass(frozen=True)
class Pace:
    """A size, and what is known of how long painting takes. Does not change: `after` makes the next.

    Attributes:
        sizes: The short sides to choose from, increasing.
        budget: Seconds that a frame may take.
        size: The short side of the next frame.
        recent: Seconds that the last frames of this size took.
        calm: Frames of this size so far.
        patience: Seconds of one size before a larger one is tried.
    """

    sizes: Sequence[int]
    budget: float
    size: int
    recent: tuple[float, ...] = ()
    calm: int = 0
    patience: float = _PATIENCE

    @classmethod
    def of(cls, short: int, fps: float, size: int | None = None) -> Self:
        """Begin at a size.

        Args:
            short: The short side of the source, beyond which no size goes.
            fps: Frames per second to hold.
            size: The only size there is; None for all in `SIZES`, from a middle one on.
        """
        largest = min(short, SIZES[-1])
        sizes = (size,) if size else (*(each for each in SIZES if each < largest), largest)
        return cls(sizes, 1 / fps, min(sizes, key=lambda each: abs(each - 192)))

    def fits(self, seconds: float) -> bool:
        """Whether a frame takes little enough time."""
        return seconds <= _ROOM * self.budget

    def fitting(self, seconds: float) -> int:
        """The largest size at which a frame takes little enough time.

        Args:
            seconds: What a frame takes at this size; the time is taken to grow with the pixels.
        """
        fits = (each for each in self.sizes if self.fits(seconds * (each / self.size) ** 2))
        return max(fits, default=self.sizes[0])

    def at(self, size: int) -> Self:
        """Go on at another size, of which nothing is known yet."""
        return dataclasses.replace(self, size=size, recent=(), calm=0)

    def after(self, seconds: float) -> Self:
        """Take in what the last frame took, and go down if frames take too long, or up if there is room."""
        recent, calm = (*self.recent, seconds)[-_FRAMES:], self.calm + 1
        number, usual = self.sizes.index(self.size), statistics.median(recent)
        if len(recent) == _FRAMES and usual > self.budget and number:
            slower = dataclasses.replace(self, patience=min(2 * self.patience, _MOST_PATIENCE))
            return slower.at(min(self.fitting(usual), self.sizes[number - 1]))
        if calm * self.budget >= self.patience and self.fitting(usual) > self.size:
            return self.at(self.fitting(usual))
        return dataclasses.replace(self, recent=recent, calm=calm)

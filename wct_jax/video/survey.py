"""A first look at a film: the times of its frames, its shots, and the statistics by which each is painted."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from wct_jax.painting.frames import Statistics
from wct_jax.video.cuts import Cuts
from wct_jax.video.files.frames import Glance

# Frames of a shot that its statistics are taken from, a power of two, and their pixels in all.
_FRAMES = 8
_PIXELS = 2**22
# Frames of a segment at most: as many are painted again when a run was broken off.
_SEGMENT = 48


@dataclass(frozen=True, eq=False)
class Shot:
    """Frames between two cuts.

    Attributes:
        first: Number of its first frame in the film.
        known: The statistics of all its frames; empty if they were not asked for.
    """

    first: int
    known: Statistics


class Segment(NamedTuple):
    """Frames of one shot that are painted and encoded by themselves: from `first` up to `last`, left out."""

    first: int
    last: int
    shot: Shot

    @property
    def is_fresh(self) -> bool:
        """Whether it begins the shot."""
        return self.first == self.shot.first


@dataclass(frozen=True, eq=False)
class Survey:
    """What is known of a film before it is painted.

    Attributes:
        times: When each frame appears, in seconds.
        shots: The shots in order.
    """

    times: Sequence[Fraction]
    shots: Sequence[Shot]

    @property
    def segments(self) -> list[Segment]:
        """The segments in order."""
        ends = [*(shot.first for shot in self.shots[1:]), len(self.times)]
        return [
            Segment(first, min(first + _SEGMENT, end), shot)
            for shot, end in zip(self.shots, ends, strict=True)
            for first in range(shot.first, end, _SEGMENT)
        ]


def survey(
    glances: Iterable[Glance],
    learn: Callable[[Sequence[np.ndarray]], Statistics] | None = None,
    seen: Callable[[int], None] = lambda count: None,
) -> Survey:
    """Look through a film, in constant memory but for the times.

    Args:
        glances: A glance at each of its frames.
        learn: Function from some frames of a shot, `[H, W, 3]` each, to its statistics; None for none.
        seen: Called with the number of frames so far.
    """
    cuts, shots, times, sample, first = Cuts(), list[Shot](), list[Fraction](), _Sample(), 0

    def close() -> None:
        shots.append(Shot(first, learn(sample.taken) if learn else ()))

    for number, glance in enumerate(glances):
        if cuts.is_cut(glance.small) and number:
            close()
            sample, first = _Sample(), number
        if learn:
            sample.add(glance.load)
        times.append(glance.time)
        seen(number + 1)
    if times:
        close()
    return Survey(times, shots)


@dataclass
class _Sample:
    """Frames at even distances, few however many are added."""

    frames: list[np.ndarray] = field(default_factory=list)
    _every: int = 1
    _added: int = 0

    @property
    def taken(self) -> list[np.ndarray]:
        """Some of them, as many in every shot but the shortest: each other number would be compiled for."""
        count, power = len(self.frames), len(self.frames).bit_length() - 1
        return [self.frames[n * count >> power] for n in range(1 << power)]

    def add(self, load: Callable[[], np.ndarray]) -> None:
        if self._added % self._every == 0:
            self.frames.append(load())
        self._added += 1
        most = int(np.clip(_PIXELS // self.frames[0][..., 0].size, 2, _FRAMES))
        if len(self.frames) >= 2 << most.bit_length() - 1:
            self.frames, self._every = self.frames[::2], 2 * self._every

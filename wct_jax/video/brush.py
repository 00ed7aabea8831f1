"""The brush that paints a film frame after frame, and keeps it from flickering."""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from wct_jax.checks.arguments import as_number
from wct_jax.painting.frames import Statistics
from wct_jax.video.files.frames import Frame
from wct_jax.video.flow import Motion
from wct_jax.video.survey import Shot
from wct_jax.video.turns import Turns
from wct_jax.video.unfinished import arrays_of, statistics_from


@dataclass(frozen=True)
class Steadiness:
    """How the frames of a film are kept from flickering.

    Attributes:
        seconds: Time constant of a moving average of the statistics, 0 for each frame's own; None for the same
            statistics in a whole shot.
        follow: Whether the painting follows the motion of the film, by OpenCV's optical flow.
    """

    seconds: float | None = None
    follow: bool = True

    def __post_init__(self) -> None:
        """Check the time.

        Raises:
            ValueError: It is no number, or below 0.
        """
        if self.seconds is not None:
            as_number("seconds", self.seconds, 0)


class Brush:
    """Paints the frames of a film one after the other, and carries over what keeps them steady."""

    def __init__(self, turns: Turns, steadiness: Steadiness, devices: Sequence[jax.Device] = ()) -> None:
        """Start afresh.

        Args:
            turns: Paint the frames.
            steadiness: How the frames are kept from flickering.
            devices: Devices that share the frames of `paint_all`; fewer than two for the one that holds the model.
        """
        self._turns, self._seconds = turns, steadiness.seconds
        self._shared = [(device, turns.on(device)) for device in devices] if len(devices) > 1 else []
        self._motion = Motion() if steadiness.follow else None
        self._average: Statistics | None = None

    def begin(self) -> None:
        """Begin a shot: forget the one before."""
        self._average = None
        if self._motion:
            self._motion.reset()

    def paint(self, frame: Frame, shot: Shot) -> np.ndarray:
        """Paint the next frame of a shot, `[H, W, 3]` in 0..1, by its statistics; `steady` has yet to follow."""
        painter = self._turns.at(frame.time)
        if self._seconds is None:
            painted, _ = painter.paint(frame.pixels, frame.alpha, known=shot.known)
        else:
            kept = math.exp(-float(frame.duration) / self._seconds) if self._seconds else 0.0
            painted, self._average = painter.paint(
                frame.pixels, frame.alpha, known=self._average, kept=kept, masks=frame.masks
            )
        return painted

    def paint_all(self, frames: Iterable[Frame], shot: Shot) -> Iterator[tuple[Frame, np.ndarray]]:
        """Paint the next frames of a shot as `paint` does, on all devices unless each frame needs the one before."""
        if not self._shared or self._seconds is not None:
            for frame in frames:
                yield frame, self.paint(frame, shot)
            return
        known = [jax.device_put(shot.known, device) for device, _ in self._shared]

        def paint(frame: Frame, place: int) -> np.ndarray:
            device, turns = self._shared[place]
            with jax.default_device(device):
                return turns.at(frame.time).paint(frame.pixels, frame.alpha, known=known[place])[0]

        with ThreadPoolExecutor(len(self._shared)) as pool:
            begun = deque[Any]()
            for number, frame in enumerate(frames):
                begun.append((frame, pool.submit(paint, frame, number % len(self._shared))))
                if len(begun) == len(self._shared):
                    first, painted = begun.popleft()
                    yield first, painted.result()
            for frame, painted in begun:
                yield frame, painted.result()

    def steady(self, frame: Frame, painted: np.ndarray) -> np.ndarray:
        """Let a painting follow the motion; frames in order, but `paint` may be ahead in another thread."""
        return self._motion.steady(frame.pixels, painted) if self._motion else painted

    def state(self) -> dict[str, np.ndarray]:
        """What `carry_on` needs, as arrays."""
        arrays = {f"average/{name}": array for name, array in arrays_of(self._average or ()).items()}
        moved = self._motion.state() if self._motion else {}
        return arrays | {f"motion/{name}": np.asarray(value) for name, value in moved.items()}

    def carry_on(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on where another brush had this state."""
        self._average = statistics_from(state, "average/") or None
        if self._motion:
            names = [name for name in state if name.startswith("motion/")]
            self._motion = Motion.from_state({name.removeprefix("motion/"): state[name] for name in names})

"""The brush that paints a film frame after frame, and keeps it from flickering."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

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

    def __init__(self, turns: Turns, steadiness: Steadiness) -> None:
        """Start afresh.

        Args:
            turns: Paint the frames.
            steadiness: How the frames are kept from flickering.
        """
        self._turns, self._seconds = turns, steadiness.seconds
        self._motion = Motion() if steadiness.follow else None
        self._average: Statistics | None = None

    def begin(self) -> None:
        """Begin a shot: forget the one before."""
        self._average = None
        if self._motion:
            self._motion.reset()

    def paint(self, frame: Frame, shot: Shot) -> np.ndarray:
        """Paint the next frame of a shot, `[H, W, 3]` in 0..1."""
        painter = self._turns.at(frame.time)
        if self._seconds is None:
            painted, _ = painter.paint(frame.pixels, frame.alpha, known=shot.known)
        else:
            kept = math.exp(-float(frame.duration) / self._seconds) if self._seconds else 0.0
            painted, self._average = painter.paint(
                frame.pixels, frame.alpha, known=self._average, kept=kept, masks=frame.masks
            )
        # Sharpened, the result may overshoot a little.
        return self._motion.steady(frame.pixels, painted).clip(0, 1) if self._motion else painted

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

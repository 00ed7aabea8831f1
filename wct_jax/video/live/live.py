"""A camera's picture, painted as it comes: the newest frame only, at a size that holds the rate."""

import statistics
import threading
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction

from wct_jax.checks.arguments import as_integer, as_number
from wct_jax.painting.options import Options
from wct_jax.painting.style import Style
from wct_jax.studio.request import Look, Request
from wct_jax.studio.session import Session
from wct_jax.studio.sources import Source, name_of
from wct_jax.video.flow import opencv
from wct_jax.video.live.camera import Camera, Seen
from wct_jax.video.live.easel import Easel
from wct_jax.video.live.newest import Newest
from wct_jax.video.live.outlets import Outlet
from wct_jax.video.live.pace import Pace

# Seconds after which somebody may have stopped a picture that has no new frame.
_PATIENCE = 0.1
# A frame is left out if it comes sooner after the last than this share of the time that frames are apart.
_SOON = 0.75
# Frames that tell the present rate, and those that tell the latency.
_RECENT, _LATENCIES = 25, 1000


@dataclass(frozen=True)
class LiveReport:
    """How a live picture is doing, or did.

    Attributes:
        frames: Number of frames painted.
        missed: Number of frames that the camera gave while others were painted, or too soon for the rate.
        seconds: Time since the first frame was captured.
        frame_rate: Frames per second of late.
        latency: Seconds from a frame's capture until the outlets had it: the median of the last 1000 frames.
        slowest: As `latency`, of the slowest of 20.
        size: Width and height that frames are painted at.
        sizes: Number of frames painted at each short side.
        style: The number of the style, from 1.
        follow: Whether the painting follows the motion in the picture.
    """

    frames: int
    missed: int
    seconds: float
    frame_rate: float
    latency: float
    slowest: float
    size: tuple[int, int]
    sizes: dict[int, int]
    style: int
    follow: bool


class Live:
    """Paints what a camera sees.

    >>> with Device(0) as camera:  # doctest: +SKIP
    ...     live = Live(Session("compact"), camera, ["one.jpg", "two.jpg"])
    ...     live.run([Recording("live.mp4", live.size, live.frame_rate)])

    Attributes:
        size: Width and height of the painted picture: the camera's.
        frame_rate: Frames per second to hold.
        styles: Names of the styles.
    """

    def __init__(
        self,
        session: Session,
        camera: Camera,
        styles: Sequence[Look | Source | Style] = (),
        options: Options = Options(),
        *,
        fps: float | Fraction | None = None,
        seconds: float = 0.5,
        follow: bool | None = None,
    ) -> None:
        """Extract the styles.

        Args:
            session: The session that paints.
            camera: Where frames come from.
            styles: Pictures, style files, styles, or a `Look` for several that are mixed; none with `whiten_only`. The
                first is painted until `switch`.
            options: Options of the painting; with `content_size` the size does not change.
            fps: Frames per second to hold, by the size of the painting; None for the camera's.
            seconds: Time constant of the moving average of the statistics.
            follow: Whether the painting follows the motion in the picture, by optical flow; None to do so if it costs
                neither rate nor size.

        Raises:
            ValueError: OpenCV is not installed, a style cannot be read or has a mask, or an argument is out of range.
        """
        opencv()
        self._camera, self.size = camera, camera.size
        self.frame_rate = Fraction(camera.frame_rate if fps is None else as_number("fps", fps, 0.1, 1000))
        looks = [each if isinstance(each, Look) else Look((each,)) for each in styles] or [Look()]
        if any(look.masks for look in looks):
            raise ValueError("a live picture changes its size: expected styles without `mask`")
        self.styles = [name_of(look.files[0], "style") if look.files else "white" for look in looks]
        # Without maps a painter is for any size.
        painters = [session.frames(Request(camera.name, look, options), self.size[::-1]) for look in looks]
        pace = Pace.of(min(self.size), float(self.frame_rate), options.content_size)
        self._easel = Easel(painters, self.size, pace, as_number("seconds", seconds, 0), follow)
        self._stopped, self._style = threading.Event(), 0
        self._frames = self._missed = 0
        self._began = self._last = 0.0
        self._shown: deque[float] = deque(maxlen=_RECENT)
        self._latencies: deque[float] = deque(maxlen=_LATENCIES)
        self._sizes: Counter[int] = Counter()

    def run(self, outlets: Sequence[Outlet]) -> LiveReport:
        """Measure how long painting takes; then paint until the camera ends or `stop` is called; close the outlets.

        Args:
            outlets: Where the picture goes.

        Returns:
            What was done.

        Raises:
            ValueError: The camera broke off, or an outlet cannot be written to. The other outlets end as they should.
        """
        newest: Newest[Seen] = Newest()
        capture = threading.Thread(target=self._capture, args=(newest,), daemon=True)
        with ExitStack() as stack:
            stack.callback(self._easel.close)
            for outlet in outlets:
                stack.callback(outlet.close)
            self._easel.measure()
            stack.callback(capture.join, 2.0)
            stack.callback(self._stopped.set)
            capture.start()
            number, due = 0, Fraction(0)
            while not self._stopped.is_set():
                taken = newest.after(number, _PATIENCE)
                if taken is None:
                    if newest.ended:
                        break
                    continue
                self._missed += taken[0] - number - 1
                number, seen = taken
                if seen.time < due:
                    self._missed += 1
                    continue
                due = seen.time + Fraction(_SOON) / self.frame_rate
                self._paint(seen, outlets)
        return self.report()

    def stop(self) -> None:
        """End `run` after the frame that is being painted. Signal handlers and other threads may call this."""
        self._stopped.set()

    def switch(self, style: int) -> None:
        """Paint the next frames in another style.

        Args:
            style: Its number, from 0.

        Raises:
            ValueError: There is no such style.
        """
        self._style = as_integer("style", style, 0, len(self.styles) - 1)

    def step(self, count: int) -> None:
        """Paint the next frames in the style that is so many after this one, around the end."""
        self._style = (self._style + count) % len(self.styles)

    def report(self) -> LiveReport:
        """How the picture is doing."""
        shown, latencies = list(self._shown), sorted(self._latencies) or [0.0]
        return LiveReport(
            self._frames,
            self._missed,
            self._last - self._began,
            (len(shown) - 1) / max(shown[-1] - shown[0], 1e-9) if len(shown) > 1 else 0.0,
            statistics.median(latencies),
            latencies[int(0.95 * len(latencies))],
            self._easel.size,
            dict(self._sizes),
            self._style + 1,
            self._easel.follow,
        )

    def _capture(self, newest: Newest[Seen]) -> None:
        try:
            for seen in self._camera.frames(self._stopped):
                newest.put(seen)
            newest.end()
        except BaseException as error:  # Raised again where the next frame is waited for.
            newest.end(error)

    def _paint(self, seen: Seen, outlets: Sequence[Outlet]) -> None:
        cv2, now = opencv(), self._camera.now
        began = now()
        painted = self._easel.paint(seen.pixels, seen.time, self._style)
        self._frames += 1
        if painted.shape[1::-1] != self.size:
            painted = cv2.resize(painted, self.size, interpolation=cv2.INTER_CUBIC)
        for outlet in outlets:
            outlet.show(painted, seen.time)
        self._last = now()
        if not self._shown:
            self._began = seen.captured
        self._sizes[self._easel.pace.size] += 1
        self._shown.append(self._last)
        self._latencies.append(self._last - seen.captured)
        self._easel.took(self._last - began)

"""Cameras: devices, and films that play the part of one."""

import abc
import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import NamedTuple, Self

import numpy as np

from wct_jax.checks.arguments import as_integer
from wct_jax.video.files.film import open_film
from wct_jax.video.flow import opencv

# Frames per second to aim at where a device does not say.
_RATE = Fraction(24)


class Seen(NamedTuple):
    """A frame of a camera.

    Attributes:
        pixels: sRGB colours `[H, W, 3]`, float32 in 0..1 or uint8.
        time: When the frame appears, in seconds after the first.
        captured: What the clock showed when it came, in seconds.
    """

    pixels: np.ndarray
    time: Fraction
    captured: float


class Camera(abc.ABC):
    """Gives frames at its own pace. Used in a `with` statement, which closes it at the end.

    Attributes:
        name: Its name in messages.
        size: Width and height of its picture in square pixels.
        frame_rate: Frames per second, on average.
        now: The clock that frames are captured by, in seconds.
    """

    name: str
    size: tuple[int, int]
    frame_rate: Fraction
    now: Callable[[], float] = staticmethod(time.monotonic)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @abc.abstractmethod
    def frames(self, stopped: threading.Event) -> Iterator[Seen]:
        """Yield frames as they come, until there are no more or the event is set."""

    @abc.abstractmethod
    def close(self) -> None:
        """Give the camera back."""


class Device(Camera):
    """A camera at this machine."""

    def __init__(self, number: int = 0) -> None:
        """Open a camera with OpenCV.

        Args:
            number: The number that the system gave the camera, from 0.

        Raises:
            ValueError: OpenCV is not installed, or there is no such camera.
        """
        self.name = f"camera {as_integer('camera', number, 0)}"
        cv2 = opencv()
        with contextlib.suppress(AttributeError):  # It would complain in several lines.
            cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        self._device = cv2.VideoCapture(number)
        if not self._device.isOpened() or not self._device.read()[0]:
            self._device.release()
            raise ValueError(f"there is no {self.name} that gives pictures: expected one that is free, from 0")
        self._device.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        self.size = (
            int(self._device.get(cv2.CAP_PROP_FRAME_WIDTH)),
            int(self._device.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        )
        rate = self._device.get(cv2.CAP_PROP_FPS)
        self.frame_rate = min(Fraction(rate).limit_denominator(1001), _RATE) if rate >= 1 else _RATE

    def frames(self, stopped: threading.Event) -> Iterator[Seen]:
        """Yield frames as they come, until the event is set.

        Raises:
            ValueError: The camera gives no more pictures.
        """
        cv2, began = opencv(), self.now()
        while not stopped.is_set():
            there, pixels = self._device.read()
            if not there:
                raise ValueError(f"{self.name} gives no more pictures")
            captured = self.now()
            time = Fraction(round((captured - began) * 1_000_000), 1_000_000)
            yield Seen(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), time, captured)

    def close(self) -> None:
        """Give the device back."""
        self._device.release()


class Player(Camera):
    """A film that plays a camera at its own pace: frames that come too late are left out."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        now: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        """Open a film.

        Args:
            path: See `open_film`.
            now: The clock, in seconds.
            wait: Waits for so many seconds; None to wait by the system's clock.

        Raises:
            ValueError: The film cannot be read.
        """
        self._film, self.now, self._wait = open_film(path), now, wait
        self.name, self.frame_rate = self._film.path, self._film.frame_rate
        wide = self._film.sample_aspect
        self.size = (
            round(self._film.width * max(wide, Fraction(1))),
            round(self._film.height / min(wide, Fraction(1))),
        )

    def frames(self, stopped: threading.Event) -> Iterator[Seen]:
        """Yield each frame when it is due, until the film ends or the event is set.

        Raises:
            ValueError: The film breaks off before its end.
        """
        wait, first, began = self._wait or stopped.wait, None, 0.0
        for frame in self._film:
            if stopped.is_set():
                return
            if first is None:
                first, began = frame.time, self.now()
            early = began + float(frame.time - first) - self.now()
            if early > 0:
                wait(early)
                if stopped.is_set():
                    return
            elif -early > frame.duration:
                continue
            pixels = frame.pixels
            if frame.alpha is not None:  # A camera sees it on white.
                pixels = pixels * frame.alpha[..., None] + (1 - frame.alpha[..., None])
            yield Seen(pixels, frame.time - first, self.now())

    def close(self) -> None:
        """Close the film."""
        self._film.close()

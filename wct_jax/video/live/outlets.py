"""Where a live picture goes: a film, or a camera that other programs see."""

import os
import queue
import tempfile
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from wct_jax.system.atomic import check_target
from wct_jax.video.files.film import open_film
from wct_jax.video.files.form import Form, sequence_pattern
from wct_jax.video.files.frames import Frame
from wct_jax.video.files.joining import join
from wct_jax.video.files.segments import write_segment

# Frames that may wait for the encoder.
_WAITING = 8
# The clock of films, per second.
_CLOCK = 90_000


class Outlet(Protocol):
    """A place where a live picture goes."""

    def show(self, pixels: np.ndarray, time: Fraction) -> None:
        """Show a frame, uint8 `[H, W, 3]`, at a time in seconds."""

    def close(self) -> None:
        """End the picture."""


class Recording:
    """A film, which is encoded in a thread of its own, and appears under its name when it ends."""

    def __init__(
        self,
        target: str | os.PathLike[str],
        size: tuple[int, int],
        frame_rate: Fraction,
        *,
        codec: str | None = None,
        quality: int | None = None,
    ) -> None:
        """Check that the film can be written.

        Args:
            target: The file, pattern or folder, see `Form.of`.
            size: Width and height of the frames.
            frame_rate: Frames per second, on average.
            codec: See `Form.of`.
            quality: See `Form.of`.

        Raises:
            ValueError: There is no such form of film, or no such folder.
        """
        pattern = sequence_pattern(target)
        self._target = check_target(pattern or target)
        named: dict[str, Any] = {} if quality is None else {"quality": quality}
        self._form = Form(
            self._target.suffix.lower(),
            *size,
            frame_rate,
            Fraction(1, _CLOCK),
            sequence=pattern is not None,
            codec=codec or "",
            **named,
        )
        self._frames: queue.Queue[tuple[np.ndarray, Fraction] | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._error: BaseException | None = None
        self._folder: Any = None

    def show(self, pixels: np.ndarray, time: Fraction) -> None:
        """Encode a frame, after those before it.

        Raises:
            ValueError: The film cannot be written.
        """
        if self._folder is None:
            parent, name = self._target.parent, self._target.name
            self._folder = tempfile.TemporaryDirectory(prefix=f".{name}.", dir=parent)
            self._thread.start()
        self._put((pixels, time))

    def close(self) -> None:
        """End the film; without a frame there is none.

        Raises:
            ValueError: The film cannot be written.
        """
        if self._folder is None:
            return
        with self._folder:
            self._put(None)
            self._thread.join()
            if self._error:
                raise self._error
            with open_film(self._segment) as film:
                join([self._segment], film, self._target, self._form)

    @property
    def _segment(self) -> Path:
        return Path(self._folder.name, "segment.mkv" if self._form.segment_format == "matroska" else "segment.mov")

    def _put(self, item: tuple[np.ndarray, Fraction] | None) -> None:
        while not self._error:
            try:
                self._frames.put(item, timeout=0.1)
                return
            except queue.Full:
                continue
        raise self._error

    def _write(self) -> None:
        try:
            write_segment(self._segment, self._shown(), self._form)
        except BaseException as error:  # Raised again where the next frame is shown.
            self._error = error

    def _shown(self) -> Iterator[Frame]:
        """The frames as they come, each until the next."""
        held = self._frames.get()
        while held:
            pixels, time = held
            held = self._frames.get()
            until = held[1] if held else time + 1 / self._form.frame_rate
            yield Frame(np.multiply(pixels, 1 / 255, dtype=np.float32), time, until - time)


class VirtualCamera:
    """A camera that other programs of this machine see."""

    def __init__(self, size: tuple[int, int], frame_rate: Fraction) -> None:
        """Open it with pyvirtualcam.

        Raises:
            ValueError: pyvirtualcam is not installed, or the system has no virtual camera.
        """
        try:
            import pyvirtualcam
        except ImportError:
            raise ValueError("a virtual camera needs pyvirtualcam: pip install pyvirtualcam") from None
        try:
            self._camera = pyvirtualcam.Camera(*size, float(frame_rate))
        except (RuntimeError, OSError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"this system has no virtual camera that is free: {reason}") from None

    def show(self, pixels: np.ndarray, time: Fraction) -> None:
        """Show a frame."""
        self._camera.send(np.ascontiguousarray(pixels))

    def close(self) -> None:
        """Give the camera back."""
        self._camera.close()

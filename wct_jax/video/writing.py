"""Writing the segments of a film while they are painted."""

import contextlib
import os
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from wct_jax.studio.progress import Cancelled
from wct_jax.video.ahead import ahead
from wct_jax.video.files.form import Form
from wct_jax.video.files.frames import Frame
from wct_jax.video.files.segments import write_segment


def write_segments(segments: Iterable[tuple[str | os.PathLike[str], Generator[Frame]]], form: Form) -> None:
    """Write segments in order, each painted while the last frames of the one before are encoded.

    An encoder holds back nearly all frames of a segment until its end; painting would wait for it.

    Args:
        segments: For each the file to write and its frames, which are painted as they are asked for.
        form: How they are stored.

    Raises:
        ValueError: As `write_segment`. What painting raises is raised, too.
    """
    stopped, written = threading.Event(), deque[Future[None]]()

    def write(path: str | os.PathLike[str], frames: Iterator[Frame]) -> None:
        with contextlib.closing(ahead(frames)) as made:
            write_segment(path, made, form)

    def follow(frames: Generator[Frame], painted: Future[None]) -> Iterator[Frame]:
        with contextlib.closing(frames):
            for frame in frames:
                if stopped.is_set():
                    raise Cancelled
                yield frame
        painted.set_result(None)

    with ThreadPoolExecutor(2) as pool:
        try:
            for path, frames in segments:
                painted: Future[None] = Future()
                written.append(pool.submit(write, path, follow(frames, painted)))
                written[-1].add_done_callback(lambda done, painted=painted: _fail(painted, done))  # type: ignore[misc]
                painted.result()
                if len(written) > 1:
                    written.popleft().result()
            for each in written:
                each.result()
        finally:
            stopped.set()


def _fail(painted: "Future[None]", written: "Future[None]") -> None:
    """Say of a segment that is not painted to its end why it is not written."""
    if not painted.done():
        painted.set_exception(written.exception())

"""Opening films of every kind."""

import os
from fractions import Fraction

from wct_jax.checks.arguments import as_number, as_path
from wct_jax.video.files.animation import Animation, is_picture
from wct_jax.video.files.frames import Film as Film
from wct_jax.video.files.frames import Frame as Frame
from wct_jax.video.files.sequence import PictureSequence, is_sequence
from wct_jax.video.files.stream import StreamFilm


def open_film(
    path: str | os.PathLike[str],
    *,
    stream: int | None = None,
    fps: float | Fraction | None = None,
    start: float | Fraction | None = None,
    end: float | Fraction | None = None,
) -> Film:
    """Open a film, an animated picture, or a sequence of pictures.

    Reads whatever FFmpeg demuxes and decodes; GIF, animated WebP, PNG and AVIF; and pictures one by one, by a pattern
    such as `frames/*.png` or `frames/%06d.png`, or a folder, in the order of the numbers in their names. Frames come
    upright, in sRGB, with the colour matrix and range that the file says; BT.2020 is converted and HDR tone-mapped.

    Args:
        path: The file, pattern or folder.
        stream: The number of the video stream, counted from 0 among the video streams of the file; None for the first
            that is no cover picture.
        fps: Frames per second of a sequence of pictures; only for these, and required there.
        start: The time in seconds, as the file counts, before which frames are left out.
        end: The time in seconds from which on frames are left out.

    Returns:
        The film. It may be used in a `with` statement, which closes its file at the end.

    Raises:
        ValueError: PyAV is not installed, or the file is missing, not a film, a still picture, without a video stream
            or decoder, or damaged. While iterating: the film breaks off before its end, after the frames so far.

    Example:
        >>> with open_film("film.mp4") as film:  # doctest: +SKIP
        ...     for frame in film:
        ...         print(float(frame.time), frame.pixels.shape)
    """
    name = as_path("path", path)
    begin, stop = _time("start", start), _time("end", end)
    if begin is not None and stop is not None and stop <= begin:
        raise ValueError(f"end must be after start, {float(begin):g} s, got {float(stop):g} s")
    if is_sequence(name):
        if stream is not None:
            raise ValueError(f"stream is for films of several streams, and {name} is a sequence of pictures")
        return PictureSequence(name, fps, begin, stop)
    if fps is not None:
        raise ValueError(f"fps is for sequences of pictures such as frames/*.png, got a single file, {name}")
    if not os.path.exists(name):
        raise ValueError(f"cannot read {name}: no such file")
    return (Animation if is_picture(name) else StreamFilm)(name, stream, begin, stop)


def _time(name: str, value: float | Fraction | None) -> Fraction | None:
    if value is None or isinstance(value, Fraction):
        return value
    # 0.2 is meant as 1/5, not as the binary number beside it.
    return Fraction(str(float(as_number(name, value))))

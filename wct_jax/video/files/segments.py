"""Segments: small files of some of a film's painted frames each, which are joined to a film."""

import contextlib
import os
from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from wct_jax.checks.arrays import on_host
from wct_jax.system.atomic import atomic_write
from wct_jax.video.files.form import CODECS, Form
from wct_jax.video.files.frames import Frame
from wct_jax.video.files.pyav import av

_Interpolation = av.video.reformatter.Interpolation
_FLAGS = _Interpolation.BICUBIC | _Interpolation.ACCURATE_RND | _Interpolation.FULL_CHR_H_INP
# ITU-T H.273: BT.709, and the identity of RGB.
_BT709, _RGB, _LIMITED, _FULL = 1, 0, 1, 2
# Red's and blue's share of brightness in BT.709.
_RED, _BLUE = 0.2126, 0.0722


def write_segment(path: str | os.PathLike[str], frames: Iterable[Frame], form: Form) -> int:
    """Encode frames to a file of their own, whole or not at all, which depends on no other.

    Args:
        path: The file to write.
        frames: The frames, in order, of the form's size; values outside 0..1 are clipped.
        form: How they are stored.

    Returns:
        The number of frames.

    Raises:
        ValueError: There is no frame, one has another size than the form, they cannot be encoded, or the file cannot be
            written.
    """
    last, spans = -1, deque[int]()
    count = 0
    with _encoding(path, form) as (container, stream):
        scaler = av.video.reformatter.VideoReformatter()
        for frame in frames:
            count += 1
            # Times that the container cannot tell apart are moved on by the least it can.
            last = max(round(frame.time / form.time_base), last + 1)
            spans.append(max(round((frame.time + frame.duration) / form.time_base) - last, 1))
            encoded = _converted(frame, form, scaler)
            encoded.pts, encoded.time_base = last, form.time_base
            _mux(container, stream.encode(encoded), spans)
        if not count:
            raise ValueError(f"cannot write {path}: expected at least one frame, got none")
        _mux(container, stream.encode(None), spans)
    return count


@contextlib.contextmanager
def _encoding(path: str | os.PathLike[str], form: Form) -> Iterator[tuple[Any, Any]]:
    rgb = form.pixel_format.startswith("bgr")
    with written(path, form.segment_format, form.time_base) as container:
        stream = container.add_stream(CODECS[form.codec].encoder, rate=form.frame_rate, options=form.options)
        context = stream.codec_context
        context.width, context.height = form.stored
        context.pix_fmt = form.pixel_format
        context.time_base = stream.time_base = form.time_base
        context.sample_aspect_ratio = form.stored_aspect
        context.colorspace = _RGB if rgb else _BT709
        context.color_primaries = context.color_trc = _BT709
        context.color_range = _FULL if rgb else _LIMITED
        tag(context, form, form.segment_format)
        yield container, stream


@contextlib.contextmanager
def written(
    path: str | os.PathLike[str], format: str, clock: Fraction, options: dict[str, str] | None = None
) -> Iterator[Any]:
    """Open a file for writing with PyAV that appears under its name when it is complete.

    Args:
        path: The file to write.
        format: FFmpeg's name of the container.
        clock: A unit of time that the container should be exact in, where it can choose.
        options: More options of the container.

    Raises:
        ValueError: FFmpeg cannot encode or store what is written, or the system refuses.
    """
    if format in ("mp4", "mov"):
        options = {"movie_timescale": str(clock.denominator)} | (options or {})
    with atomic_write(path) as scratch:
        try:
            with av.open(
                f"file:{scratch}", "w", format=format, container_options=options, metadata_errors="surrogateescape"
            ) as container:
                yield container
        except av.error.OSError:
            raise
        except av.error.FFmpegError as error:
            raise ValueError(f"cannot write {path}: FFmpeg refuses: {error.strerror or error}") from None


def tag(context: Any, form: Form, format: str) -> None:
    """Name the codec as players expect it in a container."""
    if CODECS[form.codec].tag and format in ("mp4", "mov"):
        context.codec_tag = CODECS[form.codec].tag


def _mux(container: Any, packets: list[Any], spans: deque[int]) -> None:
    for packet in packets:
        packet.duration = spans.popleft()
        container.mux(packet)


def _converted(frame: Frame, form: Form, scaler: Any) -> Any:
    pixels = on_host("pixels", frame.pixels)
    if pixels.shape != (form.height, form.width, 3):
        raise ValueError(f"expected frames of shape {[form.height, form.width, 3]}, got {list(pixels.shape)}")
    values = pixels.astype(np.float32, copy=False).clip(0, 1)
    alpha = None if frame.alpha is None else on_host("alpha", frame.alpha).astype(np.float32).clip(0, 1)[..., None]
    if form.alpha:
        values = np.concatenate([values, np.ones_like(values[..., :1]) if alpha is None else alpha], axis=-1)
    elif alpha is not None:
        values = values * alpha + (1 - alpha)
    (width, height), (wide, high) = form.squared, form.stored
    if (width, height) == (form.width, form.height) != (wide, high):
        values = np.pad(values, ((0, high - height), (0, wide - width), (0, 0)), mode="edge")
    if form.codec == "prores":
        array, format = _to_yuv(values), "yuva444p16le" if form.alpha else "yuv444p16le"
    else:
        # In place: a new array of a frame's size takes longer than the arithmetic.
        levels = np.rint(np.multiply(values, np.float32(255), out=values), out=values)
        array, format = levels.astype(np.uint8), "rgba" if form.alpha else "rgb24"
    return scaler.reformat(
        av.VideoFrame.from_ndarray(array, format=format, channel_last=True),
        wide,
        high,
        format=form.pixel_format,
        src_colorspace=_BT709,
        dst_colorspace=_BT709,
        src_color_range=_LIMITED if form.codec == "prores" else _FULL,
        dst_color_range=_FULL if form.pixel_format.startswith("bgr") else _LIMITED,
        interpolation=_FLAGS,
    )


def _to_yuv(values: np.ndarray) -> np.ndarray:
    """BT.709 at 10 bits of 16; swscale's own is off by 3 of 1024 levels."""
    r, b = values[..., 0], values[..., 2]
    y = _RED * r + (1 - _RED - _BLUE) * values[..., 1] + _BLUE * b
    planes = [64 + 876 * y, 512 + 448 * (b - y) / (1 - _BLUE), 512 + 448 * (r - y) / (1 - _RED)]
    planes += [1023 * values[..., i] for i in range(3, values.shape[2])]
    return np.rint(np.stack(planes, axis=-1)).astype(np.uint16) << 6

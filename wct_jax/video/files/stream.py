"""The frames of a film's video stream, decoded by FFmpeg's libraries."""

import contextlib
import functools
import os
import re
from collections.abc import Generator, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from wct_jax.checks.arguments import as_integer
from wct_jax.checks.printable import printable
from wct_jax.video.files.color import Color
from wct_jax.video.files.frames import Film, Shown
from wct_jax.video.files.pyav import av

# FFmpeg's own decoders of these ignore the alpha beside the picture.
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
_UNTIMED = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
_EBML, _SEGMENT = b"\x1aE\xdf\xa3", b"\x18S\x80g"
# Entries of the index, the last in time, among which the last in the file is.
_LAST = 64
# Pixels along the longer side of a frame's small copy.
_GLANCE = 128


@contextlib.contextmanager
def opened(path: str) -> Iterator[Any]:
    """Open a file for reading with PyAV.

    Raises:
        ValueError: The file is missing, unreadable or not a film.
    """
    try:
        # The prefix keeps a colon in the path from being taken for a protocol; the list keeps playlists off the net.
        container = av.open(
            f"file:{os.path.abspath(path)}",
            container_options={"protocol_whitelist": "file"},
            metadata_errors="surrogateescape",
        )
    except av.error.InvalidDataError:
        raise ValueError(f"cannot read {path}: it is not a film that FFmpeg knows, or it is damaged") from None
    except (av.error.FFmpegError, OSError) as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}") from None
    with container:
        yield container


class StreamFilm(Film):
    """A video stream of a file that PyAV opens."""

    def __init__(self, path: str, number: int | None, start: Fraction | None, end: Fraction | None) -> None:
        super().__init__(path, start, end)
        with opened(path) as container:
            if container.format.name == "image2" or container.format.name.endswith("_pipe"):
                raise ValueError(f"expected a film, got a picture, {path}")
            stream = _pick(container, path, number)
            self.video_stream = stream.index
            self.time_base = stream.time_base
            self._rate(container, stream)
            first = next(self._decoded(container, stream), None)
            if first is None:
                raise ValueError(f"cannot read {path}: no frame of its video stream can be decoded")
            self._look(stream, first)

    def _rate(self, container: Any, stream: Any) -> None:
        rate = stream.average_rate or stream.guessed_rate or stream.base_rate
        self.frame_rate = Fraction(rate) if rate else Fraction(25)
        self._end = stream_end(stream)
        length = None if self._end is None else self._end - (stream.start_time or 0) * self.time_base
        if length is None and container.duration:
            length = container.duration * Fraction(1, 1_000_000)
        self.duration = None if length is None else float(length)
        self._count = stream.frames or None if length is None else round(length * self.frame_rate)

    def _look(self, stream: Any, first: Any) -> None:
        """Take size, orientation and colours from the first frame."""
        self._first = first.pts * self.time_base if first.pts is not None else Fraction(0)
        self._matrix = _matrix(first)
        sideways = abs(self._matrix[0, 0]) < abs(self._matrix[0, 1])
        self._stored = first.width, first.height
        self.width, self.height = self._stored[::-1] if sideways else self._stored
        aspect = Fraction(stream.sample_aspect_ratio or 1)
        self.sample_aspect = 1 / aspect if sideways else aspect
        # A converter each, since they may work at the same time.
        self._color, self._glanced = Color(first), Color(first, av.video.reformatter.Interpolation.POINT)
        self.has_alpha = self._color.has_alpha
        if self._color.note:
            self._notes[self._color.note] = None
        if first.interlaced_frame:
            self._notes["The film is interlaced; both fields of a frame are painted together."] = None

    def _shown(self) -> Generator[Shown]:
        frames = self._found() if self.start is not None and self.start > self._first + 1 else self._all()
        time, step = self._first, 1 / self.frame_rate
        for number, frame in enumerate(frames):
            # Raw streams have no times.
            time = frame.pts * self.time_base if frame.pts is not None else time + step if number else time
            converted = functools.partial(self._load, frame), functools.partial(self._load_small, frame)
            yield Shown(time, frame.duration * self.time_base or None, *converted)

    def _load_small(self, frame: Any) -> np.ndarray:
        """Every so many pixels, with which `wct_jax.video.cuts` would begin."""
        step = max(1, max(self._stored) // _GLANCE)
        width, height = (max(1, side // step) for side in self._stored)
        return _upright(self._glanced.convert(frame, width, height)[0], self._matrix)

    def _load(self, frame: Any) -> tuple[np.ndarray, np.ndarray | None]:
        pixels, alpha = self._color.convert(frame, *self._stored)
        return _upright(pixels, self._matrix), None if alpha is None else _upright(alpha, self._matrix)

    def _all(self) -> Generator[Any]:
        with opened(self.path) as container:
            yield from self._decoded(container, container.streams[self.video_stream])

    def _found(self) -> Generator[Any]:
        """Decode from the keyframe before `start`, or everything where the file cannot be searched."""
        assert self.start is not None
        with opened(self.path) as container:
            stream = container.streams[self.video_stream]
            with contextlib.suppress(av.error.FFmpegError):
                container.seek(int(self.start / self.time_base), stream=stream)
                frames = self._decoded(container, stream)
                first = next(frames, None)
                if first is not None and first.pts is not None and first.pts * self.time_base <= self.start:
                    yield first
                    yield from frames
                    return
        yield from self._all()

    def _decoded(self, container: Any, stream: Any) -> Generator[Any]:
        decoder = stream.codec_context
        if _has_alpha(stream) and stream.codec.canonical_name in _ALPHA_DECODERS:
            decoder = av.CodecContext.create(_ALPHA_DECODERS[stream.codec.canonical_name], "r")
            decoder.extradata = stream.codec_context.extradata
        decoder.thread_type = "AUTO"
        seen, broken = self._first, False
        packets = container.demux(stream)
        while True:
            packet, frames = None, []
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, OSError):
                broken = True
            torn = packet.is_corrupt if packet and packet.size else broken
            # Players go on after a damaged frame; only if none follows does the film break off here.
            try:
                frames = decoder.decode(packet if packet and packet.size else None)
            except av.error.EOFError:
                pass
            except av.error.FFmpegError:
                torn = True
            for frame in frames:
                if frame.pts is not None:
                    seen = (frame.pts + frame.duration) * self.time_base
                yield frame
            broken = torn
            if packet is None or not packet.size:
                break
        if broken or _is_cut(self.path, stream):
            raise ValueError(f"{self.path} breaks off at {float(seen):.2f} s: the file is damaged or cut short")


def _is_cut(path: str, stream: Any) -> bool:
    """Whether the file is shorter than it says: by the last pictures' places, or by the size of all in one element."""
    size = os.path.getsize(path)
    if any(entry.pos + entry.size > size for entry in stream.index_entries[-_LAST:]):
        return True
    with open(path, "rb") as file:
        head = file.read(256)
    if head.startswith(b"RIFF"):
        return 8 + int.from_bytes(head[4:8], "little") > size
    start = head.find(_SEGMENT) + len(_SEGMENT)
    if not head.startswith(_EBML) or start < len(_SEGMENT):
        return False
    # The number of zeros that its size begins with is the number of bytes that follow.
    length = 9 - head[start].bit_length()
    rest = int.from_bytes(head[start : start + length], "big") & (1 << 7 * length) - 1
    return rest != (1 << 7 * length) - 1 and start + length + rest > size


def _pick(container: Any, path: str, number: int | None) -> Any:
    """Choose a video stream by its number among them, by default the first that is no cover picture."""
    videos = container.streams.video
    films = [stream for stream in videos if not stream.disposition & _UNTIMED]
    if not films:
        kinds = sorted({stream.type for stream in container.streams}) or ["no stream at all"]
        raise ValueError(f"expected a film, got {path} without a video stream: it has {', '.join(kinds)}")
    if number is None:
        stream = films[0]
    else:
        as_integer("stream", number, 0)
        if number >= len(videos):
            raise ValueError(f"stream must be below {len(videos)}, the number of video streams in {path}, got {number}")
        stream = videos[number]
    if stream.codec_context is None:
        kind = printable(stream.codec_tag.strip("\0"), 20)
        raise ValueError(f"cannot read {path}: there is no decoder for its video stream ({kind or 'an unknown codec'})")
    return stream


def stream_end(stream: Any) -> Fraction | None:
    """The time in seconds at which a stream ends, where the file states it for the stream."""
    if stream.duration:
        return Fraction((stream.duration + (stream.start_time or 0)) * stream.time_base)
    # FFmpeg writes the end here. Others write the duration, which is not more.
    clock = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    return int(clock[1]) * 3600 + int(clock[2]) * 60 + Fraction(clock[3]) if clock else None


def _has_alpha(stream: Any) -> bool:
    return any(key.lower() == "alpha_mode" and value == "1" for key, value in stream.metadata.items())


def _matrix(frame: Any) -> np.ndarray:
    """The part of the display matrix that turns and mirrors: rows are where the stored axes x and y point."""
    data = frame.side_data.get("DISPLAYMATRIX")
    matrix = np.frombuffer(bytes(data), np.int32).reshape(3, 3)[:2, :2] if data else np.eye(2, dtype=np.int32)
    return matrix.astype(np.int64) if matrix.any() else np.eye(2, dtype=np.int64)


def _upright(array: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Turn an array `[H, W, ...]` as the display matrix says, to the nearest quarter."""
    (a, b), (c, d) = matrix
    if abs(a) < abs(b):
        array, a, d = array.swapaxes(0, 1), c, b
    array = array[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    return np.ascontiguousarray(array)

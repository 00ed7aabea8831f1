"""Joining lossless segments to an animated picture, or to a file for each frame."""

import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from wct_jax.pictures.output import write_picture
from wct_jax.pictures.picture import Picture
from wct_jax.video.files.form import Form
from wct_jax.video.files.pyav import av
from wct_jax.video.files.segments import written
from wct_jax.video.files.stream import opened, stream_end

Segments = Sequence[str | os.PathLike[str]]
# A GIF's clock, and the shortest time that browsers show a frame for.
_GIF_CLOCK, _GIF_LEAST = Fraction(1, 100), 2
_WEBP_CLOCK = Fraction(1, 1000)


def write_pictures(segments: Segments, pattern: str, form: Form) -> None:
    """Write each frame to a file of its own, counted from 1.

    Raises:
        ValueError: A segment cannot be read, or a file cannot be written.
    """
    os.makedirs(os.path.dirname(pattern) or ".", exist_ok=True)
    number = 0
    for segment in segments:
        for frame in _frames(segment):
            number += 1
            values = frame.to_ndarray(format="rgba" if form.alpha else "rgb24").astype(np.float32) / 255
            write_picture(pattern % number, Picture(values[..., :3], values[..., 3] if form.alpha else None))


def write_animated(segments: Segments, target: str | os.PathLike[str], form: Form) -> tuple[str, ...]:
    """Write a GIF, with a palette for each segment, or an animated WebP, that begins at 0 and repeats for ever.

    Returns:
        Sentences to show to a person.

    Raises:
        ValueError: A segment cannot be read, or the file cannot be written.
    """
    gif = form.suffix == ".gif"
    clock, least = (_GIF_CLOCK, _GIF_LEAST) if gif else (_WEBP_CLOCK, 1)
    times, last = _times(segments)
    ticks = [round((time - times[0]) / clock) for time in times]
    slowed = False
    for index in range(1, len(ticks)):
        slowed |= ticks[index] < ticks[index - 1] + least
        ticks[index] = max(ticks[index], ticks[index - 1] + least)
    final = max(round(last / clock), least)
    options = {"loop": "0"} | ({"final_delay": str(final)} if gif else {})
    with written(target, "gif" if gif else "webp", clock, options) as container:
        encoder, extra = ("gif", {}) if gif else ("libwebp_anim", {"quality": str(form.quality), "loop": "0"})
        stream = container.add_stream(encoder, rate=form.frame_rate, options=extra)
        context = stream.codec_context
        (context.width, context.height), context.time_base = form.stored, clock
        context.pix_fmt = "pal8" if gif else "bgra"
        position = 0
        for segment in segments:
            for frame in _palettized(segment) if gif else _frames(segment):
                frame = frame if gif else frame.reformat(format="bgra")
                ahead = ticks[position + 1] if position + 1 < len(ticks) else ticks[position] + final
                frame.pts, frame.time_base, frame.duration = ticks[position], clock, ahead - ticks[position]
                container.mux(stream.encode(frame))
                position += 1
        for packet in stream.encode(None):
            container.mux(packet if gif else _mended(packet, form.alpha, ticks[-1] + final))
    return ("GIF holds at most 50 frames a second: this film, which has more, plays slower.",) if gif and slowed else ()


def _mended(packet: Any, alpha: bool, total: int) -> Any:
    """Complete a WebP, which comes as one packet, by what its encoder leaves out.

    That is the alpha if it never changes, and for how long the last frame is shown, which it guesses.
    """
    data = bytearray(bytes(packet))
    frames, position = [], 12
    while position < len(data):
        if data[position : position + 4] == b"ANMF":
            frames.append(slice(position + 20, position + 23))
        elif data[position : position + 4] == b"VP8X" and alpha:
            data[position + 8] |= 16
        size = int.from_bytes(data[position + 4 : position + 8], "little")
        position += 8 + size + size % 2
    if frames:
        before = sum(int.from_bytes(data[span], "little") for span in frames[:-1])
        data[frames[-1]] = (total - before).to_bytes(3, "little")
    mended = av.Packet(bytes(data))
    mended.stream, mended.pts, mended.dts, mended.time_base = packet.stream, packet.pts, packet.dts, packet.time_base
    return mended


def _frames(segment: str | os.PathLike[str]) -> Iterator[Any]:
    with opened(os.fspath(segment)) as container:
        yield from container.decode(video=0)


def _times(segments: Segments) -> tuple[list[Fraction], Fraction]:
    """The times of all frames, and how long the last is shown."""
    times, end = [], Fraction(0)
    for segment in segments:
        with opened(os.fspath(segment)) as container:
            times += [packet.pts * packet.time_base for packet in container.demux(video=0) if packet.size]
            end = stream_end(container.streams.video[0]) or times[-1]
    return times, end - times[-1]


def _palettized(segment: str | os.PathLike[str]) -> Iterator[Any]:
    """Yield a segment's frames in the 256 colours that suit it best."""
    first = next(_frames(segment))
    palette: Any = av.filter.Graph()
    use: Any = av.filter.Graph()
    source = palette.add_buffer(template=first, format="bgra", time_base=first.time_base)
    palette.link_nodes(
        source, palette.add("palettegen", "reserve_transparent=1"), palette.add("buffersink")
    ).configure()
    for frame in _frames(segment):
        palette.push(frame.reformat(format="bgra"))
    palette.push(None)
    colors = palette.pull()

    source = use.add_buffer(template=first, format="bgra", time_base=first.time_base)
    table = use.add_buffer(template=colors, format=colors.format.name, time_base=first.time_base)
    # Ordered dithering stands still from frame to frame.
    mapped = use.add("paletteuse", "dither=bayer:bayer_scale=3")
    source.link_to(mapped, 0, 0)
    table.link_to(mapped, 0, 1)
    mapped.link_to(use.add("buffersink"))
    use.configure()
    colors.pts = first.pts
    table.push(colors)
    table.push(None)
    for frame in _frames(segment):
        source.push(frame.reformat(format="bgra"))
        yield use.pull()

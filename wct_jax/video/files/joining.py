"""Joining segments to a film, with everything else of its source."""

import heapq
import itertools
import math
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

from wct_jax.video.files.animated import write_animated, write_pictures
from wct_jax.video.files.film import Film
from wct_jax.video.files.form import Form, sequence_pattern
from wct_jax.video.files.pyav import av
from wct_jax.video.files.segments import tag, written
from wct_jax.video.files.stream import opened, stream_end

_FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
# Of the file, not of the film.
_OWN = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration", "alpha_mode"}


def join(
    segments: Sequence[str | os.PathLike[str]], film: Film, target: str | os.PathLike[str], form: Form
) -> tuple[str, ...]:
    """Join segments to a film, whole or not at all, and copy the source's sound, subtitles, chapters and metadata.

    Every frame keeps the time that it was written with. If the film was opened with a `start`, the result begins at 0,
    and of the rest only what lies in `start`..`end` is copied.

    Args:
        segments: The files that `write_segment` wrote, in order.
        film: The source of the frames.
        target: The file, pattern or folder to write.
        form: The form that the segments were written in.

    Returns:
        Sentences to show to a person, such as that the container could not hold a stream.

    Raises:
        ValueError: There is no segment, they have different forms, or something cannot be read or written.
    """
    if not segments:
        raise ValueError(f"cannot write {target}: expected at least one segment, got none")
    if form.sequence:
        write_pictures(segments, str(sequence_pattern(target)), form)
        return form.notes
    if form.suffix not in _FORMATS:
        return form.notes + write_animated(segments, target, form)
    if film.video_stream is None:
        return form.notes + _mux(segments, film, None, target, form, {})
    left_out: dict[int, str] = {}
    while True:
        try:
            with opened(film.path) as source:
                return form.notes + _mux(segments, film, source, target, form, left_out)
        except _UnfitError as error:
            left_out |= dict.fromkeys(error.streams, error.reason)


class _UnfitError(Exception):
    """Copied streams could not be written, for a reason."""

    def __init__(self, streams: Sequence[int], reason: str) -> None:
        super().__init__(reason)
        self.streams, self.reason = streams, reason


def _mux(
    segments: Sequence[str | os.PathLike[str]],
    film: Film,
    source: Any,
    target: str | os.PathLike[str],
    form: Form,
    left_out: dict[int, str],
) -> tuple[str, ...]:
    notes: list[str] = []
    streams = [] if source is None else [stream for stream in source.streams if stream.type in ("audio", "subtitle")]
    clock = math.lcm(form.time_base.denominator, *(stream.time_base.denominator for stream in streams))
    # QuickTime's clock has 32 bits.
    unit = Fraction(1, clock) if clock < 2**31 else form.time_base
    options = {"movflags": "+faststart"} if _FORMATS[form.suffix] in ("mp4", "mov") else {}
    with written(target, _FORMATS[form.suffix], unit, options) as result:
        with opened(os.fspath(segments[0])) as first:
            template = first.streams.video[0]
            video = result.add_stream_from_template(template, opaque=True)
            extradata = template.codec_context.extradata
            begin = next(_packets(first, [template])).pts * template.time_base
        video.time_base = form.time_base
        video.codec_context.sample_aspect_ratio = form.stored_aspect
        tag(video.codec_context, form, _FORMATS[form.suffix])
        if form.alpha and form.codec == "vp9":
            video.metadata["alpha_mode"] = "1"
        shift = begin if film.start is not None else Fraction(0)
        copies = {}
        for stream in streams:
            reason = left_out.get(stream.index, f"{form.suffix} files cannot hold it")
            try:
                if stream.index not in left_out:
                    copies[stream.index] = _copy(result, stream)
                    continue
            except (ValueError, av.error.FFmpegError):
                pass
            kind = "sound" if stream.type == "audio" else "subtitle"
            notes.append(f"A {kind} stream ({stream.name or 'of an unknown codec'}) was left out: {reason}.")
        if source is not None:
            video.metadata.update(_lasting(source.streams[film.video_stream].metadata))
            result.metadata.update(_lasting(source.metadata))
            result.set_chapters(_chapters(source.chapters(), shift, film))
            notes += _attach(result, source, form)
        frames, others = _joined(segments, video, extradata, shift), _copied(source, copies, film, shift, notes)
        for _, packet in heapq.merge(frames, others, key=lambda timed: timed[0]):
            index = next((index for index, copy in copies.items() if copy.index == packet.stream_index), None)
            try:
                result.mux(packet)
            except av.error.OSError:
                raise
            except av.error.FFmpegError as error:
                if not copies:
                    raise
                # Muxers write packets later, and in another order, than they come.
                unfit = list(copies) if index is None else [index]
                raise _UnfitError(unfit, f"it is damaged ({error.strerror})") from None
    return tuple(notes)


def _copy(result: Any, stream: Any) -> Any:
    if stream.codec_context is None or (stream.type == "audio" and not stream.codec_context.sample_rate):
        raise ValueError("there is no decoder")
    copy = result.add_stream_from_template(stream)
    copy.metadata.update(_lasting(stream.metadata))
    copy.disposition = stream.disposition
    return copy


def _joined(
    segments: Sequence[str | os.PathLike[str]], video: Any, extradata: bytes | None, shift: Fraction
) -> Iterator[tuple[Fraction, Any]]:
    last = None
    for segment in segments:
        with opened(os.fspath(segment)) as container:
            stream = container.streams.video[0]
            if stream.codec_context.extradata != extradata:
                raise ValueError(f"expected segments of one form, got {segment}, which differs from the first")
            end = stream_end(stream)
            for packet, following in itertools.pairwise([*_packets(container, [stream]), None]):
                time = packet.pts * stream.time_base
                if last is not None and time <= last:
                    raise ValueError(f"expected segments in order, got a frame at {float(time):g} s in {segment}")
                last = time
                if following is None and end is not None:
                    # Matroska says for how long only at the end of the file.
                    packet.duration = round((end - time) / stream.time_base)
                packet.pts = packet.dts = packet.pts - round(shift / stream.time_base)
                packet.stream = video
                yield time - shift, packet


def _copied(
    source: Any, copies: dict[int, Any], film: Film, shift: Fraction, notes: list[str]
) -> Iterator[tuple[Fraction, Any]]:
    if not copies:
        return
    packets = _packets(source, [source.streams[index] for index in copies])
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError as error:
            notes.append(f"Sound and subtitles end where the file is damaged ({error.strerror}).")
            return
        if packet is None:
            return
        if packet.size == 2 and packet.stream.name == "mov_text" and copies[packet.stream_index].name == "mov_text":
            continue  # An end of text, which the muxer writes anew.
        base = packet.time_base
        time = (packet.pts if packet.pts is not None else packet.dts or 0) * base
        if (film.start is not None and time < shift) or (film.end is not None and time >= film.end):
            continue
        moved = round(shift / base)
        packet.pts = None if packet.pts is None else packet.pts - moved
        packet.dts = None if packet.dts is None else packet.dts - moved
        packet.stream = copies[packet.stream_index]
        yield time - shift, packet


def _packets(container: Any, streams: Sequence[Any]) -> Iterator[Any]:
    return (packet for packet in container.demux(*streams) if packet.size)


def _chapters(chapters: list[Any], shift: Fraction, film: Film) -> list[Any]:
    """Move chapters to the result's times, without those that lie outside."""
    if film.start is None and film.end is None:
        return chapters
    unit, moved = Fraction(1, 1000), []
    for chapter in chapters:
        start, end = chapter["start"] * chapter["time_base"], chapter["end"] * chapter["time_base"]
        start, end = max(start - shift, Fraction(0)), (end if film.end is None else min(end, film.end)) - shift
        if end > start:
            moved.append({**chapter, "start": round(start / unit), "end": round(end / unit), "time_base": unit})
    return moved


def _attach(result: Any, source: Any, form: Form) -> list[str]:
    """Copy attachments, such as the fonts of subtitles, to Matroska, which alone has them."""
    attachments = source.streams.attachments
    if attachments and form.suffix != ".mkv":
        return [f"The attachments were left out: {form.suffix} files cannot hold them."]
    for stream in attachments:
        result.add_attachment(stream.name or "", stream.mimetype or "application/octet-stream", stream.data)
    return []


def _lasting(metadata: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in metadata.items() if key.lower() not in _OWN}

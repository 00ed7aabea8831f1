"""Repainting films: decoded, painted and encoded at the same time, segment by segment."""

import contextlib
import dataclasses
import functools
import hashlib
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import jax
import numpy as np

import wct_jax
from wct_jax.networks.model import Model
from wct_jax.painting.options import Options
from wct_jax.painting.style import Style
from wct_jax.pictures.pixels import resized
from wct_jax.studio.frames import FramePainter
from wct_jax.studio.progress import Progress, reporter
from wct_jax.studio.request import Look, Request
from wct_jax.studio.session import Session
from wct_jax.studio.sources import Source
from wct_jax.system.atomic import check_target
from wct_jax.video.ahead import ahead
from wct_jax.video.brush import Brush, Steadiness
from wct_jax.video.files.film import Film, Frame, open_film
from wct_jax.video.files.form import Form
from wct_jax.video.files.frames import Glance
from wct_jax.video.files.joining import join
from wct_jax.video.files.sequence import check_apart
from wct_jax.video.masks import masked, open_mask
from wct_jax.video.sizes import glances, sized
from wct_jax.video.survey import Segment, Survey, survey
from wct_jax.video.turns import Turns
from wct_jax.video.unfinished import Unfinished
from wct_jax.video.writing import write_segments


@dataclass(frozen=True)
class Report:
    """What was done.

    Attributes:
        frames: Number of frames.
        shots: Number of shots.
        painted: Number of frames that this run painted; the others were there before.
        seconds: Time that this run took.
        notes: Sentences that a person should know about the film.
    """

    frames: int
    shots: int
    painted: int
    seconds: float
    notes: tuple[str, ...]


def stylize_video(
    session: Session,
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    style: Look | Source | Style | None = None,
    options: Options = Options(),
    *,
    steadiness: Steadiness = Steadiness(),
    style_at: Sequence[Fraction] = (),
    moving_masks: bool = False,
    alpha_map: Source | None = None,
    strength: Source | None = None,
    structure: Source | None = None,
    start: float | Fraction | None = None,
    end: float | Fraction | None = None,
    stream: int | None = None,
    fps: float | Fraction | None = None,
    codec: str | None = None,
    quality: int | None = None,
    devices: Sequence[jax.Device] | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    cancel: Callable[[], bool] | None = None,
) -> Report:
    """Repaint a film, and keep its sound and everything else that it holds.

    The film is surveyed first, for its shots and the statistics of each. A run that was broken off goes on where it
    was when it is called again with the same arguments, and its frames are those of an unbroken run.

    >>> session = Session("compact")  # doctest: +SKIP
    >>> stylize_video(session, "film.mp4", "painted.mp4", "picture.jpg").frames  # doctest: +SKIP
    250

    Args:
        session: The session that paints.
        source: The film, see `open_film`.
        target: The file of the result, whose suffix says its kind.
        style: A picture, a style file, a style, a `Look` for several, or None with `whiten_only`; see `Session.paint`.
        options: Options of the painting.
        steadiness: How the frames are kept from flickering.
        style_at: For each style the time in seconds when it is alone; it turns into the next by the time of that. The
            statistics are then a moving average, over a second unless `steadiness` says otherwise. Empty for a look
            that stays.
        moving_masks: Whether the look's masks are films or sequences of pictures, which are read frame by frame beside
            the film. The statistics are then a moving average as for `style_at`.
        alpha_map: A grey picture of alpha at each pixel of all frames, as of a `Request`.
        strength: A grey picture in place of the options' strength.
        structure: A grey picture in place of the options' structure.
        start: See `open_film`.
        end: See `open_film`.
        stream: See `open_film`.
        fps: See `open_film`.
        codec: See `Form.of`.
        quality: See `Form.of`.
        devices: Devices that share the frames of a shot, unless the statistics are a moving average; None for all GPUs
            or TPUs of this process, or one CPU.
        resume: Whether to refuse to begin anew where no run with the same arguments was broken off.
        progress: Called with "survey" or "frames", the number of frames done, and their number or an estimate.
        cancel: Called between frames to ask whether to stop.

    Raises:
        ValueError: The film cannot be read, painted or written, or `target` is the film; or with `resume`, there is
            nothing to go on with.
        Cancelled: `cancel` returned True.
    """
    began, tell = time.monotonic(), reporter(progress, cancel)
    look = style if isinstance(style, Look) else Look(() if style is None else (style,))
    moving = look.masks if moving_masks else ()
    for path in (source, *moving):
        check_apart(path, target)
    part: dict[str, Any] = {"stream": stream, "fps": fps, "end": end}
    with open_film(source, start=start, **part) as film, contextlib.ExitStack() as opened:
        size = film.width, film.height
        if options.content_size:
            size = resized(size, options.content_size)
        form = Form.of(film, target, codec=codec, quality=quality, size=size)
        masks = [opened.enter_context(open_mask(mask, film)) for mask in moving]
        if moving:
            # A region may be in any of the frames, or in none of those that a survey would learn from.
            look = dataclasses.replace(look, masks=tuple(np.ones(size[::-1], np.float32) for _ in masks))
        if not form.sequence:
            check_target(target)
        request = Request(os.fspath(source), look, options, alpha_map, strength, structure)
        turns = Turns.of(session, request, size[::-1], style_at)
        if (style_at or moving) and steadiness.seconds is None:
            steadiness = dataclasses.replace(steadiness, seconds=1.0)
        settings = {"part": repr((part, start, style_at)), "form": repr(form), "steadiness": repr(steadiness)}
        unfinished = Unfinished(target, settings | _identity([film, *masks], turns.painters), resume)
        known = _surveyed(glances(film, size, masks), film, turns.painters[0], steadiness, unfinished, tell)
        segments = known.segments
        paths = [unfinished.segment(number) for number in range(len(segments))]
        done = next((number for number, path in enumerate(paths) if not path.is_file()), len(paths))
        begin = segments[done].first if done < len(paths) else len(known.times)
        brush = Brush(turns, steadiness, _accelerators(session.model) if devices is None else devices)
        if 0 < done < len(paths):
            brush.carry_on(unfinished.read_state(done - 1))
        after = known.times[begin] if 0 < begin < len(known.times) else start
        with (
            open_film(source, start=after, **part) as rest,
            contextlib.closing(ahead(masked(sized(rest, size), masks, begin))) as frames,
        ):
            made = (
                (
                    paths[number],
                    _painted(
                        brush,
                        segments[number],
                        frames,
                        lambda n: tell("frames", n, len(known.times)),
                        # Its state before the segment itself, so that a run which finds the segment can go on.
                        functools.partial(unfinished.write_state, number),
                    ),
                )
                for number in range(done, len(segments))
            )
            write_segments(made, form)
        # In the folder, so that what a killed run leaves goes with it.
        whole = target if form.sequence else unfinished.folder / os.path.basename(target)
        notes = (*unfinished.notes, *film.notes, *join(paths, film, whole, form))
    if whole is not target:
        os.replace(whole, os.path.realpath(target))
    unfinished.discard()
    return Report(len(known.times), len(known.shots), len(known.times) - begin, time.monotonic() - began, notes)


def _accelerators(model: Model) -> list[jax.Device]:
    """The GPUs or TPUs of this process, if a model lies on one: several CPU devices would share the same cores."""
    platform = next(iter(jax.tree.leaves(model)[0].devices())).platform
    return [] if platform == "cpu" else jax.local_devices(backend=platform)


def _surveyed(
    glances: Iterable[Glance],
    film: Film,
    painter: FramePainter,
    steadiness: Steadiness,
    unfinished: Unfinished,
    tell: Progress,
) -> Survey:
    """The survey of a film, from the run before if that made it."""
    known = unfinished.read_survey()
    if known is not None:
        return known
    learn = painter.learn if steadiness.seconds is None else None
    try:
        with contextlib.closing(ahead(glances)) as passing:
            known = survey(passing, learn, lambda count: tell("survey", count, film.frame_count or count))
        if not known.times:
            raise ValueError(f"there are no frames in this part of {film.path}")
    except BaseException:
        unfinished.discard()
        raise
    unfinished.write_survey(known)
    return known


def _painted(
    brush: Brush,
    segment: Segment,
    frames: Iterator[Frame],
    tell: Callable[[int], None],
    keep: Callable[[dict[str, np.ndarray]], None],
) -> Generator[Frame]:
    if segment.is_fresh:
        brush.begin()
    own = (next(frames) for _ in range(segment.first, segment.last))
    # The next frame is painted while one is made steady.
    with contextlib.closing(ahead(brush.paint_all(own, segment.shot), waiting=1)) as painted:
        for number, (frame, pixels) in enumerate(painted, segment.first + 1):
            yield dataclasses.replace(frame, pixels=brush.steady(frame, pixels))
            tell(number)
    keep(brush.state())


def _identity(films: Iterable[Film], painters: Sequence[FramePainter]) -> dict[str, Any]:
    """What distinguishes a film, its masks and styles, and the networks from all others."""
    files = [(os.path.realpath(path), os.stat(path)) for film in films for path in film.files]
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves([(each.style, dict(each.guides)) for each in painters]):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return {
        "wct_jax": wct_jax.__version__,
        "film": [[path, there.st_size, there.st_mtime_ns] for path, there in files],
        "options": painters[0].options.to_json(),
        "look": digest.hexdigest(),
        "model": painters[0].model.digest,
    }

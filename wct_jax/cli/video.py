"""The command `wct-jax video`: films repainted, with everything else that they hold."""

import argparse
import contextlib
import dataclasses
import functools
import json
import os
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

from wct_jax.cli.command import Parser, file_path, number, positive, run, say, start_jax, tell, whole
from wct_jax.cli.looks import add_looks, add_model, add_styles, several
from wct_jax.system.atomic import atomic_write, check_target
from wct_jax.system.heap import share_heap

_EPILOG = """\
A run that was broken off goes on where it was when the same command is given again. Sound, subtitles, chapters and
metadata are copied as they are."""

_USAGE = "FILM --style PICTURE ... [--output FILE] [options]"
_EXAMPLES = (
    ("a film in the style of a painting; the result is film__painting.mp4", "film.mp4 --style painting.jpg"),
    ("its first ten seconds, small and fast", "film.mp4 --style painting.jpg --to 10 --content-size 360"),
    ("one style that turns into another", "film.mp4 --style day.jpg night.jpg --style-at 0 30"),
)


def make_parser(prog: str | None = None) -> Parser:
    """The command's parser, for a command of this name or that of the process."""
    parser = Parser("Repaint a film in the style of pictures.", _EPILOG, prog, usage=_USAGE, examples=_EXAMPLES)
    _add_films(parser)
    styles = add_styles(parser).add_argument
    styles(
        "--mask-video",
        **several(file_path, "FILM"),
        help="films, or pictures such as 'masks/*.png', in place of --mask: a frame for each of the film's",
    )
    styles(
        "--style-at",
        **several(clock, "T"),
        help="for each style the time when it is alone; it turns into the next by the time of that",
    )
    add_looks(parser)
    _add_steadiness(parser)
    add_model(parser)
    return parser


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Parse the command line and repaint a film.

    Args:
        argv: Arguments; None for the arguments of the process.
        prog: Name of the command; None for the name of the process.
    """
    parser = make_parser(prog)
    arguments = parser.parse_args(argv)
    run(parser, functools.partial(_repaint, arguments, parser.prog), " for frames of this size: try --content-size 512")


def _add_films(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the film, and where the result goes")
    add = group.add_argument
    add("film", type=file_path, metavar="FILM", help="a film, an animated picture, or pictures such as 'frames/*.png'")
    add("--content-size", type=positive, metavar="N", help="resize frames to a short side of N pixels (default: as is)")
    add(
        "-o",
        "--output",
        type=file_path,
        metavar="FILE",
        help="a .mp4, .webm, .mov, .mkv, .gif or .webp, or pictures such as out/%%06d.png (default: FILM__PICTURE.mp4 "
        "by the film)",
    )
    may = group.add_mutually_exclusive_group().add_argument
    may("--overwrite", action="store_true", help="replace a result that exists")
    may(
        "--resume",
        action="store_true",
        help="only go on with a run that was broken off, rather than begin anew where its options were others",
    )
    add("--from", dest="start", type=clock, metavar="T", help="begin at T, in seconds or as in 1:02:03.5")
    add("--to", dest="end", type=clock, metavar="T", help="end before T")
    add("--stream", type=whole(0, 1000), metavar="N", help="the film's Nth video stream, from 0 (default: the first)")
    add("--fps", type=number, metavar="R", help="frames per second of pictures")
    add("--codec", metavar="NAME", help="of the video: h264, hevc, vp9, prores or ffv1 (default: by the suffix)")
    add("--quality", type=whole(0, 100), metavar="Q", help="from 0 to 100, the best (default: 80)")
    add("--report", type=file_path, metavar="FILE", help="write what was done to a .json")


def _add_steadiness(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("against flicker").add_argument
    add(
        "--steady",
        type=number,
        metavar="S",
        help="whiten by a moving average of the statistics over S seconds (default: by those of the whole shot)",
    )
    add(
        "--flow",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="let the paint follow the motion in the film (default: yes)",
    )


def clock(text: str) -> Fraction:
    """An `argparse` type: seconds, or hours, minutes and seconds."""
    match = re.fullmatch(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"expected a time such as 12.5 or 1:02:03, got {text[:40]!r}")
    hours, minutes, seconds = (Fraction(part or 0) for part in match.groups())
    return 3600 * hours + 60 * minutes + seconds


def _repaint(arguments: argparse.Namespace, program: str) -> None:
    from wct_jax.cli.order import look_of, options_of, picture_of
    from wct_jax.cli.progress import progress_bar
    from wct_jax.video.files.form import sequence_pattern
    from wct_jax.video.files.sequence import check_apart

    options, look = options_of(arguments), look_of(arguments, arguments.mask_video or ())
    film, style = arguments.film, look.files[0].stem if look.files else "white"
    target = arguments.output or film.with_name(f"{film.stem}__{style}.mp4")
    check_apart(film, target)
    pattern = sequence_pattern(target)
    first = Path(pattern % 1) if pattern else target
    if os.path.lexists(first) and not (arguments.overwrite or arguments.resume):
        raise ValueError(f"cannot write {first}: it exists, expected --overwrite to replace it or another name")
    if arguments.report and arguments.report.suffix.lower() != ".json":
        raise ValueError(f"--report must be a .json, got {arguments.report}")
    if arguments.report:
        check_target(arguments.report)
    share_heap()
    start_jax()

    from wct_jax.studio.session import Session
    from wct_jax.video.brush import Steadiness
    from wct_jax.video.repainting import stylize_video

    session = Session(arguments.model, keep_compiled=True, note=lambda text: say(f"{program}: {text}"))
    named = {name: getattr(arguments, name) for name in ("start", "end", "stream", "fps", "codec", "quality", "resume")}
    with progress_bar(1) as progress, _advice(program):
        report = stylize_video(
            session,
            arguments.film,
            target,
            look,
            options,
            steadiness=Steadiness(arguments.steady, arguments.flow),
            style_at=tuple(arguments.style_at or ()),
            moving_masks=bool(arguments.mask_video),
            alpha_map=arguments.alpha_map,
            strength=picture_of(arguments, "strength"),
            structure=picture_of(arguments, "structure"),
            progress=progress,
            **named,
        )
    for note in report.notes:
        say(f"{program}: {note}")
    if arguments.report:
        with atomic_write(arguments.report) as scratch:
            scratch.write_text(json.dumps({"output": str(target), **dataclasses.asdict(report)}, indent=2), "utf-8")
    shots = "shot" if report.shots == 1 else "shots"
    rate = report.painted / max(report.seconds, 1e-9)
    tell(f"{target}: {report.frames} frames in {report.shots} {shots}, {report.seconds:.1f} s, {rate:.1f} frames/s")


@contextlib.contextmanager
def _advice(program: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        say(f"{program}: the same command goes on from here")
        raise

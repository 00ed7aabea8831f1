"""The command `wct-jax live`: a camera's picture, painted as it comes."""

import argparse
import contextlib
import dataclasses
import functools
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from wct_jax.cli.command import Parser, file_path, number, positive, run, say, start_jax, tell, whole
from wct_jax.cli.looks import add_looks, add_model, several
from wct_jax.system.atomic import atomic_write, check_target
from wct_jax.system.heap import share_heap

_EPILOG = """\
Keys: a digit takes that style, n the next one, p the one before, q ends. Ctrl-C ends, too, and the film is whole."""

_USAGE = "--style PICTURE ... [--serve] [--output FILE] [options]"
_EXAMPLES = (
    ("paint the first camera, in a page of the browser", "--style painting.jpg --serve"),
    ("two styles to switch between, kept as a film", "--style painting.jpg mosaic.jpg --output party.mp4"),
    ("a film in place of a camera", "--input film.mp4 --style painting.jpg --serve"),
)


def make_parser(prog: str | None = None) -> Parser:
    """The command's parser, for a command of this name or that of the process."""
    description = "Paint what a camera sees in the style of pictures."
    parser = Parser(description, _EPILOG, prog, usage=_USAGE, examples=_EXAMPLES)
    _add_cameras(parser)
    _add_outlets(parser)
    add = parser.add_argument_group("styles").add_argument
    add("--style", **several(file_path, "PICTURE"), help="pictures or style files, to switch between; first the first")
    add("--style-size", type=positive, metavar="N", help="resize pictures to a short side of N pixels (default: as is)")
    add_looks(parser)
    _add_pace(parser)
    add_model(parser)
    parser.set_defaults(mask=None, style_mask=None, style_weights=None)
    return parser


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Parse the command line and paint what a camera sees.

    Args:
        argv: Arguments; None for the arguments of the process.
        prog: Name of the command; None for the name of the process.
    """
    parser = make_parser(prog)
    arguments = parser.parse_args(argv)
    run(parser, functools.partial(_live, arguments, parser.prog), " for a picture of this size: try --content-size 144")


def _add_cameras(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the camera").add_mutually_exclusive_group()
    group.add_argument("--camera", type=whole(0, 1000), metavar="N", help="the number of the camera (default: 0)")
    group.add_argument("--input", type=file_path, metavar="FILE", help="a film that plays the camera, at its own pace")


def _add_outlets(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("where the picture goes, one or more").add_argument
    add("-o", "--output", type=file_path, metavar="FILE", help="a .mp4, .webm, .mov, .mkv, .gif or .webp")
    add("--overwrite", action="store_true", help="replace a film that exists")
    add("--codec", metavar="NAME", help="of the film: h264, hevc, vp9, prores or ffv1 (default: by the suffix)")
    add("--quality", type=whole(0, 100), metavar="Q", help="of the film, from 0 to 100, the best (default: 80)")
    add(
        "--serve",
        nargs="?",
        type=whole(0, 65535),
        const=8080,
        metavar="PORT",
        help="a page for browsers on this machine at http://127.0.0.1:PORT/, 0 for a free port (default: 8080)",
    )
    add("--virtual-camera", action="store_true", help="a camera for other programs, with the package pyvirtualcam")
    add("--report", type=file_path, metavar="FILE", help="write what was done to a .json")


def _add_pace(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("rate and steadiness").add_argument
    add("--fps", type=number, metavar="R", help="frames per second to hold (default: the camera's)")
    add("--content-size", type=positive, metavar="N", help="paint at a short side of N pixels (default: as R allows)")
    add("--steady", type=number, default=0.5, metavar="S", help="average the statistics over S seconds (default: 0.5)")
    add(
        "--flow",
        action=argparse.BooleanOptionalAction,
        help="let the paint follow the motion in the picture (default: if it costs neither rate nor size)",
    )


def _live(arguments: argparse.Namespace, program: str) -> None:
    from wct_jax.cli.order import look_of, options_of
    from wct_jax.studio.request import Look

    _check(arguments)
    options, look = options_of(arguments), look_of(arguments)

    from wct_jax.video.live.camera import Device, Player

    with Player(arguments.input) if arguments.input else Device(arguments.camera or 0) as camera:
        share_heap()
        start_jax()

        from wct_jax.studio.session import Session
        from wct_jax.video.live.live import Live

        session = Session(arguments.model, keep_compiled=True, note=lambda text: say(f"{program}: {text}"))
        looks = [Look((file,)) for file in look.files]
        fps, steady, flow = arguments.fps, arguments.steady, arguments.flow
        live = Live(session, camera, looks, options, fps=fps, seconds=steady, follow=flow)
        with _ending(live) as ended, _showing(live, ended.is_set):
            report = live.run(_outlets(arguments, live, program))
    if not report.frames:
        raise ValueError("no frame was painted before the end")
    if arguments.report:
        with atomic_write(arguments.report) as scratch:
            scratch.write_text(json.dumps(dataclasses.asdict(report), indent=2), "utf-8")
    rate = report.frames / max(report.seconds, 1e-9)
    text = f"{report.frames} frames, {report.missed} left out, {rate:.1f} frames/s, {1000 * report.latency:.0f} ms late"
    tell(f"{arguments.output}: {text}" if arguments.output else text)


def _check(arguments: argparse.Namespace) -> None:
    from wct_jax.pictures.scan import is_many

    if not (arguments.output or arguments.serve is not None or arguments.virtual_camera):
        raise ValueError("expected --output, --serve or --virtual-camera, got none")
    if arguments.output and os.path.lexists(arguments.output) and not arguments.overwrite:
        path = arguments.output
        raise ValueError(f"cannot write {path}: it exists, expected --overwrite to replace it or another name")
    if arguments.report:
        if arguments.report.suffix.lower() != ".json":
            raise ValueError(f"--report must be a .json, got {arguments.report}")
        check_target(arguments.report)
    if arguments.fps is not None and not 0.1 <= arguments.fps <= 1000:
        raise ValueError(f"--fps must be from 0.1 to 1000, got {arguments.fps:g}")
    for path in arguments.style or []:
        if is_many(path):
            raise ValueError(f"--style takes files to switch between, got a folder or pattern, {path}")
    maps = [name for name in ("strength", "structure") if isinstance(_only(getattr(arguments, name)), Path)]
    if maps or arguments.alpha_map:
        name = maps[0] if maps else "alpha-map"
        raise ValueError(f"--{name} takes a number for a live picture, which changes its size, got a picture")


def _only(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value


def _outlets(arguments: argparse.Namespace, live: Any, program: str) -> list[Any]:
    from wct_jax.video.live.broadcast import Broadcast
    from wct_jax.video.live.outlets import Recording, VirtualCamera

    outlets: list[Any] = []
    if arguments.output:
        named = {"codec": arguments.codec, "quality": arguments.quality}
        outlets.append(Recording(arguments.output, live.size, live.frame_rate, **named))
    if arguments.virtual_camera:
        outlets.append(VirtualCamera(live.size, live.frame_rate))
    if arguments.serve is not None:
        names = [os.path.basename(name) for name in live.styles]
        broadcast = Broadcast(arguments.serve, names, live.switch, lambda: dataclasses.asdict(live.report()))
        outlets.append(broadcast)
        say(f"{program}: http://127.0.0.1:{broadcast.port}/")
    return outlets


@contextlib.contextmanager
def _ending(live: Any) -> Iterator[threading.Event]:
    """Stop on the first Ctrl-C, or when the process is asked to end; the second ends it at once."""
    ended = threading.Event()
    before: dict[int, Any] = {}

    def end(which: int, _: object) -> None:
        restore()
        ended.set()
        live.stop()
        if not live.report().frames:  # Nothing is lost, and compiling may take long.
            time.sleep(0.3)  # Until the terminal is as it was before `keys`.
            signal.raise_signal(which)

    def restore() -> None:
        for which, handler in before.items():
            signal.signal(which, handler)

    if threading.current_thread() is threading.main_thread():
        for which in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(which) not in (signal.SIG_IGN, None):
                before[which] = signal.signal(which, end)
    try:
        yield ended
    finally:
        restore()


@contextlib.contextmanager
def _showing(live: Any, ended: Callable[[], bool]) -> Iterator[None]:
    """Show how the picture is doing on one line of the terminal, and listen to keys."""
    from rich.console import Console
    from rich.live import Live as Line

    from wct_jax.cli.keys import keys

    def pressed(key: str) -> None:
        if key == "q":
            live.stop()
        elif key in ("n", "p"):
            live.step(1 if key == "n" else -1)
        elif key.isdigit() and 1 <= int(key) <= len(live.styles):
            live.switch(int(key) - 1)

    def line() -> Any:
        from rich.text import Text

        now = live.report()
        if not now.frames:
            return Text("compiling, and measuring how long painting takes")
        name = os.path.basename(live.styles[now.style - 1])
        return Text(
            f"{now.frame_rate:.1f} frames/s, {1000 * now.latency:.0f} ms late, painted at {now.size[0]} x {now.size[1]}"
            f"{', with flow' if now.follow else ''}, style {now.style}: {name}",
            no_wrap=True,
            overflow="ellipsis",
        )

    console = Console(stderr=True)
    with contextlib.ExitStack() as stack:
        if console.is_terminal:
            shown = Line(get_renderable=line, console=console, refresh_per_second=4, redirect_stdout=False)
            stack.enter_context(shown)
        stack.enter_context(keys(pressed, ended))
        yield

"""The work of `stylize.py`: read, stylize, write, for one result or many."""

import argparse
import gc
import os
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from wct_jax.cli.command import is_out_of_memory, say, start_jax, tell
from wct_jax.cli.order import Order, order_of
from wct_jax.cli.progress import Report, progress_bar
from wct_jax.cli.streams import STANDARD
from wct_jax.cli.terms import in_flags

if TYPE_CHECKING:
    from wct_jax.studio.jobs import Job
    from wct_jax.studio.session import Session


def repaint(arguments: argparse.Namespace, program: str) -> None:
    """Make the results of a command line.

    Args:
        arguments: The command line's arguments.
        program: Name of the command, which begins its notes.

    Raises:
        ValueError: Anything a user can get wrong, after those of several results that can be made were made.
    """
    start = time.perf_counter()
    order = order_of(arguments)

    def note(text: str) -> None:
        say(f"{program}: {text}")

    for text in order.notes:
        note(text)
    start_jax()

    # Late, so that a mistyped name is reported before JAX has loaded.
    from wct_jax.studio.contact import draw_sheet
    from wct_jax.studio.limits import Limits
    from wct_jax.studio.session import Session

    # Python would look through all that was imported for garbage, again and again while JAX traces: 0.2 s.
    gc.freeze()
    max_pixels = None if arguments.max_megapixels is None else arguments.max_megapixels * 10**6
    limits = Limits(arguments.memory, arguments.tile, max_pixels)
    # Unfinished images go where the results go, since there is room for these.
    folder = order.jobs[0].output.parent if order.jobs else None
    session = Session(arguments.model, limits, folder=folder, keep_compiled=True, note=note)
    if order.request:
        session.resolve(order.request)
    with progress_bar(len(order.jobs)) as report:
        if arguments.save_style and order.look and not _is_left(arguments, arguments.save_style):
            _save_style(arguments, order, session)
        made, failures = _make_all(arguments, order, session, report)
    for failure in dict.fromkeys(failures):
        note(failure)
    there = [job for job in order.jobs if job.output.is_file()]
    if arguments.sheet and there and not _is_left(arguments, arguments.sheet):
        draw_sheet(arguments.sheet, there, max_pixels)
        tell(f"{arguments.sheet}: a sheet of {len(there)} results")
    if not order.many:
        return
    before = f" ({len(there) - made} of them there before)" if len(there) > made else ""
    spent = time.perf_counter() - start
    tell(f"{arguments.output}: {len(there)} of {len(order.jobs)} results{before}, {spent:.1f} s")
    if failures:
        raise ValueError(f"{len(failures)} of {len(order.jobs)} results could not be made, for what is said above")


def _is_left(arguments: argparse.Namespace, path: "os.PathLike[str]") -> bool:
    """Whether an existing file is left as it is; say so if it is."""
    left = bool(arguments.skip_existing) and os.path.lexists(path)
    if left:
        say(f"{path}: there before, and left")
    return left


def _save_style(arguments: argparse.Namespace, order: Order, session: "Session") -> None:
    from wct_jax.networks.vgg import LAYERS, deepest_first
    from wct_jax.painting.style_file import save_style

    assert order.look
    style = session.style(order.opened(order.look), order.options)
    save_style(arguments.save_style, style)
    report = say if arguments.output == STANDARD else tell
    report(f"{arguments.save_style}: the style at {', '.join(deepest_first(set(LAYERS) & set(style.moments)))}")


def _make_all(arguments: argparse.Namespace, order: Order, session: "Session", report: Report) -> tuple[int, list[str]]:
    """Make the results; return how many were made, and why the others of several failed."""
    failures: list[str] = []
    made, jobs, many = 0, order.jobs, order.many
    if many:
        os.makedirs(arguments.output, exist_ok=True)
    for number, job in enumerate(jobs):
        if arguments.skip_existing and job.output != STANDARD and os.path.lexists(job.output):
            if not many:
                tell(f"{job.output}: there before, and left")
            continue

        def report_one(name: str, done: int, total: int, number: int = number) -> None:
            report(f"{number + 1}/{len(jobs)} {name}" if many else name, number * total + done, len(jobs) * total)

        try:
            _make(arguments, order, job, session, report_one)
            made += 1
        except Exception as error:
            if not many or not (isinstance(error, ValueError | OSError) or is_out_of_memory(error)):
                raise
            small = f"there is not enough memory for {job.output}: make it smaller, as with --content-size 512"
            failures.append(small if is_out_of_memory(error) else in_flags(error))
    return made, failures


def _make(arguments: argparse.Namespace, order: Order, job: "Job", session: "Session", report: Report) -> None:
    from wct_jax.painting.plan import per_layer
    from wct_jax.pictures.output import check_output, write_picture

    start = time.perf_counter()
    request = order.request_of(job)
    options = request.options if arguments.lut else session.resolve(request)
    if arguments.lut:
        from wct_jax.photo.cube import read_lut

        picture = session.look_up(request, read_lut(arguments.lut))
    else:
        picture = session.serve(request, progress=report)
    if arguments.save_lut and not _is_left(arguments, arguments.save_lut):
        from wct_jax.photo.cube import write_lut

        write_lut(arguments.save_lut, session.lut_of(request, picture))
        (say if job.output == STANDARD else tell)(f"{arguments.save_lut}: the change of colours, as a table")
    if arguments.no_settings:
        picture = replace(picture, metadata=replace(picture.metadata, settings=""))
    if job.output == STANDARD:
        write_picture(sys.stdout.buffer, picture)
    else:
        # Again, since others may have written it meanwhile.
        check_output(job.output, arguments.overwrite)
        write_picture(job.output, picture)
    height, width = picture.pixels.shape[:2]
    # All of the layers need no mention.
    every = order.options.layers is None and not options.whiten_only
    layers = () if every or not options.layers else per_layer("alpha", options.layers, options.alpha)
    names = ", ".join(layer for layer, _ in layers)
    of = f"of {job.content}" if order.many and job.content else ""
    facts = filter(None, (of, f"{width} x {height} pixels", names, f"{time.perf_counter() - start:.1f} s"))
    report_to = say if job.output == STANDARD else tell
    report_to(f"{job.output}: {', '.join(facts)}")

"""The work of `stylize.py`: read, stylize, write, for one result or many."""

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from wct_jax.cli.command import is_out_of_memory, tell
from wct_jax.cli.order import order_of

if TYPE_CHECKING:
    from wct_jax.batch import Job, Look
    from wct_jax.cli.studio import Studio

Report = Callable[[str, int, int], None]


def repaint(arguments: argparse.Namespace, program: str) -> None:
    """Make all that was asked for.

    Args:
        arguments: Of the command line.
        program: What the command is called, for what it has to say on the way.

    Raises:
        ValueError: Anything a user can get wrong. Of several results those that can be made are made first.
    """
    start = time.perf_counter()
    order = order_of(arguments)

    # Late, since JAX takes its time and a mistyped name should not have to wait for it.
    from wct_jax.cli.studio import Studio
    from wct_jax.pipeline import plan
    from wct_jax.weights import load_model, require_decoders

    model = load_model(arguments.model)
    wanted = arguments.layers
    if wanted is None and arguments.whiten_only and "relu4_1" in model.layers:
        wanted = ["relu4_1"]  # As in the paper's figure 3.
    layers = require_decoders(model, arguments.model, wanted)
    names = ", ".join(layer for layer, _ in plan(layers, arguments.alpha))
    studio = Studio(arguments, model, layers, lambda text: print(f"{program}: {text}", file=sys.stderr))
    with _progress(len(order.jobs)) as report:
        if arguments.save_style and order.look:
            _save_style(arguments, order.look, studio)
        failures = _make_all(arguments, order.jobs, order.many, studio, names, report)
    if not order.many:
        return
    for failure in dict.fromkeys(failures):
        print(f"{program}: {failure}", file=sys.stderr)
    done = len(order.jobs) - len(failures)
    if arguments.sheet and done:
        _draw_sheet(arguments, order.jobs)
    tell(f"{arguments.output}: {done} of {len(order.jobs)} results, {time.perf_counter() - start:.1f} s")
    if failures:
        raise ValueError(f"{len(failures)} of {len(order.jobs)} results could not be made, for what is said above")


def _save_style(arguments: argparse.Namespace, look: "Look", studio: "Studio") -> None:
    from wct_jax.style import Style
    from wct_jax.style_file import save_style

    style = studio.style(look, studio.read_styles(look))
    assert isinstance(style, Style)
    save_style(arguments.save_style, style)
    tell(f"{arguments.save_style}: the style at {', '.join(sorted(style.moments, reverse=True))}")


def _make_all(
    arguments: argparse.Namespace, jobs: Sequence["Job"], many: bool, studio: "Studio", names: str, report: Report
) -> list[str]:
    """Make the results, and say why those of many that could not be made could not."""
    failures: list[str] = []
    if many:
        os.makedirs(arguments.output, exist_ok=True)
    for number, job in enumerate(jobs):
        if arguments.skip_existing and os.path.lexists(job.output):
            continue

        def report_one(name: str, done: int, total: int, number: int = number) -> None:
            report(f"{number + 1}/{len(jobs)} {name}" if many else name, number * total + done, len(jobs) * total)

        try:
            _make(arguments, job, studio, names, report_one)
        except Exception as error:
            if not many or not (isinstance(error, ValueError) or is_out_of_memory(error)):
                raise
            small = f"there is not enough memory for {job.output}: make it smaller, as with --content-size 512"
            failures.append(str(error) if isinstance(error, ValueError) else small)
    return failures


def _make(arguments: argparse.Namespace, job: "Job", studio: "Studio", names: str, report: Report) -> None:
    from wct_jax.images import check_output, write_picture

    start = time.perf_counter()
    read = studio.read(job)
    studio.prepare(read, job.look)
    style = studio.style(job.look, read.pictures, report)
    picture = studio.paint(read, style, job.output.parent, report)
    # Again, since others may have written it meanwhile.
    check_output(job.output, arguments.overwrite)
    write_picture(job.output, picture)
    height, width = picture.pixels.shape[:2]
    tell(f"{job.output}: {width} x {height} pixels, {names}, {time.perf_counter() - start:.1f} s")


def _draw_sheet(arguments: argparse.Namespace, jobs: Sequence["Job"]) -> None:
    from wct_jax.contact import draw_sheet

    draw_sheet(arguments.sheet, [job for job in jobs if job.output.exists()])


@contextlib.contextmanager
def _progress(jobs: int) -> Iterator[Report]:
    """A bar on the terminal, as long as there are results to make."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description:<8}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    # What is said meanwhile goes above the bar, but for what goes elsewhere.
    above = sys.stdout.isatty()
    with Progress(*columns, console=console, redirect_stdout=above, disable=not console.is_terminal or not jobs) as bar:
        task = bar.add_task("style", total=None)

        def report(name: str, done: int, total: int) -> None:
            bar.update(task, description=name, completed=done, total=total)

        yield report

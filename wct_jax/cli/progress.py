"""The bar that shows how far a command is."""

import contextlib
import sys
from collections.abc import Callable, Iterator

Report = Callable[[str, int, int], None]
"""Called with what is done, the number of steps done, and the number of steps in all."""


@contextlib.contextmanager
def progress_bar(jobs: int) -> Iterator[Report]:
    """Show a bar on the terminal while results are made."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description:<8}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    above = sys.stdout.isatty()  # Output to elsewhere must not be redirected.
    with Progress(*columns, console=console, redirect_stdout=above, disable=not console.is_terminal or not jobs) as bar:
        task = bar.add_task("style", total=None)

        def report(name: str, done: int, total: int) -> None:
            bar.update(task, description=name, completed=done, total=total)

        yield report

"""The progress of a request, and its end before it is finished."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with a layer or "style", the number of steps done and the number of steps in all."""


class Cancelled(Exception):  # noqa: N818 (it is no error)
    """A request was cancelled before its result was finished."""


def reporter(progress: Progress | None, cancel: Callable[[], bool] | None) -> Progress:
    """A function that reports progress, after asking whether to stop."""

    def report(name: str, done: int, total: int) -> None:
        if cancel and cancel():
            raise Cancelled(f"cancelled at {name}")
        if progress:
            progress(name, done, total)

    return report

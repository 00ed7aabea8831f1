"""The progress of a training run, for the person at the terminal."""

import math
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Self

import rich.progress
from rich.console import Console, RenderableType
from rich.text import Text


class Progress:
    """A live bar, or a line now and then if there is no terminal.

    Args:
        description: Name of what is being trained, such as "relu2_1".
        total: Number of steps.
        step: Number of steps that are done already.
        images_per_step: Number of images in a step.
        console: Console to print on; standard error by default.
    """

    def __init__(
        self, description: str, total: int, step: int = 0, *, images_per_step: int, console: Console | None = None
    ) -> None:
        self._description, self._total, self._images_per_step = description, total, images_per_step
        self._console = console or Console(stderr=True)
        self._marks: deque[tuple[float, int]] = deque()
        self._printed = -math.inf
        self._start = step
        self._first: tuple[float, int] | None = None
        self._estimated = False
        self._bar = _Bar(self._console) if self._console.is_interactive else None
        if self._bar:
            # Not started, so that it pulses while the first step is compiled.
            self._task = self._bar.add_task(description, start=False, total=total, status=f"{step}/{total}")

    def update(self, step: int, losses: Mapping[str, float]) -> None:
        """Show a step, counted from 1, and its losses by name, except those of a part, named part/loss."""
        now = self._console.get_time()
        self._estimate(now, step)
        speed = self._speed(now, step)
        numbers = [f"{name} {_digits(value, 4)}" for name, value in losses.items() if "/" not in name]
        outlook = [f"{_digits(speed * self._images_per_step, 3)} images/s"] if speed else []
        if speed and step < self._total:
            outlook.append(f"{duration((self._total - step) / speed)} left")
        if self._bar:
            self._bar.losses = "  ".join(numbers)
            self._bar.start_task(self._task)
            self._bar.update(self._task, completed=step, status="  ".join([f"{step}/{self._total}", *outlook]))
        elif now - self._printed >= _PERIOD or step == self._total:
            self._printed = now
            self.say("  ".join([self._description, f"step {step}/{self._total}", *numbers, *outlook]))

    def say(self, text: str) -> None:
        """Print a line, above the bar if there is one."""
        self._console.print(Text(text), soft_wrap=True)

    def _estimate(self, now: float, step: int) -> None:
        """Say once, as soon as that can be told, how long the whole takes, unless it is short."""
        # The time before the first update, in which JAX compiles, does not count.
        self._first = self._first or (now, step)
        spent, taken = now - self._first[0], step - self._first[1]
        if self._estimated or spent < _ESTIMATED_AFTER or taken < 3:
            return
        self._estimated = True
        steps, each = self._total - self._start, spent / taken
        if steps * each > 60:
            text = f"{steps} steps at {_digits(each, 2)} s each take about {duration(steps * each)}"
            self.say(f"{self._description}: {text}")

    def _speed(self, now: float, step: int) -> float | None:
        """Steps per second since the first update, over the last half minute or, if it took longer, the last step."""
        self._marks.append((now, step))
        while len(self._marks) > 1 and self._marks[1][0] <= now - _PERIOD:
            self._marks.popleft()
        then, before = self._marks[0]
        return (step - before) / (now - then) if now > then else None

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()


_PERIOD = 30.0
_ESTIMATED_AFTER = 10.0


class _Bar(rich.progress.Progress):
    """Two lines, the bar and the losses, since 80 columns have no room for both."""

    losses = ""

    def __init__(self, console: Console) -> None:
        columns = (
            rich.progress.TextColumn("{task.description}", markup=False),
            rich.progress.BarColumn(bar_width=None),
            rich.progress.TextColumn("{task.fields[status]}", markup=False),
        )
        # Standard output may go to a file.
        super().__init__(*columns, console=console, expand=True, refresh_per_second=4, redirect_stdout=False)

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        yield Text(self.losses)


def _digits(value: float, count: int) -> str:
    return f"{value:.0f}" if 10**count <= value < 1e6 else f"{value:#.{count}g}".rstrip(".")


def duration(seconds: float) -> str:
    """A time as people say it, such as 2 h 5 min."""
    minutes = math.ceil(seconds / 60)
    if minutes <= 1:
        return f"{math.ceil(seconds)} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"

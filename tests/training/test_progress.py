"""The bar at a terminal, and the lines without one."""

import io
import re
import sys

import pytest
from rich.console import Console

from wct_jax.training.progress import Progress


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def console(clock):
    """Standard error where there is no terminal."""
    return Console(file=io.StringIO(), force_terminal=False, force_interactive=False, width=40, get_time=clock)


@pytest.fixture
def live(clock, monkeypatch):
    """Standard error at a terminal."""
    monkeypatch.setenv("TERM", "xterm")
    forced = dict(force_terminal=True, force_interactive=True, color_system=None)
    return Console(file=io.StringIO(), width=80, get_time=clock, **forced)


def train(progress, clock, steps, seconds):
    for step in steps:
        clock.now += seconds
        progress.update(step, {"pixel": 0.0123449, "feature": 12.0})


@pytest.mark.core
def test_lines_where_there_is_no_terminal(clock, console):
    with Progress("relu2_1", 15_000, images_per_step=8, console=console) as progress:
        clock.now += 300  # The compilation.
        train(progress, clock, range(1, 301), 0.25)
        train(progress, clock, range(301, 15_001), 0.25)
    lines = console.file.getvalue().splitlines()
    assert lines.pop(1) == "relu2_1: 15000 steps at 0.25 s each take about 1 h 3 min"
    assert lines[0] == "relu2_1  step 1/15000  pixel 0.01234  feature 12.00"
    assert lines[1] == "relu2_1  step 121/15000  pixel 0.01234  feature 12.00  32.0 images/s  1 h 2 min left"
    assert lines[2].startswith("relu2_1  step 241/15000 ")
    assert lines[-1] == "relu2_1  step 15000/15000  pixel 0.01234  feature 12.00  32.0 images/s"
    assert len(lines) == 1 + 14_999 // 120 + 1


def test_a_run_that_goes_on(clock, console):
    with Progress("relu2_1", 1000, 900, images_per_step=16, console=console) as progress:
        train(progress, clock, range(901, 1001), 1)
    lines = console.file.getvalue().splitlines()
    assert lines.pop(1) == "relu2_1: 100 steps at 1.0 s each take about 2 min"
    assert lines[0].startswith("relu2_1  step 901/1000  pixel")
    assert lines[1].endswith("  16.0 images/s  2 min left")
    assert [line.split("  ")[1] for line in lines[1:]] == [f"step {n}/1000" for n in (931, 961, 991, 1000)]
    assert lines[3].endswith("  9 s left")


def test_the_time_left_is_by_the_speed_of_late(clock, console):
    with Progress("relu2_1", 2000, images_per_step=4, console=console) as progress:
        train(progress, clock, range(1, 11), 60)
        train(progress, clock, range(11, 1401), 0.1)
    lines = console.file.getvalue().splitlines()
    assert lines.pop(3) == "relu2_1: 2000 steps at 60 s each take about 33 h 20 min"
    assert lines[1].endswith("0.0667 images/s  33 h 18 min left")
    assert lines[-1].startswith("relu2_1  step 1210/2000")
    assert lines[-1].endswith("40.0 images/s  2 min left")


@pytest.mark.core
def test_a_bar_where_there_is_a_terminal(clock, live):
    with Progress("relu2_1", 15_000, 7399, images_per_step=8, console=live) as progress:
        assert "7399/15000" in live.file.getvalue()
        train(progress, clock, range(7400, 7501), 0.25)
        progress.say("a grid of [reconstructions] :smile:")
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", live.file.getvalue()).splitlines()
    assert "relu2_1: 7601 steps at 0.25 s each take about 32 min" in [line.rstrip() for line in lines]
    assert "a grid of [reconstructions] :smile:" in [line.rstrip() for line in lines]
    bar, losses = lines[-2:]
    done, rest = re.fullmatch("relu2_1 (━+╸?)( +) 7500/15000  32.0 images/s  32 min left", bar.rstrip()).groups()
    assert abs(len(done) - len(rest)) <= 1
    assert losses.rstrip() == "pixel 0.01234  feature 12.00"
    assert all(len(line) <= 80 for line in lines)


@pytest.mark.parametrize(("steps", "seconds"), [(2, 500), (50, 1), (1000, 0.05), (3, 30)])
def test_how_long_a_short_run_takes_is_not_said(clock, console, steps, seconds):
    with Progress("relu2_1", steps, images_per_step=8, console=console) as progress:
        train(progress, clock, range(1, steps + 1), seconds)
    assert "take about" not in console.file.getvalue()


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0.000"), (0.5, "0.5000"), (3.21e-5, "3.210e-05"), (1234.4, "1234"), (123456.7, "123457"), (1e7, "1.000e+07")],
)
def test_losses_have_four_digits(console, value, text):
    with Progress("relu2_1", 10, images_per_step=1, console=console) as progress:
        progress.update(1, {"pixel": value})
    assert console.file.getvalue() == f"relu2_1  step 1/10  pixel {text}\n"


def test_a_warning_goes_above_the_bar_and_standard_output_stays_as_it_is(live, capsys):
    stdout, stderr = sys.stdout, sys.stderr
    with Progress("relu2_1", 10, images_per_step=1, console=live):
        assert sys.stdout is stdout
        print("a result")
        print("a warning", file=sys.stderr)
    assert sys.stderr is stderr
    assert "a warning" in live.file.getvalue()
    assert capsys.readouterr().out == "a result\n"


def test_a_long_message_is_one_line(console):
    with Progress("relu2_1", 10, images_per_step=1, console=console) as progress:
        progress.say("word " * 50 + "end")
    assert console.file.getvalue() == "word " * 50 + "end\n"

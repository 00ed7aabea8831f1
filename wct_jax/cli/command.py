"""Parsing, printing and errors of all commands: one sentence and exit status 2 for whatever a user can get wrong."""

import argparse
import contextlib
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn, TextIO

import wct_jax
from wct_jax.cli.manual import Example, Manual, manual
from wct_jax.cli.terms import in_flags
from wct_jax.system.atomic import discard_unfinished
from wct_jax.system.shortage import is_out_of_memory as is_out_of_memory

# Packages that come with an extra.
_EXTRAS = {
    **dict.fromkeys(("fastapi", "python_multipart", "starlette", "uvicorn"), "web"),
    **dict.fromkeys(("pyarrow", "ray"), "bulk"),
}


class Parser(argparse.ArgumentParser):
    """An `argparse` parser whose help is a manual page, and that reports a mistake in one sentence, without the usage.

    Args:
        description: What the command does, in a sentence.
        epilog: What there is to say after the options.
        prog: Name of the command; None for the name of the process.
        usage: The arguments that the usage shows; None for all options.
        examples: Examples of its use.
    """

    def __init__(
        self,
        description: str,
        epilog: str | None = None,
        prog: str | None = None,
        *,
        usage: str | None = None,
        examples: Sequence[Example] = (),
    ) -> None:
        _open_standard_streams()
        super().__init__(
            prog=prog,
            usage=usage and f"%(prog)s {usage}",
            description=manual(description, examples),
            epilog=epilog,
            formatter_class=Manual,
            add_help=False,
            allow_abbrev=False,
        )
        self._optionals.title = "about the command"
        self.add_argument("-h", "--help", action="help", help="print this text, and exit")
        version = f"wct_jax {wct_jax.__version__}"
        self.add_argument("--version", action="version", version=version, help="print the version, and exit")

    def format_help(self) -> str:
        """The help, with the options that all commands have last."""
        self._action_groups.sort(key=lambda group: group is self._optionals)
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        """Print the sentence and exit with 2."""
        self.exit(2, f"{self.prog}: error: {_escaped(' '.join(message.split()))}\n")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Print the message and exit, even if it cannot be printed."""
        _write(sys.stderr, message or "")
        _write(sys.stdout, "")  # The help or the version may still be in its buffer.
        sys.exit(status)


def run(parser: Parser, body: Callable[[], None], remedy: str = "") -> None:
    """Run a command's body and turn exceptions that a user can cause into a sentence.

    Args:
        parser: Parser whose `error` prints the sentence and ends the process.
        body: The command, its arguments bound.
        remedy: Advice that follows "there is not enough memory".
    """
    try:
        with _interruptible(parser.prog):
            body()
    except ValueError as error:
        parser.error(in_flags(error))
    except KeyboardInterrupt:
        parser.exit(130, f"{parser.prog}: interrupted\n")
    except Exception as error:
        if is_out_of_memory(error):
            parser.error(f"there is not enough memory{remedy}")
        if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("wct_jax"):
            if extra := _EXTRAS.get((error.name or "").partition(".")[0]):
                parser.error(f'this needs the package {error.name}: pip install "wct_jax[{extra}]"')
            parser.error(
                f"this Python, {sys.executable}, does not have the package {(error.name or '').partition('.')[0]}: "
                "expected the environment that wct_jax was installed into (activate it), or python -m pip install . "
                "in the checkout"
            )
        if not isinstance(error, OSError):
            raise
        if error.filename is None and not _has_current_folder():
            parser.error("the current folder no longer exists: expected to be started in one that does")
        where = f" {os.fsdecode(error.filename)}" if isinstance(error.filename, str | bytes) else ""
        parser.error(f"cannot read or write{where}: {error.strerror or error}")


def start_jax() -> None:
    """Load JAX and find its devices.

    Raises:
        ValueError: There is no device of the platform that JAX_PLATFORMS names.
    """
    import jax

    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        asked = os.environ.get("JAX_PLATFORMS")
        if not asked:
            raise
        reason = " ".join(str(error).split())
        raise ValueError(
            f"JAX finds no device for JAX_PLATFORMS={asked}: expected a platform that this machine has, such as cpu"
            + (f" ({reason})" if reason else "")
        ) from None


def tell(*lines: str) -> None:
    """Print a command's report on standard output; the work is done even if this cannot be printed."""
    complaint = _write(sys.stdout, "".join(f"{_escaped(line)}\n" for line in lines))
    if complaint:
        say(f"cannot write to standard output: {complaint}")


def say(text: str) -> None:
    """Print a line on standard error, if possible."""
    _write(sys.stderr, f"{_escaped(text)}\n")


def _escaped(text: str) -> str:
    # Control characters in the names of files could steer a terminal.
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _write(stream: TextIO, text: str) -> str:
    """Write and flush; return why that failed, or nothing. A closed pipe is no failure."""
    try:
        stream.write(text)
        stream.flush()
    except (OSError, ValueError) as error:
        # Otherwise Python would try again at exit, and complain.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return "" if isinstance(error, BrokenPipeError) else str(getattr(error, "strerror", error))
    return ""


def _open_standard_streams() -> None:
    """Open the standard streams that the process was started without, and let them take any text."""
    # Otherwise the next open file would become standard output for every library that prints.
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - as long as the process lives
        with contextlib.suppress(AttributeError):  # A caller of `main` may have replaced them.
            getattr(sys, name).reconfigure(errors="backslashreplace")


def _has_current_folder() -> bool:
    try:
        os.getcwd()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _interruptible(prog: str) -> Iterator[None]:
    """End the process at once on Ctrl-C.

    A KeyboardInterrupt would be swallowed in JAX's callbacks, and can crash the interpreter during an import.
    """

    def end(*_: object) -> None:
        discard_unfinished()
        show_cursor = "\x1b[?25h" if sys.stderr and sys.stderr.isatty() else ""  # Progress bars hide it.
        os.write(2, f"{show_cursor}{prog}: interrupted\n".encode())
        os._exit(130)

    # A process that was started to ignore interrupts, such as a job in the background, goes on ignoring them.
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        yield
        return
    before = signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def file_path(text: str) -> Path:
    """An `argparse` type: a path."""
    if not text:
        raise argparse.ArgumentTypeError("expected a path, got ''")
    return Path(text)


def whole(least: int, most: int) -> Callable[[str], int]:
    """An `argparse` type: a whole number from `least` to `most`."""

    def parse(text: str) -> int:
        # Python refuses to read thousands of digits.
        if not re.fullmatch(r"0*[0-9]{1,20}", text) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"expected a whole number from {least} to {most}, got {text[:40]!r}")
        return int(text)

    return parse


positive = whole(1, 10**9)
seed = whole(0, 2**32 - 1)


def memory(text: str) -> int:
    """An `argparse` type: a number of bytes, as in 500MB, 4GB or 3.5GiB."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([KMGT])(i?)B", text, re.IGNORECASE)
    if not match or not float(match[1]):
        unit = f" without its unit: {text}MB, {text}GB?" if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) else ""
        raise argparse.ArgumentTypeError(f"expected an amount of memory such as 500MB or 4GB, got {text!r}{unit}")
    return int(float(match[1]) * (1024 if match[3] else 1000) ** (1 + "KMGT".index(match[2].upper())))


def fraction(text: str) -> float:
    """An `argparse` type: a number in 0..1."""
    if not 0 <= (value := _float(text)) <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, got {text!r}")
    return value


def number(text: str) -> float:
    """An `argparse` type: a number of at least 0 that leaves room to compute with it in single precision."""
    if not 0 <= (value := _float(text)) <= 1e38:
        bound = "at most 1e38" if 1e38 < value < float("inf") else "at least 0"
        raise argparse.ArgumentTypeError(f"expected a number of {bound}, got {text[:40]!r}")
    return value


def _float(text: str) -> float:
    with contextlib.suppress(ValueError):
        return float(text)
    return float("nan")

"""What the command lines share: one sentence and exit status 2 for whatever a user can get wrong."""

import argparse
import contextlib
import errno
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import wct_jax
from wct_jax.atomic import discard_unfinished


class Parser(argparse.ArgumentParser):
    """`argparse` that says what is wrong in one sentence, without the usage before it."""

    def __init__(self, description: str, epilog: str | None = None) -> None:
        super().__init__(description=description, epilog=epilog, allow_abbrev=False)
        self.add_argument("--version", action="version", version=f"wct_jax {wct_jax.__version__}")

    def error(self, message: str) -> NoReturn:
        """Print the sentence and exit with 2."""
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())}\n")


def run(parser: Parser, body: Callable[[], None], remedy: str = "") -> None:
    """Run a command's body and turn what it raises for a user's mistake into a sentence.

    Args:
        parser: Whose `error` says it.
        body: The command, its arguments bound.
        remedy: What to do when there is not enough memory, worded to follow that.
    """
    try:
        with _interruptible(parser.prog):
            body()
    except ValueError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        parser.exit(130, f"{parser.prog}: interrupted\n")
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        parser.error(f"there is not enough memory{remedy}")


# What JAX, its libraries and CUDA's say, in a RuntimeError, when they could not have memory; Python, when a thread
# could not have a stack; and the loader of shared libraries, in an ImportError. LLVM aborts the process instead.
_OUT_OF_MEMORY = re.compile(
    r"RESOURCE_EXHAUSTED|\bout of memory\b|\bbad_alloc\b|cannot allocate memory|failed to allocate|_ALLOC_FAILED"
    r"|can't start new thread",
    re.IGNORECASE,
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it is about memory, the machine's or a device's."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    # A sentence about a file can have any words in it, and is a ValueError.
    by_words = isinstance(error, RuntimeError | ImportError) and _OUT_OF_MEMORY.search(str(error))
    return isinstance(error, MemoryError) or bool(by_words)


def tell(text: str) -> None:
    """Print what a command has to say at its end, when its work is done.

    Args:
        text: For standard output.

    Raises:
        ValueError: Standard output cannot take it. That nobody reads it is no mistake.
    """
    try:
        print(text, flush=True)
    except OSError as error:
        # Python would try again as it ends, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise ValueError(f"cannot write to standard output: {error.strerror}") from error


@contextlib.contextmanager
def _interruptible(prog: str) -> Iterator[None]:
    """End the process at once on Ctrl-C.

    Not by Python's KeyboardInterrupt: raised in one of JAX's callbacks it is swallowed, and raised while an
    extension is being imported it can crash the interpreter.
    """

    def end(*_: object) -> None:
        discard_unfinished()
        show_cursor = "\x1b[?25h" if sys.stderr and sys.stderr.isatty() else ""  # Progress bars hide it.
        os.write(2, f"{show_cursor}{prog}: interrupted\n".encode())
        os._exit(130)

    # An interrupt that whoever started the process has it ignore, as of a job in the background, stays ignored.
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


def positive(text: str) -> int:
    """An `argparse` type: a whole number of at least 1."""
    if not re.fullmatch(r"[0-9]+", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def memory(text: str) -> int:
    """An `argparse` type: a number of bytes, as in 500MB, 4GB or 3.5GiB."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([kKMGT])(i?)B", text)
    if not match or not float(match[1]):
        raise argparse.ArgumentTypeError(f"expected an amount of memory such as 500MB or 4GB, got {text!r}")
    return int(float(match[1]) * (1024 if match[3] else 1000) ** (1 + "KMGT".index(match[2].upper())))


def fraction(text: str) -> float:
    """An `argparse` type: a number in 0..1."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, got {text!r}")
    return value


def number(text: str) -> float:
    """An `argparse` type: a finite number of at least 0."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of at least 0, got {text!r}")
    return value


def seed(text: str) -> int:
    """An `argparse` type: a whole number that seeds a generator of random numbers."""
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 to {2**32 - 1}, got {text!r}")
    return int(text)

"""What the command lines share: one sentence and exit status 2 for whatever a user can get wrong."""

import argparse
import re
from collections.abc import Callable
from typing import NoReturn

import wct_jax


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
        body()
    except ValueError as error:
        parser.error(str(error))
    except MemoryError:
        parser.error(f"there is not enough memory{remedy}")
    except KeyboardInterrupt:
        parser.exit(130, f"{parser.prog}: interrupted\n")
    except RuntimeError as error:
        # JAX reports a failed allocation on any device as a RuntimeError with this word in it.
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        parser.error(f"there is not enough memory{remedy}")


def positive(text: str) -> int:
    """An `argparse` type: a whole number of at least 1."""
    if not re.fullmatch(r"[0-9]+", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def fraction(text: str) -> float:
    """An `argparse` type: a number in 0..1."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, got {text!r}")
    return value

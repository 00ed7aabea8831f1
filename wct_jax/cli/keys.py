"""Keys pressed while a command runs."""

import contextlib
import os
import select
import sys
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def keys(pressed: Callable[[str], None], stopped: Callable[[], bool]) -> Iterator[bool]:
    """Call a function with each key that is pressed, where standard input is a terminal.

    Args:
        pressed: Called in another thread.
        stopped: Asked whether to listen no longer.

    Yields:
        Whether anybody listens.
    """
    number = _terminal()
    if number is None:
        yield False
        return
    import termios
    import tty

    left = threading.Event()

    def listen() -> None:
        before = termios.tcgetattr(number)
        tty.setcbreak(number, termios.TCSANOW)
        try:
            while not left.is_set() and not stopped():
                if select.select([number], [], [], 0.1)[0]:
                    key = os.read(number, 1)
                    if not key:
                        return
                    pressed(key.decode("ascii", "ignore"))
        finally:
            termios.tcsetattr(number, termios.TCSANOW, before)

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield True
    finally:
        left.set()
        thread.join()


def _terminal() -> int | None:
    """Standard input, if it is a terminal that this process may read from."""
    try:
        number = sys.stdin.fileno()
        # A job in the background would be halted.
        return number if os.isatty(number) and os.tcgetpgrp(number) == os.getpgrp() else None
    except (AttributeError, OSError, ValueError):  # None, closed or replaced; and Windows has no groups.
        return None

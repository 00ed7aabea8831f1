"""The option `--distributed`: being one process of several."""

import functools
import re
from collections.abc import Sequence

from wct_jax.cli.command import say


def join(words: Sequence[str] | None) -> None:
    """Join the other processes of a training.

    Args:
        words: Address, number of processes and index of this one; empty if JAX finds them itself, None to train alone.

    Raises:
        ValueError: The words are malformed, or the others cannot be reached.
    """
    if words is None:
        return
    import jax

    # By default the others wait minutes for a process that has died or failed.
    initialize = functools.partial(
        jax.distributed.initialize, heartbeat_timeout_seconds=60, shutdown_timeout_seconds=60
    )
    if not words:
        try:
            initialize()
        except (ValueError, RuntimeError) as error:
            raise ValueError(
                f"--distributed finds no cluster here: expected HOST:PORT N I after it ({error})"
            ) from None
        return
    found = re.fullmatch(r"(\S+:[0-9]+) ([0-9]+) ([0-9]+)", " ".join(words))
    if not found or int(found[3]) >= int(found[2]):
        raise ValueError(f"argument --distributed: expected HOST:PORT N I with I below N, got {' '.join(words)!r}")
    say(f"waiting for {found[2]} processes at {found[1]}")
    try:
        initialize(found[1], int(found[2]), int(found[3]))
    except RuntimeError as error:
        raise ValueError(f"--distributed cannot begin at {found[1]} ({error})") from None

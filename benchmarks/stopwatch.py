"""Seconds of the stages of a painting."""

import contextlib
import time

# Taking statistics counts as part of encoding, and mapping the pixels as part of decoding.
STAGES = ("encode", "matrix", "decode")


class Stopwatch:
    """Seconds by stage: `with watch("decode"):`."""

    def __init__(self):
        self.seconds = dict.fromkeys(STAGES, 0.0)

    @contextlib.contextmanager
    def __call__(self, stage):
        """Add the time of the block."""
        began = time.perf_counter()
        yield
        self.seconds[stage] += time.perf_counter() - began

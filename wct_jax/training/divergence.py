"""When a training has diverged: by its losses, and by its parameters beside the first ones."""

import collections
import math
import statistics
from collections.abc import Mapping, Sequence

from jax import Array

# The loss of a training that begins anew falls within a few steps. One that goes on with a good decoder for a single
# step, at the full rate, has been seen to triple it.
WORSE = 5.0
# Below this, a mean squared error of the pixels of 40 dB, the first loss does not matter.
_NEGLIGIBLE = 1e-4


class Watch:
    """Sees every loss, and complains when their mean over a window is many times the lowest mean so far.

    Adam at a high rate has bursts of tens of times the loss from which it recovers.
    """

    WINDOW, FACTOR = 100, 100.0

    def __init__(self) -> None:
        self._recent: collections.deque[float] = collections.deque(maxlen=self.WINDOW)
        self._lowest = math.inf

    def see(self, loss: float) -> str:
        """Take the next loss, and return the complaint about it, or an empty string."""
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        self._recent.append(loss)
        if len(self._recent) < self.WINDOW:
            return ""
        mean = statistics.fmean(self._recent)
        self._lowest = min(self._lowest, mean)
        if mean > self.FACTOR * self._lowest:
            return f"the loss diverges, {mean:.4g} over the last {self.WINDOW} steps after {self._lowest:.4g}"
        return ""

    def calm(self, loss: float) -> bool:
        """Whether a state with this loss is worth keeping, since no divergence may have begun there."""
        return loss <= self.FACTOR * self._lowest


def compare(before: Sequence[Mapping[str, Array]], after: Sequence[Mapping[str, Array]], factor: float) -> str:
    """Complain if parameters are `factor` times worse than the first ones.

    Args:
        before: Metrics of the first parameters on each of some batches.
        after: Metrics of the last parameters on the same batches.
        factor: Ratio of losses above which the last parameters are worse.

    Returns:
        The complaint, or an empty string.
    """
    for name in before[0]:
        if name != "loss" and "/" not in name:  # A term, which may grow for the sake of another.
            continue
        was, now = (statistics.fmean(float(metrics[name]) for metrics in losses) for losses in (before, after))
        if not now <= max(factor * was, _NEGLIGIBLE):
            return f"the {name} has come to {now:.4g}, from {was:.4g} on the same batches with the first parameters"
    return ""

"""The devices of this process, to which the tiles of an image go in turn."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import cycle
from typing import Any

import jax
import numpy as np

from wct_jax.networks.model import Model
from wct_jax.painting.tiles.windows import Window
from wct_jax.transform.statistics import Moments, merge


def merged(total: Any, own: Any) -> Any:
    """Add the moments of a tile, anywhere in a pytree, to those of the tiles before; None for none before."""
    own = jax.tree.map(np.asarray, own)  # An array of NumPy can be used on any device.
    return own if total is None else _merge(total, own)


@jax.jit
def _merge(a: Any, b: Any) -> Any:
    return jax.tree.map(merge, a, b, is_leaf=lambda x: isinstance(x, Moments))


def on_each_device(model: Model) -> list[Model]:
    """A copy of a model on every device of this process."""
    devices = jax.local_devices()
    return [jax.device_put(model, device) for device in devices] if len(devices) > 1 else [model]


def in_turn(
    job: Callable[[Window, Model], Any], windows: Iterable[Window], models: Sequence[Model]
) -> Iterator[tuple[Window, Any]]:
    """Run a job for each window, on the devices in turn: while one result is awaited, the other devices work."""
    running: deque[tuple[Window, Any]] = deque()
    for window, model in zip(windows, cycle(models), strict=False):
        running.append((window, job(window, model)))
        if len(running) == len(models):
            yield running.popleft()
    yield from running

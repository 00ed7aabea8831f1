"""One level of the cascade over an image in tiles, on all devices of this process."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import cycle
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from wct_jax.kernels.canvas import as_array
from wct_jax.kernels.compilation import compiled
from wct_jax.networks.model import Model
from wct_jax.networks.pooling import size_at
from wct_jax.networks.vgg import cell_of, seen_by_decoder, seen_by_encoder
from wct_jax.painting.guides import Guides
from wct_jax.painting.level import Level, paint_feature
from wct_jax.painting.strength import between
from wct_jax.painting.style import Style, feature_moments
from wct_jax.painting.tiles.tile import keeps, reach_of
from wct_jax.painting.tiles.windows import Window, windows
from wct_jax.system.sheet import sheet
from wct_jax.transform.statistics import Moments, merge


class Paper(NamedTuple):
    """The place where an image is painted.

    Attributes:
        sides: Height and width of the image.
        tile: Longest side of a tile, in pixels.
        folder: Folder of large intermediate images; None for the system's.
    """

    sides: tuple[int, ...]
    tile: int
    folder: str | None


class Step:
    """One level of the cascade over an image of a given size."""

    def __init__(self, model: Model, styles: Sequence[Style], level: Level, paper: Paper) -> None:
        self._model, self._level, self._paper = model.bare, level, paper
        self._styles = tuple(style.at(level.layer, swap=False) for style in styles)
        layer = level.layer
        self._cell, self._keeps = cell_of(layer), keeps(layer)
        self._encoded = windows(paper.sides, paper.tile, seen_by_encoder(layer), self._cell)
        reach = seen_by_decoder(layer) if self._keeps else reach_of(layer)
        self._decoded = windows(paper.sides, paper.tile, reach, self._cell)

    @property
    def tiles(self) -> int:
        """Number of tiles in both passes."""
        return len(self._encoded) + len(self._decoded)

    def run(self, image: Any, guides: Guides, tell: Callable[[], None]) -> Any:
        """Paint the image, and blend it with the result if there is a strength `[H, W]`; call `tell` for each tile."""
        models, cell, level, (sides, _, folder) = on_each_device(self._model), self._cell, self._level, self._paper
        statistics: Any = None
        feature: Any = None
        if self._keeps:
            feature = sheet((*(-(-side // cell) for side in sides), self._model.channels_at(level.layer)), folder)

        def measure(window: Window, model: Model) -> tuple[tuple[Moments, ...], Array]:
            pixels, size = map(as_array, window.read(image))
            return _measure(model, pixels, _counted(guides, window), size, level.layer)

        for window, (own, encoded) in in_turn(measure, self._encoded, models):
            statistics = merged(statistics, own)
            if self._keeps:
                here = _in_cells(window.taken_here, cell)
                feature[_in_cells(window.taken, cell)] = np.asarray(encoded)[here]
            tell()

        def repaint(window: Window, model: Model) -> Array:
            source, size = map(as_array, window.read(feature, cell) if self._keeps else window.read(image))
            return _repaint(model, source, statistics, self._styles, level, _around(guides, window, size))

        result = sheet((*sides, 3), folder)
        for window, painted in in_turn(repaint, self._decoded, models):
            after = np.asarray(painted)[window.taken_here]
            if guides.strength is not None:
                share = between(guides.strength[window.taken])[..., None]
                after = (1 - share) * image[window.taken] + share * after
            result[window.taken] = after
            tell()
        return result


def _counted(guides: Guides, window: Window) -> tuple[Array, ...]:
    """The weights in the statistics of each region, zero outside of what is taken."""
    each: Sequence[np.ndarray | None] = [guides.weights]
    if guides.shares:
        each = [share if guides.weights is None else share * guides.weights for share in guides.shares]
    return tuple(as_array(window.counted(weights)) for weights in each)


def _around(guides: Guides, window: Window, size: Array) -> Guides:
    """Shares and alpha map in all that is read."""
    shared = Guides(shares=guides.shares, alpha_map=guides.alpha_map, size=size)
    return shared.each(lambda values: as_array(window.read(values[..., None])[0][..., 0]))


def _in_cells(window: tuple[slice, slice], cell: int) -> tuple[slice, slice]:
    return tuple(slice(part.start // cell, -(-part.stop // cell)) for part in window)  # type: ignore[return-value]


@compiled(static=("layer",))
def _measure(
    model: Model, image: Array, weights: Sequence[Array], size: Array, layer: str
) -> tuple[tuple[Moments, ...], Array]:
    feature = model.encode(image, (layer,), size)[layer]
    return tuple(feature_moments(feature, one, size, layer) for one in weights), feature


@compiled()
def _repaint(
    model: Model, source: Array, statistics: Sequence[Moments], styles: Sequence[Style], level: Level, guides: Guides
) -> Array:
    layer, size = level.layer, guides.size
    feature = source if keeps(layer) else model.encode(source, (layer,), size)[layer]
    painted = paint_feature(feature, statistics, styles, level, guides)
    return model.decode(layer, painted, size_at(layer, size))


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

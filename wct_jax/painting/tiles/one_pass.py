"""One pass over an image in tiles: a sweep for each level, which finds its statistics, and one for the image.

The statistics of a level need those of the levels before it. A sweep therefore begins with the last feature that was
kept, runs the levels whose statistics are known since, and merges the moments of the next one. Deep features are kept
on sheets between the sweeps, as they are before their level is painted; shallow ones are decoded again.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from jax import Array

from wct_jax.kernels.canvas import as_array
from wct_jax.kernels.compilation import compiled
from wct_jax.networks.autoencoder import Parameters
from wct_jax.networks.model import Model
from wct_jax.networks.vgg import cell_of, seen_by_decoder, seen_by_encoder
from wct_jax.painting.guides import Guides
from wct_jax.painting.level import Level, paint_feature, statistics_of
from wct_jax.painting.one_pass import decode_to, encode_once, mix
from wct_jax.painting.plan import Plan
from wct_jax.painting.strength import between
from wct_jax.painting.style import Style
from wct_jax.painting.tiles.devices import in_turn, merged, on_each_device
from wct_jax.painting.tiles.excerpt import excerpt
from wct_jax.painting.tiles.paper import Paper
from wct_jax.painting.tiles.tile import keeps
from wct_jax.painting.tiles.windows import Window
from wct_jax.transform.statistics import Moments


class Sweep(NamedTuple):
    """A sweep over the image; levels are numbered in the order they run.

    Attributes:
        source: Level whose feature it reads from a sheet; None if it encodes the image at the first one.
        end: Level that it measures; the number of levels for the image, which is painted then.
        own: Layers at which the photo's own features are needed, if these are mixed in.
        reach: Pixels that it reads around a tile.
        cell: Side in pixels of the cells that its tiles are made of.
    """

    source: int | None
    end: int
    own: tuple[str, ...]
    reach: int
    cell: int


def sweeps(layers: Sequence[str]) -> list[Sweep]:
    """The sweeps of one pass through these layers, which are named deepest first."""
    return [_sweep(layers, end) for end in range(len(layers) + 1)]


def _sweep(layers: Sequence[str], end: int) -> Sweep:
    source = max((level for level in range(end) if keeps(layers[level])), default=None)
    first = source or 0
    # The deep ones are encoded once, by the first sweep.
    own = tuple(layer for layer in layers[first + 1 : end + 1 if end else None] if keeps(layer) != (end > 0))
    last, cell = layers[end] if end < len(layers) else None, cell_of(layers[first])
    reaches = [] if source is None else [seen_by_decoder(layers[source], last)]
    for layer in own if source is not None else (layers[0], *own):
        reaches.append(seen_by_encoder(layer) + (seen_by_decoder(layer, last) if end else 0))
    return Sweep(source, end, own, -(-max(reaches) // cell) * cell, cell)


class OnePass:
    """The passes of a plan over an image of a given size."""

    def __init__(self, plan: Plan, paper: Paper) -> None:
        self._plan, self._paper = plan, paper
        self._layers = tuple(level.layer for level in plan.levels)
        self._sweeps = [(sweep, paper.windows(sweep.reach, sweep.cell)) for sweep in sweeps(self._layers)]

    @property
    def tiles(self) -> int:
        """Number of tiles in all."""
        return self._plan.passes * sum(len(windows) for _, windows in self._sweeps)

    def run(self, image: Any, guides: Guides, tell: Callable[[str], None]) -> Any:
        """Paint the image.

        Args:
            image: `[H, W, 3]`.
            guides: Guides of the image; a strength is `[H, W]`.
            tell: Function called with the layer after each tile.

        Returns:
            `[H, W, 3]`, an array or a sheet, not yet blended with the photo.
        """
        for _ in range(self._plan.passes):
            once = _Pass(self._plan, self._paper, image, guides)
            for sweep, windows in self._sweeps:
                once.run(sweep, windows, tell)
            image = once.sheets[None]
        return image


class _Pass:
    """One pass.

    Attributes:
        sheets: By layer the photo's own feature, and from the sweep on that ends there the painted one, as it is before
            its level; by None the image.
    """

    def __init__(self, plan: Plan, paper: Paper, image: Any, guides: Guides) -> None:
        self.sheets: dict[str | None, Any] = {}
        self._paper, self._image, self._guides = paper, image, replace(guides, rest=None)
        self._models, self._levels = on_each_device(plan.model.bare), plan.levels
        self._styles = [tuple(style.at(level.layer, swap=False) for style in plan.styles) for level in plan.levels]
        self._mixes = guides.strength is not None or any(level.structure is not None for level in plan.levels)
        self._statistics: list[Any] = []

    def run(self, sweep: Sweep, windows: Sequence[Window], tell: Callable[[str], None]) -> None:
        """Sweep over the image."""
        statistics: Any = None
        layer = self._levels[min(sweep.end, len(self._levels) - 1)].layer

        def paint(window: Window, model: Model) -> tuple[list[Moments], dict[str | None, Array]]:
            return self._paint(sweep, window, model)

        for window, (moments, features) in in_turn(paint, windows, self._models):
            statistics = merged(statistics, moments)
            for name, feature in features.items():
                cell = cell_of(name) if name else 1
                if name not in self.sheets:
                    self.sheets[name] = self._paper.sheet(cell, feature.shape[-1])
                window.write(self.sheets[name], np.asarray(feature), cell)
            tell(layer)
        self._statistics.append(statistics)

    def _paint(self, sweep: Sweep, window: Window, model: Model) -> tuple[list[Moments], dict[str | None, Array]]:
        """Run the levels of a sweep in a window; return the moments at its end and the features to keep."""
        guides = excerpt(self._guides, window)
        strength = None if guides.strength is None else between(guides.strength)
        guides = replace(guides, strength=None)
        first, end, levels = sweep.source or 0, sweep.end, self._levels
        wanted = (*(levels[0].layer,) * (sweep.source is None), *sweep.own * self._mixes)
        own: dict[str, Array] = {}
        if wanted:
            own = encode_once(model.encoder, as_array(window.read(self._image)), wanted, guides.size)

        def feature_at(layer: str) -> Array:
            return own[layer] if layer in own else as_array(window.read(self.sheets[layer], cell_of(layer)))

        layer = levels[first].layer
        feature = feature_at(layer)
        for number, (level, following) in enumerate(pairwise([*levels, None][first : end + 1]), first):
            assert level
            known, styles, to = self._statistics[number], self._styles[number], following.layer if following else None
            feature = _paint(model.painter, feature, known, styles, level, guides, end=to, sides=window.canvas)
            if following is None:
                return [], {None: feature}
            layer = following.layer
            if self._mixes:
                feature = mix(feature, feature_at(layer), following, guides, strength)
        kept = own | {layer: feature} if end == 0 else {layer: feature}
        return _measure(feature, layer, guides), {name: value for name, value in kept.items() if keeps(name)}


@compiled(static=("end", "sides"))
def _paint(
    painter: Parameters,
    feature: Array,
    statistics: Sequence[Moments],
    styles: Sequence[Style],
    level: Level,
    guides: Guides,
    *,
    end: str | None,
    sides: tuple[int, int],
) -> Array:
    """Transform a tile's feature by the statistics of the whole, and decode it to the layer `end`, or to the image."""
    painted = paint_feature(feature, statistics, styles, level, guides)
    return decode_to(end, painter, painted, level.layer, guides.size, sides)


@compiled(static=("layer",))
def _measure(feature: Array, layer: str, guides: Guides) -> list[Moments]:
    return statistics_of(feature, layer, guides)

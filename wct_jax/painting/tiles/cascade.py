"""The cascade over an image in tiles.

Each level passes over the image twice: once to encode tiles and merge their moments, once to transform and decode.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jax import Array

from wct_jax.kernels.canvas import as_array
from wct_jax.kernels.compilation import compiled
from wct_jax.networks.model import Model
from wct_jax.networks.pooling import size_at
from wct_jax.networks.vgg import cell_of, seen_by_decoder, seen_by_encoder
from wct_jax.painting.guides import Guides
from wct_jax.painting.level import Level, paint_feature, statistics_of
from wct_jax.painting.plan import Plan
from wct_jax.painting.strength import between
from wct_jax.painting.style import Style
from wct_jax.painting.tiles.devices import in_turn, merged, on_each_device
from wct_jax.painting.tiles.excerpt import excerpt
from wct_jax.painting.tiles.paper import Paper
from wct_jax.painting.tiles.tile import keeps, reach_of
from wct_jax.painting.tiles.windows import Window
from wct_jax.transform.statistics import Moments


class Cascade:
    """The levels of a plan over an image of a given size."""

    def __init__(self, plan: Plan, paper: Paper) -> None:
        self._steps = [Step(plan.model, plan.styles, level, paper) for level in plan.passes * list(plan.levels)]

    @property
    def tiles(self) -> int:
        """Number of tiles in all."""
        return sum(step.tiles for step in self._steps)

    def run(self, image: Any, guides: Guides, tell: Callable[[str], None]) -> Any:
        """Paint the image.

        Args:
            image: `[H, W, 3]`.
            guides: Guides of the image; a strength is `[H, W]`.
            tell: Function called with the layer after each tile.

        Returns:
            `[H, W, 3]`, an array or a sheet, not yet blended with the photo.
        """
        for number, step in enumerate(self._steps, 1):
            image = step.run(image, guides if number < len(self._steps) else replace(guides, strength=None), tell)
        return image


class Step:
    """One level of the cascade over an image of a given size."""

    def __init__(self, model: Model, styles: Sequence[Style], level: Level, paper: Paper) -> None:
        self._model, self._level, self._paper = model.bare, level, paper
        self._styles = tuple(style.at(level.layer, swap=False) for style in styles)
        layer = level.layer
        self._cell, self._keeps = cell_of(layer), keeps(layer)
        self._encoded = paper.windows(seen_by_encoder(layer), self._cell)
        self._decoded = paper.windows(seen_by_decoder(layer) if self._keeps else reach_of(layer), self._cell)

    @property
    def tiles(self) -> int:
        """Number of tiles in both passes."""
        return len(self._encoded) + len(self._decoded)

    def run(self, image: Any, guides: Guides, tell: Callable[[str], None]) -> Any:
        """Paint the image, and blend it with the result if there is a strength `[H, W]`; call `tell` for each tile."""
        models, cell, level, paper = on_each_device(self._model), self._cell, self._level, self._paper
        maps = Guides(guides.weights, guides.shares, guides.alpha_map)
        statistics: Any = None
        feature: Any = paper.sheet(cell, self._model.channels_at(level.layer)) if self._keeps else None

        def measure(window: Window, model: Model) -> tuple[list[Moments], Array]:
            return _measure(model, as_array(window.read(image)), level.layer, excerpt(maps, window))

        for window, (own, encoded) in in_turn(measure, self._encoded, models):
            statistics = merged(statistics, own)
            if self._keeps:
                window.write(feature, np.asarray(encoded), cell)
            tell(level.layer)

        def repaint(window: Window, model: Model) -> Array:
            source = as_array(window.read(feature, cell) if self._keeps else window.read(image))
            return _repaint(model, source, statistics, self._styles, level, excerpt(maps, window))

        result = paper.sheet(1, 3)
        for window, painted in in_turn(repaint, self._decoded, models):
            after, tile = np.asarray(painted)[window.taken_here], window.taken
            if guides.strength is not None:
                share = between(guides.strength[tile])[..., None]
                after = (1 - share) * image[tile] + share * after
            result[tile] = after
            tell(level.layer)
        return result


@compiled(static=("layer",))
def _measure(model: Model, image: Array, layer: str, guides: Guides) -> tuple[list[Moments], Array]:
    feature = model.encode(image, (layer,), guides.size)[layer]
    return statistics_of(feature, layer, guides), feature


@compiled()
def _repaint(
    model: Model, source: Array, statistics: Sequence[Moments], styles: Sequence[Style], level: Level, guides: Guides
) -> Array:
    layer, size = level.layer, guides.size
    feature = source if keeps(layer) else model.encode(source, (layer,), size)[layer]
    painted = paint_feature(feature, statistics, styles, level, guides)
    return model.decode(layer, painted, size_at(layer, size))

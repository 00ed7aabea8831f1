"""Coarse to fine: the cascade of Li et al., NIPS 2017, section 3.3."""

import dataclasses
from collections.abc import Callable, Sequence

from jax import Array

from wct_jax.kernels.canvas import cut_out
from wct_jax.kernels.compilation import compiled
from wct_jax.networks.model import Model
from wct_jax.networks.pooling import size_at
from wct_jax.painting.guides import Guides
from wct_jax.painting.level import Level, paint_feature, statistics_for
from wct_jax.painting.memory import Memory
from wct_jax.painting.plan import Plan
from wct_jax.painting.strength import blend
from wct_jax.painting.style import Style
from wct_jax.transform.statistics import Moments


def cascade(
    image: Array, plan: Plan, guides: Guides, begin: Callable[[str, Array], None]
) -> tuple[Array, list[list[Moments]]]:
    """Encode, transform and decode an image at each level in turn.

    Args:
        image: `[..., H, W, 3]`.
        plan: Model, styles and levels.
        guides: Guides laid out as the image. Their strength is that between levels (`wct_jax.painting.strength`).
        begin: Function called with each layer, and the image that it begins with, before it runs.

    Returns:
        `[..., H, W, 3]` in the dtype of the image, and the moments of each region by which each level whitened.
    """
    model, levels, strength, used = plan.model.bare, plan.passes * list(plan.levels), guides.strength, []
    guides = dataclasses.replace(guides, rest=None, strength=None)
    for number, level in enumerate(levels, 1):
        begin(level.layer, image)
        before, styles = image, [style.at(level.layer, swap=level.swap is not None) for style in plan.styles]
        image, statistics = stylize_level(model, image, styles, level, guides, plan.memory(number - 1))
        used.append(statistics)
        if strength is not None and number < len(levels):
            image = blend(before, image, strength)
    return image, used


@compiled()
def stylize_level(
    model: Model,
    image: Array,
    styles: Sequence[Style],
    level: Level,
    guides: Guides = Guides(),
    memory: Memory | None = None,
) -> tuple[Array, list[Moments]]:
    """One level of the cascade: the image's feature at the layer, transformed and decoded.

    Args:
        model: Encoder and decoders.
        image: `[..., H, W, 3]`.
        styles: Styles with statistics for the layer.
        level: The level.
        guides: Guides laid out as the image.
        memory: The statistics of a film's other frames; None for an image by itself.

    Returns:
        `[..., H, W, 3]`, the size and dtype of the image, and the moments of each region by which it whitened.
    """
    layer, size = level.layer, guides.size
    feature = model.encode(image, (layer,), size)[layer]
    statistics = statistics_for(feature, layer, guides, memory)
    feature = paint_feature(feature, statistics, styles, level, guides)
    return cut_out(model.decode(layer, feature, size_at(layer, size)), image.shape[-3:-1]), statistics

"""Coarse to fine: the cascade of Li et al., NIPS 2017, section 3.3."""

import dataclasses
from collections.abc import Callable, Sequence

from jax import Array

from wct_jax.kernels.canvas import cut_out
from wct_jax.kernels.compilation import compiled
from wct_jax.networks.model import Model
from wct_jax.networks.pooling import size_at
from wct_jax.painting.guides import Guides
from wct_jax.painting.level import Level, paint_feature, statistics_of
from wct_jax.painting.plan import Plan
from wct_jax.painting.strength import blend
from wct_jax.painting.style import Style


def cascade(image: Array, plan: Plan, guides: Guides, begin: Callable[[str, Array], None]) -> Array:
    """Encode, transform and decode an image at each level in turn.

    Args:
        image: `[..., H, W, 3]`.
        plan: Model, styles and levels.
        guides: Guides laid out as the image. Their strength is that between levels (`wct_jax.painting.strength`).
        begin: Function called with each layer, and the image that it begins with, before it runs.

    Returns:
        `[..., H, W, 3]` in the dtype of the image.
    """
    model, levels, strength = plan.model.bare, plan.passes * list(plan.levels), guides.strength
    guides = dataclasses.replace(guides, rest=None, strength=None)
    for number, level in enumerate(levels, 1):
        begin(level.layer, image)
        before, styles = image, [style.at(level.layer, swap=level.swap is not None) for style in plan.styles]
        image = stylize_level(model, image, styles, level, guides)
        if strength is not None and number < len(levels):
            image = blend(before, image, strength)
    return image


@compiled()
def stylize_level(
    model: Model, image: Array, styles: Sequence[Style], level: Level, guides: Guides = Guides()
) -> Array:
    """One level of the cascade: the image's feature at the layer, transformed and decoded.

    Args:
        model: Encoder and decoders.
        image: `[..., H, W, 3]`.
        styles: Styles with statistics for the layer.
        level: The level.
        guides: Guides laid out as the image.

    Returns:
        `[..., H, W, 3]`, the size and dtype of the image.
    """
    layer, size = level.layer, guides.size
    feature = model.encode(image, (layer,), size)[layer]
    feature = paint_feature(feature, statistics_of(feature, layer, guides), styles, level, guides)
    return cut_out(model.decode(layer, feature, size_at(layer, size)), image.shape[-3:-1])

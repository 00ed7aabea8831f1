"""One pass: the image is encoded once, and painted at every layer on the way back.

The cascade decodes an image after each layer and encodes it again. A decoder whose inputs at conv3_1, conv2_1 and
conv1_1 are the encoder's own relu3_1, relu2_1 and relu1_1 needs neither: the feature is transformed at each of these
layers as it passes, like the feature that the encoder would have found. Such a decoder is a painter; docs/compact.md
says how the packaged one was trained.

On its way the feature d loses what the deeper layers did not keep of the photo. The photo's own feature f of the layer
has it still, and x = (1 - k) d + k f, mixed before the transform, has as much of it as k, the structure, asks for.
"""

import dataclasses
from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from wct_jax.kernels.canvas import cut_out
from wct_jax.kernels.compilation import compiled
from wct_jax.networks.autoencoder import Parameters, decode_block, encode
from wct_jax.networks.pooling import pool_weights, size_at
from wct_jax.networks.vgg import LAYERS, cell_of, depth_of
from wct_jax.painting.guides import Guides
from wct_jax.painting.level import Level, paint_feature, statistics_for
from wct_jax.painting.memory import Memory
from wct_jax.painting.plan import Plan
from wct_jax.painting.style import Style
from wct_jax.transform.statistics import Moments


def one_pass(
    image: Array, plan: Plan, guides: Guides, begin: Callable[[str, Array], None]
) -> tuple[Array, list[list[Moments]]]:
    """Encode an image once, and transform its feature at each layer while the painter decodes it.

    Args:
        image: `[..., H, W, 3]`.
        plan: Model, styles and levels.
        guides: Guides laid out as the image. Their strength is that between two levels: what it leaves of the change is
            made up for by structure.
        begin: Function called with each layer, and the array that it begins with, before it runs.

    Returns:
        `[..., H, W, 3]` in the dtype of the image, and the moments of each region by which each level whitened.
    """
    used: list[list[Moments]] = []
    strength, guides = guides.strength, dataclasses.replace(guides, rest=None, strength=None)
    mixes = strength is not None or any(level.structure is not None for level in plan.levels)
    layers = tuple(level.layer for level in plan.levels)
    for _ in range(plan.passes):
        begin(layers[0], image)
        own = encode_once(plan.model.encoder, image, layers if mixes else layers[:1], guides.size)
        feature, sides = own[layers[0]], (image.shape[-3], image.shape[-2])
        for level, before, after in zip(plan.levels, (None, *layers), (*layers[1:], None), strict=False):
            if before:
                begin(level.layer, feature)
            # A program transforms in place what it has decoded itself. With the photo's own features, which are mixed
            # in between, it decodes after it has transformed.
            start, end = before or level.layer, after and level.layer
            if mixes:
                start, end = level.layer, after
                feature = mix(feature, own[level.layer], level, guides, strength) if before else feature
            styles = [style.at(level.layer, swap=level.swap is not None) for style in plan.styles]
            painter, memory = plan.model.painter, plan.memory(len(used))
            feature, statistics = paint_level(
                painter, feature, styles, level, guides, memory, start=start, end=end, sides=sides
            )
            used.append(statistics)
        image = feature
    return image, used


@compiled(static=("layers",))
def encode_once(encoder: Parameters, image: Array, layers: tuple[str, ...], size: Array | None) -> dict[str, Array]:
    """The features of an image at some layers, see `encode`."""
    return encode(encoder, image, layers, size)


@compiled()
def mix(feature: Array, own: Array, level: Level, guides: Guides, strength: Array | None) -> Array:
    """Mix a feature with the photo's own at its layer, before it is transformed.

    Args:
        feature: Painted so far, `[..., H', W', C]`.
        own: The photo's feature, of the same shape.
        level: The level of the feature.
        guides: Guides of the image.
        strength: Share of the change that is made, a scalar or `[..., H, W]`; None for all.
    """
    layer, size, dtype = level.layer, guides.size, np.promote_types(feature.dtype, np.float32)
    painted = jnp.ones((), dtype)
    if level.structure is not None:
        painted = 1 - _pooled(guides.structure, layer, size, dtype) * level.structure.astype(dtype)
    if strength is not None:
        painted = painted * _pooled(strength, layer, size, dtype)
    share = (painted[..., None] if painted.ndim else painted).astype(feature.dtype)
    return share * feature + (1 - share) * own


def _pooled(values: Array | None, layer: str, size: Array | None, dtype: DTypeLike) -> Array:
    if values is None:
        return jnp.ones((), dtype)
    return pool_weights(values.astype(dtype), layer, size) if values.ndim else values.astype(dtype)


@compiled(static=("start", "end", "sides"))
def paint_level(
    painter: Parameters,
    feature: Array,
    styles: Sequence[Style],
    level: Level,
    guides: Guides,
    memory: Memory | None = None,
    *,
    start: str,
    end: str | None,
    sides: tuple[int, int],
) -> tuple[Array, list[Moments]]:
    """Decode a feature to a level, transform it there, and decode it further.

    Args:
        painter: Parameters of the painter.
        feature: Feature of the layer `start`, `[..., H', W', C]`.
        styles: Styles with statistics for the layer.
        level: The level.
        guides: Guides laid out as the image.
        memory: The statistics of a film's other frames; None for an image by itself.
        start: Layer of the feature: the level's, or a deeper one.
        end: Layer of the result: the level's, or a shallower one; None for the image.
        sides: Height and width of the image or its canvas.

    Returns:
        The feature of the layer `end`, or the image, and the moments of each region by which it whitened.
    """
    feature = decode_to(level.layer, painter, feature, start, guides.size, sides)
    statistics = statistics_for(feature, level.layer, guides, memory)
    painted = paint_feature(feature, statistics, styles, level, guides)
    return decode_to(end, painter, painted, level.layer, guides.size, sides), statistics


def decode_to(
    end: str | None, painter: Parameters, feature: Array, layer: str, size: Array | None, sides: tuple[int, int]
) -> Array:
    """Decode the feature of a layer to that of a shallower one, or to the image.

    Args:
        end: The shallower layer, or the same one; None for the image.
        painter: Parameters of the painter.
        feature: `[..., H', W', C]`.
        layer: Layer of the feature.
        size: Rows and columns of the image, int32 `[2]`, if it lies on a larger canvas.
        sides: Height and width of the image or its canvas.
    """
    last = depth_of(end) if end else 0
    for passing in reversed(LAYERS[last : depth_of(layer)]):
        feature = decode_block(passing, painter, feature, size_at(passing, size))
        # Upsampling adds a row or column where the encoder's pooling rounded up.
        cell = max(cell_of(passing) // 2, 1)
        feature = cut_out(feature, (-(-sides[0] // cell), -(-sides[1] // cell)))
    return feature

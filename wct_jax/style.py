"""A style: what the transform needs to know of a picture, layer by layer."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from wct_jax.canvas import lay_out
from wct_jax.compilation import by_parts, part
from wct_jax.model import Model, pool_weights
from wct_jax.transform import Moments, moments


@functools.partial(jax.tree_util.register_dataclass, data_fields=("moments",), meta_fields=("digest",))
@dataclass(frozen=True)
class Style:
    """The moments of a picture's features.

    A pytree; extracted once, it serves any number of photos.

    Attributes:
        moments: Layer to moments.
        digest: Of the encoder that made them; no other encoder can use them.
    """

    moments: Mapping[str, Moments]
    digest: str


def extract_style(
    model: Model, image: ArrayLike, layers: Sequence[str] | None = None, *, weights: ArrayLike | None = None
) -> Style:
    """Encode a picture once and keep the moments of its features.

    Args:
        model: The model that will stylize.
        image: `[..., H, W, 3]`, RGB in 0..1.
        layers: Layers wanted; None for all those the model can decode.
        weights: How much each pixel counts, 0..1, broadcasting to `[..., H, W]`: its alpha, or a mask.

    Returns:
        A style for those layers.

    Raises:
        ValueError: A layer that the encoder does not have, or a wrong shape or dtype.
    """
    image = as_image("style", image)
    image, pixels, size = lay_out(image, as_weights(weights, image))
    return extract_from_canvas(model, image, tuple(model.layers if layers is None else layers), pixels, size)


@by_parts(static=("layers",))
def extract_from_canvas(
    model: Model, image: Array, layers: tuple[str, ...], weights: Array | None, size: Array | None
) -> Style:
    """`extract_style` of what `lay_out` returns."""
    features = model.encode(image, layers, size)
    each = {layer: feature_moments(feature, weights, size, layer) for layer, feature in features.items()}
    return Style(each, model.digest)


@part(static=("layer",))
def feature_moments(feature: Array, weights: Array | None, size: Array | None, layer: str) -> Moments:
    """The moments of a layer's feature.

    Args:
        feature: `[..., H', W', C]`.
        weights: How much each pixel of the image counts, `[..., H, W]`, or None.
        size: Rows and columns of the image, if it lies on a larger canvas.
        layer: The layer.
    """
    return moments(feature, None if weights is None else pool_weights(weights, layer, size))


def as_image(name: str, image: ArrayLike) -> Array:
    """`image` as an array, checked.

    Raises:
        ValueError: It is not floating point `[..., H, W, 3]`.
    """
    array = jnp.asarray(image)
    if array.ndim < 3 or array.shape[-1] != 3 or 0 in array.shape[-3:]:
        raise ValueError(f"{name} must be an image [..., H, W, 3], got shape {array.shape}")
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(f"{name} must be floating point in 0..1, got {array.dtype}")
    return array


def as_weights(weights: ArrayLike | None, image: Array) -> Array | None:
    """`weights` as an array `[..., H, W]`, checked; None stays None.

    Raises:
        ValueError: They do not broadcast to the pixels of `image`.
    """
    if weights is None:
        return None
    array = jnp.asarray(weights, image.dtype)
    try:
        return jnp.broadcast_to(array, image.shape[:-1])
    except ValueError:
        raise ValueError(f"weights must broadcast to {image.shape[:-1]}, got shape {array.shape}") from None

"""Sizes and weights at the resolution of a layer."""

import functools

import jax.numpy as jnp
from jax import Array

from wct_jax.kernels.canvas import halved, inside
from wct_jax.kernels.pooling import halve
from wct_jax.networks.vgg import depth_of


def size_at(layer: str, size: Array | None) -> Array | None:
    """Rows and columns of a layer's feature, int32 `[2]`, for an image of that size; None stays None."""
    return functools.reduce(lambda size, _: halved(size), range(depth_of(layer) - 1), size)


def pool_weights(weights: Array, layer: str, size: Array | None = None) -> Array:
    """Bring weights of pixels to the resolution of a layer, by the mean over the pixels of each cell.

    Args:
        weights: `[..., H, W]`.
        layer: Name of a tap.
        size: Rows and columns of the image, int32 `[2]`, if it lies on a larger canvas: only its pixels count.

    Returns:
        `[..., H', W']`.
    """
    for _ in range(depth_of(layer) - 1):
        if size is None:
            weights = _mean_pool(weights)
        else:
            within = _within(weights, size).astype(weights.dtype)
            # A cell with a pixel inside has at least a quarter of its pixels inside.
            weights = _mean_pool(weights * within) / jnp.maximum(_mean_pool(within), 1 / 4)
            size = halved(size)
    return weights if size is None else jnp.where(_within(weights, size), weights, 0)


def _within(weights: Array, size: Array) -> Array:
    return jnp.broadcast_to(inside(weights.shape[-2:], size), weights.shape)


def _mean_pool(x: Array) -> Array:
    return halve(x[..., None], lambda a, b: (a + b) / 2)[..., 0]

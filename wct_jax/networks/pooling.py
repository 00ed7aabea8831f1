"""2x2 pooling in ceil mode: of features by the maximum, of weights by the mean."""

import functools
from collections.abc import Callable

import jax.numpy as jnp
from jax import Array, lax

from wct_jax.kernels.canvas import halved, inside
from wct_jax.kernels.compilation import part
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
            within = inside(weights.shape[-2:], size).astype(weights.dtype)
            # A cell with a pixel inside has at least a quarter of its pixels inside.
            weights = _mean_pool(weights * within) / jnp.maximum(_mean_pool(within), 1 / 4)
            size = halved(size)
    return weights if size is None else jnp.where(inside(weights.shape[-2:], size), weights, 0)


def _mean_pool(x: Array) -> Array:
    return _pool(x[..., None], lambda a, b: (a + b) / 2)[..., 0]


@part()
def max_pool(x: Array, size: Array | None = None) -> Array:
    """The largest of each 2x2 cell; an odd last row or column makes cells of its own.

    Args:
        x: `[..., H, W, C]`, with a `size` nowhere negative.
        size: Rows and columns that count, int32 `[2]`; None for all.

    Returns:
        `[..., ceil(H / 2), ceil(W / 2), C]`. The gradient is shared between equals.
    """
    if size is not None:
        x = jnp.where(inside(x.shape[-3:-1], size)[..., None], x, 0)
    return _pool(x, jnp.maximum)


def _pool(x: Array, combine: Callable[[Array, Array], Array]) -> Array:
    """Halve the sides; an odd last row or column is taken twice, which changes neither a maximum nor a mean.

    Flax's pooling is slower: the gradient of its maximum takes 25 times as long on the CPU, and its mean counts pixels
    in constants that XLA takes minutes to fold for a large image.
    """
    # One axis at a time: JAX refuses to cut two in one reshape where another is sharded explicitly.
    for axis in (x.ndim - 3, x.ndim - 2):
        if x.shape[axis] % 2:
            x = jnp.concatenate([x, lax.slice_in_dim(x, -1, None, axis=axis)], axis=axis)
        pairs = x.reshape(*x.shape[:axis], x.shape[axis] // 2, 2, *x.shape[axis + 1 :])
        x = combine(*(lax.index_in_dim(pairs, i, axis + 1, keepdims=False) for i in range(2)))
    return x

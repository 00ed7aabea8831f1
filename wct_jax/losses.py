"""The losses that training and distillation share."""

import jax.numpy as jnp
from jax import Array


def mean_squared_error(x: Array, y: Array) -> Array:
    """The mean of (x - y)² over all elements.

    Args:
        x: Any shape and floating dtype.
        y: The same shape.

    Returns:
        A float32 scalar, taken in float32.
    """
    return jnp.mean(jnp.square(x.astype(jnp.float32) - y.astype(jnp.float32)))


def total_variation(images: Array) -> Array:
    """The mean squared difference of neighbouring pixels, horizontally plus vertically.

    The squared form of Mahendran and Vedaldi, CVPR 2015, equation 4 with beta = 2, as a mean.

    Args:
        images: `[..., H, W, C]`.

    Returns:
        A float32 scalar; a direction in which there is one pixel counts nothing.
    """
    x = images.astype(jnp.float32)
    rows = jnp.square(x[..., 1:, :, :] - x[..., :-1, :, :])
    columns = jnp.square(x[..., :, 1:, :] - x[..., :, :-1, :])
    return jnp.asarray(sum(d.mean() for d in (rows, columns) if d.size), jnp.float32)

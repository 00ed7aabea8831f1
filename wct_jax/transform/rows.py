"""Some rows of a feature at a time: on the CPU, steps take less time on a part that fits into the cache."""

import jax.numpy as jnp
from jax import Array


def rows_at_once(x: Array, numbers: int = 2**18) -> int:
    """Rows of `[..., H, W, C]` that fit into the CPU's cache, which holds so many numbers: a divisor of the height."""
    height, width, channels = x.shape[-3:]
    most = min(height, max(1, numbers // (width * channels)))
    return next(rows for rows in range(most, 0, -1) if height % rows == 0)


def cut(x: Array, rows: int, axis: int) -> Array:
    """Cut `[..., H, ...]` along a negative `axis` into parts of some rows: `[H / rows, ..., rows, ...]`."""
    parts = x.reshape(*x.shape[:axis], -1, rows, *x.shape[axis:][1:])
    return jnp.moveaxis(parts, axis - 1, 0)


def join(parts: Array, axis: int) -> Array:
    """Join the parts that `cut` made along `axis`."""
    x = jnp.moveaxis(parts, 0, axis - 1)
    return x.reshape(*x.shape[: axis - 1], -1, *x.shape[axis:][1:])

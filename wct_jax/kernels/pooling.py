"""2x2 pooling in ceil mode."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array, lax

from wct_jax.kernels.canvas import inside


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
    return halve(x, jnp.maximum)


def halve(x: Array, combine: Callable[[Array, Array], Array]) -> Array:
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

"""The 3x3 convolution of every network here, and how it is computed on each backend."""

import functools
import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax

# XLA's convolution on the CPU falls to a third of its speed on arrays that do not fit the caches: blocks of
# about this many pixels keep it, forwards and backwards, and are few enough to compile in a second or two.
_PIXELS = 4096
_MOST_BLOCKS = 32
# Below this many output channels it spends its time on packing the input.
_FEW = 4


def conv3x3(x: Array, kernel: Array, bias: Array) -> Array:
    """Convolve with a 3x3 kernel after padding by one reflected pixel.

    A side of a single pixel, which has nothing to reflect, repeats it.

    Args:
        x: `[..., H, W, in]`.
        kernel: `[3, 3, in, out]`.
        bias: `[out]`.

    Returns:
        `[..., H, W, out]` in the dtype of `x`. Float32 is computed as float32 on every backend.
    """
    lead, (height, width, channels) = x.shape[:-3], x.shape[-3:]
    padded = x.reshape(-1, height, width, channels)
    for axis, size in ((1, height), (2, width)):
        padding = [(1, 1) if axis == a else (0, 0) for a in range(4)]
        padded = jnp.pad(padded, padding, mode="reflect" if size > 1 else "edge")
    y = _strategy(padded, kernel)(padded, kernel.astype(x.dtype))
    return (y + bias.astype(x.dtype)[None, None, None]).reshape(*lead, height, width, -1)


def _strategy(padded: Array, kernel: Array) -> Callable[[Array, Array], Array]:
    """How to convolve: all ways give the same numbers up to rounding."""
    explicit = any(axis is not None for axis in jax.typeof(padded).sharding.spec)
    if jax.default_backend() != "cpu" or explicit:  # An axis sharded explicitly cannot be cut.
        return _whole
    return _by_products if kernel.shape[3] <= _FEW else _in_blocks


def _whole(padded: Array, kernel: Array) -> Array:
    return lax.conv_general_dilated(
        padded,
        kernel,
        window_strides=(1, 1),
        padding="VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        # The default is TF32 on recent NVIDIA GPUs and one pass of bfloat16 on TPUs.
        precision=lax.Precision.HIGHEST,
    )


def _in_blocks(padded: Array, kernel: Array) -> Array:
    """Images, or rows of one image, at a time."""
    count, height, width = padded.shape[0], padded.shape[1] - 2, padded.shape[2] - 2
    pixels = max(_PIXELS, -(-count * height * width // _MOST_BLOCKS))
    images, rows = pixels // (height * width), pixels // width
    if images >= count:
        return _whole(padded, kernel)
    if images:
        parts = [_whole(part, kernel) for part in lax.split(padded, _sizes(count, images), axis=0)]
    else:
        # No fewer than two rows, which is what a strip lends to the one above.
        parts = [_in_strips(part, kernel, max(rows, 2)) for part in lax.split(padded, [1] * count, axis=0)]
    return jnp.concatenate(parts, axis=0)


def _in_strips(padded: Array, kernel: Array, rows: int) -> Array:
    # Cut without overlap, each strip taking its last two rows from the next one: the gradient of a cut is a
    # concatenation, where that of slices that overlap would add up arrays of the whole size.
    *sizes, last = _sizes(padded.shape[1] - 2, rows)
    strips = lax.split(padded, [*sizes, last + 2], axis=1)
    whole = [jnp.concatenate([strip, below[:, :2]], axis=1) for strip, below in itertools.pairwise(strips)]
    return jnp.concatenate([_whole(strip, kernel) for strip in (*whole, strips[-1])], axis=1)


def _sizes(total: int, size: int) -> list[int]:
    return [size] * (total // size) + ([total % size] if total % size else [])


def _by_products(padded: Array, kernel: Array) -> Array:
    """One matrix product for all nine taps, whose results are then shifted and added."""
    height, width = padded.shape[1] - 2, padded.shape[2] - 2
    taps = jnp.einsum("nhwi,abio->nhwabo", padded, kernel, precision=lax.Precision.HIGHEST)
    shifted = [taps[:, a : a + height, b : b + width, a, b] for a in range(3) for b in range(3)]
    return functools.reduce(jnp.add, shifted)

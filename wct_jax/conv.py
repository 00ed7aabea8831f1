"""The 3x3 convolution of every network here, and how it is computed on each backend."""

import functools
import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax

# XLA's convolution on the CPU falls to a third of its speed on arrays that do not fit the caches: blocks of about this
# many numbers keep it, forwards and backwards, and are few enough to compile in a second or two.
_BLOCK = 2**17
_MOST_BLOCKS = 32
# With this many channels or fewer it spends its time on packing the input, and matrix products are faster.
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
    x, kernel = x.reshape(-1, height, width, channels), kernel.astype(x.dtype)
    # An axis that is sharded explicitly cannot be cut.
    cut = all(axis is None for axis in jax.typeof(x).sharding.spec)
    pad = _pad if cut else _pad_whole
    convolve = _strategy(*kernel.shape[2:]) if cut else _whole
    y = convolve(pad(pad(x, 1), 2), kernel)
    return (y + bias.astype(x.dtype)[None, None, None]).reshape(*lead, height, width, -1)


def _strategy(inputs: int, outputs: int) -> Callable[[Array, Array], Array]:
    """How to convolve: all ways give the same numbers up to rounding."""
    if jax.default_backend() != "cpu":
        return _whole
    if outputs <= _FEW:
        return _by_products
    return _by_patches if inputs <= _FEW else _in_blocks


def _pad(x: Array, axis: int) -> Array:
    size = x.shape[axis]
    if size < 4:
        return _pad_whole(x, axis)
    # Cut without overlap, for the gradient of that is a concatenation, and of jnp.pad many times slower.
    first, second, middle, before_last, last = lax.split(x, [1, 1, size - 4, 1, 1], axis)
    return jnp.concatenate([second, first, second, middle, before_last, last, before_last], axis)


def _pad_whole(x: Array, axis: int) -> Array:
    padding = [(1, 1) if axis == a else (0, 0) for a in range(x.ndim)]
    return jnp.pad(x, padding, mode="reflect" if x.shape[axis] > 1 else "edge")


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
    pixels = max(_BLOCK // max(kernel.shape[2:]), -(-count * height * width // _MOST_BLOCKS))
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
    inputs, outputs = kernel.shape[2:]
    taps = _product(padded, kernel.transpose(2, 0, 1, 3).reshape(inputs, 9 * outputs))
    shifted = [
        tap[:, a : a + height, b : b + width]
        for (a, b), tap in zip(_TAPS, lax.split(taps, [outputs] * 9, axis=3), strict=True)
    ]
    return functools.reduce(jnp.add, shifted)


def _by_patches(padded: Array, kernel: Array) -> Array:
    """One matrix product of the patches of nine pixels."""
    height, width = padded.shape[1] - 2, padded.shape[2] - 2
    patches = jnp.concatenate([padded[:, a : a + height, b : b + width] for a, b in _TAPS], axis=3)
    return _product(patches, kernel.reshape(-1, kernel.shape[3]))


_TAPS = tuple(itertools.product(range(3), repeat=2))


def _product(x: Array, matrix: Array) -> Array:
    return jnp.einsum("nhwi,io->nhwo", x, matrix, precision=lax.Precision.HIGHEST)

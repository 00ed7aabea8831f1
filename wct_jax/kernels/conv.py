"""The 3x3 convolution of all networks, and its algorithm on each backend."""

import functools
import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from wct_jax.kernels import winograd
from wct_jax.kernels.compilation import part
from wct_jax.transform.blocks import Border, map_blocks, pad, sum_blocks
from wct_jax.transform.platforms import HIGHEST, by_platform

algorithm = jax.make_user_context(None)
"""The algorithm of `conv3x3` within a context: `with algorithm("direct"):`.

"direct" calls XLA's convolution, "blocks" takes this module's algorithm for the CPU. None, the default, takes "blocks"
in programs lowered for the CPU and "direct" in others.
"""

# Blocks of this many numbers stay in the cache through all steps; fewer pixels would make small products.
_BLOCK_NUMBERS = 2**19
_BLOCK_PIXELS = 2**12
# Upsampling makes four pixels of each, so fewer are enough, and more would need new memory from the system each time.
_BLOCK_PIXELS_UPSAMPLED = 2**10
# Most inputs times outputs to transform at once for a single block: transforming more takes longer than convolving it.
_KERNEL_NUMBERS = 2**16
# With so few channels XLA spends its time on packing them, and one matrix product for all taps is faster.
_FEW = 4
# With so few channels Winograd's transforms take longer than they save.
_NARROW = 16


@part(static=("upsample", "relu"), context=lambda: algorithm.value)
def conv3x3(
    x: Array, kernel: Array, bias: Array, *, size: Array | None = None, upsample: bool = False, relu: bool = False
) -> Array:
    """Convolve with a 3x3 kernel after padding by one reflected pixel; a side of one pixel repeats it.

    Float32 is computed as float32 on every backend. On the CPU the gradient is a rule of its own, without forward mode:
    choose `algorithm("direct")` for that.

    Args:
        x: `[..., H, W, in]`.
        kernel: `[3, 3, in, out]`.
        bias: `[out]`.
        size: Rows and columns of the image if `x` is a larger canvas, int32 `[2]`, at least two of each. The image's
            border is reflected, and results beyond it have no meaning. None for all.
        upsample: Whether to repeat each pixel twice in both directions first.
        relu: Whether to replace negative results by zero.

    Returns:
        `[..., H, W, out]`, or twice the sides if `upsample`, in the dtype of `x`.

    Raises:
        ValueError: The chosen algorithm is unknown.
    """
    chosen = algorithm.value
    if chosen not in ("direct", "blocks", None):
        raise ValueError(f'the algorithm must be "direct", "blocks" or None, got {chosen!r}')
    # Explicitly sharded arrays cannot be cut, and short sides have borders that meet.
    can = all(axis is None for axis in jax.typeof(x).sharding.spec) and x.size > 0 and min(x.shape[-3:-1]) >= 4
    convolve = {"direct": _directly, "blocks": _in_blocks, None: _by_platform}[chosen] if can else _directly
    y = convolve(x.reshape(-1, *x.shape[-3:]), kernel, bias, size, upsample=upsample, relu=relu)
    return y.reshape(*x.shape[:-3], *y.shape[1:])


def _in_blocks(x: Array, kernel: Array, bias: Array, size: Array | None, *, upsample: bool, relu: bool) -> Array:
    # Half precision would not survive the transforms, and the CPU has no fast products of it.
    dtype = x.dtype if jnp.finfo(x.dtype).bits >= 32 else jnp.dtype("float32")
    wide = x.astype(dtype), kernel.astype(dtype), bias.astype(dtype)
    y = _cut_with_gradient(*wide, upsample, relu) if size is None else _cut(*wide, upsample, relu, size)
    return y.astype(x.dtype)


def _directly(x: Array, kernel: Array, bias: Array, size: Array | None, *, upsample: bool, relu: bool) -> Array:
    kernel, bias = kernel.astype(x.dtype), bias.astype(x.dtype)
    if upsample:
        x, size = _repeat(x), None if size is None else 2 * size
    y = _convolve(pad(x, size), kernel) + bias[None, None, None]
    return jax.nn.relu(y) if relu else y


_by_platform = by_platform(cpu=_in_blocks, default=_directly, static=("upsample", "relu"))


def _repeat(x: Array) -> Array:
    return x.repeat(2, axis=1).repeat(2, axis=2)


def _cut(
    x: Array,
    kernel: Array,
    bias: Array,
    upsample: bool,
    relu: bool,
    size: Array | None = None,
    border: Border = "reflect",
) -> Array:
    way = _way(kernel, upsample)
    pixels, times = way.pixels(kernel), 2 if upsample else 1

    def outputs(kernel: Array, bias: Array) -> Array:
        prepared = way.prepare(kernel)

        def convolve(padded: Array) -> Array:
            y = way.convolve(padded, prepared) + bias[None, None, None]
            return jax.nn.relu(y) if relu else y

        # Once upsampled, the pixel next to the border equals the one that it reflects.
        around: Border = "edge" if upsample else border
        return map_blocks(convolve, x, kernel.shape[3], pixels, around, times=times, size=size)

    count, height, width, inputs = x.shape
    group = max(1, _KERNEL_NUMBERS // inputs)
    if way is not _WINOGRAD or count * height * width > pixels or group >= bias.size:
        return outputs(kernel, bias)

    def step(i: Array, result: Array) -> Array:
        # The last group starts far enough back to be whole.
        some = lax.dynamic_slice_in_dim(kernel, i * group, group, 3), lax.dynamic_slice_in_dim(bias, i * group, group)
        return lax.dynamic_update_slice_in_dim(result, outputs(*some), i * group, 3)

    return lax.fori_loop(0, -(-bias.size // group), step, lax.empty((count, height, width, bias.size), x.dtype))


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _cut_with_gradient(x: Array, kernel: Array, bias: Array, upsample: bool, relu: bool) -> Array:
    return _cut(x, kernel, bias, upsample, relu)


def _forward(
    x: Array, kernel: Array, bias: Array, upsample: bool, relu: bool
) -> tuple[Array, tuple[Array, Array, Array | None]]:
    y = _cut_with_gradient(x, kernel, bias, upsample, relu)
    return y, (x, kernel, y if relu else None)


def _backward(
    upsample: bool, relu: bool, residuals: tuple[Array, Array, Array | None], gradient: Array
) -> tuple[Array, Array, Array]:
    x, kernel, y = residuals
    if y is not None:
        gradient = jnp.where(y > 0, gradient, 0)
    of_kernel = _kernel_gradient(_repeat(x) if upsample else x, gradient)
    of_x = _image_gradient(gradient, kernel)
    if upsample:
        count, height, width, channels = x.shape
        of_x = of_x.reshape(count, height, 2, width, 2, channels).sum(axis=(2, 4))
    return of_x, of_kernel, gradient.sum(axis=(0, 1, 2))


_cut_with_gradient.defvjp(_forward, _backward)


def _image_gradient(gradient: Array, kernel: Array) -> Array:
    """Apply the adjoint of padding by reflection and convolving."""
    kernel = kernel[::-1, ::-1].swapaxes(2, 3)
    bias = jnp.zeros(kernel.shape[3], kernel.dtype)
    y = _cut(gradient, kernel, bias, upsample=False, relu=False, border="zero")
    # Gradients of the padding belong to the pixels it reflects: a line next to each border, corners included.
    for side, target in ((0, 1), (-1, -2)):
        taps = kernel[2:] if side == 0 else kernel[:1]
        line = _convolve(jnp.pad(gradient[:, side][:, None], ((0, 0), (0, 0), (2, 2), (0, 0))), taps)
        inner = line[:, :, 1:-1].at[:, :, 1].add(line[:, :, 0]).at[:, :, -2].add(line[:, :, -1])
        y = y.at[:, target].add(inner[:, 0])
    for side, target in ((0, 1), (-1, -2)):
        taps = kernel[:, 2:] if side == 0 else kernel[:, :1]
        line = _convolve(jnp.pad(gradient[:, :, side][:, :, None], ((0, 0), (1, 1), (0, 0), (0, 0))), taps)
        y = y.at[:, :, target].add(line[:, :, 0])
    return y


def _kernel_gradient(x: Array, gradient: Array) -> Array:
    inputs, outputs = x.shape[3], gradient.shape[3]
    pixels = max(_BLOCK_PIXELS, _BLOCK_NUMBERS // max(inputs, outputs))
    if min(inputs, outputs) > _FEW:
        return winograd.kernel_gradient(sum_blocks(winograd.transformed_gradient, x, gradient, pixels))
    if inputs <= outputs:
        return sum_blocks(_taps_by_outputs, x, gradient, pixels).reshape(3, 3, inputs, outputs)
    taps = sum_blocks(_inputs_by_taps, x, gradient, pixels).reshape(inputs, 3, 3, outputs)
    return taps[:, ::-1, ::-1].transpose(1, 2, 0, 3)


def _taps_by_outputs(padded: Array, gradient: Array) -> Array:
    return jnp.einsum("nhwi,nhwo->io", _patches(padded), gradient, precision=HIGHEST)


def _inputs_by_taps(padded: Array, gradient: Array) -> Array:
    patches = _patches(jnp.pad(gradient, ((0, 0), (2, 2), (2, 2), (0, 0))))
    return jnp.einsum("nhwi,nhwo->io", padded, patches, precision=HIGHEST)


def _patches(padded: Array) -> Array:
    """The nine pixels around each, `[N, H, W, 9 * C]` of `[N, H + 2, W + 2, C]`."""
    height, width = padded.shape[1] - 2, padded.shape[2] - 2
    # In two steps, because XLA would look up each number by itself.
    rows = lax.optimization_barrier(jnp.concatenate([padded[:, :, b : b + width] for b in range(3)], axis=3))
    return lax.optimization_barrier(jnp.concatenate([rows[:, a : a + height] for a in range(3)], axis=3))


_TAPS = tuple(itertools.product(range(3), repeat=2))


class _Way(NamedTuple):
    """A way to convolve blocks with a kernel that is prepared once."""

    prepare: Callable[[Array], Array]
    convolve: Callable[[Array, Array], Array]

    def pixels(self, kernel: Array) -> int:
        """The number of pixels that a block should have."""
        channels = 9 * kernel.shape[3] if self is _PRODUCTS else max(kernel.shape[2:])
        least = _BLOCK_PIXELS_UPSAMPLED if self is _UPSAMPLED else _BLOCK_PIXELS
        return max(least, _BLOCK_NUMBERS // channels)


def _way(kernel: Array, upsample: bool = False) -> _Way:
    """The fastest way for a kernel; all give the same result up to rounding."""
    inputs, outputs = kernel.shape[2:]
    if upsample:
        return _UPSAMPLED
    if outputs <= _FEW:
        return _PRODUCTS
    if inputs <= _FEW:
        return _PATCHES
    return _DIRECT if max(inputs, outputs) <= _NARROW else _WINOGRAD


def _convolve(padded: Array, kernel: Array) -> Array:
    return lax.conv_general_dilated(
        padded,
        kernel,
        window_strides=(1, 1),
        padding="VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=HIGHEST,
    )


def _by_products(padded: Array, matrix: Array) -> Array:
    """Multiply by all nine taps in one matrix product, then shift and add its results."""
    height, width = padded.shape[1] - 2, padded.shape[2] - 2
    taps = jnp.einsum("nhwi,io->nhwo", padded, matrix, precision=HIGHEST)
    shifted = [
        tap[:, a : a + height, b : b + width]
        for (a, b), tap in zip(_TAPS, lax.split(taps, [matrix.shape[1] // 9] * 9, axis=3), strict=True)
    ]
    return functools.reduce(jnp.add, shifted)


def _by_patches(padded: Array, matrix: Array) -> Array:
    """Multiply the nine pixels around each in one matrix product."""
    return jnp.einsum("nhwi,io->nhwo", _patches(padded), matrix, precision=HIGHEST)


_DIRECT = _Way(lambda kernel: kernel, _convolve)
_PATCHES = _Way(lambda kernel: kernel.reshape(-1, kernel.shape[3]), _by_patches)
_PRODUCTS = _Way(lambda kernel: kernel.transpose(2, 0, 1, 3).reshape(kernel.shape[2], -1), _by_products)
_WINOGRAD = _Way(winograd.transform_kernel, winograd.convolve)
_UPSAMPLED = _Way(winograd.split_kernel, winograd.convolve_upsampled)

"""Images of any size on canvases of a few sizes, so that what is compiled for one serves others.

The size of the image is a value, not a shape: convolutions reflect at its border (`conv3x3`), pooling ends there
(`max_pool`), and only its pixels count in the statistics. The result is that of the image alone, up to rounding.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from wct_jax.kernels.compilation import part

# Sides are rounded up to eight sizes for each doubling, but to no less than 16, which four poolings leave whole.
_STEPS = 8
_FINEST = 16
# Below this a canvas would be much larger than the image.
SMALLEST = 64


def canvas_sides(sides: Sequence[int]) -> tuple[int, ...]:
    """The sides of the canvas for an image: each at most an eighth longer, or 15 pixels; its own if it is small."""
    if min(sides) < SMALLEST:
        return tuple(sides)
    return tuple(map(smallest_canvas, sides))


def smallest_canvas(side: int) -> int:
    """The side of the canvas for a side of an image, whatever the other."""
    step = max(_FINEST, 2 ** (side.bit_length() - 1) // _STEPS)
    return -(-side // step) * step


def largest_canvas(side: int) -> int:
    """The longest side of a canvas that is no longer than `side`."""
    step = max(_FINEST, 2 ** (side.bit_length() - 1) // _STEPS)
    return side // step * step


def lay_out(image: Array, weights: Array | None) -> tuple[Array, Array | None, Array | None]:
    """Lay an image on a canvas, where that spares compiling.

    Args:
        image: `[..., H, W, C]`.
        weights: `[..., H, W]`, or None for 1 everywhere.

    Returns:
        Image and weights with zeros beyond what was there, and the size, int32 `[2]`, of that. Where JAX is tracing
        (the shape is compiled in any case), where the image lies on several devices, is small, or has the size of a
        canvas, all is returned as it is, with None for the size.
    """
    sides = image.shape[-3:-1]
    margins = [(0, canvas - side) for canvas, side in zip(canvas_sides(sides), sides, strict=True)]
    if out_of_reach(image) or (weights is not None and out_of_reach(weights)):
        return image, weights, None
    if not any(margin for _, margin in margins):
        return image, None if weights is None else as_array(weights), None
    # By NumPy, since JAX would compile it for each size.
    lead = [(0, 0)] * (image.ndim - 3)
    dtype = np.promote_types(image.dtype, np.float32)
    counted = np.ones(sides, dtype) if weights is None else np.asarray(weights)
    return (
        _placed(np.pad(np.asarray(image), [*lead, *margins, (0, 0)]), image),
        _placed(np.pad(counted, [*[(0, 0)] * (counted.ndim - 2), *margins]), weights),
        as_array(np.asarray(sides, np.int32)),
    )


def as_array(value: ArrayLike) -> Array:
    """`jnp.asarray`, which compiles a copy for each shape of NumPy's arrays, without compiling."""
    return jax.device_put(value) if isinstance(value, np.ndarray) else jnp.asarray(value)


def lay_out_map(values: Array | np.ndarray, size: Array | None, image: Array) -> Array:
    """Lay values of an image's pixels on the canvas that `lay_out` gave it.

    Args:
        values: `[..., H, W]`.
        size: As `lay_out` returned it.
        image: As `lay_out` returned it, `[..., H, W, C]`.
    """
    if size is None:
        return as_array(values)
    margins = [(0, canvas - side) for canvas, side in zip(image.shape[-3:-1], values.shape[-2:], strict=True)]
    return _placed(np.pad(np.asarray(values), [*[(0, 0)] * (values.ndim - 2), *margins]), values)


def outline(shape: Sequence[int], weighted: bool) -> tuple[Any, Any, Any]:
    """What `lay_out` would return for an image, as `jax.ShapeDtypeStruct`.

    Args:
        shape: `[..., H, W, C]`.
        weighted: Whether it has weights.
    """
    *lead, height, width, channels = shape
    sides = canvas_sides((height, width))
    laid_out = sides != (height, width)
    image = jax.ShapeDtypeStruct((*lead, *sides, channels), jnp.float32)
    weights = jax.ShapeDtypeStruct((*(lead if weighted else ()), *sides), jnp.float32) if weighted or laid_out else None
    return image, weights, jax.ShapeDtypeStruct((2,), jnp.int32) if laid_out else None


def cut_out(image: Array, sides: Sequence[int]) -> Array:
    """The first rows and columns of `[..., H, W, C]`."""
    height, width = sides
    if image.shape[-3:-1] == (height, width):
        return image
    if out_of_reach(image):
        return image[..., :height, :width, :]
    return _placed(np.asarray(image)[..., :height, :width, :], image)


def out_of_reach(x: ArrayLike) -> bool:
    """Whether NumPy cannot work on an array: JAX is tracing it, or it lies on several devices."""
    return isinstance(x, jax.core.Tracer) or (isinstance(x, Array) and len(x.devices()) > 1)


def _placed(x: np.ndarray, like: Array | np.ndarray | None) -> Array:
    """An array on the device to which another one is committed, if it is."""
    return jax.device_put(x, like.sharding) if isinstance(like, jax.Array) and like.committed else as_array(x)


def inside(shape: Sequence[int], size: Array) -> Array:
    """Which pixels `[H, W]` of a canvas are in the image.

    Args:
        shape: `(H, W)`.
        size: int32 `[2]`.
    """
    rows, columns = (jnp.arange(side) < size[i] for i, side in enumerate(shape))
    return rows[:, None] & columns[None]


def halved(size: Array | None) -> Array | None:
    """The size after a pooling that keeps odd last rows and columns."""
    return None if size is None else _half(size)


# Compiled with the rest, since operations of their own would be compiled by each process.
@part()
def _half(size: Array) -> Array:
    return (size + 1) // 2


@part()
def doubled(size: Array) -> Array:
    """The size after an upsampling."""
    return 2 * size

"""Canvases: images of any size laid out on a few sizes, so that images of different sizes share compiled code.

The image's size is then a value, not a shape: convolutions reflect at the image's border (`conv3x3`), pooling ends
there (`max_pool`), and only its pixels count in the statistics. The result is that of the image alone, up to rounding.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

# Sides are rounded up to one of eight sizes per doubling, and to multiples of 16, which four poolings divide evenly.
_STEPS = 8
_FINEST = 16
# Images with a shorter side have no canvas, because it would be much larger.
SMALLEST = 64


def canvas_sides(sides: Sequence[int]) -> tuple[int, ...]:
    """The canvas's sides for an image's: each at most an eighth or 15 pixels longer; the same for a small image."""
    if min(sides) < SMALLEST:
        return tuple(sides)
    return tuple(map(smallest_canvas, sides))


def smallest_canvas(side: int) -> int:
    """The shortest side of a canvas that is no shorter than `side`."""
    step = max(_FINEST, 2 ** (side.bit_length() - 1) // _STEPS)
    return -(-side // step) * step


def largest_canvas(side: int) -> int:
    """The longest side of a canvas that is no longer than `side`."""
    step = max(_FINEST, 2 ** (side.bit_length() - 1) // _STEPS)
    return side // step * step


def lay_out(image: Array, weights: Array | None) -> tuple[Array, Array | None, Array | None]:
    """Lay an image on a canvas where that avoids compiling.

    Args:
        image: `[..., H, W, C]`.
        weights: Weight of each pixel, `[..., H, W]`; None for 1 everywhere.

    Returns:
        Image and weights, padded by zeros, and the image's size, int32 `[2]`. Image and weights are not padded, and the
        size is None, if JAX is tracing (the shape is compiled in any case), or if the image lies on several devices, is
        small, or has the size of a canvas.
    """
    sides = image.shape[-3:-1]
    margins = [(0, canvas - side) for canvas, side in zip(canvas_sides(sides), sides, strict=True)]
    if out_of_reach(image) or (weights is not None and out_of_reach(weights)):
        return image, weights, None
    if not any(margin for _, margin in margins):
        return image, None if weights is None else as_array(weights), None
    # By NumPy, because JAX would compile it for each size.
    lead = [(0, 0)] * (image.ndim - 3)
    dtype = np.promote_types(image.dtype, np.float32)
    counted = np.ones(sides, dtype) if weights is None else np.asarray(weights)
    return (
        _placed(np.pad(np.asarray(image), [*lead, *margins, (0, 0)]), image),
        _placed(np.pad(counted, [*[(0, 0)] * (counted.ndim - 2), *margins]), weights),
        as_array(np.asarray(sides, np.int32)),
    )


def as_array(value: ArrayLike) -> Array:
    """`jnp.asarray` without compiling: JAX compiles a copy of a number, and one for each shape of a NumPy array."""
    return jax.device_put(value) if isinstance(value, np.ndarray | float) else jnp.asarray(value)


def lay_out_map(values: Array | np.ndarray, size: Array | None, image: Array) -> Array:
    """Lay values per pixel, `[..., H, W]`, on an image's canvas; `size` and `image` are what `lay_out` returned."""
    if size is None:
        return as_array(values)
    margins = [(0, canvas - side) for canvas, side in zip(image.shape[-3:-1], values.shape[-2:], strict=True)]
    return _placed(np.pad(np.asarray(values), [*[(0, 0)] * (values.ndim - 2), *margins]), values)


def outline(shape: Sequence[int], weighted: bool) -> tuple[Any, Any, Any]:
    """The results of `lay_out` as `jax.ShapeDtypeStruct`, for an image of a shape `[..., H, W, C]`, weighted or not."""
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
    """Whether NumPy cannot read an array, because JAX is tracing it or it lies on several devices."""
    return isinstance(x, jax.core.Tracer) or (isinstance(x, Array) and len(x.devices()) > 1)


def _placed(x: np.ndarray, like: Array | np.ndarray | None) -> Array:
    """Put an array on the device that another one is committed to, if it is."""
    return jax.device_put(x, like.sharding) if isinstance(like, jax.Array) and like.committed else as_array(x)


def inside(shape: Sequence[int], size: Array) -> Array:
    """The mask `[H, W]` of a canvas's pixels that belong to the image, from both sizes."""
    rows, columns = (jnp.arange(side) < size[i] for i, side in enumerate(shape))
    return rows[:, None] & columns[None]


def halved(size: Array | None) -> Array | None:
    """The size after a pooling in ceil mode."""
    return None if size is None else (size + 1) // 2

"""The 3x3 convolution of every network here."""

import jax
import jax.numpy as jnp
from jax import Array


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
    y = jax.lax.conv_general_dilated(
        padded,
        kernel.astype(x.dtype),
        window_strides=(1, 1),
        padding="VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        # The default is TF32 on recent NVIDIA GPUs and one pass of bfloat16 on TPUs.
        precision=jax.lax.Precision.HIGHEST,
    )
    return (y + bias.astype(x.dtype)[None, None, None]).reshape(*lead, height, width, -1)

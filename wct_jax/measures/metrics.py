"""Metrics of how close a picture is to another: PSNR, SSIM, and the SSIM of edges."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from wct_jax.kernels.canvas import as_array
from wct_jax.kernels.compilation import compiled


def psnr(image: ArrayLike, reference: ArrayLike) -> Array:
    """Peak signal-to-noise ratio, -10 log10(mean((x - y)²)), with a peak of 1.

    Args:
        image: `[..., H, W, 3]`, floating point in 0..1, not clipped.
        reference: Array of the same shape.

    Returns:
        Decibels, `[...]`, float32 (float64 for float64); infinity for equal images.

    Raises:
        ValueError: The shapes differ or are not those of images, or the values are not floating point.
    """
    return _psnr(*_pair(image, reference))


@compiled()
def _psnr(image: Array, reference: Array) -> Array:
    return -10 * jnp.log10(jnp.mean((image - reference) ** 2, axis=(-3, -2, -1)))


def ssim(image: ArrayLike, reference: ArrayLike) -> Array:
    """Structural similarity of the grey images (the mean of the channels), averaged over all windows.

    (2 μx μy + C1)(2 σxy + C2) / ((μx² + μy² + C1)(σx² + σy² + C2)) with C1 = 0.01², C2 = 0.03², under a Gaussian
    window of 11 x 11 pixels and σ = 1.5, wherever it lies wholly inside the image: Wang, Bovik, Sheikh and Simoncelli,
    "Image quality assessment: from error visibility to structural similarity", 2004, equation 13. If a side is shorter
    than 11, the window is as large as the shorter side.

    Args:
        image: `[..., H, W, 3]`, floating point in 0..1.
        reference: Array of the same shape.

    Returns:
        Similarity, `[...]`, at most 1 up to rounding, float32 (float64 for float64).

    Raises:
        ValueError: The shapes differ or are not those of images, or the values are not floating point.
    """
    return _ssim(*_pair(image, reference))


_WINDOW, _SIGMA = 11, 1.5
# Recommendation ITU-R BT.601.
_LUMA = np.asarray([0.299, 0.587, 0.114], np.float32)
_C1, _C2 = 0.01**2, 0.03**2


def edge_similarity(image: ArrayLike, reference: ArrayLike) -> Array:
    """Structural similarity of the edges: `ssim` of Sobel magnitudes of luma, each divided by its mean.

    Args:
        image: `[..., H, W, 3]`, floating point in 0..1.
        reference: Array of the same shape.

    Returns:
        Similarity, `[...]`, at most 1 up to rounding, float32 (float64 for float64).

    Raises:
        ValueError: The shapes differ or are not those of images, or the values are not floating point.
    """
    return _edge_similarity(*_pair(image, reference))


@compiled()
def _edge_similarity(image: Array, reference: Array) -> Array:
    return _similarity(_edges(image), _edges(reference))


def _edges(images: Array) -> Array:
    luma = images @ _LUMA.astype(images.dtype)
    luma = jnp.pad(luma, [(0, 0)] * (luma.ndim - 2) + [(1, 1), (1, 1)], "edge")
    smooth, across = luma[..., :-2, :] + 2 * luma[..., 1:-1, :] + luma[..., 2:, :], luma[..., 2:, :] - luma[..., :-2, :]
    smooth = smooth[..., 2:] - smooth[..., :-2]
    across = across[..., :-2] + 2 * across[..., 1:-1] + across[..., 2:]
    # The root of zero has no derivative.
    edges = jnp.sqrt(jnp.square(smooth) + jnp.square(across) + 1e-8)
    return edges / edges.mean((-2, -1), keepdims=True)


@compiled()
def _ssim(image: Array, reference: Array) -> Array:
    return _similarity(image.mean(-1), reference.mean(-1))


def _similarity(x: Array, y: Array) -> Array:
    difference = x - y
    mean_x, mean_y, mean_difference = _blur(x), _blur(y), _blur(difference)
    # Rounding may leave less than nothing.
    variances = jnp.maximum(_blur(x**2) - mean_x**2 + _blur(y**2) - mean_y**2, 0)
    # The equation's two factors, written with 2ab = a² + b² - (a - b)². Where the images are almost equal, rounding the
    # small variance of the difference does no harm; rounding the covariance would, on bright flat areas.
    luminance = 1 - mean_difference**2 / (mean_x**2 + mean_y**2 + _C1)
    structure = 1 - (_blur(difference**2) - mean_difference**2) / (variances + _C2)
    return (luminance * structure).mean((-2, -1))


def _blur(values: Array) -> Array:
    size = min(_WINDOW, *values.shape[-2:])
    for axis in (-2, -1):
        values = _blur_along(values, size, axis)
    return values


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _blur_along(values: Array, size: int, axis: int) -> Array:
    # By shifted sums, since some accelerators round convolutions to fewer bits.
    weights = [math.exp(-(((i - (size - 1) / 2) / _SIGMA) ** 2) / 2) for i in range(size)]
    length = values.shape[axis] - size + 1
    shifted = [jax.lax.slice_in_dim(values, i, i + length, axis=axis) for i in range(size)]
    return sum((w / sum(weights) * s for w, s in zip(weights, shifted, strict=True)), jnp.zeros_like(shifted[0]))


def _blur_forwards(values: Array, size: int, axis: int) -> tuple[Array, None]:
    return _blur_along(values, size, axis), None


def _blur_backwards(size: int, axis: int, _: None, gradient: Array) -> tuple[Array]:
    # The window is symmetric. JAX would transpose each shift by itself, which takes ten times as long.
    around = [(0, 0)] * gradient.ndim
    around[axis] = (size - 1, size - 1)
    return (_blur_along(jnp.pad(gradient, around), size, axis),)


_blur_along.defvjp(_blur_forwards, _blur_backwards)


def _pair(image: ArrayLike, reference: ArrayLike) -> tuple[Array, Array]:
    pair = as_array(image), as_array(reference)
    for array in pair:
        if array.ndim < 3 or array.shape[-1] != 3 or 0 in array.shape:
            raise ValueError(f"expected images [..., H, W, 3], got shape {array.shape}")
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise ValueError(f"expected images of floating point values in 0..1, got {array.dtype}")
    if pair[0].shape != pair[1].shape:
        raise ValueError(f"expected two images of one shape, got {pair[0].shape} and {pair[1].shape}")
    dtype = jnp.float64 if any(array.dtype == jnp.float64 for array in pair) else jnp.float32
    return pair[0].astype(dtype), pair[1].astype(dtype)

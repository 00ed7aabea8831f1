"""Whitening and coloring of features, Li et al., "Universal Style Transfer via Feature Transforms", NIPS 2017.

A feature is an array `[..., H, W, C]`: leading dimensions, rows, columns, channels. Every function is pure and works
under `jax.jit`, `jax.vmap` and `jax.grad`, and on sharded arrays.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from wct_jax.transform.mesh import on_any_mesh
from wct_jax.transform.platforms import HIGHEST, by_platform
from wct_jax.transform.roots import inverse_root_of, product, root_of
from wct_jax.transform.rows import cut, join, rows_at_once
from wct_jax.transform.statistics import (
    Moments,
    check_moments,
    feature_of,
    moments,
    per_pixel,
    statistics_dtype,
    weighted_moments,
)


def whiten_color(content: Moments, style: Moments, eps: ArrayLike = 1e-6) -> tuple[Array, Array]:
    """Compute the paper's affine map, which gives content the style's mean and covariance.

    `y = matrix @ x + bias` with `matrix` = C_s^½ C_c^-½ and `bias` = m_s - matrix m_c, where C^p = E Λ^p Eᵀ over the
    eigenvalues kept: equations 1 and 2 of Li et al., "Universal Style Transfer via Feature Transforms", NIPS 2017.
    `wct_jax.transform.maps` has other maps to the style's Gaussian and says when to choose which.

    Args:
        content: Moments of the content's feature, C channels.
        style: Moments of the style's feature, C channels; leading dimensions broadcast with those of `content`.
        eps: Relative cut: eigenvalues at or below `eps` times the largest, or within rounding of zero, are dropped, on
            both sides. Their directions map to zero.

    Returns:
        Matrix `[..., C, C]` and bias `[..., C]`.

    Raises:
        ValueError: An argument is not `Moments`, the numbers of channels differ, or `eps` is not a number.

    Example:
        >>> content, style = jax.random.normal(jax.random.key(0), (2, 4, 5, 3))
        >>> matrix, bias = whiten_color(moments(content), moments(style))
        >>> bool(jnp.allclose(matrix @ moments(content).covariance @ matrix.T, moments(style).covariance, atol=1e-4))
        True
    """
    check_moments(content, style)
    return affine(product(root_of(style, eps), inverse_root_of(content, eps)), content, style)


def affine(matrix: Array, content: Moments, style: Moments) -> tuple[Array, Array]:
    """Complete a matrix `[..., C, C]` by the bias `[..., C]` with which it takes the content's mean to the style's."""
    return matrix, style.mean - jnp.einsum("...ij,...j->...i", matrix, content.mean, precision=HIGHEST)


Transform = Callable[[Moments, Moments, ArrayLike], tuple[Array, Array]]
"""Content's moments, style's moments and `eps` to matrix `[..., C, C]` and bias `[..., C]`."""


Pixels = tuple[Array, Array, Array | None]
"""Pixels `[..., H, W, C]`, the strength of each, and whether it counts, `[..., H, W, 1]`; None for all."""

Maps = tuple[Array, Array, Array]
"""Content's mean `[..., C]`, matrix `[..., C, C]` and style's mean `[..., C]`."""

Blend = Callable[[Pixels, Maps], Array]


def whiten(feature: ArrayLike, *, eps: ArrayLike = 1e-6, weights: ArrayLike | None = None) -> Array:
    """Remove mean and correlations: C^-½ (x - m), equation 1 of Li et al., NIPS 2017.

    Args:
        feature: `[..., H, W, C]`, floating point.
        eps: Relative cut: eigenvalues at or below `eps` times the largest are dropped.
        weights: Weight of each pixel in the statistics, 0..1, broadcasting to `[..., H, W]`; None for 1 everywhere. All
            pixels are whitened, whatever their weight.

    Returns:
        `[..., H, W, C]` in the dtype of `feature`, with mean 0 and as covariance the identity on the directions kept.

    Raises:
        ValueError: A shape or dtype does not fit.

    Example:
        >>> white = whiten(jax.random.normal(jax.random.key(0), (4, 5, 3)))
        >>> bool(jnp.allclose(moments(white).covariance, jnp.eye(3), atol=1e-4))
        True
    """
    feature = feature_of("feature", feature)
    return on_any_mesh(_whiten, lambda lead, pixels: pixels, feature, moments(feature, weights), eps)


def _whiten(feature: Array, statistics: Moments, eps: ArrayLike) -> Array:
    zero = jnp.zeros_like(statistics.mean)
    whitened = apply(feature, statistics.mean, inverse_root_of(statistics, eps), zero)
    return whitened.astype(feature.dtype)


def wct(
    content: ArrayLike,
    style: ArrayLike,
    alpha: ArrayLike = 1.0,
    *,
    eps: ArrayLike = 1e-6,
    content_weights: ArrayLike | None = None,
    style_weights: ArrayLike | None = None,
) -> Array:
    """Whiten the content's feature, color it with the style's statistics, and blend the two.

    With means m and covariances C of content and style, each pixel x becomes ::

        y = alpha (C_s^½ C_c^-½ (x - m_c) + m_s) + (1 - alpha) x,

    equations 1 to 3 of Li et al., "Universal Style Transfer via Feature Transforms", NIPS 2017. Statistics are taken in
    float32, or float64 for float64 input. Derivatives hold the set of eigenvalues kept fixed; they are finite where
    eigenvalues repeat or vanish.

    Args:
        content: `[..., H, W, C]`, floating point.
        style: `[..., Hs, Ws, C]`, floating point; leading dimensions broadcast with those of `content`.
        alpha: Strength of the style, 0..1, broadcasting to `[..., H, W]`; usually a scalar.
        eps: Relative cut: eigenvalues at or below `eps` times the largest are dropped, on both sides.
        content_weights: Weight of each pixel in the content's statistics, 0..1, broadcasting to `[..., H, W]`; None for
            1 everywhere. All pixels are transformed, whatever their weight.
        style_weights: Weight of each pixel in the style's statistics, 0..1, broadcasting to `[..., Hs, Ws]`; None for 1
            everywhere. If a style has no weight at all, the content comes back unchanged.

    Returns:
        `[..., H, W, C]` in the dtype of `content`, with the leading dimensions of both.

    Raises:
        ValueError: A shape or dtype does not fit. Values are not checked, since they may be traced.

    Example:
        >>> content, style = jax.random.normal(jax.random.key(0), (2, 4, 5, 3))
        >>> wct(content, style, 0.6).shape
        (4, 5, 3)
        >>> bool(jnp.allclose(moments(wct(content, style)).covariance, moments(style).covariance, atol=1e-4))
        True
    """
    content, style = feature_of("content", content), feature_of("style", style)
    if content.shape[-1] != style.shape[-1]:
        raise ValueError(f"content and style must have as many channels, got {content.shape[-1]} and {style.shape[-1]}")
    return transfer(
        content,
        weighted_moments(style, "style_weights", style_weights),
        alpha,
        eps=eps,
        statistics=weighted_moments(content, "content_weights", content_weights),
    )


def transfer(
    content: ArrayLike,
    style: Moments,
    alpha: ArrayLike = 1.0,
    *,
    eps: ArrayLike = 1e-6,
    statistics: Moments | None = None,
    transform: Transform = whiten_color,
    inside: Array | None = None,
    blend: Blend | None = None,
) -> Array:
    """Transform a feature as `wct` does, given the style's moments instead of its feature.

    Args:
        content: `[..., H, W, C]`, floating point.
        style: Moments of C channels; leading dimensions broadcast with those of `content`.
        alpha: As for `wct`.
        eps: As for `wct`.
        statistics: Moments of the content, or of the image that it is a part of; None to take them here.
        transform: The map: the paper's, or another of `wct_jax.transform.maps`.
        inside: Mask of the pixels that belong to the image, bool `[H, W]`; the others become zero. None for all.
        blend: Function that transforms the pixels, for a faster one than XLA's.

    Returns:
        `[..., H, W, C]` in the dtype of `content`.

    Raises:
        ValueError: A shape or dtype does not fit.
    """
    content = feature_of("content", content)
    if content.shape[-1] != style.mean.shape[-1]:
        raise ValueError(f"style must be moments of {content.shape[-1]} channels, got {style.mean.shape[-1]}")
    try:
        lead = jnp.broadcast_shapes(content.shape[:-3], style.count.shape)
    except ValueError:
        raise ValueError(
            f"leading dimensions of content and style must broadcast, got {content.shape[:-3]} and {style.count.shape}"
        ) from None
    strength = per_pixel("alpha", alpha, (*lead, *content.shape[-3:-1]))
    if statistics is None:
        statistics = moments(content)
    function = functools.partial(_transfer, transform=transform, inside=inside, blend=blend or _by_xla)
    return on_any_mesh(function, lambda lead, pixels: pixels, content, (statistics, style), strength, eps)


def _transfer(
    content: Array,
    pair: tuple[Moments, Moments],
    alpha: Array,
    eps: ArrayLike,
    *,
    transform: Transform,
    inside: Array | None,
    blend: Blend,
) -> Array:
    statistics, style = pair
    dtype = statistics_dtype(statistics.mean, style.mean)
    rank = alpha.ndim - 2
    content = content.reshape((1,) * (rank - content.ndim + 3) + content.shape)
    statistics = _lift(statistics, rank - statistics.count.ndim, dtype)
    style = _lift(style, rank - style.count.ndim, dtype)
    matrix, _ = transform(statistics, style, eps)
    strength = jnp.where(style.count[..., None, None] > 0, alpha.astype(dtype), 0)[..., None]

    inside = None if inside is None else jnp.broadcast_to(inside, content.shape[:-1])[..., None]
    return blend((content, strength, inside), (statistics.mean, matrix, style.mean))


def _by_xla(pixels: Pixels, maps: Maps) -> Array:
    rows = rows_at_once(pixels[0])
    if rows == pixels[0].shape[-3]:
        return blend_pixels(pixels, maps)
    return _blend_by_platform(pixels, maps, rows=rows)


def blend_pixels(pixels: Pixels, maps: Maps, *, rows: int | None = None) -> Array:
    """Transform the pixels by (content's mean, matrix, style's mean), each by its strength, and clear those outside."""
    (x, strength, inside), (mean, matrix, target) = pixels, maps
    y = strength * apply(x, mean, matrix, target) + (1 - strength) * x.astype(mean.dtype)
    return (y if inside is None else jnp.where(inside, y, 0)).astype(x.dtype)


def _blend_by_rows(pixels: Pixels, maps: Maps, *, rows: int) -> Array:
    parts = jax.tree.map(lambda x: cut(x, rows, -3), pixels)
    return join(lax.map(lambda part: blend_pixels(part, maps), parts), -3)


_blend_by_platform = by_platform(cpu=_blend_by_rows, default=blend_pixels, static=("rows",))


def apply(x: Array, mean: Array, matrix: Array, target: Array) -> Array:
    """Map each pixel x of `[..., H, W, C]` to matrix (x - mean) + target, in the dtype of the mean."""
    # Centered first: matrix @ x + bias is equal in exact arithmetic, but a difference of large numbers where the matrix
    # is large because the content has small eigenvalues.
    centered = x.astype(mean.dtype) - mean[..., None, None, :]
    return jnp.einsum("...ij,...hwj->...hwi", matrix, centered, precision=HIGHEST) + target[..., None, None, :]


def _lift(tree: Any, ranks: int, dtype: jnp.dtype) -> Any:
    # Leading ones, because `jax_numpy_rank_promotion` may forbid JAX to add them.
    return jax.tree.map(lambda leaf: leaf.astype(dtype).reshape((1,) * ranks + leaf.shape), tree)

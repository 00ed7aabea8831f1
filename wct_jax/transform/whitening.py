"""Whitening and coloring of features, Li et al., "Universal Style Transfer via Feature Transforms", NIPS 2017.

A feature is an array `[..., H, W, C]`: leading dimensions, rows, columns, channels. Everything here is a
pure function of arrays and works under `jax.jit`, `jax.vmap`, `jax.grad` and on sharded arrays.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from wct_jax.transform.blocks import cut, join, rows_at_once
from wct_jax.transform.mesh import on_any_mesh
from wct_jax.transform.platforms import by_platform
from wct_jax.transform.roots import inverse_root_of, root_of
from wct_jax.transform.statistics import (
    Moments,
    check_moments,
    feature_of,
    moments,
    per_pixel,
    statistics_dtype,
    weighted_moments,
)

_HIGHEST = lax.Precision.HIGHEST


def whiten_color(content: Moments, style: Moments, eps: ArrayLike = 1e-6) -> tuple[Array, Array]:
    """The affine map that gives content the style's mean and covariance, equations 1 and 2 of the paper.

    With C = E Λ Eᵀ the covariances, `matrix` = C_s^½ C_c^-½ and `bias` = m_s - matrix m_c, so that
    `y = matrix @ x + bias`. Eigenvalues at or below `eps` times the largest, or within rounding of zero, are
    dropped on both sides: their directions map to nothing.

    Args:
        content: Moments of the content's feature, C channels.
        style: Moments of the style's feature, C channels; leading dimensions broadcast.
        eps: Where the spectra are cut, relative to the largest eigenvalue.

    Returns:
        Matrix `[..., C, C]` and bias `[..., C]`.

    Raises:
        ValueError: Something else than moments of as many channels, or an `eps` that is no number.
    """
    check_moments(content, style)
    matrix = jnp.matmul(root_of(style, eps), inverse_root_of(content, eps), precision=_HIGHEST)
    return matrix, style.mean - jnp.einsum("...ij,...j->...i", matrix, content.mean, precision=_HIGHEST)


Transform = Callable[[Moments, Moments, ArrayLike], tuple[Array, Array]]


def whiten(feature: ArrayLike, *, eps: ArrayLike = 1e-6, weights: ArrayLike | None = None) -> Array:
    """Remove the mean and the correlations of a feature, equation 1 of the paper: C^-½ (x - m).

    Args:
        feature: `[..., H, W, C]`, floating point.
        eps: Eigenvalues at or below `eps` times the largest are dropped.
        weights: How much each pixel counts in the statistics, 0..1, broadcasting to `[..., H, W]`.

    Returns:
        `[..., H, W, C]` in the dtype of `feature`: mean zero, covariance the identity on the directions kept.

    Raises:
        ValueError: A shape or dtype that does not fit.
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
    """Whiten the content's feature, color it with the style's, and blend: the paper's transform.

    y = alpha (C_s^½ C_c^-½ (x - m_c) + m_s) + (1 - alpha) x, equations 1-3 of the paper.

    Args:
        content: `[..., H, W, C]`, floating point.
        style: `[..., Hs, Ws, C]`, floating point; leading dimensions broadcast with those of `content`.
        alpha: Strength of the style in 0..1, broadcasting to `[..., H, W]`; usually a scalar.
        eps: Eigenvalues at or below `eps` times the largest are dropped, on both sides.
        content_weights: How much each pixel counts in the content's statistics, 0..1, broadcasting to
            `[..., H, W]`. All pixels are transformed, whatever their weight.
        style_weights: The same for the style, broadcasting to `[..., Hs, Ws]`. A style without any weight
            has no statistics, and the content comes back as it is.

    Returns:
        `[..., H, W, C]` in the dtype of `content`. Statistics are taken in float32 (float64 for float64).

    Raises:
        ValueError: A shape or dtype that does not fit. Values are not checked: they may be traced.
    """
    content, style = feature_of("content", content), feature_of("style", style)
    if content.shape[-1] != style.shape[-1]:
        raise ValueError(f"content and style must have as many channels, got {content.shape[-1]} and {style.shape[-1]}")
    return transfer(
        content,
        weighted_moments(style, "style_weights", style_weights),
        alpha,
        eps=eps,
        content_weights=content_weights,
    )


def transfer(
    content: ArrayLike,
    style: Moments,
    alpha: ArrayLike = 1.0,
    *,
    eps: ArrayLike = 1e-6,
    content_weights: ArrayLike | None = None,
    statistics: Moments | None = None,
    transform: Transform = whiten_color,
    inside: Array | None = None,
) -> Array:
    """`wct` with the style given by its moments, as a kept style is.

    Args:
        content: `[..., H, W, C]`, floating point.
        style: Moments of C channels; leading dimensions broadcast with those of `content`.
        alpha: As for `wct`.
        eps: As for `wct`.
        content_weights: As for `wct`.
        statistics: The content's moments, where they are known: its weights are not looked at then.
        transform: Whose matrix is applied: the paper's, or one of `wct_jax.transform.maps`.
        inside: Which pixels there are, bool `[H, W]`: the others become zero. None for all.

    Returns:
        `[..., H, W, C]` in the dtype of `content`.

    Raises:
        ValueError: A shape or dtype that does not fit.
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
        statistics = weighted_moments(content, "content_weights", content_weights)
    function = functools.partial(_transfer, transform=transform, inside=inside)
    return on_any_mesh(function, lambda lead, pixels: pixels, content, statistics, style, strength, eps)


def _transfer(
    content: Array,
    statistics: Moments,
    style: Moments,
    alpha: Array,
    eps: ArrayLike,
    *,
    transform: Transform,
    inside: Array | None,
) -> Array:
    dtype = statistics_dtype(statistics.mean, style.mean)
    rank = alpha.ndim - 2
    content = content.reshape((1,) * (rank - statistics.count.ndim) + content.shape)
    statistics = _lift(statistics, rank - statistics.count.ndim, dtype)
    style = _lift(style, rank - style.count.ndim, dtype)
    matrix, _ = transform(statistics, style, eps)
    strength = jnp.where(style.count[..., None, None] > 0, alpha.astype(dtype), 0)[..., None]

    inside = None if inside is None else jnp.broadcast_to(inside, content.shape[:-1])[..., None]
    rows = rows_at_once(content)
    pixels, maps = (content, strength, inside), (statistics.mean, matrix, style.mean)
    if rows == content.shape[-3]:
        return _blend(pixels, maps)
    return _blend_by_platform(pixels, maps, rows=rows)


_Pixels = tuple[Array, Array, Array | None]


def _blend(pixels: _Pixels, maps: tuple[Array, Array, Array], *, rows: int | None = None) -> Array:
    """Pixels, how much each changes and which there are; the content's mean, the matrix and the style's mean."""
    (x, strength, inside), (mean, matrix, target) = pixels, maps
    y = strength * apply(x, mean, matrix, target) + (1 - strength) * x.astype(mean.dtype)
    return (y if inside is None else jnp.where(inside, y, 0)).astype(x.dtype)


def _blend_by_rows(pixels: _Pixels, maps: tuple[Array, Array, Array], *, rows: int) -> Array:
    parts = jax.tree.map(lambda x: cut(x, rows, -3), pixels)
    return join(lax.map(lambda part: _blend(part, maps), parts), -3)


_blend_by_platform = by_platform(cpu=_blend_by_rows, default=_blend, static=("rows",))


def apply(x: Array, mean: Array, matrix: Array, target: Array) -> Array:
    """Each pixel x of `[..., H, W, C]`, in the dtype of the mean."""
    # Centered first: matrix @ x + bias is the same in exact arithmetic, but where the matrix is large (small
    # eigenvalues of the content) it is a difference of large numbers.
    centered = x.astype(mean.dtype) - mean[..., None, None, :]
    return jnp.einsum("...ij,...hwj->...hwi", matrix, centered, precision=_HIGHEST) + target[..., None, None, :]


def _lift(tree: Any, ranks: int, dtype: jnp.dtype) -> Any:
    # Leading ones, so that nothing relies on JAX promoting ranks, which it can be told not to.
    return jax.tree.map(lambda leaf: leaf.astype(dtype).reshape((1,) * ranks + leaf.shape), tree)

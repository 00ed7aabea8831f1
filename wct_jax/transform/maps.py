"""Affine maps that take the content's Gaussian to the style's, and how to choose among them.

The maps that give content of full rank the style's covariance are C_s^½ Q C_c^-½ with any orthogonal Q:

| map | Q | choose it |
|---|---|---|
| `whiten_color` | the identity | by default: it is the paper's, and needs no further decomposition |
| `optimal_transport` | polar factor of C_s^½ C_c^½ | to keep as much of the photo as the style's covariance allows |
| `cholesky` | Q_s Q_cᵀ with C^½ = Q Lᵀ | to let the photo dissolve; the result depends on the order of channels |

`adain` matches the variances of channels alone: it keeps most of the photo and takes least of the style. In all four,
directions that `eps` drops on either side map to zero.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from wct_jax.checks.arguments import as_number
from wct_jax.transform.platforms import by_platform
from wct_jax.transform.roots import floor_of, inverse_root_of, one_by_one, product, root_of
from wct_jax.transform.statistics import Moments, check_moments
from wct_jax.transform.whitening import Transform, affine, whiten_color


def optimal_transport(content: Moments, style: Moments, eps: ArrayLike = 1e-6) -> tuple[Array, Array]:
    """Compute the map to the style's Gaussian that moves the content's feature least in the mean square.

    `matrix` = C_c^-½ (C_c^½ C_s C_c^½)^½ C_c^-½, symmetric: Lu et al., "A Closed-form Solution to Universal Style
    Transfer", ICCV 2019. Choose it to keep more of the photo than the paper's map does. Computed as C_s^½ Q C_c^-½ with
    the orthogonal polar factor Q of C_s^½ C_c^½, which reaches the style's covariance whatever the rounding of Q. No
    map reaches it from content of lower rank; there this is the mean of the optimal plan given the feature.

    Args:
        content: Moments of the content's feature, C channels.
        style: Moments of the style's feature, C channels; leading dimensions broadcast with those of `content`.
        eps: Relative cut: eigenvalues at or below `eps` times the largest are dropped, on both sides.

    Returns:
        Matrix `[..., C, C]` and bias `[..., C]`.

    Raises:
        ValueError: An argument is not `Moments`, the numbers of channels differ, or `eps` is not a number.

    Example:
        >>> content, style = jax.random.normal(jax.random.key(0), (2, 4, 5, 3))
        >>> matrix, bias = optimal_transport(moments(content), moments(style))
        >>> bool(jnp.allclose(matrix, matrix.T, atol=1e-4))
        True
    """
    return _rotated(content, style, eps, lambda of_content, of_style: _polar_factor(product(of_style, of_content)))


def cholesky(content: Moments, style: Moments, eps: ArrayLike = 1e-6) -> tuple[Array, Array]:
    """Compute the triangular map to the style's Gaussian, in which each channel depends on those before it.

    `matrix` = L_s L_c^-1 with the Cholesky factors C = L Lᵀ. It whitens as in Kessy, Lewin and Strimmer, "Optimal
    Whitening and Decorrelation", The American Statistician 72, 2018. Computed as C_s^½ Q_s Q_cᵀ C_c^-½ with C^½ = Q Lᵀ.
    The map is not triangular where directions are dropped.

    Args:
        content: As for `optimal_transport`.
        style: As for `optimal_transport`.
        eps: As for `optimal_transport`.

    Returns:
        Matrix `[..., C, C]` and bias `[..., C]`.

    Raises:
        ValueError: As for `optimal_transport`.
    """

    def rotation(of_content: Array, of_style: Array) -> Array:
        of_content, of_style = _orthogonal_factor(of_content), _orthogonal_factor(of_style)
        return product(of_style, jnp.matrix_transpose(of_content))

    return _rotated(content, style, eps, rotation)


def adain(content: Moments, style: Moments, eps: ArrayLike = 1e-6) -> tuple[Array, Array]:
    """Compute the map that gives each channel the style's mean and variance: adaptive instance normalization.

    `matrix` = diag(σ_s / σ_c): Huang and Belongie, "Arbitrary Style Transfer in Real-time with Adaptive Instance
    Normalization", ICCV 2017, equation 8. The content keeps its correlations. `eps` drops channels, by their variance.

    Args:
        content: As for `optimal_transport`.
        style: As for `optimal_transport`.
        eps: As for `optimal_transport`.

    Returns:
        Matrix `[..., C, C]`, diagonal, and bias `[..., C]`.

    Raises:
        ValueError: As for `optimal_transport`.
    """
    check_moments(content, style)
    of_content, content_kept = _deviations(content, eps)
    of_style, style_kept = _deviations(style, eps)
    scale = jnp.where(content_kept & style_kept, of_style / of_content, 0)
    diagonal = jnp.vectorize(jnp.diag, signature="(c)->(c,c)")
    return affine(diagonal(scale), content, style)


TRANSFORMS: Mapping[str, Transform] = {
    "zca": whiten_color,
    "ot": optimal_transport,
    "cholesky": cholesky,
    "adain": adain,
}
"""The maps by the names that `stylize` takes."""


def _rotated(
    content: Moments, style: Moments, eps: ArrayLike, rotation: Callable[[Array, Array], Array]
) -> tuple[Array, Array]:
    """The map C_s^½ Q C_c^-½ with Q = rotation(C_c^½, C_s^½), for which both roots are made of full rank."""
    check_moments(content, style)
    coloring, whitening = root_of(style, eps), inverse_root_of(content, eps)
    of_content = _without_gaps(root_of(content, eps), whitening, content, eps)
    of_style = _without_gaps(coloring, inverse_root_of(style, eps), style, eps)
    return affine(product(product(coloring, rotation(of_content, of_style)), whitening), content, style)


def _deviations(statistics: Moments, eps: ArrayLike) -> tuple[Array, Array]:
    """Standard deviations `[..., C]`, 1 where dropped, and the mask of those kept."""
    variances = jnp.diagonal(statistics.covariance, axis1=-2, axis2=-1)
    largest = jnp.max(variances, -1, keepdims=True)
    cut = jnp.asarray(as_number("eps", eps), variances.dtype)
    kept = variances > jnp.maximum(cut * largest, floor_of(statistics)[..., None])
    return jnp.sqrt(jnp.where(kept, variances, 1)), kept


def _without_gaps(root: Array, inverse: Array, statistics: Moments, eps: ArrayLike) -> Array:
    """Replace the zeros of dropped directions in a root by something small, so that its factors are determined."""
    trace = jnp.trace(statistics.covariance, axis1=-2, axis2=-1)
    small = lax.stop_gradient(jnp.maximum(jnp.asarray(eps, trace.dtype) * trace, floor_of(statistics)))
    level = jnp.sqrt(jnp.where(small > 0, small, 1))[..., None, None]
    identity = jnp.broadcast_to(jnp.eye(root.shape[-1], dtype=root.dtype), root.shape)
    return root + level * (identity - product(root, inverse))


@jax.custom_jvp
def _polar_factor(matrix: Array) -> Array:
    """The orthogonal matrix nearest to one of full rank."""
    u, _, v = _svd(matrix)
    return product(u, v)


@_polar_factor.defjvp
def _polar_factor_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    """With M = U Σ Vᵀ and K = Uᵀ dM V: d(U Vᵀ) = U ((K - Kᵀ)_ij / (σ_i + σ_j)) Vᵀ, without differences of the σ."""
    u, values, v = _svd(primals[0])
    inner = product(product(jnp.matrix_transpose(u), tangents[0]), jnp.matrix_transpose(v))
    change = (inner - jnp.matrix_transpose(inner)) / (values[..., :, None] + values[..., None, :])
    return product(u, v), product(product(u, change), v)


@jax.custom_jvp
def _orthogonal_factor(matrix: Array) -> Array:
    """Q of the decomposition M = Q R of a matrix of full rank, R with a positive diagonal."""
    return _qr(matrix)[0]


@_orthogonal_factor.defjvp
def _orthogonal_factor_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    """With L the strictly lower triangle of Qᵀ dM R^-1: dQ = Q (L - Lᵀ)."""
    q, r = _qr(primals[0])
    inner = product(jnp.matrix_transpose(q), tangents[0])
    solved = jax.scipy.linalg.solve_triangular(jnp.matrix_transpose(r), jnp.matrix_transpose(inner), lower=True)
    lower = jnp.tril(jnp.matrix_transpose(solved), -1)
    return q, product(q, lower - jnp.matrix_transpose(lower))


def _qr(matrix: Array) -> tuple[Array, Array]:
    q, r = _plain_qr(matrix)
    sign = jnp.where(jnp.diagonal(r, axis1=-2, axis2=-1) < 0, -1, 1).astype(r.dtype)
    return q * sign[..., None, :], r * sign[..., :, None]


def _decomposition(function: Callable[..., Any]) -> Callable[[Array], Any]:
    # Without its options, because a batching rule would turn them into arrays.
    def plain(matrix: Array) -> Any:
        return tuple(function(matrix))

    return by_platform(cpu=one_by_one(plain), default=plain)


_svd, _plain_qr = _decomposition(jnp.linalg.svd), _decomposition(jnp.linalg.qr)

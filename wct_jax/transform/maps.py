"""Affine maps from one Gaussian to another, beside the paper's.

Every one that gives content of full rank the style's covariance is C_s^½ Q C_c^-½ with Q orthogonal: the paper's has
Q = I, and optimal transport and the triangular map have the two below. Directions that are dropped on either side (see
`whiten_color`) map to nothing in all of them.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from wct_jax.checks.arguments import as_number
from wct_jax.transform.platforms import by_platform
from wct_jax.transform.roots import floor_of, inverse_root_of, one_by_one, root_of
from wct_jax.transform.statistics import Moments, check_moments
from wct_jax.transform.whitening import Transform, whiten_color

_product = functools.partial(jnp.matmul, precision=lax.Precision.HIGHEST)


def optimal_transport(content: Moments, style: Moments, eps: ArrayLike = 1e-6) -> tuple[Array, Array]:
    """The map to the style's Gaussian that moves the content's feature least, in the mean square.

    `matrix` = C_c^-½ (C_c^½ C_s C_c^½)^½ C_c^-½, symmetric: Lu et al., "A Closed-form Solution to Universal Style
    Transfer", ICCV 2019. Computed as C_s^½ Q C_c^-½ with Q the orthogonal factor in the polar decomposition of
    C_s^½ C_c^½, which gives the style's covariance whatever the rounding of Q. Where the content lacks directions no
    map reaches the style's Gaussian: this is the mean of what the optimal plan has for a feature.

    Args:
        content: Moments of the content's feature, C channels.
        style: Moments of the style's feature, C channels; leading dimensions broadcast.
        eps: Where the spectra are cut, relative to the largest eigenvalue.

    Returns:
        Matrix `[..., C, C]` and bias `[..., C]`.

    Raises:
        ValueError: As `whiten_color`.
    """
    check_moments(content, style)
    coloring, whitening = root_of(style, eps), inverse_root_of(content, eps)
    content_root = _without_gaps(root_of(content, eps), whitening, content, eps)
    style_root = _without_gaps(coloring, inverse_root_of(style, eps), style, eps)
    rotation = _polar_factor(_product(style_root, content_root))
    return _affine(_product(_product(coloring, rotation), whitening), content, style)


def cholesky(content: Moments, style: Moments, eps: ArrayLike = 1e-6) -> tuple[Array, Array]:
    """The triangular map to the style's Gaussian: each channel depends on those before it.

    `matrix` = L_s L_c^-1, C = L Lᵀ the covariances' Cholesky factors: whitening as in Kessy, Lewin and Strimmer,
    "Optimal Whitening and Decorrelation", The American Statistician 72, 2018. Computed as C_s^½ Q_s Q_cᵀ C_c^-½ with
    C^½ = Q Lᵀ. Where directions are dropped it is no longer triangular.

    Args:
        content: As for `optimal_transport`.
        style: As for `optimal_transport`.
        eps: As for `optimal_transport`.

    Returns:
        Matrix `[..., C, C]` and bias `[..., C]`.

    Raises:
        ValueError: As `whiten_color`.
    """
    check_moments(content, style)
    coloring, whitening = root_of(style, eps), inverse_root_of(content, eps)
    of_content = _orthogonal_factor(_without_gaps(root_of(content, eps), whitening, content, eps))
    of_style = _orthogonal_factor(_without_gaps(coloring, inverse_root_of(style, eps), style, eps))
    rotation = _product(of_style, jnp.matrix_transpose(of_content))
    return _affine(_product(_product(coloring, rotation), whitening), content, style)


def adain(content: Moments, style: Moments, eps: ArrayLike = 1e-6) -> tuple[Array, Array]:
    """Give each channel the style's mean and variance, and leave correlations: adaptive instance normalization.

    `matrix` = diag(σ_s / σ_c): Huang and Belongie, ICCV 2017, equation 8. Channels whose variance is at or below `eps`
    times the largest, or within rounding of zero, are dropped on both sides: they map to nothing.

    Args:
        content: As for `optimal_transport`.
        style: As for `optimal_transport`.
        eps: As for `optimal_transport`.

    Returns:
        Matrix `[..., C, C]`, diagonal, and bias `[..., C]`.

    Raises:
        ValueError: As `whiten_color`.
    """
    check_moments(content, style)
    of_content, content_kept = _deviations(content, eps)
    of_style, style_kept = _deviations(style, eps)
    scale = jnp.where(content_kept & style_kept, of_style / of_content, 0)
    diagonal = jnp.vectorize(jnp.diag, signature="(c)->(c,c)")
    return _affine(diagonal(scale), content, style)


TRANSFORMS: Mapping[str, Transform] = {
    "zca": whiten_color,
    "ot": optimal_transport,
    "cholesky": cholesky,
    "adain": adain,
}
"""By the names that `stylize` takes."""


def _affine(matrix: Array, content: Moments, style: Moments) -> tuple[Array, Array]:
    mapped = jnp.einsum("...ij,...j->...i", matrix, content.mean, precision=lax.Precision.HIGHEST)
    return matrix, style.mean - mapped


def _deviations(statistics: Moments, eps: ArrayLike) -> tuple[Array, Array]:
    """Standard deviations `[..., C]`, 1 where dropped, and which are kept."""
    variances = jnp.diagonal(statistics.covariance, axis1=-2, axis2=-1)
    largest = jnp.max(variances, -1, keepdims=True)
    cut = jnp.asarray(as_number("eps", eps), variances.dtype)
    kept = variances > jnp.maximum(cut * largest, floor_of(statistics)[..., None])
    return jnp.sqrt(jnp.where(kept, variances, 1)), kept


def _without_gaps(root: Array, inverse: Array, statistics: Moments, eps: ArrayLike) -> Array:
    """A root with something small in place of the zeros of what is dropped: its factors are determined then."""
    trace = jnp.trace(statistics.covariance, axis1=-2, axis2=-1)
    small = lax.stop_gradient(jnp.maximum(jnp.asarray(eps, trace.dtype) * trace, floor_of(statistics)))
    level = jnp.sqrt(jnp.where(small > 0, small, 1))[..., None, None]
    identity = jnp.broadcast_to(jnp.eye(root.shape[-1], dtype=root.dtype), root.shape)
    return root + level * (identity - _product(root, inverse))


@jax.custom_jvp
def _polar_factor(matrix: Array) -> Array:
    """The orthogonal matrix nearest to one of full rank."""
    u, _, v = _svd(matrix)
    return _product(u, v)


@_polar_factor.defjvp
def _polar_factor_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    """With M = U Σ Vᵀ and K = Uᵀ dM V: d(U Vᵀ) = U (K - Kᵀ) / (σ_i + σ_j) Vᵀ, without differences of the σ."""
    u, values, v = _svd(primals[0])
    inner = _product(_product(jnp.matrix_transpose(u), tangents[0]), jnp.matrix_transpose(v))
    change = (inner - jnp.matrix_transpose(inner)) / (values[..., :, None] + values[..., None, :])
    return _product(u, v), _product(_product(u, change), v)


@jax.custom_jvp
def _orthogonal_factor(matrix: Array) -> Array:
    """Q of the decomposition Q R of a matrix of full rank, with the diagonal of R positive."""
    return _qr(matrix)[0]


@_orthogonal_factor.defjvp
def _orthogonal_factor_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    """With X = Qᵀ dM R^-1 and L its strictly lower triangle: dQ = Q (L - Lᵀ)."""
    q, r = _qr(primals[0])
    inner = _product(jnp.matrix_transpose(q), tangents[0])
    # X Rᵀᵀ = inner, from the right.
    solved = jax.scipy.linalg.solve_triangular(jnp.matrix_transpose(r), jnp.matrix_transpose(inner), lower=True)
    lower = jnp.tril(jnp.matrix_transpose(solved), -1)
    return q, _product(q, lower - jnp.matrix_transpose(lower))


def _qr(matrix: Array) -> tuple[Array, Array]:
    q, r = _plain_qr(matrix)
    sign = jnp.where(jnp.diagonal(r, axis1=-2, axis2=-1) < 0, -1, 1).astype(r.dtype)
    return q * sign[..., None, :], r * sign[..., :, None]


def _decomposition(function: Callable[..., Any]) -> Callable[[Array], Any]:
    # Without its options, of which a rule for batches would make arrays.
    def plain(matrix: Array) -> Any:
        return tuple(function(matrix))

    return by_platform(cpu=one_by_one(plain), default=plain)


_svd, _plain_qr = _decomposition(jnp.linalg.svd), _decomposition(jnp.linalg.qr)

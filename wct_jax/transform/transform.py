"""Whitening and coloring of features, Li et al., "Universal Style Transfer via Feature Transforms", NIPS 2017.

A feature is an array `[..., H, W, C]`: leading dimensions, rows, columns, channels. Everything here is a
pure function of arrays and works under `jax.jit`, `jax.vmap`, `jax.grad` and on sharded arrays.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from wct_jax.checks.arguments import as_number, check_kind
from wct_jax.checks.arrays import as_feature, as_map
from wct_jax.transform.blocks import cut, join, rows_at_once
from wct_jax.transform.mesh import on_any_mesh
from wct_jax.transform.platforms import by_platform

_Result = TypeVar("_Result")

_HIGHEST = lax.Precision.HIGHEST

# Variance below (this times the dtype's machine epsilon)² of the feature's mean square is rounding, not
# signal: a flat picture leaves it behind. Measured by benchmarks/rounding.py.
_ROUNDING = 32

# Pixels whose weights add up to no more than this count as none.
_NO_WEIGHT = 1e-12


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Moments:
    """Weighted count, mean and scatter of a set of pixels.

    A pytree, so it goes through `jit`, `vmap` and `grad`, and can be kept in place of the feature. Equal to itself
    alone, and hashed by that: whether two have the same numbers is for `numpy.testing.assert_allclose` and `jax.tree`.

    Attributes:
        count: `[...]`, the sum of the weights: the number of pixels where none were given.
        mean: `[..., C]`.
        scatter: `[..., C, C]`, the sum of w (x - mean)(x - mean)ᵀ.
    """

    count: Array
    mean: Array
    scatter: Array

    @property
    def covariance(self) -> Array:
        """`[..., C, C]`: scatter / max(count - 1, 1), the unbiased estimate where it exists."""
        return self.scatter / jnp.maximum(self.count - 1, 1)[..., None, None]


def moments(feature: ArrayLike, weights: ArrayLike | None = None) -> Moments:
    """Take count, mean and scatter over the pixels of a feature.

    Args:
        feature: `[..., H, W, C]`, floating point.
        weights: How much each pixel counts, 0..1, broadcasting to `[..., H, W]`; None for 1 everywhere.

    Returns:
        Moments with the leading dimensions of `feature`, in float32, or float64 for a float64 feature.
        Where no pixel has weight (1e-12 in all, or less) all of them are zero.

    Raises:
        ValueError: A shape or dtype that does not fit.
    """
    return _moments_of(_feature("feature", feature), "weights", weights)


def _moments_of(feature: Array, name: str, weights: ArrayLike | None) -> Moments:
    weights = _per_pixel(name, 1.0 if weights is None else weights, feature.shape[:-1])
    return on_any_mesh(_moments, lambda lead, pixels: lead, feature, weights)


class _Sums(NamedTuple):
    """Weighted sums over pixels about a reference r: Σ w, Σ w (x - r) and Σ w (x - r)(x - r)ᵀ.

    Unlike `Moments`, which divide by the first, they are polynomials of the weights and have derivatives where all
    of these are zero. The moments do not depend on r, which is held fixed in derivatives; near the mean it spares
    float32 the difference of large numbers.

    Attributes:
        reference: `[..., C]`.
        weight: `[...]`.
        first: `[..., C]`.
        second: `[..., C, C]`.
    """

    reference: Array
    weight: Array
    first: Array
    second: Array

    @classmethod
    def of(cls, x: Array, w: Array) -> "_Sums":
        weighed = jnp.sum(w, (-2, -1), keepdims=True) > _NO_WEIGHT
        share = jnp.where(weighed, w, 1)
        share = share / jnp.sum(share, (-2, -1), keepdims=True)
        # A float32 sum over a million pixels is off in the fourth digit. What is left in the first moment says by
        # how much, and is itself small enough to be summed exactly enough.
        reference = lax.stop_gradient(jnp.sum(share[..., None] * x, (-3, -2)))
        centered = x - reference[..., None, None, :]
        weighted = w[..., None] * centered
        second = jnp.einsum("...hwi,...hwj->...ij", weighted, centered, precision=_HIGHEST)
        return cls(reference, jnp.sum(w, (-2, -1)), jnp.sum(weighted, (-3, -2)), second)

    def about(self, reference: Array) -> "_Sums":
        shift = self.reference - reference
        first = self.first + self.weight[..., None] * shift
        second = self.second + _outer(self.first, shift) + _outer(shift, first)
        return _Sums(reference, self.weight, first, second)

    def plus(self, other: "_Sums") -> "_Sums":
        both = other.about(self.reference)
        count = (self.weight + other.weight)[..., None]
        mean = self.reference + (self.first + both.first) / jnp.where(count > _NO_WEIGHT, count, 1)
        mean = lax.stop_gradient(mean)
        a, b = self.about(mean), other.about(mean)
        return _Sums(mean, a.weight + b.weight, a.first + b.first, a.second + b.second)


def _moments(feature: Array, weights: Array) -> Moments:
    rows = rows_at_once(feature)
    sums = _sum(feature, weights) if rows == feature.shape[-3] else _sum_by_platform(feature, weights, rows=rows)
    # Not > 0: the derivative of the mean has 1 / count², which overflows long before count vanishes.
    weighed = sums.weight > _NO_WEIGHT
    rest = sums.first * (1 / jnp.where(weighed, sums.weight, 1))[..., None]
    return Moments(
        jnp.where(weighed, sums.weight, 0),
        jnp.where(weighed[..., None], sums.reference + rest, 0),
        jnp.where(weighed[..., None, None], sums.second - _outer(sums.first, rest), 0),
    )


def _sum(feature: Array, weights: Array, *, rows: int | None = None) -> _Sums:
    dtype = _statistics_dtype(feature)
    return _Sums.of(feature.astype(dtype), weights.astype(dtype))


def _sum_by_rows(feature: Array, weights: Array, *, rows: int) -> _Sums:
    dtype, lead, channels = _statistics_dtype(feature), feature.shape[:-3], feature.shape[-1]
    none = _Sums(*(jnp.zeros(lead + (channels,) * rank, dtype) for rank in (1, 0, 1, 2)))

    def add(total: _Sums, part: tuple[Array, Array]) -> tuple[_Sums, None]:
        return total.plus(_sum(*part)), None

    return lax.scan(add, none, (cut(feature, rows, -3), cut(weights, rows, -2)))[0]


_sum_by_platform = by_platform(cpu=_sum_by_rows, default=_sum, static=("rows",))


def _outer(a: Array, b: Array) -> Array:
    return a[..., :, None] * b[..., None, :]


def merge(a: Moments, b: Moments) -> Moments:
    """Moments of two disjoint sets of pixels together, from the moments of each.

    Exact, with moments of no pixels as the identity: Chan, Golub and LeVeque, "Updating Formulae and a
    Pairwise Algorithm for Computing Sample Variances", 1979, equation 2.1, for weights and vectors.

    Args:
        a: Moments `[...]` of C channels.
        b: Moments of the same shapes.

    Returns:
        Moments of the same shapes.

    Raises:
        ValueError: Something else, or another number of channels.
    """
    check_moments(a, b, ("a", "b"))
    count = a.count + b.count
    share = jnp.where(count > 0, b.count / jnp.where(count > 0, count, 1), 0)[..., None]
    delta = b.mean - a.mean
    between = (a.count[..., None] * share * delta)[..., :, None] * delta[..., None, :]
    return Moments(count, a.mean + share * delta, a.scatter + b.scatter + between)


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
    feature = _feature("feature", feature)
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
    content, style = _feature("content", content), _feature("style", style)
    if content.shape[-1] != style.shape[-1]:
        raise ValueError(f"content and style must have as many channels, got {content.shape[-1]} and {style.shape[-1]}")
    return transfer(
        content, _moments_of(style, "style_weights", style_weights), alpha, eps=eps, content_weights=content_weights
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
    content = _feature("content", content)
    if content.shape[-1] != style.mean.shape[-1]:
        raise ValueError(f"style must be moments of {content.shape[-1]} channels, got {style.mean.shape[-1]}")
    try:
        lead = jnp.broadcast_shapes(content.shape[:-3], style.count.shape)
    except ValueError:
        raise ValueError(
            f"leading dimensions of content and style must broadcast, got {content.shape[:-3]} and {style.count.shape}"
        ) from None
    strength = _per_pixel("alpha", alpha, (*lead, *content.shape[-3:-1]))
    if statistics is None:
        statistics = _moments_of(content, "content_weights", content_weights)
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
    dtype = _statistics_dtype(statistics.mean, style.mean)
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


def root_of(statistics: Moments, eps: ArrayLike) -> Array:
    """C^½ `[..., C, C]` over the directions kept, see `whiten_color`."""
    return _power(statistics.covariance, jnp.asarray(as_number("eps", eps)), floor_of(statistics), False)


def inverse_root_of(statistics: Moments, eps: ArrayLike) -> Array:
    """C^-½ `[..., C, C]` over the directions kept, see `whiten_color`."""
    return _power(statistics.covariance, jnp.asarray(as_number("eps", eps)), floor_of(statistics), True)


def floor_of(statistics: Moments) -> Array:
    """The variance `[...]` that rounding can leave where there is none."""
    # A relative cut alone is not enough: a constant feature has a covariance of about 1e-13 from rounding, and
    # relative to itself that is as good a spectrum as any.
    unit = (_ROUNDING * jnp.finfo(statistics.mean.dtype).eps) ** 2
    mean_square = jnp.sum(statistics.mean**2, -1) + jnp.trace(statistics.covariance, axis1=-2, axis2=-1)
    return unit * mean_square


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def _power(covariance: Array, eps: Array, floor: Array, inverse: bool) -> Array:
    """C^½, or C^-½ if `inverse`, over the eigenvalues above eps times the largest and above `floor`."""
    vectors, roots, kept = _spectrum(covariance, eps, floor)
    return _compose(vectors, jnp.where(kept, 1 / roots if inverse else roots, 0))


@_power.defjvp
def _power_jvp(inverse: bool, primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    """Daleckii-Krein: df(C) = E (F ∘ (Eᵀ dC E)) Eᵀ, F the divided differences of f at the eigenvalues.

    Autodiff of `eigh` divides by differences of eigenvalues, which repeat and vanish. Of f they are in closed
    form, without subtraction: for kept a and b, 1 / (√a + √b) and -1 / (√a √b (√a + √b)). A dropped eigenvalue
    counts as zero, where f is zero: f(a) / a. The set of kept ones is held fixed: the cut has no derivative.
    """
    vectors, roots, kept = _spectrum(*primals)
    power = jnp.where(kept, 1 / roots if inverse else roots, 0)
    a, b = roots[..., :, None], roots[..., None, :]
    # The stand-in for a dropped root is 1, so that in a product only the kept one counts.
    both = -1 / (a * b * (a + b)) if inverse else 1 / (a + b)
    one = 1 / (a * b) ** 3 if inverse else 1 / (a * b)
    kept_a, kept_b = kept[..., :, None], kept[..., None, :]
    divided = jnp.where(kept_a & kept_b, both, jnp.where(kept_a | kept_b, one, 0))
    change = (tangents[0] + jnp.matrix_transpose(tangents[0])) / 2
    product = functools.partial(jnp.matmul, precision=_HIGHEST)
    transposed = jnp.matrix_transpose(vectors)
    inner = divided * product(product(transposed, change), vectors)
    return _compose(vectors, power), product(product(vectors, inner), transposed)


def _spectrum(covariance: Array, eps: Array, floor: Array) -> tuple[Array, Array, Array]:
    """Eigenvectors `[..., C, C]`, square roots of the eigenvalues `[..., C]` (1 where dropped), which are kept."""
    values, vectors = _eigh(covariance)
    cut = jnp.maximum(eps.astype(values.dtype) * values[..., -1:], floor[..., None])
    kept = values > cut  # not >=, or a covariance of zeros would keep everything
    return vectors, jnp.sqrt(jnp.where(kept, values, 1)), kept


def one_by_one(function: Callable[..., _Result]) -> Callable[[Array], _Result]:
    """A decomposition of matrices `[..., C, C]` on the CPU, one after the other.

    jaxlib spreads a batch over the threads of the pool that one of them is running it on, and has that one wait: as
    many batches at the same time as there are threads wait for ever (seen with two on two cores, jaxlib 0.10.2).

    Args:
        function: Of one matrix.
    """
    each = jax.vmap(jax.custom_batching.sequential_vmap(function))

    @jax.jit  # Else the loop would be compiled, and kept, at every call outside jit.
    def of_all(matrices: Array) -> _Result:
        lead = matrices.shape[:-2]
        results = each(matrices.reshape(-1, *matrices.shape[-2:]))
        return jax.tree.map(lambda x: x.reshape(*lead, *x.shape[1:]), results)

    return of_all


def _eigh_of_one(matrix: Array) -> tuple[Array, Array]:
    # In double precision: in single the eigenvalues that are just kept, a millionth of the largest, would be a tenth
    # off, and their directions, which whitening makes as strong as the others, would differ from run to run.
    with jax.enable_x64(True):
        values, vectors = jnp.linalg.eigh(lax.convert_element_type(matrix, jnp.float64))
        return lax.convert_element_type(values, matrix.dtype), lax.convert_element_type(vectors, matrix.dtype)


# Eigenvalues `[..., C]`, ascending, and eigenvectors `[..., C, C]`.
_eigh = by_platform(cpu=one_by_one(_eigh_of_one), default=lambda matrices: tuple(jnp.linalg.eigh(matrices)))


def _compose(vectors: Array, values: Array) -> Array:
    return jnp.matmul(vectors * values[..., None, :], jnp.matrix_transpose(vectors), precision=_HIGHEST)


def _feature(name: str, value: ArrayLike) -> Array:
    return jnp.asarray(as_feature(name, value))


def _per_pixel(name: str, value: ArrayLike, shape: tuple[int, ...]) -> Array:
    return jnp.broadcast_to(jnp.asarray(as_map(name, value, shape)), shape)


def check_moments(content: Moments, style: Moments, names: tuple[str, str] = ("content", "style")) -> None:
    """Refuse what are no moments of as many channels.

    Raises:
        ValueError: Because they are not.
    """
    for name, value in zip(names, (content, style), strict=True):
        check_kind(name, value, Moments, "moments")
    a, b = (jnp.shape(each.mean) for each in (content, style))
    if a[-1:] != b[-1:]:
        raise ValueError(f"{' and '.join(names)} must be moments of as many channels, got {a[-1]} and {b[-1]}")


def _lift(tree: Any, ranks: int, dtype: jnp.dtype) -> Any:
    # Leading ones, so that nothing relies on JAX promoting ranks, which it can be told not to.
    return jax.tree.map(lambda leaf: leaf.astype(dtype).reshape((1,) * ranks + leaf.shape), tree)


def _statistics_dtype(*arrays: Array) -> jnp.dtype:
    return jnp.dtype("float64" if any(array.dtype == jnp.float64 for array in arrays) else "float32")

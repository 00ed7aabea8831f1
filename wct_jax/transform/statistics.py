"""Count, mean and scatter of a feature's pixels, weighted and merged exactly."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from wct_jax.checks.arguments import as_number, check_kind
from wct_jax.checks.arrays import as_feature, as_map
from wct_jax.transform.mesh import on_any_mesh
from wct_jax.transform.platforms import HIGHEST, by_platform
from wct_jax.transform.rows import cut, rows_at_once

# Pixels whose weights add up to no more than this count as none.
_NO_WEIGHT = 1e-12


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Moments:
    """Weighted count, mean and scatter of a set of pixels.

    A pytree: it passes through `jit`, `vmap` and `grad`, and all that the transforms need of a feature. It compares and
    hashes by identity; compare values by `jax.tree.map(numpy.testing.assert_allclose, a, b)`.

    Attributes:
        count: `[...]`, Σ w: the number of pixels if they have no weights.
        mean: `[..., C]`, Σ w x / Σ w.
        scatter: `[..., C, C]`, Σ w (x - mean)(x - mean)ᵀ.
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
        weights: Weight of each pixel, 0..1, broadcasting to `[..., H, W]`; None for 1 everywhere.

    Returns:
        Moments with the leading dimensions of `feature`, in float32, or float64 for a float64 feature. They are zero
        where the weights add up to 1e-12 or less.

    Raises:
        ValueError: A shape or dtype does not fit.

    Example:
        >>> feature = jax.random.normal(jax.random.key(0), (4, 5, 3))
        >>> m = moments(feature)
        >>> m.count, m.mean.shape, m.covariance.shape
        (Array(20., dtype=float32), (3,), (3, 3))
    """
    return weighted_moments(feature_of("feature", feature), "weights", weights)


def weighted_moments(feature: Array, name: str, weights: ArrayLike | None) -> Moments:
    """`moments` of a checked feature; errors call the weights `name`."""
    weights = per_pixel(name, 1.0 if weights is None else weights, feature.shape[:-1])
    return on_any_mesh(_moments, lambda lead, pixels: lead, feature, weights)


class _Sums(NamedTuple):
    """Weighted sums over pixels about a reference r.

    Unlike `Moments`, which divide by Σ w, they are polynomials of the weights and have derivatives where all weights
    are zero. The moments do not depend on r, so derivatives hold it fixed. An r near the mean spares float32 the
    difference of large numbers.
    """

    reference: Array  # r, [..., C]
    weight: Array  # Σ w, [...]
    first: Array  # Σ w (x - r), [..., C]
    second: Array  # Σ w (x - r)(x - r)ᵀ, [..., C, C]

    @classmethod
    def of(cls, x: Array, w: Array) -> "_Sums":
        weighed = jnp.sum(w, (-2, -1), keepdims=True) > _NO_WEIGHT
        share = jnp.where(weighed, w, 1)
        share = share / jnp.sum(share, (-2, -1), keepdims=True)
        # A float32 sum over a million pixels is off in the fourth digit. `first` measures that error, which is itself
        # small enough to be summed accurately.
        reference = lax.stop_gradient(jnp.sum(share[..., None] * x, (-3, -2)))
        centered = x - reference[..., None, None, :]
        weighted = w[..., None] * centered
        second = jnp.einsum("...hwi,...hwj->...ij", weighted, centered, precision=HIGHEST)
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
    # Not > 0: the mean's derivative contains 1 / count², which overflows long before count vanishes.
    weighed = sums.weight > _NO_WEIGHT
    rest = sums.first * (1 / jnp.where(weighed, sums.weight, 1))[..., None]
    return Moments(
        jnp.where(weighed, sums.weight, 0),
        jnp.where(weighed[..., None], sums.reference + rest, 0),
        jnp.where(weighed[..., None, None], sums.second - _outer(sums.first, rest), 0),
    )


def _sum(feature: Array, weights: Array, *, rows: int | None = None) -> _Sums:
    dtype = statistics_dtype(feature)
    return _Sums.of(feature.astype(dtype), weights.astype(dtype))


def _sum_by_rows(feature: Array, weights: Array, *, rows: int) -> _Sums:
    dtype, lead, channels = statistics_dtype(feature), feature.shape[:-3], feature.shape[-1]
    none = _Sums(*(jnp.zeros(lead + (channels,) * rank, dtype) for rank in (1, 0, 1, 2)))

    def add(total: _Sums, part: tuple[Array, Array]) -> tuple[_Sums, None]:
        return total.plus(_sum(*part)), None

    return lax.scan(add, none, (cut(feature, rows, -3), cut(weights, rows, -2)))[0]


_sum_by_platform = by_platform(cpu=_sum_by_rows, default=_sum, static=("rows",))


def _outer(a: Array, b: Array) -> Array:
    return a[..., :, None] * b[..., None, :]


def merge(a: Moments, b: Moments) -> Moments:
    """Merge the moments of two disjoint sets of pixels into those of their union, exactly.

    With n = n_a + n_b and d = m_b - m_a, the mean is m_a + (n_b / n) d and the scatter S_a + S_b + (n_a n_b / n) d dᵀ:
    Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979, equation
    2.1, with weights and vectors. The moments of no pixels are the identity.

    Args:
        a: Moments `[...]` of C channels.
        b: Moments of the same shapes.

    Returns:
        Moments of the same shapes.

    Raises:
        ValueError: An argument is not `Moments`, or the numbers of channels differ.

    Example:
        >>> feature = jax.random.normal(jax.random.key(0), (4, 5, 3))
        >>> halves = merge(moments(feature[:2]), moments(feature[2:]))
        >>> bool(jnp.allclose(halves.covariance, moments(feature).covariance, atol=1e-5))
        True
    """
    check_moments(a, b, ("a", "b"))
    count = a.count + b.count
    share = jnp.where(count > 0, b.count / jnp.where(count > 0, count, 1), 0)[..., None]
    delta = b.mean - a.mean
    between = _outer(a.count[..., None] * share * delta, delta)
    return Moments(count, a.mean + share * delta, a.scatter + b.scatter + between)


def shrink(statistics: Moments, share: ArrayLike) -> Moments:
    """Shrink a covariance C of n channels towards a multiple of the identity: (1 - s) C + s (tr C / n) I.

    The estimate of Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", 2004,
    equation 14, with a given share. Maps between shrunk Gaussians amplify the content's small directions, which are
    noise in a photo, by less.

    Args:
        statistics: Moments of C channels.
        share: s in 0..1, a scalar.

    Returns:
        Moments with the same count and mean.

    Example:
        >>> m = shrink(moments(jax.random.normal(jax.random.key(0), (4, 5, 3))), 1.0)
        >>> bool(jnp.allclose(m.covariance, m.covariance[0, 0] * jnp.eye(3), atol=1e-6))
        True
    """
    check_moments(statistics, statistics)
    scatter = statistics.scatter
    share = jnp.asarray(as_number("share", share), scatter.dtype)
    channels = scatter.shape[-1]
    level = jnp.trace(scatter, axis1=-2, axis2=-1)[..., None, None] / channels
    identity = jnp.broadcast_to(jnp.eye(channels, dtype=scatter.dtype), scatter.shape)
    return Moments(statistics.count, statistics.mean, (1 - share) * scatter + share * level * identity)


def feature_of(name: str, value: ArrayLike) -> Array:
    """Check the caller's argument `name` and return it as a JAX array `[..., H, W, C]`."""
    return jnp.asarray(as_feature(name, value))


def per_pixel(name: str, value: ArrayLike, shape: tuple[int, ...]) -> Array:
    """Check the caller's argument `name`, one number per pixel, and broadcast it to `shape`."""
    return jnp.broadcast_to(jnp.asarray(as_map(name, value, shape)), shape)


def check_moments(content: Moments, style: Moments, names: tuple[str, str] = ("content", "style")) -> None:
    """Raise ValueError unless both are moments of the same number of channels."""
    for name, value in zip(names, (content, style), strict=True):
        check_kind(name, value, Moments, "moments")
    a, b = (jnp.shape(each.mean) for each in (content, style))
    if a[-1:] != b[-1:]:
        raise ValueError(f"{' and '.join(names)} must be moments of as many channels, got {a[-1]} and {b[-1]}")


def statistics_dtype(*arrays: Array) -> jnp.dtype:
    """The dtype for statistics of some arrays: float64 if any of them is, otherwise float32."""
    return jnp.dtype("float64" if any(array.dtype == jnp.float64 for array in arrays) else "float32")


def frobenius(matrices: Array) -> Array:
    """The Frobenius norms `[...]` of matrices `[..., C, C]`; the derivative at 0 is 0."""
    squares = jnp.square(matrices).sum((-2, -1))
    return jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1)), 0)

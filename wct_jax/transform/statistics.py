"""Count, mean and scatter of the pixels of a feature, taken with weights and merged exactly."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from wct_jax.checks.arguments import check_kind
from wct_jax.checks.arrays import as_feature, as_map
from wct_jax.transform.blocks import cut, rows_at_once
from wct_jax.transform.mesh import on_any_mesh
from wct_jax.transform.platforms import by_platform

_HIGHEST = lax.Precision.HIGHEST


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
    return weighted_moments(feature_of("feature", feature), "weights", weights)


def weighted_moments(feature: Array, name: str, weights: ArrayLike | None) -> Moments:
    """`moments` of a checked feature; messages call the weights by `name`."""
    weights = per_pixel(name, 1.0 if weights is None else weights, feature.shape[:-1])
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


def feature_of(name: str, value: ArrayLike) -> Array:
    """A JAX array `[..., H, W, C]` from what a caller passed as `name`, checked."""
    return jnp.asarray(as_feature(name, value))


def per_pixel(name: str, value: ArrayLike, shape: tuple[int, ...]) -> Array:
    """Numbers per pixel that a caller passed as `name`, checked and broadcast to `shape`."""
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


def statistics_dtype(*arrays: Array) -> jnp.dtype:
    """The dtype that statistics of arrays are taken in: float64 if any of them is, else float32."""
    return jnp.dtype("float64" if any(array.dtype == jnp.float64 for array in arrays) else "float32")

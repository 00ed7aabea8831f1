"""The moments of features, by native code on the CPU."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from wct_jax.kernels.conv import algorithm
from wct_jax.kernels.primitive import is_spread, native_primitive
from wct_jax.transform.platforms import HIGHEST
from wct_jax.transform.statistics import Moments, moments


def moments_of(feature: Array, weights: Array | None = None) -> Moments:
    """Take the moments of a feature as `wct_jax.transform.statistics.moments` does, in less time on the CPU.

    Args:
        feature: `[..., H, W, C]`, floating point.
        weights: Weight of each pixel, `[..., H, W]`; None for 1 everywhere.

    Returns:
        Moments `[...]`, in float32, or float64 for a float64 feature.
    """
    if algorithm.value == "direct" or is_spread(feature) or feature.size == 0 or feature.dtype == jnp.float64:
        return moments(feature, weights)
    lead, pixels = feature.shape[:-3], feature.shape[-3:-1]
    counted = jnp.broadcast_to(jnp.float32(1) if weights is None else weights.astype(jnp.float32), (*lead, *pixels))
    found = _moments(feature.reshape(-1, *feature.shape[-3:]), counted.reshape(-1, *pixels))
    return jax.tree.map(lambda x: x.reshape(*lead, *x.shape[1:]), found)


def _by_xla(x: Array, weights: Array) -> list[Array]:
    found = moments(x, weights)
    return [found.count, found.mean, found.scatter]


def _results(x: Any, weights: Any) -> list[tuple[tuple[int, ...], Any]]:
    count, _, _, channels = x.shape
    return [((count, *(channels,) * rank), jnp.dtype("float32")) for rank in range(3)]


_natively = native_primitive("wct_moments", _results, _by_xla, images=2)


@jax.custom_jvp
def _moments(x: Array, weights: Array) -> Moments:
    return Moments(*_natively.bind(x, weights))


@_moments.defjvp
def _derivative(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Moments, Moments]:
    """With z = x - mean: d count = Σ dw, d mean = Σ (w dx + dw z) / Σ w, d scatter = Σ w (dx zᵀ + z dxᵀ) + Σ dw z zᵀ.

    The mean's own change has no part in d scatter because Σ w z = 0. Transposed, this is one matrix product; JAX would
    transpose the passes over blocks of rows that keep the sums exact, which takes five times as long.
    """
    found = _moments(*primals)
    flat = (array.astype(jnp.float32).reshape(array.shape[0], -1, *array.shape[3:]) for array in (*primals, *tangents))
    x, weights, dx, dw = flat
    counted = found.count > 0
    centered = jnp.where(counted[:, None, None], x - found.mean[:, None], 0)
    weighted = weights[..., None] * centered
    changed = _outer(dx, weighted)
    mean = (_weigh(weights, dx) + _weigh(dw, centered)) / jnp.where(counted, found.count, 1)[:, None]
    scatter = changed + jnp.matrix_transpose(changed) + _outer(dw[..., None] * centered, centered)
    return found, Moments(
        jnp.where(counted, dw.sum(-1), 0),
        jnp.where(counted[:, None], mean, 0),
        jnp.where(counted[:, None, None], scatter, 0),
    )


def _outer(a: Array, b: Array) -> Array:
    return jnp.einsum("npi,npj->nij", a, b, precision=HIGHEST)


def _weigh(weights: Array, x: Array) -> Array:
    return jnp.einsum("np,npi->ni", weights, x, precision=HIGHEST)

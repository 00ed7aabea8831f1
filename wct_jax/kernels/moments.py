"""The moments of features, by native code on the CPU."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from wct_jax.kernels.conv import algorithm
from wct_jax.kernels.primitive import is_spread, native_primitive
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


@jax.custom_vjp
def _moments(x: Array, weights: Array) -> Moments:
    return Moments(*_natively(x, weights))


def _backward(kept: tuple[Array, Array], gradient: Moments) -> tuple[Array, Array]:
    return jax.vjp(moments, *kept)[1](gradient)


_moments.defvjp(lambda *args: (_moments(*args), args), _backward)

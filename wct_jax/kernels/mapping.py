"""The map of a feature's pixels, by native code on the CPU."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from wct_jax.kernels.conv import algorithm
from wct_jax.kernels.primitive import is_spread, native_primitive
from wct_jax.transform.whitening import Maps, Pixels, blend_pixels


def map_pixels(pixels: Pixels, maps: Maps) -> Array:
    """Transform pixels as `wct_jax.transform.whitening.blend_pixels` does, in less time on the CPU.

    Args:
        pixels: Pixels `[..., H, W, C]`, strengths `[..., H, W, 1]` with all leading dimensions, and a mask or None.
        maps: Mean `[..., C]`, matrix `[..., C, C]` and target `[..., C]`, with as many dimensions.

    Returns:
        `[..., H, W, C]` in the dtype of the pixels.
    """
    (x, strength, inside), (mean, matrix, target) = pixels, maps
    if algorithm.value == "direct" or is_spread(x) or strength.size == 0 or mean.dtype == jnp.float64:
        return blend_pixels(pixels, maps)
    lead = strength.shape[:-3]

    def flat(array: Array, ranks: int) -> Array:
        kept = array.shape[array.ndim - ranks :]
        return jnp.broadcast_to(array, (*lead, *kept)).reshape(-1, *kept)

    y = _map(flat(x, 3), flat(strength[..., 0], 2), flat(mean, 1), flat(matrix, 2), flat(target, 1))
    y = y.reshape(*lead, *y.shape[1:])
    return y if inside is None else jnp.where(inside, y, 0)


def _by_xla(x: Array, strength: Array, *maps: Array) -> list[Array]:
    mean, matrix, target = maps
    return [blend_pixels((x, strength[..., None], None), (mean, matrix, target))]


_natively = native_primitive("wct_map_pixels", lambda x, *_: [(x.shape, x.dtype)], _by_xla, images=5, in_place=True)


@jax.custom_vjp
def _map(*args: Array) -> Array:
    return _natively(*args)[0]


def _backward(kept: Any, gradient: Array) -> Any:
    return jax.vjp(lambda *args: _by_xla(*args)[0], *kept)[1](gradient)


_map.defvjp(lambda *args: (_map(*args), args), _backward)

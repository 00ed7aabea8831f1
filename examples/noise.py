"""Smooth lattice noise: the raw material of hills, clouds, foliage and paper."""

from functools import cache

import numpy as np

Array = np.ndarray
_TABLE = 256


@cache
def _lattice(seed: int) -> Array:
    return np.random.default_rng([seed, 77]).random((_TABLE, _TABLE), dtype=np.float32) * 2 - 1


def value_noise(x: Array, y: Array, seed: int) -> Array:
    """Random values on the integer lattice, joined smoothly.

    Args:
        x, y: coordinates, any one shape.
        seed: which lattice.

    Returns:
        float32 of that shape, -1..1.
    """
    x0, y0 = np.floor(x), np.floor(y)
    fx, fy = (x - x0).astype(np.float32), (y - y0).astype(np.float32)
    fx, fy = fx * fx * fx * (fx * (fx * 6 - 15) + 10), fy * fy * fy * (fy * (fy * 6 - 15) + 10)
    table = _lattice(seed).ravel()
    left, right = x0.astype(np.int64) % _TABLE, (x0.astype(np.int64) + 1) % _TABLE
    low, high = y0.astype(np.int64) % _TABLE * _TABLE, (y0.astype(np.int64) + 1) % _TABLE * _TABLE
    near = table[low + left] * (1 - fx) + table[low + right] * fx
    far = table[high + left] * (1 - fx) + table[high + right] * fx
    return near * (1 - fy) + far * fy


def fbm(x: Array, y: Array, seed: int, octaves: int = 5, gain: float = 0.5) -> Array:
    """Fractal noise: octaves of `value_noise`, each twice as fine and `gain` times as strong.

    Returns:
        float32 of the shape of `x`, roughly -1..1.
    """
    total, weight, norm = np.zeros(np.shape(x), np.float32), 1.0, 0.0
    for octave in range(octaves):
        total += weight * value_noise(x, y, seed + octave)
        norm += weight * weight
        weight *= gain
        # A turn between octaves hides the lattice; 1.6 and 1.2 make a rotation times 2.
        x, y = 1.6 * x - 1.2 * y + 17.3, 1.2 * x + 1.6 * y - 9.1
    return total / np.sqrt(norm) * 1.2


def spectral_noise(shape: tuple[int, ...], slope: float, seed: int) -> Array:
    """Periodic Gaussian noise whose amplitude falls as frequency to the power -`slope`.

    Returns:
        float32 of `shape`, mean 0, variance 1.
    """
    spectrum = np.fft.rfftn(np.random.default_rng([seed, 78]).standard_normal(shape))
    axes = [np.fft.fftfreq(n) * n for n in shape[:-1]] + [np.fft.rfftfreq(shape[-1]) * shape[-1]]
    radius = np.sqrt(sum(a**2 for a in np.meshgrid(*axes, indexing="ij")))
    radius.flat[0] = np.inf
    field = np.fft.irfftn(spectrum * radius**-slope, s=shape, axes=range(len(shape)))
    return (field / field.std()).astype(np.float32)


def smoothstep(low: float | Array, high: float | Array, x: Array) -> Array:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def mix(a: Array | tuple[float, ...] | float, b: Array | tuple[float, ...] | float, t: Array | float) -> Array:
    """`a` where `t` is 0, `b` where it is 1."""
    return np.asarray(a, np.float32) * (1 - t) + np.asarray(b, np.float32) * t

"""Weave: the grid of its pixels that a network adds to flat parts of a photo, such as skies."""

import jax.numpy as jnp
import numpy as np
from jax import Array

from wct_jax.transform.platforms import HIGHEST

WINDOW = 32
# A grey level of 8 bits: what lies below is not seen.
_UNSEEN = 1 / 255
# Deviation of the grey values in a window of the photo from which on it is not flat.
_FLAT = 0.03


def _spectrum_weights() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The window, and the weights of frequencies along the axes and the diagonals, `[WINDOW, WINDOW]` each."""
    hann = np.hanning(WINDOW + 1)[:-1]
    rows, columns = np.meshgrid(*[np.fft.fftfreq(WINDOW)] * 2, indexing="ij")
    radius, angle = np.hypot(rows, columns), np.arctan2(rows, columns)
    # Below three periods a window a sky's own gradient shows, beyond one half there are only diagonals.
    seen = (radius >= 3 / WINDOW) & (radius <= 0.5)
    axes, diagonals = (seen * np.maximum(sign * np.cos(4 * angle), 0) ** 4 for sign in (1, -1))
    return np.outer(hann, hann), axes / axes.sum(), diagonals / diagonals.sum()


_HANN, _AXES, _DIAGONALS = _spectrum_weights()


def weave(result: Array, photo: Array, style: Array) -> Array:
    """How far apart the power on the axes and on the diagonals is in the flat windows of a photo, on average.

    In each window of 32 x 32 pixels the ratio r is the mean power of the grey result at frequencies near the axes, over
    that near the diagonals. The window's weave is `|log r|`, less the larger of `|log r|` of the photo's window and of
    the whole style, or 0 if that is negative. A network that is asked for less on the axes alone learns to weave
    diagonally.

    Args:
        result: `[..., H, W, 3]` in 0..1, H and W at least 32.
        photo: Of the same shape.
        style: `[..., H', W', 3]` with the same leading dimensions.

    Returns:
        A float32 scalar, 0 without flat windows.
    """
    (axes, diagonals), windows = _powers(result), _windows(photo)
    photo_axes, photo_diagonals = _powers(photo)
    style_axes, style_diagonals = (power.mean((-2, -1), keepdims=True) for power in _powers(style))
    own, of_photo, of_style = (
        jnp.abs(jnp.log(a / b))
        for a, b in ((axes, diagonals), (photo_axes, photo_diagonals), (style_axes, style_diagonals))
    )
    excess = jnp.maximum(own - jnp.maximum(of_photo, of_style), 0)
    flat = jnp.exp(-windows.var((-2, -1)) / _FLAT**2)
    # A window or two must not count as much as a whole sky.
    return (flat * excess).sum() / (flat.sum() + 4)


def _powers(images: Array) -> tuple[Array, Array]:
    """The power on the axes and on the diagonals in each window, `[..., h, w]`."""
    windows = _windows(images)
    windows = windows - windows.mean((-2, -1), keepdims=True)
    windows = jnp.einsum("...rc,rc->...rc", windows, jnp.asarray(_HANN, windows.dtype))
    power = jnp.square(jnp.abs(jnp.fft.fft2(windows)))
    floor = _UNSEEN**2 * (_HANN**2).sum()
    axes, diagonals = (
        jnp.einsum("...rc,rc->...", power, jnp.asarray(weights, power.dtype), precision=HIGHEST) + floor
        for weights in (_AXES, _DIAGONALS)
    )
    return axes, diagonals


def _windows(images: Array) -> Array:
    """The grey windows of images, `[..., h, w, WINDOW, WINDOW]`; what is left over at the border is dropped."""
    rows, columns = (side // WINDOW for side in images.shape[-3:-1])
    grey = images.astype(jnp.float32).mean(-1)[..., : rows * WINDOW, : columns * WINDOW]
    return grey.reshape(*grey.shape[:-2], rows, WINDOW, columns, WINDOW).swapaxes(-3, -2)

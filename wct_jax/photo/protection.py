"""Colours of a photo that keep their hue: soft masks of skin and of neutral things."""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array

from wct_jax.painting.options import PROTECTED as PROTECTED
from wct_jax.photo.tone import YCC, with_chroma

# Chai and Ngan, "Face Segmentation Using Skin-Color Map", 1999, in 8-bit levels: differences of blue and red.
_SKIN = ((77, 127), (133, 173))
_SKIN_FADE = 8 / 255
# Chroma up to which a colour counts as neutral, and that from which it does not.
_NEUTRAL = 0.02, 0.06


def protected(photo: Array, protect: Sequence[str]) -> Array:
    """How far each pixel is protected, `[..., H, W]` in 0..1.

    Args:
        photo: `[..., H, W, 3]` in 0..1.
        protect: Names in `PROTECTED`.
    """
    ycc = photo @ YCC.T
    share = jnp.zeros(photo.shape[:-1], photo.dtype)
    if "skin" in protect:
        skin = jnp.clip(ycc[..., 0] / 0.2, 0, 1)  # Black has any hue.
        for i, (low, high) in enumerate(_SKIN):
            level = ycc[..., 1 + i]
            inside = jnp.minimum(level - (low - 128) / 255, (high - 128) / 255 - level)
            skin = skin * jnp.clip(0.5 + inside / _SKIN_FADE, 0, 1)
        share = jnp.maximum(share, skin)
    if "neutrals" in protect:
        chroma = jnp.sqrt(jnp.square(ycc[..., 1:]).sum(-1))
        least, most = _NEUTRAL
        share = jnp.maximum(share, jnp.clip((most - chroma) / (most - least), 0, 1))
    return share


def keep_hue(changed: Array, photo: Array, share: Array) -> Array:
    """Give changed colours the photo's hue and saturation where it is protected, so that only their lightness changes.

    Args:
        changed: `[..., 3]` in 0..1.
        photo: `[..., 3]` in 0..1.
        share: How far each pixel is protected, `[...]`.
    """
    luma = YCC[0]
    light, before = changed @ luma, photo @ luma
    # Darker skin with all its chroma would be gaudy.
    fade = jnp.minimum(light / jnp.maximum(before, 1e-3), 1)[..., None]
    kept = with_chroma(light, (photo - before[..., None]) * fade)
    return changed + share[..., None] * (kept - changed)

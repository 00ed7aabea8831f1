"""Light and colour apart: photos seen in white luma and chroma, and colours brought back into the gamut."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from wct_jax.transform.platforms import HIGHEST
from wct_jax.transform.statistics import Moments

# Recommendation ITU-R BT.601: luma, and the differences of blue and red from it.
YCC = np.asarray([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)
_RGB = np.linalg.inv(YCC.astype(np.float64)).astype(np.float32)
# Variance, in luma and chroma, below which a photo's colours are taken for grey with noise, and a style's for grey.
_GREY, _PLAIN = 1e-4, 1e-6
LUMA = YCC[0]
# The E at which half of a change is made, and a deviation that is none.
_NEAR, _STILL = 0.092, 0.02
# Below this luma, and as far below white, light is compressed.
_KNEE = 0.03
# From this share of the room between grey and the border of the gamut, chroma is compressed.
_FULL = 0.8


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Toning:
    """The colours of photo and style, white, see `wct_jax.photo.cells`.

    Attributes:
        mean: Mean of the photo's colours m, `[..., 3]`.
        whiten: L⁻¹ Y, `[..., 3, 3]`.
        target: Mean of the style's colours n, `[..., 3]`.
        color: Y⁻¹ K, `[..., 3, 3]`.
    """

    mean: Array
    whiten: Array
    target: Array
    color: Array

    @classmethod
    def of(cls, photo: Moments, style: Moments) -> "Toning":
        """The toning of the moments of colours, `[..., 3]`."""
        have, want = (
            jnp.linalg.cholesky(_in_ycc(each.covariance) + jnp.broadcast_to(least * jnp.eye(3), each.scatter.shape))
            for each, least in ((photo, _GREY), (style, _PLAIN))
        )
        white = jnp.linalg.solve(have, jnp.broadcast_to(YCC, have.shape))
        return cls(photo.mean, white, style.mean, jnp.einsum("ij,...jk->...ik", _RGB, want, precision=HIGHEST))


def share_of(photo: Moments, style: Moments) -> Array:
    """The share of a change that is made, `[...]`: next to nothing if the colours are nearly the same.

    Two halves of one photo differ, too, more by the things in them than by their light; only the cast can be told from
    these, and is always taken (`tint`). With W the 2-Wasserstein distance of the colours as normal distributions, in
    luma and chroma, L the norm of the logarithms of the ratios of their deviations, at most 1, and E = W (1 + L) / 2,
    the share is 1 / (1 + (0.092 / E)⁸). It was measured on regraded halves of photos beside pairs of photos.

    Args:
        photo: Moments of the photo's colours, `[..., 3]`.
        style: Moments of the style's.
    """
    have, want = (_in_ycc(each.covariance) for each in (photo, style))
    root = jnp.linalg.cholesky(have + 1e-6 * jnp.broadcast_to(jnp.eye(3), have.shape))
    mixed = jnp.linalg.eigvalsh(jnp.einsum("...ji,...jk,...kl->...il", root, want, root, precision=HIGHEST))
    trace = jnp.trace(have + want, axis1=-2, axis2=-1) - 2 * jnp.sqrt(jnp.maximum(mixed, 0)).sum(-1)
    distance = jnp.sqrt(jnp.maximum(jnp.square((photo.mean - style.mean) @ YCC.T).sum(-1) + trace, 1e-12))
    spreads = (jnp.sqrt(jnp.maximum(jnp.diagonal(each, axis1=-2, axis2=-1), 0)) + _STILL for each in (have, want))
    ratio = jnp.log(next(spreads) / next(spreads))
    apart = distance * (1 + jnp.minimum(jnp.sqrt(jnp.square(ratio).sum(-1)), 1)) / 2
    return 1 / (1 + (_NEAR / apart) ** 8)


def _in_ycc(covariance: Array) -> Array:
    return jnp.einsum("ij,...jk,lk->...il", YCC, covariance, YCC, precision=HIGHEST)


def tint(colors: Array, cast: Array) -> Array:
    """Add a cast, `[3]`, to colours `[..., 3]`: wholly in the middle of luma y, by 4 y (1 - y), and not at its ends."""
    luma = (colors @ LUMA)[..., None]
    return jnp.clip(colors + 4 * luma * (1 - luma) * jnp.broadcast_to(cast, colors.shape), 0, 1)


def into_gamut(colors: Array) -> Array:
    """Bring colours `[..., 3]` into 0..1: light by a soft toe and shoulder, chroma towards grey at constant luma.

    A channel that is clipped by itself changes the hue, and an area clipped to black or white loses its drawing.
    """
    luma = colors @ LUMA
    light = _KNEE * jnp.exp((jnp.minimum(luma, _KNEE) - _KNEE) / _KNEE)
    light = jnp.where(luma < _KNEE, light, jnp.minimum(luma, 1 - _KNEE))
    beyond = jnp.maximum(luma - (1 - _KNEE), 0) / _KNEE
    light = light + jnp.where(beyond > 0, _KNEE * (1 - jnp.exp(-beyond)), 0)
    return with_chroma(light, colors - luma[..., None])


def with_chroma(luma: Array, chroma: Array) -> Array:
    """Colours `[..., 3]` of a luma in 0..1 and as much of a chroma, RGB less luma, as the gamut has room for."""
    luma = luma[..., None]
    room = jnp.where(chroma > 0, 1 - luma, luma)
    used = jnp.max(jnp.abs(chroma) / jnp.maximum(room, 1e-6), -1, keepdims=True)
    over = jnp.maximum(used - _FULL, 0) / (1 - _FULL)
    kept = jnp.where(over > 0, _FULL + (1 - _FULL) * (1 - jnp.exp(-over)), used)
    return luma + kept / jnp.maximum(used, 1e-6) * chroma

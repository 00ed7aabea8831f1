"""Light and colour apart: moments matched without a shift of edges, and colours brought back into the gamut."""

import jax.numpy as jnp
import numpy as np
from jax import Array

# Recommendation ITU-R BT.601: luma, and the differences of blue and red from it.
YCC = np.asarray([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
# Variance, in luma and chroma, below which a photo's colours are taken for grey with noise.
_GREY = 1e-4
_LUMA = np.asarray(YCC[0], np.float32)
# Below this luma, and as far below white, light is compressed.
_KNEE = 0.03
# From this share of the room between grey and the border of the gamut, chroma is compressed.
_FULL = 0.8


def match(
    mean: np.ndarray, covariance: np.ndarray, target: tuple[np.ndarray, np.ndarray], share: float = 1.0
) -> np.ndarray:
    """The map `[3, 4]` of colours that gives them another mean and covariance, with luma a function of luma alone.

    It is the triangular map of luma and chroma: covariances L Lᵀ and K Kᵀ have K L⁻¹. Whitening and coloring would mix
    chroma into luma, and edges would rise where the photo has none.

    Args:
        mean: Mean of the colours, `[3]`.
        covariance: Their covariance, `[3, 3]`.
        target: Mean and covariance to reach.
        share: Share of the change that is made, 0..1.
    """
    have, want = (
        np.linalg.cholesky(YCC @ each @ YCC.T + least * np.eye(3))
        for each, least in ((covariance, _GREY), (target[1], 1e-6))
    )
    turned = (1 - share) * np.eye(3) + share * want @ np.linalg.inv(have)
    matrix = np.linalg.solve(YCC, turned @ YCC)
    return np.column_stack([matrix, (1 - share) * mean + share * target[0] - matrix @ mean])


def into_gamut(colors: Array) -> Array:
    """Bring colours `[..., 3]` into 0..1: light by a soft toe and shoulder, chroma towards grey at constant luma.

    A channel that is clipped by itself changes the hue, and an area clipped to black or white loses its drawing.
    """
    luma = colors @ _LUMA
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

"""Self-similarity: which places of a photo are alike, whatever their colours."""

import jax
import jax.numpy as jnp
from jax import Array

from wct_jax.transform.platforms import HIGHEST

# Rows of the similarities at a time: all of them take gigabytes from 512 pixels on.
_ROWS = 256


def self_similarity_distance(x: Array, y: Array) -> Array:
    """CFSD, the content feature structural distance: the mean KL divergence between self-similarities.

    With features f at n places of C channels, S_i = softmax_j(f_i . f_j / C²), and the distance is the mean over i of
    KL(S_i(x) || S_i(y)): Chung, Hyun and Heo, "Style Injection in Diffusion", CVPR 2024. Their program divides features
    by C, as here, and adds up the places, so that its figures are n times as large. The scale of the features matters.

    Args:
        x: Feature of the content, `[H, W, C]`.
        y: Feature of the result, of the same shape.

    Returns:
        A float32 scalar, 0 if places are alike in the same way.
    """
    channels = x.shape[-1]
    a, b = (f.astype(jnp.float32).reshape(-1, channels) / channels for f in (x, y))
    count = len(a)
    rows = min(_ROWS, count)
    # The last rows may overlap those before them, and count once.
    starts = jnp.minimum(jnp.arange(-(-count // rows)) * rows, count - rows)
    fresh = jnp.minimum(jnp.arange(-(-count // rows)) * rows, count) - starts

    def part(start_and_fresh: tuple[Array, Array]) -> Array:
        start, known = start_and_fresh
        s, t = (jnp.matmul(jax.lax.dynamic_slice_in_dim(f, start, rows), f.T, precision=HIGHEST) for f in (a, b))
        shares, apart = jax.nn.log_softmax(s, axis=-1), s - t
        # KL = Σ p d + log Σ p exp(-d) with d = s - t, or about d's mean, log Σ p exp(-d). Where the similarities are
        # almost even that is of second order in d, and would be lost in rounding if 1 - d were not taken off.
        apart = apart - (jnp.exp(shares) * apart).sum(-1, keepdims=True)
        wide = jax.nn.logsumexp(shares - apart, axis=-1)
        narrow = jnp.log1p((jnp.exp(shares) * _exp_less_line(-apart.clip(-1, 1))).sum(-1))
        divergence = jnp.where(jnp.abs(apart).max(-1) > 1, wide, narrow)
        return jnp.where(jnp.arange(rows) < known, 0, divergence).sum()

    return jax.lax.map(part, (starts, fresh)).sum() / count


def _exp_less_line(x: Array) -> Array:
    """exp(x) - 1 - x, without cancellation about 0."""
    series = x * x * (1 / 2 + x * (1 / 6 + x * (1 / 24 + x / 120)))
    small = jnp.abs(x) < 0.1
    return jnp.where(small, series, jnp.expm1(x) - x)

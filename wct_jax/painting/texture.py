"""A new texture of a style alone."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jax import Array
from jax.typing import ArrayLike

from wct_jax.checks.arguments import as_integer
from wct_jax.networks.model import Model
from wct_jax.painting.cascade import stylize
from wct_jax.painting.style import Style

# Li et al. run the cascade several times; after three rounds nothing changes that can be seen.
PASSES = 3


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    """What a texture is made of: uniform noise, the same for the same seed.

    Args:
        height: Rows.
        width: Columns.
        seed: From 0 to 2**32 - 1.

    Returns:
        `[height, width, 3]` in 0..1, float32.

    Raises:
        ValueError: No integers, or such as are out of range.
    """
    height, width = as_integer("height", height, 1), as_integer("width", width, 1)
    seed = as_integer("seed", seed, 0, 2**32 - 1)
    return np.random.default_rng(seed).random((height, width, 3), np.float32)


def synthesize(
    model: Model,
    style: Style,
    height: int,
    width: int,
    alpha: ArrayLike | Sequence[ArrayLike] = 1.0,
    *,
    layers: Sequence[str] | None = None,
    eps: float = 1e-6,
    transform: str = "zca",
    passes: int = PASSES,
    margin: int = 0,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Array:
    """Make a texture of any size from a style, or of several that `mix_styles` made one of.

    Li et al., NIPS 2017, section 4: noise takes the style through the cascade, several times.

    Args:
        model: Encoder and decoders.
        style: What `extract_style` made with the same encoder.
        height: Rows.
        width: Columns.
        alpha: As for `stylize`.
        layers: As for `stylize`.
        eps: As for `stylize`.
        transform: As for `stylize`.
        passes: How often the cascade is run.
        margin: As for `stylize`.
        seed: Of the noise, from 0 to 2**32 - 1; another one gives another texture.
        progress: As for `stylize`.

    Returns:
        `[height, width, 3]`, float32, not clipped to 0..1.

    Raises:
        ValueError: As `stylize`.
    """
    options: dict[str, Any] = {"layers": layers, "eps": eps, "transform": transform, "passes": passes}
    options |= {"margin": margin, "progress": progress}
    return stylize(model, noise(height, width, seed), style, alpha, **options)

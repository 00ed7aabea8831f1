"""Textures: new pictures made from a style alone."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jax import Array
from jax.typing import ArrayLike

from wct_jax.checks.arguments import as_integer
from wct_jax.networks.model import Model
from wct_jax.painting.style import Style
from wct_jax.painting.stylization import stylize

# Li et al. run the cascade several times; after three rounds nothing changes that can be seen.
PASSES = 3


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Uniform noise to make a texture from, `[height, width, 3]` in 0..1, float32, the same for the same seed.

    Raises:
        ValueError: Height or width is no integer from 1 on, or `seed` none from 0 to 2**32 - 1.
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
    method: str = "cascade",
    layers: Sequence[str] | None = None,
    eps: float = 1e-6,
    shrinkage: float = 0.0,
    transform: str = "zca",
    passes: int = PASSES,
    margin: int = 0,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Array:
    """Make a texture of any size from a style, or from several that `mix_styles` mixed.

    Noise takes the style in several rounds: Li et al., NIPS 2017, section 4.

    >>> model = load_model("compact")
    >>> style = extract_style(model, np.zeros((32, 48, 3), np.float32), "relu1_1")
    >>> synthesize(model, style, 24, 40, passes=1).shape
    (24, 40, 3)

    Args:
        model: Encoder, decoders and painter.
        style: A style that `extract_style` made with the same encoder.
        height: Rows of the texture.
        width: Columns of the texture.
        alpha: Blend of features in 0..1: a scalar, or one for each of `layers` in their order.
        method: "cascade" or "one-pass".
        layers: Layers to use, in any order; None for all that model and style have.
        eps: Relative cut of the spectra in 0..1, see `wct`.
        shrinkage: Shrinkage of the covariances in 0..1, see `wct_jax.transform.statistics.shrink`.
        transform: "zca", "ot", "cholesky" or "adain", see `wct_jax.transform.maps`.
        passes: Rounds, each on the result of the last.
        margin: Mirrored pixels painted on each side and cut off.
        seed: Seed of the noise, 0 to 2**32 - 1; each gives another texture.
        progress: Function called with each layer before it runs; not called while JAX is tracing.

    Returns:
        `[height, width, 3]`, float32, not clipped to 0..1.

    Raises:
        ValueError: `stylize` would refuse the arguments, or there is no such size or seed.
    """
    options: dict[str, Any] = dict(method=method, layers=layers, eps=eps, shrinkage=shrinkage, transform=transform)
    options |= dict(passes=passes, margin=margin)
    return stylize(model, noise(height, width, seed), style, alpha, progress=progress, **options)

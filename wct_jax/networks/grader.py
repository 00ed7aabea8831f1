"""The grader: a small network that says how a photo's colours change from place to place to take a style's.

It gives the coefficients of a change of colours in each square cell of the photo, as the network of Gharbi et al.,
"Deep Bilateral Learning for Real-Time Image Enhancement", SIGGRAPH 2017, does for one fixed look, and never paints a
pixel. It looks at the encoder's features of the photo as changed so far, as they are and as whitening and coloring
would have them, and at the gradient of their distance from the style; it corrects the coefficients, and looks again.
"""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from wct_jax.kernels.moments import moments_of
from wct_jax.networks.autoencoder import Parameters, encode
from wct_jax.networks.cells import CELL, TERMS, Cells, Photos, as_wide, mask_of, no_change, sums, times
from wct_jax.networks.pooling import size_at
from wct_jax.networks.tone import into_gamut
from wct_jax.networks.vgg import LAYERS, depth_of
from wct_jax.transform.platforms import HIGHEST
from wct_jax.transform.statistics import Moments
from wct_jax.transform.whitening import whiten_color

COLORS = "colors"
"""The key of the moments of a picture's own colours among those of its features."""

# The deepest layer that it sees.
_DEEPEST = "relu4_1"
_HIDDEN = 64
# How often it looks.
LOOKS = 2
# Deviations from the style's, in its own, beyond this are all the same.
_FAR = 4.0


def grader_layers(widths: Sequence[int]) -> tuple[str, ...]:
    """The layers that a grader of an encoder sees."""
    return LAYERS[: min(len(widths), depth_of(_DEEPEST))]


def grader_shapes(widths: Sequence[int]) -> dict[str, tuple[int, int, int, int]]:
    """The shapes of a grader's kernels, `[side, side, in, out]`."""
    features = sum(widths[: len(grader_layers(widths))])
    hidden = (_HIDDEN, _HIDDEN)
    return {
        "local": (1, 1, 3 * features + 12 + 2 * 3 * TERMS, _HIDDEN),
        "whole": (1, 1, 2 * features + 18, _HIDDEN),
        "first": (3, 3, *hidden),
        "mean": (1, 1, *hidden),
        "second": (3, 3, *hidden),
        "last": (1, 1, _HIDDEN, 3 * TERMS),
    }


def initial_grader(widths: Sequence[int], key: Array) -> dict[str, dict[str, Array]]:
    """A grader that matches means and covariances, its other kernels drawn as by He et al. (arXiv:1502.01852)."""
    draw = jax.nn.initializers.he_normal()
    grader = {}
    for name, shape in grader_shapes(widths).items():
        key, own = jax.random.split(key)
        kernel = jnp.zeros(shape) if name == "last" else draw(own, shape)
        grader[name] = {"kernel": kernel, "bias": jnp.zeros(shape[-1])}
    return grader


def correct(
    grader: Parameters,
    encoder: Parameters,
    photos: Photos,
    style: Mapping[str, Moments],
    cells: Array,
    dtype: DTypeLike = jnp.float32,
) -> Array:
    """Look at photos as changed by coefficients, and correct these.

    Args:
        grader: Parameters of a grader.
        encoder: Parameters of its encoder.
        photos: The photos.
        style: Layer to the moments of the style's features.
        cells: Coefficients D, `[..., h, w, 3, TERMS]`.
        dtype: Of the encoder's convolutions.

    Returns:
        Coefficients of the same shape.
    """
    layers = [layer for layer in LAYERS if layer in style]

    def look(cells: Array) -> tuple[Array, tuple[Array, dict[str, Array], dict[str, Moments]]]:
        """The distance from the style, and what it is made of."""
        changed = into_gamut(photos.graded(cells))
        features = encode(encoder, changed.astype(dtype), layers, photos.size)
        found = {layer: moments_of(feature, photos.weights_at(layer)) for layer, feature in features.items()}
        pairs = [(found[layer].covariance, style[layer].covariance) for layer in layers]
        apart = jnp.stack([_norm(got - wanted) / (_norm(wanted) + 1e-2) for got, wanted in pairs])
        return apart.mean(0).sum(), (changed, features, found)

    gradient, (changed, features, found) = jax.grad(look, has_aux=True)(cells)
    local, whole = [], []
    for layer, feature in features.items():
        own, there = found[layer], style[layer]
        seen = Cells.of(feature, CELL >> (depth_of(layer) - 1), size_at(layer, photos.size))
        matrix, bias = whiten_color(own, there)
        moved = times(matrix, seen.mean) + bias[..., None, None, :]
        sizes = [jnp.sqrt(jnp.maximum(_diagonal(each.covariance), 0)) + 1e-2 for each in (own, there)]
        scale, middle = sizes[1][..., None, None, :], there.mean[..., None, None, :]
        local += [_near((seen.mean - middle) / scale), _near((moved - middle) / scale)]
        local += [_near(jnp.log((seen.deviation + 1e-2) / scale))]
        whole += [_near((own.mean - there.mean) / sizes[1]), _near(jnp.log(sizes[0] / sizes[1]))]
    toning, white = photos.toning, Cells.of(photos.white, CELL, photos.size)
    colors = Cells.of(changed, CELL, photos.size)
    local += [_near(white.mean), jnp.log(white.deviation + 0.1) / 2]
    local += [2 * colors.mean - 1, jnp.log(colors.deviation + 1e-2) / 2]
    share = sums(mask_of(photos.pixels, photos.size), CELL) / CELL**2
    steep = gradient * share.sum()  # As if each cell were the whole photo.
    local += [_near(x.reshape(*x.shape[:-2], 3 * TERMS)) for x in (cells, 2 * steep)]
    spread = [jnp.log(jnp.linalg.norm(each, axis=axis)) for each, axis in ((toning.whiten, -1), (toning.color, -2))]
    mix = jnp.einsum("...ij,...jk->...ik", toning.color, toning.whiten, precision=HIGHEST)
    whole += [toning.mean, toning.target, *spread, _near(mix[..., :2, :].reshape(*mix.shape[:-2], 6))]
    found = _network(grader, jnp.concatenate(local, -1), jnp.concatenate(whole, -1), share)
    return cells + found.reshape(cells.shape)


def _network(grader: Parameters, local: Array, whole: Array, share: Array) -> Array:
    """Convolutions over cells `[..., h, w, C]` that lie in the image by their `share`, `[h, w, 1]`."""
    share = as_wide(share, local)
    there = (share > 0).astype(jnp.float32)

    def at(name: str, x: Array) -> Array:
        kernel = grader[name]["kernel"]
        y = jax.lax.conv_general_dilated(
            x.reshape(-1, *x.shape[-3:]),
            kernel,
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=HIGHEST,
        )
        y = y.reshape(*x.shape[:-1], kernel.shape[-1])
        return y + as_wide(grader[name]["bias"], y)

    x = jax.nn.relu(at("local", local) + at("whole", whole[..., None, None, :])) * there
    mean = (x * share).sum((-3, -2), keepdims=True) / share.sum()
    x = x + jax.nn.relu(at("first", x) + at("mean", mean)) * there
    x = x + jax.nn.relu(at("second", x)) * there
    return at("last", x)


def coefficients(
    grader: Parameters,
    encoder: Parameters,
    photos: Photos,
    style: Mapping[str, Moments],
    looks: ArrayLike = LOOKS,
    dtype: DTypeLike = jnp.float32,
) -> Array:
    """The coefficients D of a change, `[..., h, w, 3, TERMS]`, after some looks at the photos; see `correct`."""

    def look(_: Array, cells: Array) -> Array:
        return correct(grader, encoder, photos, style, cells, dtype)

    found: Array = jax.lax.fori_loop(0, looks, look, no_change(photos.pixels))
    return found


def _near(x: Array) -> Array:
    return _FAR * jnp.tanh(x / _FAR)


def _norm(matrices: Array) -> Array:
    # The root of zero has no derivative.
    return jnp.sqrt(jnp.square(matrices).sum((-2, -1)) + 1e-12)


def _diagonal(matrices: Array) -> Array:
    return jnp.diagonal(matrices, axis1=-2, axis2=-1)

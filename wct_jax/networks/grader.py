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
from wct_jax.networks.cells import CELL, TERMS, Cells, Photos, as_wide, mask_of, no_change, sums
from wct_jax.networks.pooling import size_at
from wct_jax.networks.tone import into_gamut
from wct_jax.networks.vgg import LAYERS, depth_of
from wct_jax.transform.platforms import HIGHEST
from wct_jax.transform.statistics import Moments, frobenius
from wct_jax.transform.whitening import apply

COLORS = "colors"
"""The key of the moments of a picture's own colours among those of its features."""

# The deepest layer that it sees.
_DEEPEST = "relu3_1"
_HIDDEN = 128
# How many convolutions carry what one cell knows to others.
_DEPTH = 3
# How often it looks.
LOOKS = 4
# Deviations from the style's, in its own, beyond this are all the same.
_FAR = 4.0
# Of features of mean activation 1: far less than the deviation of any picture's.
_FLAT = 1e-2
# Share of the mean variance that is added to each direction's, and how many iterations find a root then.
_LEAST = 1e-2
_ITERATIONS = 18


def grader_layers(widths: Sequence[int]) -> tuple[str, ...]:
    """The layers that a grader of an encoder sees."""
    return LAYERS[: min(len(widths), depth_of(_DEEPEST))]


def grader_shapes(widths: Sequence[int]) -> dict[str, tuple[int, int, int, int]]:
    """The shapes of a grader's kernels, `[side, side, in, out]`; `correct` says what goes in."""
    features = sum(widths[: len(grader_layers(widths))])
    hidden = (_HIDDEN, _HIDDEN)
    return {
        "local": (1, 1, 3 * features + 12 + 2 * 3 * TERMS, _HIDDEN),
        "whole": (1, 1, 2 * features + 18, _HIDDEN),
        **{f"near{i}": (3, 3, *hidden) for i in range(1, _DEPTH + 1)},
        **{f"mean{i}": (1, 1, *hidden) for i in range(1, _DEPTH + 1)},
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
        """The distance of the changed photos from the style; the photos, their features and the moments of these."""
        changed = into_gamut(photos.graded(cells))
        features = encode(encoder, changed.astype(dtype), layers, photos.size)
        own = {layer: moments_of(feature, photos.weights_at(layer)) for layer, feature in features.items()}
        pairs = [(own[layer].covariance, style[layer].covariance) for layer in layers]
        apart = [frobenius(got - wanted) / (frobenius(wanted) + _FLAT) for got, wanted in pairs]
        return jnp.stack(apart).mean(0).sum(), (changed, features, own)

    gradient, (changed, features, own) = jax.grad(look, has_aux=True)(cells)
    share = sums(mask_of(photos.pixels, photos.size), CELL) / CELL**2
    steep = 2 * share.sum() * gradient  # As if each cell were the whole photo, and of about the size of D.
    of_layers = [_compared(layer, features[layer], own[layer], style[layer], photos.size) for layer in layers]
    white, colors = (Cells.of(x, CELL, photos.size) for x in (photos.white, changed))
    local = [
        *(each for near, _ in of_layers for each in near),
        *(_near(white.mean), jnp.log(white.deviation + 0.1) / 2),
        *(2 * colors.mean - 1, jnp.log(colors.deviation + 1e-2) / 2),
        *(_near(x.reshape(*x.shape[:-2], 3 * TERMS)) for x in (cells, steep)),
    ]
    toning = photos.toning
    mix = jnp.einsum("...ij,...jk->...ik", toning.color, toning.whiten, precision=HIGHEST)
    whole = [
        *(each for _, everywhere in of_layers for each in everywhere),
        *(toning.mean, toning.target),
        *(jnp.log(jnp.linalg.norm(x, axis=axis)) for x, axis in ((toning.whiten, -1), (toning.color, -2))),
        _near(mix[..., :2, :].reshape(*mix.shape[:-2], 6)),
    ]
    corrections = _network(grader, jnp.concatenate(local, -1), jnp.concatenate(whole, -1), share)
    return cells + corrections.reshape(cells.shape)


def _compared(
    layer: str, feature: Array, own: Moments, style: Moments, size: Array | None
) -> tuple[list[Array], list[Array]]:
    """A layer's feature beside the style's: in each cell, `[..., h, w, C]` each, and as a whole, `[..., C]` each."""
    seen = Cells.of(feature, CELL >> (depth_of(layer) - 1), size_at(layer, size))
    colored = apply(seen.mean, own.mean, _colors(own, style), style.mean)
    deviations = [jnp.sqrt(jnp.maximum(_diagonal(each.covariance), 0)) + _FLAT for each in (own, style)]
    scale, middle = deviations[1][..., None, None, :], style.mean[..., None, None, :]
    local = [(seen.mean - middle) / scale, (colored - middle) / scale, jnp.log((seen.deviation + _FLAT) / scale)]
    whole = [(own.mean - style.mean) / deviations[1], jnp.log(deviations[0] / deviations[1])]
    return [_near(x) for x in local], [_near(x) for x in whole]


def _colors(own: Moments, style: Moments) -> Array:
    """C_s^½ C_c^-½ of two moments' covariances with a little of the identity added: directions of noise stay small."""
    return jnp.matmul(_roots(style)[0], _roots(own)[1], precision=HIGHEST)


def _roots(statistics: Moments) -> tuple[Array, Array]:
    """The root of a covariance and its inverse, `[..., C, C]`, by matrix products alone.

    These are the coupled iterations of Denman and Beavers as products: Higham, "Functions of Matrices", 2008, equation
    6.35. On a GPU they take a tenth of the time of an eigendecomposition.
    """
    covariance = statistics.covariance
    identity = jnp.broadcast_to(jnp.eye(covariance.shape[-1]), covariance.shape)
    variance = _diagonal(covariance).mean(-1)[..., None, None]
    covariance = covariance + (_LEAST * variance + _FLAT**2) * identity
    size = frobenius(covariance)[..., None, None]

    def closer(_: Array, roots: tuple[Array, Array]) -> tuple[Array, Array]:
        root, inverse = roots
        step = 1.5 * identity - 0.5 * jnp.matmul(inverse, root, precision=HIGHEST)
        return jnp.matmul(root, step, precision=HIGHEST), jnp.matmul(step, inverse, precision=HIGHEST)

    root, inverse = jax.lax.fori_loop(0, _ITERATIONS, closer, (covariance / size, identity))
    return root * jnp.sqrt(size), inverse / jnp.sqrt(size)


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
    for i in range(1, _DEPTH + 1):
        mean = (x * share).sum((-3, -2), keepdims=True) / share.sum()
        x = x + jax.nn.relu(at(f"near{i}", x) + at(f"mean{i}", mean)) * there
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


def _diagonal(matrices: Array) -> Array:
    return jnp.diagonal(matrices, axis1=-2, axis2=-1)

"""A style: the statistics of a picture that the transform needs, layer by layer."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from wct_jax.checks.arguments import as_names, as_numbers, check_kind, described, is_traced
from wct_jax.checks.arrays import as_image, as_weights
from wct_jax.kernels.canvas import as_array, cut_out, lay_out
from wct_jax.kernels.compilation import compiled
from wct_jax.kernels.moments import moments_of
from wct_jax.networks.model import Model
from wct_jax.networks.pooling import pool_weights, size_at
from wct_jax.networks.vgg import LAYERS, deepest_first
from wct_jax.transform.mesh import has_rows_apart, on_any_mesh
from wct_jax.transform.roots import root_of
from wct_jax.transform.statistics import Moments

COLORS = "colors"
"""The key of the moments of a picture's own colours among those of its features."""


@functools.partial(jax.tree_util.register_dataclass, data_fields=("moments", "features"), meta_fields=("digest",))
@dataclass(frozen=True, eq=False)
class Style:
    """The moments of a picture's features, a pytree; extracted once, it serves any number of photos.

    Equality and hash go by identity.

    Attributes:
        moments: Layer to moments.
        digest: Digest of the encoder that made them; no other encoder can use them.
        features: Layer to the feature `[..., H', W', C]` and the weight of each of its pixels `[..., H', W']`, for the
            layers at which style swap is to find patches.
    """

    moments: Mapping[str, Moments]
    digest: str
    features: Mapping[str, tuple[Array, Array]] = field(default_factory=dict)

    def at(self, layer: str, *, swap: bool) -> "Style":
        """The style as compiled programs of one layer take it: without features, of any size, unless they `swap`."""
        return Style({layer: self.moments[layer]}, "", {layer: self.features[layer]} if swap else {})


def extract_style(
    model: Model,
    image: ArrayLike,
    layers: Sequence[str] | None = None,
    *,
    weights: ArrayLike | None = None,
    swap_layers: Sequence[str] = (),
) -> Style:
    """Encode a picture once and keep the moments of its features.

    >>> model = load_model("compact")
    >>> style = extract_style(model, np.zeros((32, 48, 3), np.float32), ["relu2_1"])
    >>> style.moments["relu2_1"].mean.shape == (model.channels_at("relu2_1"),)
    True

    Args:
        model: The model that will stylize.
        image: Picture `[..., H, W, 3]`, RGB in 0..1, floating point of 16 to 64 bits.
        layers: Layers to extract; None for all that the model can decode or paint.
        weights: Weight of each pixel in 0..1, such as its opacity, broadcasting to `[..., H, W]`.
        swap_layers: Layers whose features are kept, too, for style swap.

    Returns:
        A style for those layers.

    Raises:
        ValueError: The encoder does not have a layer, or an argument has a wrong shape or dtype.
    """
    layers = layers_of(model, layers)
    swap_layers = as_names("swap_layers", swap_layers)
    picture = as_array(as_image("style", image))
    if not set(swap_layers) <= set(layers):
        raise ValueError(f"swap_layers must be among {', '.join(layers)}, got {', '.join(swap_layers)}")
    counted = None
    if weights is not None:  # In single precision at least, since weights are summed.
        dtype = np.promote_types(picture.dtype, np.float32)
        counted = as_array(as_weights("weights", weights, picture.shape[:-1], dtype))
    if has_rows_apart(picture):

        def extract(picture: Array, model: Model, counted: Array | None) -> Style:
            return extract_from_canvas(model, picture, layers, counted, None, swap_layers)

        style = on_any_mesh(extract, lambda lead, pixels: lead, picture, model.bare, counted)
        return replace(style, digest=model.digest)
    picture, counted, size = lay_out(picture, counted)
    style = extract_from_canvas(model.bare, picture, layers, counted, size, swap_layers)
    features = style.features if size is None else _cut_out(style.features, size)
    return replace(style, digest=model.digest, features=features)


def _cut_out(features: Mapping[str, tuple[Array, Array]], size: Array) -> dict[str, tuple[Array, Array]]:
    """Features without the pixels beyond the picture."""
    cut = {}
    for layer, (feature, weights) in features.items():
        height, width = np.asarray(size_at(layer, size)).tolist()
        cut[layer] = cut_out(feature, (height, width)), as_array(np.asarray(weights)[..., :height, :width])
    return cut


@compiled(static=("layers", "swap_layers"))
def extract_from_canvas(
    model: Model,
    image: Array,
    layers: tuple[str, ...],
    weights: Array | None,
    size: Array | None,
    swap_layers: tuple[str, ...] = (),
) -> Style:
    """`extract_style` of an image, weights and size that `lay_out` returned, on their canvas."""
    features = model.encode(image, layers, size)
    each = {layer: feature_moments(feature, weights, size, layer) for layer, feature in features.items()}
    kept = {layer: (features[layer], _pixel_weights(image, weights, size, layer)) for layer in swap_layers}
    return Style(each, model.digest, kept)


def _pixel_weights(image: Array, weights: Array | None, size: Array | None, layer: str) -> Array:
    """The weight of each pixel of a layer's feature, `[..., H', W']`."""
    return pool_weights(jnp.ones(image.shape[:-1], image.dtype) if weights is None else weights, layer, size)


def feature_moments(feature: Array, weights: Array | None, size: Array | None, layer: str) -> Moments:
    """The moments of a layer's feature.

    Args:
        feature: `[..., H', W', C]`.
        weights: Weight of each pixel of the image, `[..., H, W]`; None for 1.
        size: Rows and columns of the image, int32 `[2]`, if it lies on a larger canvas.
        layer: Name of the layer.
    """
    return moments_of(feature, None if weights is None else pool_weights(weights, layer, size))


def white_style(model: Model, layers: Sequence[str] | None = None) -> Style:
    """The style of features with mean 0 and covariance 1: a photo that takes it is only whitened.

    Li et al., NIPS 2017, figure 3, invert such features.

    >>> white = white_style(load_model("compact"), ["relu1_1"])
    >>> bool((white.moments["relu1_1"].covariance == jnp.eye(16)).all())
    True

    Args:
        model: The model that will stylize.
        layers: Layers of the style; None for all that the model can decode or paint.

    Raises:
        ValueError: The encoder does not have a layer.
    """
    widths = {layer: model.channels_at(layer) for layer in layers_of(model, layers)}
    each = {layer: Moments(jnp.full((), 2, jnp.float32), jnp.zeros(n), jnp.eye(n)) for layer, n in widths.items()}
    return Style(each, model.digest)


def mix_styles(styles: Sequence[Style], weights: Sequence[float] | None = None, *, eps: float = 1e-6) -> Style:
    """Mix several styles into one between them.

    From Gaussians N(m_i, C_i) with weights w_i that add up to 1 comes the one with mean Σ w_i m_i and covariance
    (Σ w_i C_i^½)². Features take it when the results in each style are blended with these weights, as Li et al., NIPS
    2017, section 4, interpolate two; where the covariances commute it is also the barycenter of optimal transport. The
    moments of all pictures' pixels together would be more motley than any of them: the differences of their means would
    add to the covariance.

    >>> model = load_model("compact")
    >>> dark, light = (extract_style(model, np.full((8, 8, 3), x, np.float32), "relu1_1") for x in (0.2, 0.8))
    >>> mix_styles([dark, light], [1, 3]).moments["relu1_1"].mean.shape
    (16,)

    Args:
        styles: Styles of one encoder. Layers that not all of them have are left out.
        weights: Weights of any scale, at least 0 and not all 0; None for equal ones. A style of weight 0 has no part,
            and a style that alone has weight is returned as it is.
        eps: Relative cut of the spectra in 0..1, see `wct`.

    Returns:
        A style without features, because patches of several pictures cannot be mixed.

    Raises:
        ValueError: There are no styles, weights differ in number from styles, are below 0, not finite or all 0, or the
            styles were made with different encoders or have no layer in common.
    """
    if not isinstance(styles, (list, tuple)):
        raise ValueError(f"styles must be a sequence of them, got {described(styles)}")
    for style in styles:
        check_kind("each of styles", style, Style, "extract_style")
    weights = [1.0] * len(styles) if weights is None else as_numbers("weights", weights)
    if any(map(is_traced, weights)):
        raise ValueError("weights must have values here, got some that JAX is tracing")
    weights = list(map(float, weights))
    if not styles or len(weights) != len(styles):
        raise ValueError(f"there must be a weight for each style, got {len(weights)} for {len(styles)} styles")
    if not all(0 <= weight < float("inf") for weight in weights) or not any(weights):
        raise ValueError(
            f"style weights must be finite, at least 0 and not all 0, got {', '.join(f'{w:g}' for w in weights)}"
        )
    if len({style.digest for style in styles}) > 1:
        raise ValueError(f"styles of different encoders cannot be mixed: {', '.join(s.digest[:12] for s in styles)}")
    shares = [(style, weight / sum(weights)) for style, weight in zip(styles, weights, strict=True) if weight]
    if len(shares) == 1:
        return shares[0][0]
    layers = [layer for layer in styles[0].moments if all(layer in style.moments for style, _ in shares)]
    if not layers:
        raise ValueError("styles that are mixed must have a layer in common, got none")
    return Style({layer: _mix(layer, shares, jnp.asarray(eps)) for layer in layers}, styles[0].digest)


def _mix(layer: str, shares: Sequence[tuple[Style, float]], eps: Array) -> Moments:
    # One after the other: a program for all of them would be compiled anew for each number of styles.
    parts = (_weighed(style.moments[layer], jnp.asarray(share), eps) for style, share in shares)
    return _of_root(functools.reduce(_plus, parts))


@compiled()
def _weighed(moments: Moments, share: Array, eps: Array) -> tuple[Array, Array, Array]:
    """Count, mean and root of the covariance, each multiplied by a share."""
    return share * moments.count, share * moments.mean, share * root_of(moments, eps)


@compiled()
def _plus(a: Sequence[Array], b: Sequence[Array]) -> tuple[Array, ...]:
    return tuple(map(jnp.add, a, b))


@compiled()
def _of_root(mixed: Sequence[Array]) -> Moments:
    count, mean, root = mixed
    covariance = jnp.matmul(root, root, precision=jax.lax.Precision.HIGHEST)
    return Moments(count, mean, covariance * jnp.maximum(count - 1, 1)[..., None, None])


def layers_of(model: Model, layers: Sequence[str] | None) -> tuple[str, ...]:
    """Check layers of a model's encoder; None for all that the model can decode or paint.

    Raises:
        ValueError: It is no model, or its encoder does not have a layer.
    """
    check_kind("model", model, Model, "load_model")
    every = deepest_first({*model.layers, *model.painter_layers})
    names = every if layers is None else as_names("layers", layers)
    available = LAYERS[: len(model.widths)]
    if not names or not set(names) <= set(available):
        raise ValueError(f"the encoder has layers {', '.join(available)}, got {', '.join(names) or 'none'}")
    return names

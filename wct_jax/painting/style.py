"""A style: what the transform needs to know of a picture, layer by layer."""

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
from wct_jax.kernels.compilation import by_parts, part
from wct_jax.networks.model import Model
from wct_jax.networks.pooling import pool_weights, size_at
from wct_jax.networks.vgg import LAYERS
from wct_jax.transform.mesh import has_rows_apart, on_any_mesh
from wct_jax.transform.roots import root_of
from wct_jax.transform.statistics import Moments, moments


@functools.partial(jax.tree_util.register_dataclass, data_fields=("moments", "features"), meta_fields=("digest",))
@dataclass(frozen=True, eq=False)
class Style:
    """The moments of a picture's features.

    A pytree; extracted once, it serves any number of photos. Equal to itself alone, and hashed by that.

    Attributes:
        moments: Layer to moments.
        digest: Of the encoder that made them; no other encoder can use them.
        features: Layer to the feature `[..., H', W', C]` and how much each of its pixels counts `[..., H', W']`, for
            the layers at which style swap is to find its patches.
    """

    moments: Mapping[str, Moments]
    digest: str
    features: Mapping[str, tuple[Array, Array]] = field(default_factory=dict)

    @property
    def bare(self) -> "Style":
        """The statistics without the digest, which what is compiled for them does not depend on."""
        return replace(self, digest="")


def extract_style(
    model: Model,
    image: ArrayLike,
    layers: Sequence[str] | None = None,
    *,
    weights: ArrayLike | None = None,
    swap_layers: Sequence[str] = (),
) -> Style:
    """Encode a picture once and keep the moments of its features.

    Args:
        model: The model that will stylize.
        image: `[..., H, W, 3]`, RGB in 0..1.
        layers: Layers wanted; None for all those the model can decode.
        weights: How much each pixel counts, 0..1, broadcasting to `[..., H, W]`: its alpha, or a mask.
        swap_layers: Those of the layers whose features are kept, too, for style swap.

    Returns:
        A style for those layers.

    Raises:
        ValueError: A layer that the encoder does not have, or a wrong shape or dtype.
    """
    layers = layers_of(model, layers)
    swap_layers = as_names("swap_layers", swap_layers)
    picture = as_array(as_image("style", image))
    if not set(swap_layers) <= set(layers):
        raise ValueError(f"swap_layers must be among {', '.join(layers)}, got {', '.join(swap_layers)}")
    counted = None if weights is None else as_array(_counted(weights, picture))
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
    """Features without what is beyond the picture."""
    cut = {}
    for layer, (feature, weights) in features.items():
        height, width = np.asarray(size_at(layer, size)).tolist()
        cut[layer] = cut_out(feature, (height, width)), as_array(np.asarray(weights)[..., :height, :width])
    return cut


@by_parts(static=("layers", "swap_layers"))
def extract_from_canvas(
    model: Model,
    image: Array,
    layers: tuple[str, ...],
    weights: Array | None,
    size: Array | None,
    swap_layers: tuple[str, ...] = (),
) -> Style:
    """`extract_style` of what `lay_out` returns, on its canvas."""
    features = model.encode(image, layers, size)
    each = {layer: feature_moments(feature, weights, size, layer) for layer, feature in features.items()}
    kept = {}
    for layer in swap_layers:
        kept[layer] = features[layer], _pixel_weights(image, weights, size, layer)
    return Style(each, model.digest, kept)


@part(static=("layer",))
def _pixel_weights(image: Array, weights: Array | None, size: Array | None, layer: str) -> Array:
    """How much each pixel of a layer's feature counts, `[..., H', W']`."""
    return pool_weights(jnp.ones(image.shape[:-1], image.dtype) if weights is None else weights, layer, size)


@part(static=("layer",))
def feature_moments(feature: Array, weights: Array | None, size: Array | None, layer: str) -> Moments:
    """The moments of a layer's feature.

    Args:
        feature: `[..., H', W', C]`.
        weights: How much each pixel of the image counts, `[..., H, W]`, or None.
        size: Rows and columns of the image, if it lies on a larger canvas.
        layer: The layer.
    """
    return moments(feature, None if weights is None else pool_weights(weights, layer, size))


def white_style(model: Model, layers: Sequence[str] | None = None) -> Style:
    """The style whose features have mean zero and no correlations: what takes it is only whitened.

    Li et al., NIPS 2017, figure 3, invert such features.

    Args:
        model: The model that will stylize.
        layers: Layers wanted; None for all those the model can decode.

    Returns:
        A style for those layers.

    Raises:
        ValueError: A layer that the encoder does not have.
    """
    widths = {layer: model.channels_at(layer) for layer in layers_of(model, layers)}
    each = {layer: Moments(jnp.full((), 2, jnp.float32), jnp.zeros(n), jnp.eye(n)) for layer, n in widths.items()}
    return Style(each, model.digest)


def mix_styles(styles: Sequence[Style], weights: Sequence[float] | None = None, *, eps: float = 1e-6) -> Style:
    """A style between several.

    Of the Gaussians N(m_i, C_i) with weights w_i, which add up to 1, the one with mean Σ w_i m_i and covariance
    (Σ w_i C_i^½)². It is the one that features take when each style's result is blended with these weights, as Li et
    al., NIPS 2017, section 4, interpolate two; where the covariances commute it is also the barycenter of optimal
    transport. The moments of all the pictures' pixels together would add the differences of their means to the
    covariance, and be more motley than any of them.

    Args:
        styles: Of one encoder. Layers that not all of them have are left out.
        weights: At least 0, not all zero, in any scale; None for equal ones. What has weight 0 has no part in it, and
            what alone has some comes back as it is.
        eps: Where the spectra are cut, see `wct`.

    Returns:
        A style without features: patches of several pictures cannot be mixed.

    Raises:
        ValueError: No styles, another number of weights, weights below 0, not finite or all 0, or styles of different
            encoders or without a common layer.
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
    # One after the other: a program for all of them would be one for each number of styles.
    parts = (_weighed(style.moments[layer], jnp.asarray(share), eps) for style, share in shares)
    return _of_root(functools.reduce(_plus, parts))


@part()
def _weighed(moments: Moments, share: Array, eps: Array) -> tuple[Array, Array, Array]:
    """Count, mean and root of the covariance, each times a share."""
    return share * moments.count, share * moments.mean, share * root_of(moments, eps)


@part()
def _plus(a: Sequence[Array], b: Sequence[Array]) -> tuple[Array, ...]:
    return tuple(map(jnp.add, a, b))


@part()
def _of_root(mixed: Sequence[Array]) -> Moments:
    count, mean, root = mixed
    covariance = jnp.matmul(root, root, precision=jax.lax.Precision.HIGHEST)
    return Moments(count, mean, covariance * jnp.maximum(count - 1, 1)[..., None, None])


def layers_of(model: Model, layers: Sequence[str] | None) -> tuple[str, ...]:
    """Layers of a model's encoder, checked; None for all that the model can decode.

    Raises:
        ValueError: No model, or a layer that its encoder does not have.
    """
    check_kind("model", model, Model, "load_model")
    names = model.layers if layers is None else as_names("layers", layers)
    available = LAYERS[: len(model.widths)]
    if not names or not set(names) <= set(available):
        raise ValueError(f"the encoder has layers {', '.join(available)}, got {', '.join(names) or 'none'}")
    return names


def _counted(weights: ArrayLike, picture: Array) -> Array | np.ndarray:
    # In single precision at least, since weights are summed.
    return as_weights("weights", weights, picture.shape[:-1], np.promote_types(picture.dtype, np.float32))

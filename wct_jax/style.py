"""A style: what the transform needs to know of a picture, layer by layer."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from wct_jax.canvas import as_array, cut_out, lay_out, out_of_reach
from wct_jax.compilation import by_parts, part
from wct_jax.model import Model, pool_weights, size_at
from wct_jax.transform import Moments, moments, root_of


@functools.partial(jax.tree_util.register_dataclass, data_fields=("moments", "features"), meta_fields=("digest",))
@dataclass(frozen=True)
class Style:
    """The moments of a picture's features.

    A pytree; extracted once, it serves any number of photos.

    Attributes:
        moments: Layer to moments.
        digest: Of the encoder that made them; no other encoder can use them.
        features: Layer to the feature `[..., H', W', C]` and how much each of its pixels counts `[..., H', W']`, for
            the layers at which style swap is to find its patches.
    """

    moments: Mapping[str, Moments]
    digest: str
    features: Mapping[str, tuple[Array, Array]] = field(default_factory=dict)


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
    image = as_image("style", image)
    layers = tuple(model.layers if layers is None else layers)
    if not set(swap_layers) <= set(layers):
        raise ValueError(f"swap_layers must be among {', '.join(layers)}, got {', '.join(swap_layers)}")
    image, pixels, size = lay_out(image, as_weights(weights, image))
    style = extract_from_canvas(model, image, layers, pixels, size, tuple(swap_layers))
    return style if size is None else replace(style, features=_cut_out(style.features, size))


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
    """
    widths = {layer: model.channels_at(layer) for layer in (model.layers if layers is None else layers)}
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
    weights = [1.0] * len(styles) if weights is None else list(weights)
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


def as_image(name: str, image: ArrayLike) -> Array:
    """`image` as an array, checked.

    Raises:
        ValueError: It is not floating point `[..., H, W, 3]`.
    """
    array = as_array(image)
    if array.ndim < 3 or array.shape[-1] != 3 or 0 in array.shape[-3:]:
        raise ValueError(f"{name} must be an image [..., H, W, 3], got shape {array.shape}")
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(f"{name} must be floating point in 0..1, got {array.dtype}")
    return array


def as_weights(weights: ArrayLike | None, image: Array, name: str = "weights") -> Array | None:
    """`weights` as an array `[..., H, W]`, NumPy's where it can be, checked; None stays None.

    Raises:
        ValueError: They do not broadcast to the pixels of `image`.
    """
    if weights is None:
        return None
    # JAX would compile what is done to them for each size.
    by: Any = jnp if out_of_reach(image) or any(map(out_of_reach, jax.tree.leaves(weights))) else np
    array = by.asarray(weights, image.dtype)
    try:
        return by.broadcast_to(array, image.shape[:-1])
    except ValueError:
        raise ValueError(f"{name} must broadcast to {image.shape[:-1]}, got shape {array.shape}") from None

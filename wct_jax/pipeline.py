"""Coarse to fine: the cascade of Li et al., NIPS 2017, section 3.3."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from wct_jax.canvas import cut_out, inside, lay_out, outline
from wct_jax.compilation import ahead, by_parts, part
from wct_jax.model import Model, size_at
from wct_jax.style import Style, as_image, as_weights, extract_from_canvas, feature_moments
from wct_jax.transform import Moments, transfer


def stylize(
    model: Model,
    content: ArrayLike,
    style: Style,
    alpha: ArrayLike | Sequence[ArrayLike] = 1.0,
    *,
    layers: Sequence[str] | None = None,
    eps: float = 1e-6,
    content_weights: ArrayLike | None = None,
    progress: Callable[[str], None] | None = None,
) -> Array:
    """Repaint an image in a style: encode, transform, decode at each layer, deepest first.

    Pure, so that it can be jitted, vmapped and differentiated. Outside of these it compiles itself: once for each of a
    few sizes, of which an image takes the next larger one, see `wct_jax.canvas`.

    Args:
        model: Encoder and decoders.
        content: `[..., H, W, 3]`, RGB in 0..1.
        style: What `extract_style` made with the same encoder.
        alpha: Strength in 0..1: a scalar, or one for each of `layers` in their order.
        layers: The layers to use; None for all that model and style have. They are used deepest first, whatever
            their order here.
        eps: Where the spectra are cut, see `wct`.
        content_weights: How much each pixel counts in the content's statistics, broadcasting to `[..., H, W]`.
        progress: Told each layer when it is its turn. Not while JAX is tracing.

    Returns:
        `[..., H, W, 3]`, the size of the content, in its dtype. Not clipped to 0..1.

    Raises:
        ValueError: A layer without decoder or statistics, a style of another encoder, a wrong shape or dtype.
    """
    image = as_image("content", content)
    weights, sides = as_weights(content_weights, image), image.shape[-3:-1]
    levels = levels_of(model, style, layers, alpha)
    image, weights, size = lay_out(image, weights)
    for layer, strength in levels:
        if progress:
            image.block_until_ready()
            progress(layer)
        image = stylize_level(model, image, style, layer, strength, eps=eps, content_weights=weights, size=size)
    return cut_out(image, sides)


def levels_of(
    model: Model, style: Style, layers: Sequence[str] | None, alpha: ArrayLike | Sequence[ArrayLike]
) -> list[tuple[str, ArrayLike]]:
    """What `plan` makes of the layers that a model and a style have.

    Args:
        model: Encoder and decoders.
        style: Of the same encoder.
        layers: The layers to use; None for all that both have.
        alpha: As for `plan`.

    Raises:
        ValueError: A layer without decoder or statistics, or a style of another encoder; as `plan`.
    """
    if style.digest != model.digest:
        raise ValueError(
            f"the style was made with another encoder: its digest is {style.digest[:12]}, "
            f"the model's {model.digest[:12]}"
        )
    usable = [layer for layer in model.layers if layer in style.moments]
    levels = plan(usable if layers is None else layers, alpha)
    for layer, _ in levels:
        if layer not in usable:
            lacks = "the style has no statistics" if layer in model.layers else "the model has no decoder"
            raise ValueError(f"{lacks} for {layer}, expected one of {', '.join(usable) or 'none'}")
    return levels


def plan(layers: Sequence[str], alpha: ArrayLike | Sequence[ArrayLike] = 1.0) -> list[tuple[str, ArrayLike]]:
    """Put layers in the order they are run, each with its alpha.

    Args:
        layers: In any order.
        alpha: A scalar, or one for each of `layers` in their order.

    Returns:
        Pairs of layer and alpha, deepest first.

    Raises:
        ValueError: No layer, one named twice, or a number of alphas that is neither one nor that of the layers.
    """
    if not layers:
        raise ValueError("there is no layer to stylize: expected one that the model can decode and the style has")
    if len(set(layers)) < len(layers):
        raise ValueError(f"each layer can be named once, got {', '.join(layers)}")
    strengths = list(alpha) if isinstance(alpha, Sequence) else [alpha]
    if len(strengths) == 1:
        strengths *= len(layers)
    if len(strengths) != len(layers):
        raise ValueError(
            f"alpha must be one number or one for each of {len(layers)} layers, got {len(strengths)} numbers"
        )
    return sorted(zip(layers, strengths, strict=True), key=lambda level: level[0], reverse=True)


@by_parts(static=("layer",))
def stylize_level(
    model: Model,
    image: Array,
    style: Style,
    layer: str,
    alpha: ArrayLike = 1.0,
    *,
    eps: ArrayLike = 1e-6,
    content_weights: Array | None = None,
    size: Array | None = None,
) -> Array:
    """One level of the cascade: the image's feature at `layer`, transformed and decoded.

    Args:
        model: Encoder and decoders.
        image: `[..., H, W, 3]`.
        style: With statistics for `layer`.
        layer: The level.
        alpha: Scalar strength in 0..1.
        eps: Where the spectra are cut, see `wct`.
        content_weights: `[..., H, W]` or None.
        size: Rows and columns of the image, if it lies on a larger canvas, as `lay_out` made it with its weights.

    Returns:
        `[..., H, W, 3]`, the size of the image, in its dtype.
    """
    feature = model.encode(image, (layer,), size)[layer]
    statistics = feature_moments(feature, content_weights, size, layer)
    # As arrays, so that what is compiled serves all values.
    alpha, eps = jnp.asarray(alpha), jnp.asarray(eps)
    feature = recolor(feature, statistics, style.moments[layer], alpha, eps, size_at(layer, size))
    return cut_out(model.decode(layer, feature, size_at(layer, size)), image.shape[-3:-1])


def prepare(
    model: Model,
    content: Sequence[int],
    style: Sequence[int],
    layers: Sequence[str],
    *,
    content_weighted: bool = False,
    style_weighted: bool = False,
) -> None:
    """Compile what `extract_style` and `stylize` will need on the CPU, on all its cores.

    Left alone they compile each part when its turn comes, one after the other.

    Args:
        model: Encoder and decoders.
        content: Shape of the content, `[..., H, W, 3]`.
        style: Shape of the style's picture.
        layers: The layers that will be used.
        content_weighted: Whether the content will have weights.
        style_weighted: Whether the style's picture will have weights.
    """
    if jax.default_backend() != "cpu":
        return
    with ahead():
        picture, weights, size = outline(style, style_weighted)
        moments = extract_from_canvas(model, picture, tuple(layers), weights, size)
        image, weights, size = outline(content, content_weighted)
        for layer in layers:
            stylize_level(model, image, moments, layer, 1.0, eps=1e-6, content_weights=weights, size=size)


@part()
def recolor(feature: Array, statistics: Moments, style: Moments, alpha: Array, eps: Array, size: Array | None) -> Array:
    """A feature whitened and colored, see `transfer`.

    Args:
        feature: `[..., H', W', C]`.
        statistics: Its moments, or those of the image that it is a part of.
        style: The style's moments.
        alpha: Scalar strength in 0..1.
        eps: Where the spectra are cut, see `wct`.
        size: Rows and columns of the feature, if it lies on a larger canvas; None for all.
    """
    result = transfer(feature, style, alpha, eps=eps, statistics=statistics)
    if size is None:
        return result
    # What is beyond the image must not grow from level to level: convolutions by Winograd add and subtract it.
    return jnp.where(inside(result.shape[-3:-1], size)[..., None], result, 0)

"""Coarse to fine: the cascade of Li et al., NIPS 2017, section 3.3."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from wct_jax.checks.arguments import as_number, as_numbers, check_kind, check_progress, described, is_traced
from wct_jax.checks.arrays import as_image, as_masks, as_weights
from wct_jax.kernels.canvas import as_array, cut_out, lay_out, outline
from wct_jax.kernels.compilation import by_parts, part
from wct_jax.kernels.compiler import compiler
from wct_jax.networks.model import Model
from wct_jax.networks.pooling import size_at
from wct_jax.networks.vgg import depth_of
from wct_jax.painting.guides import Guides
from wct_jax.painting.level import Level, paint_feature
from wct_jax.painting.margin import narrow, surround, widen
from wct_jax.painting.options import Options
from wct_jax.painting.regions import share_out
from wct_jax.painting.strength import as_strength, between, blend
from wct_jax.painting.style import Style, extract_from_canvas, feature_moments, white_style
from wct_jax.transform.mesh import has_rows_apart, on_any_mesh
from wct_jax.transform.platforms import platform_of


def stylize(
    model: Model,
    content: ArrayLike,
    style: Style | Sequence[Style | None],
    alpha: ArrayLike | Sequence[ArrayLike] = 1.0,
    *,
    strength: ArrayLike = 1.0,
    layers: Sequence[str] | None = None,
    eps: float = 1e-6,
    content_weights: ArrayLike | None = None,
    mask: Sequence[ArrayLike] = (),
    alpha_map: ArrayLike | None = None,
    transform: str = "zca",
    swap_layers: Sequence[str] = (),
    patch: int = 3,
    stride: int = 1,
    passes: int = 1,
    margin: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Array:
    """Repaint an image in a style: encode, transform, decode at each layer, deepest first.

    Pure, so that it can be jitted, vmapped and differentiated. Outside of these it compiles itself: once for each of a
    few sizes, of which an image takes the next larger one, see `wct_jax.kernels.canvas`. The sizes used last are kept,
    see `wct_jax.kernels.compilation`.

    Args:
        model: Encoder and decoders.
        content: `[..., H, W, 3]`, RGB in 0..1, floating point of 16 to 64 bits.
        style: What `extract_style` made with the same encoder. With masks a sequence: one for each, None where the
            image is to stay, and perhaps one more for what no mask covers, which stays otherwise.
        alpha: The paper's blend of features in 0..1: a scalar, or one for each of `layers` in their order. At 0 the
            photo is only rebuilt by the decoders; see `strength`.
        strength: How much of the change is made, evenly, in 0..1: a scalar or broadcasting to `[..., H, W]`. Where it
            is 0 the photo stays to the bit.
        layers: The layers to use; None for all that model and style have. They are used deepest first, whatever
            their order here.
        eps: Where the spectra are cut, 0..1, see `wct`.
        content_weights: How much each pixel counts in the content's statistics, 0..1 or bool, broadcasting to
            `[..., H, W]`.
        mask: How much of each pixel is in a region, 0..1 or bool, each broadcasting to `[..., H, W]`. A region is
            whitened by its own statistics. Where masks add up to more than 1 they share the pixel.
        alpha_map: Alpha of each pixel in 0..1 or bool, broadcasting to `[..., H, W]`, which multiplies `alpha`.
        transform: "zca", the paper's, "ot" (optimal transport), "cholesky" (triangular) or "adain" (mean and
            variance of each channel): see `wct_jax.transform.maps`.
        swap_layers: Layers at which the whitened feature is rebuilt of patches of the style's, see
            `wct_jax.transform.swap.style_swap`; `extract_style` has to be told them, too.
        patch: Side of these patches.
        stride: From patch to patch.
        passes: How often the cascade is run, each time on the result of the last.
        margin: How many pixels more to paint on each side, mirrored, so that the border is painted like the middle;
            see `wct_jax.painting.margin`. 16 are enough.
        progress: Told each layer when it is its turn. Not while JAX is tracing.

    Returns:
        `[..., H, W, 3]`, the size of the content, in its dtype. Not clipped to 0..1.

    Raises:
        ValueError: A layer without decoder or statistics, a style of another encoder, another number of styles than
            masks allow, or a wrong name, number, shape or dtype. Values out of range as far as they are at hand:
            those of Python and NumPy, not those of JAX's arrays, for which one would have to wait.
    """
    check_progress(progress)
    image = as_array(as_image("content", content))
    options = Options(
        layers=layers,  # type: ignore[arg-type]
        transform=transform,
        swap_layers=swap_layers,  # type: ignore[arg-type]
        patch=patch,
        stride=stride,
        passes=passes,
        margin=margin,
    )
    eps = as_number("eps", eps, 0, 1)
    styles, guides = guide(style, image.shape, image.dtype, content_weights, mask, alpha_map, strength)
    levels = levels_of(model, styles, options, alpha, eps)
    if not options.margin:
        return cascade(model, image, styles, levels, guides, progress)
    guides = surround(guides, image.shape[-3:-1], options.margin)
    wide = as_array(widen(image, options.margin))
    return narrow(cascade(model, wide, styles, levels, guides, progress), options.margin)


def guide(
    style: Style | Sequence[Style | None],
    shape: Sequence[int],
    dtype: Any,
    content_weights: ArrayLike | None,
    mask: Sequence[ArrayLike],
    alpha_map: ArrayLike | None,
    strength: ArrayLike,
) -> tuple[tuple[Style, ...], Guides]:
    """Check the styles and maps that `stylize` was given, and divide the image between the styles.

    Args:
        style: As for `stylize`.
        shape: The image's, `[..., H, W, 3]`.
        dtype: The image's.
        content_weights: As for `stylize`.
        mask: As for `stylize`.
        alpha_map: As for `stylize`.
        strength: As for `stylize`.

    Returns:
        The styles that are used, and the guides of the image.

    Raises:
        ValueError: A map of another shape, dtype or range, what is no style, or several styles without masks.
    """
    counted = np.promote_types(dtype, np.float32)

    def fitted(name: str, value: Any) -> Any:
        return as_weights(name, value, shape[:-1], counted)

    maps = {
        "weights": None if content_weights is None else fitted("content_weights", content_weights),
        "alpha_map": None if alpha_map is None else fitted("alpha_map", alpha_map),
        "strength": as_strength(strength, shape[:-1], dtype),
    }
    masks = [fitted("mask", one) for one in as_masks("mask", mask)]
    styles: list[Any] = list(style) if isinstance(style, (list, tuple)) and style else [style]
    for one in styles:
        if one is not None or not masks:
            check_kind("style", one, Style, "extract_style or load_style")
    if masks:
        used, guides = share_out(styles, masks)
        return used, dataclasses.replace(guides, **maps)
    if len(styles) > 1:
        raise ValueError("several styles need masks that say where each is: mix_styles makes one of them")
    return (styles[0],), Guides(**maps)


def cascade(
    model: Model,
    content: Array,
    styles: Sequence[Style],
    levels: Sequence[Level],
    guides: Guides,
    progress: Callable[[str], None] | None = None,
) -> Array:
    """Paint an image at each level in turn, on a canvas where that spares compiling.

    Args:
        model: Encoder and decoders.
        content: `[..., H, W, 3]`.
        styles: One, or one for each of the guides' shares.
        levels: In the order to run them.
        guides: Of the image, not on a canvas.
        progress: As for `stylize`.

    Returns:
        `[..., H, W, 3]` in the dtype of the content.
    """
    if guides.weights is not None:
        guides = dataclasses.replace(guides, weights=as_array(guides.weights))
    if has_rows_apart(content):

        def on_mesh(content: Array, *rest: Any) -> Array:
            model, styles, levels, guides = rest
            return _cascade(model, content, styles, levels, guides, progress)

        return on_any_mesh(on_mesh, lambda lead, pixels: pixels, content, model, styles, levels, guides)
    return _cascade(model, content, styles, levels, guides, progress)


def _cascade(
    model: Model,
    content: Array,
    styles: Sequence[Style],
    levels: Sequence[Level],
    guides: Guides,
    progress: Callable[[str], None] | None,
) -> Array:
    # Within jit a constant is traced, too.
    traced = any(map(is_traced, jax.tree.leaves((content, model, styles, levels, guides, lax.full((), 0)))))
    image, weights, size = lay_out(content, guides.weights)
    # Every level before the last is blended, too.
    shallower = Guides(strength=None if guides.strength is None else between(guides.strength))
    guides, shallower = (each.on_canvas(weights, size, image) for each in (guides, shallower))
    of_levels = dataclasses.replace(guides, rest=None, strength=None)
    photo, model, styles = image, model.bare, [style.bare for style in styles]
    for number, level in enumerate(levels, 1):
        if progress and not traced:
            image.block_until_ready()
            progress(level.layer)
        before = image
        image = stylize_level(model, image, styles, level, of_levels)
        if shallower.strength is not None and number < len(levels):
            image = blend(before, image, shallower.strength)
    if guides.rest is not None:
        image = _leave(image, photo, guides.rest)
    return cut_out(image if guides.strength is None else blend(photo, image, guides.strength), content.shape[-3:-1])


def levels_of(
    model: Model,
    styles: Sequence[Style],
    options: Options,
    alpha: ArrayLike | Sequence[ArrayLike],
    eps: ArrayLike,
) -> list[Level]:
    """The levels of all passes, in the order to run them.

    Args:
        model: Encoder and decoders.
        styles: Of the same encoder.
        options: Layers, transform, swap layers, patches and passes; alpha and eps may be arrays and come separately.
        alpha: As for `plan`.
        eps: Relative cut of the spectra.

    Raises:
        ValueError: A layer without decoder or statistics, a style of another encoder or without the features that style
            swap needs; as `plan`.
    """
    check_kind("model", model, Model, "load_model")
    for style in styles:
        if style.digest != model.digest:
            raise ValueError(
                f"the style was made with another encoder: its digest is {style.digest[:12]}, "
                f"the model's {model.digest[:12]}"
            )
    usable = [layer for layer in model.layers if all(layer in style.moments for style in styles)]
    names = usable if options.layers is None else options.layers
    for layer in names:
        if layer not in usable:
            lacks = "the style has no statistics" if layer in model.layers else "the model has no decoder"
            raise ValueError(f"{lacks} for {layer}, expected one of {', '.join(usable) or 'none'}")
    for layer in options.swap_layers:
        if layer not in names:
            raise ValueError(f"swap_layers must be among the layers that are used, got {layer}")
        if any(layer not in style.features for style in styles):
            raise ValueError(
                f"style swap at {layer} needs the feature of the style's picture, which mixed styles and style files "
                "do not have: expected one that extract_style made with swap_layers"
            )
    patches, eps = (options.patch, options.stride), jnp.asarray(eps)
    # As arrays, so that what is compiled serves all values.
    return (options.passes or 1) * [
        Level(layer, jnp.asarray(alpha), eps, options.transform, patches if layer in options.swap_layers else None)
        for layer, alpha in plan(names, alpha)
    ]


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
    if getattr(alpha, "ndim", 0) > 1:
        raise ValueError(f"alpha must be one number or one for each layer, got {described(alpha)}: see alpha_map")
    alphas = as_numbers("alpha", alpha, 0, 1)
    if len(alphas) == 1:
        alphas *= len(layers)
    if len(alphas) != len(layers):
        raise ValueError(f"alpha must be one number or one for each of {len(layers)} layers, got {len(alphas)} numbers")
    return sorted(zip(layers, alphas, strict=True), key=lambda level: depth_of(level[0]), reverse=True)


@by_parts()
def stylize_level(
    model: Model,
    image: Array,
    styles: Sequence[Style],
    level: Level,
    guides: Guides = Guides(),
) -> Array:
    """One level of the cascade: the image's feature at the layer, transformed and decoded.

    Args:
        model: Encoder and decoders.
        image: `[..., H, W, 3]`.
        styles: With statistics for the layer.
        level: The level.
        guides: Laid out as the image.

    Returns:
        `[..., H, W, 3]`, the size of the image, in its dtype.
    """
    layer, size = level.layer, guides.size
    feature = model.encode(image, (layer,), size)[layer]
    counted: list[Array | None] = [_both(guides.weights, share) for share in guides.shares]
    counted = counted or [guides.weights]
    statistics = [feature_moments(feature, weights, size, layer) for weights in counted]
    feature = paint_feature(feature, statistics, styles, level, guides)
    return cut_out(model.decode(layer, feature, size_at(layer, size)), image.shape[-3:-1])


@part()
def _both(weights: Array | None, share: Array) -> Array:
    return share if weights is None else weights * share


@part()
def _leave(image: Array, photo: Array, rest: Array) -> Array:
    rest = rest[..., None].astype(image.dtype)
    return rest * photo + (1 - rest) * image


def prepare(
    model: Model,
    content: Sequence[int],
    pictures: Sequence[tuple[Sequence[int], bool]],
    options: Options,
    *,
    content_weighted: bool = False,
    regions: int = 0,
    mapped: bool = False,
) -> None:
    """Compile what `extract_style` and `stylize` will need on the CPU, on all its cores.

    Left alone they compile each part when its turn comes, one after the other.

    Args:
        model: Encoder and decoders.
        content: Shape of the content, `[..., H, W, 3]`.
        pictures: Shape of each style's picture, and whether it will have weights; none for styles that are there.
        options: Layers, by name, and the transform. Patches have shapes of their own and are left.
        content_weighted: Whether the content will have weights.
        regions: How many masks there will be for styles.
        mapped: Whether there will be an alpha map.
    """
    if platform_of(model) != "cpu" or jax.config.jax_disable_jit:  # type: ignore[attr-defined]
        return
    layers = options.layers or model.layers

    def paint(photo: tuple[Any, Any, Any], drawings: Sequence[tuple[Any, Any, Any]]) -> None:
        for picture, weights, size in drawings:
            extract_from_canvas(model, picture, tuple(layers), weights, size)
        image, weights, size = photo
        area = jnp.zeros(image.shape[:-1], jnp.float32)
        styles = (white_style(model, layers),) * max(1, regions)
        guides = Guides(weights, (area,) * regions, area if mapped else None, size=size)
        for layer in layers:
            stylize_level(model, image, styles, Level(layer, transform=options.transform), guides)

    compiler().ahead(paint, outline(content, content_weighted), [outline(*each) for each in pictures])

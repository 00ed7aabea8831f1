"""Coarse to fine: the cascade of Li et al., NIPS 2017, section 3.3."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from wct_jax.arguments import (
    as_integer,
    as_names,
    as_number,
    as_numbers,
    check_kind,
    check_progress,
    described,
    is_traced,
)
from wct_jax.arrays import as_image, as_masks
from wct_jax.canvas import as_array, cut_out, lay_out, lay_out_map, outline
from wct_jax.compilation import by_parts, part
from wct_jax.compiler import compiler
from wct_jax.margin import narrow, surround, widen
from wct_jax.mesh import has_rows_apart, on_any_mesh
from wct_jax.method import PLAIN, Method, method_of, paint_feature
from wct_jax.model import Model, size_at
from wct_jax.platforms import platform_of
from wct_jax.regions import Regions, share_out
from wct_jax.strength import as_strength, between, blend
from wct_jax.style import Style, extract_from_canvas, feature_moments, weights_of, white_style

# After three, nothing changes that can be seen.
_MOST_PASSES = 1000


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
    few sizes, of which an image takes the next larger one, see `wct_jax.canvas`. The sizes used last are kept, see
    `wct_jax.compilation`.

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
            variance of each channel): see `wct_jax.maps`.
        swap_layers: Layers at which the whitened feature is rebuilt of patches of the style's, see
            `wct_jax.swap.style_swap`; `extract_style` has to be told them, too.
        patch: Side of these patches.
        stride: From patch to patch.
        passes: How often the cascade is run, each time on the result of the last.
        margin: How many pixels more to paint on each side, mirrored, so that the border is painted like the middle;
            see `wct_jax.margin`. 16 are enough.
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
    eps, margin = as_number("eps", eps, 0, 1), as_integer("margin", margin, 0)
    weights = None if content_weights is None else weights_of("content_weights", content_weights, image)
    masks = [weights_of("mask", one, image) for one in as_masks("mask", mask)]
    alpha_map = None if alpha_map is None else weights_of("alpha_map", alpha_map, image)
    share = as_strength(strength, image.shape[:-1], image.dtype)
    if margin:
        maps = {"mask": masks, "alpha_map": alpha_map, "strength": 1.0 if share is None else share}
        options: dict[str, Any] = surround(image, margin, weights, maps)
        options |= {"layers": layers, "eps": eps, "transform": transform, "swap_layers": swap_layers, "patch": patch}
        options |= {"stride": stride, "passes": passes, "progress": progress}
        return narrow(stylize(model, widen(image, margin), style, alpha, **options), margin)
    method = method_of(transform, swap_layers, patch, stride)
    regions = regions_of(style, masks)
    levels = levels_of(model, regions.styles, layers, alpha, method, passes)
    names, alphas = zip(*levels, strict=True)
    cascade = functools.partial(_cascade, layers=names, method=method, progress=progress)
    counted = None if weights is None else as_array(weights)
    arrays = model, counted, regions, alpha_map, share, alphas, eps
    if has_rows_apart(image):
        return on_any_mesh(cascade, lambda lead, pixels: pixels, image, *arrays)
    return cascade(image, *arrays)


def _cascade(
    content: Array,
    model: Model,
    weights: Array | None,
    regions: Regions,
    alpha_map: Any,
    share: Any,
    alphas: Sequence[ArrayLike],
    eps: ArrayLike,
    *,
    layers: Sequence[str],
    method: Method,
    progress: Callable[[str], None] | None,
) -> Array:
    # Within jit a constant is traced, too.
    traced = any(map(is_traced, jax.tree.leaves((content, model, weights, regions, alphas, eps, lax.full((), 0)))))
    image, weights, size = lay_out(content, weights)
    shares = tuple(lay_out_map(share, size, image) for share in regions.shares)
    # Each level before the last is blended, too.
    maps = alpha_map, regions.rest, share, None if share is None else between(share)
    alpha_map, rest, share, shallower = (
        each if each is None or not each.ndim else lay_out_map(each, size, image) for each in maps
    )
    photo = image
    for number, (layer, alpha) in enumerate(zip(layers, alphas, strict=True), 1):
        if progress and not traced:
            image.block_until_ready()
            progress(layer)
        before = image
        image = stylize_level(
            model,
            image,
            regions.styles,
            layer,
            alpha,
            eps=eps,
            content_weights=weights,
            shares=shares,
            alpha_map=alpha_map,
            size=size,
            method=method,
        )
        if shallower is not None and number < len(layers):
            image = blend(before, image, shallower)
    if rest is not None:
        image = _leave(image, photo, rest)
    return cut_out(image if share is None else blend(photo, image, share), content.shape[-3:-1])


def regions_of(style: Style | Sequence[Style | None], masks: Sequence[Any]) -> Regions:
    """What `share_out` makes of styles and masks, or one style for all.

    Args:
        style: As for `stylize`.
        masks: As for `share_out`.

    Raises:
        ValueError: As `share_out`; what is no style; or several styles without masks.
    """
    styles: list[Any] = list(style) if isinstance(style, (list, tuple)) and style else [style]
    for one in styles:
        if one is not None or not masks:
            check_kind("style", one, Style, "extract_style or load_style")
    if masks:
        return share_out(styles, masks)
    if len(styles) > 1:
        raise ValueError("several styles need masks that say where each is: mix_styles makes one of them")
    return Regions((styles[0],), (), None)


def levels_of(
    model: Model,
    styles: Sequence[Style],
    layers: Sequence[str] | None,
    alpha: ArrayLike | Sequence[ArrayLike],
    method: Method = PLAIN,
    passes: int = 1,
) -> list[tuple[str, ArrayLike]]:
    """What `plan` makes of the layers that a model and some styles have, for all passes.

    Args:
        model: Encoder and decoders.
        styles: Of the same encoder.
        layers: The layers to use; None for all that all have.
        alpha: As for `plan`.
        method: How the styles are taken.
        passes: As for `stylize`.

    Raises:
        ValueError: A layer without decoder or statistics, a style of another encoder or without the features that the
            method needs, or a number of passes that there is not; as `plan`.
    """
    check_kind("model", model, Model, "load_model")
    passes = as_integer("passes", passes, 1, _MOST_PASSES)
    for style in styles:
        if style.digest != model.digest:
            raise ValueError(
                f"the style was made with another encoder: its digest is {style.digest[:12]}, "
                f"the model's {model.digest[:12]}"
            )
    usable = [layer for layer in model.layers if all(layer in style.moments for style in styles)]
    levels = plan(usable if layers is None else as_names("layers", layers), alpha)
    for layer, _ in levels:
        if layer not in usable:
            lacks = "the style has no statistics" if layer in model.layers else "the model has no decoder"
            raise ValueError(f"{lacks} for {layer}, expected one of {', '.join(usable) or 'none'}")
    for layer in method.swap_layers:
        if layer not in [layer for layer, _ in levels]:
            raise ValueError(f"swap_layers must be among the layers that are used, got {layer}")
        if any(layer not in style.features for style in styles):
            raise ValueError(
                f"style swap at {layer} needs the feature of the style's picture, which mixed styles and style files "
                "do not have: expected one that extract_style made with swap_layers"
            )
    return levels * passes


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
    return sorted(zip(layers, alphas, strict=True), key=lambda level: level[0], reverse=True)


@by_parts(static=("layer", "method"))
def stylize_level(
    model: Model,
    image: Array,
    styles: Sequence[Style],
    layer: str,
    alpha: ArrayLike = 1.0,
    *,
    eps: ArrayLike = 1e-6,
    content_weights: Array | None = None,
    shares: Sequence[Array] = (),
    alpha_map: Array | None = None,
    size: Array | None = None,
    method: Method = PLAIN,
) -> Array:
    """One level of the cascade: the image's feature at `layer`, transformed and decoded.

    Args:
        model: Encoder and decoders.
        image: `[..., H, W, 3]`.
        styles: With statistics for `layer`.
        layer: The level.
        alpha: Scalar strength in 0..1.
        eps: Where the spectra are cut, see `wct`.
        content_weights: `[..., H, W]` or None.
        shares: How much each style has of a pixel, `[..., H, W]` each; none for one style.
        alpha_map: `[..., H, W]` or None.
        size: Rows and columns of the image, if it lies on a larger canvas, as `lay_out` made it with its weights.
        method: How the styles are taken.

    Returns:
        `[..., H, W, 3]`, the size of the image, in its dtype.
    """
    feature = model.encode(image, (layer,), size)[layer]
    counted: list[Array | None] = [_both(content_weights, share) for share in shares]
    counted = counted or [content_weights]
    statistics = [feature_moments(feature, weights, size, layer) for weights in counted]
    # As arrays, so that what is compiled serves all values.
    alpha, eps = jnp.asarray(alpha), jnp.asarray(eps)
    feature = paint_feature(feature, statistics, styles, layer, alpha, eps, shares, alpha_map, size, method)
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
    layers: Sequence[str],
    *,
    content_weighted: bool = False,
    regions: int = 0,
    mapped: bool = False,
    method: Method = PLAIN,
) -> None:
    """Compile what `extract_style` and `stylize` will need on the CPU, on all its cores.

    Left alone they compile each part when its turn comes, one after the other.

    Args:
        model: Encoder and decoders.
        content: Shape of the content, `[..., H, W, 3]`.
        pictures: Shape of each style's picture, and whether it will have weights; none for styles that are there.
        layers: The layers that will be used.
        content_weighted: Whether the content will have weights.
        regions: How many masks there will be for styles.
        mapped: Whether there will be an alpha map.
        method: How the styles will be taken.
    """
    if platform_of(model) != "cpu" or jax.config.jax_disable_jit:  # type: ignore[attr-defined]
        return

    def paint(photo: tuple[Any, Any, Any], drawings: Sequence[tuple[Any, Any, Any]]) -> None:
        for picture, weights, size in drawings:
            extract_from_canvas(model, picture, tuple(layers), weights, size)
        image, weights, size = photo
        area = jnp.zeros(image.shape[:-1], jnp.float32)
        style = white_style(model, layers)
        for layer in layers:
            stylize_level(
                model,
                image,
                (style,) * max(1, regions),
                layer,
                1.0,
                eps=1e-6,
                content_weights=weights,
                shares=(area,) * regions,
                alpha_map=area if mapped else None,
                size=size,
                # Patches have shapes of their own, and are compiled when they are there.
                method=method._replace(swap_layers=()),
            )

    compiler().ahead(paint, outline(content, content_weighted), [outline(*each) for each in pictures])

"""The plan of a cascade: which layers run, in which order and with which settings."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import jax
from jax.typing import ArrayLike

from wct_jax.checks.arguments import as_numbers, check_kind, described
from wct_jax.kernels.canvas import as_array
from wct_jax.networks.model import Model
from wct_jax.networks.vgg import depth_of
from wct_jax.painting.level import Level
from wct_jax.painting.options import Options
from wct_jax.painting.style import Style


@functools.partial(jax.tree_util.register_dataclass, data_fields=("model", "styles", "levels"), meta_fields=())
@dataclass(frozen=True, eq=False)
class Plan:
    """The networks, styles and levels that paint an image, as one pytree.

    Attributes:
        model: Encoder and decoders.
        styles: One style, or one for each of the guides' shares.
        levels: The levels of all passes, in the order they run.
    """

    model: Model
    styles: Sequence[Style]
    levels: Sequence[Level]


def make_plan(
    model: Model, styles: Sequence[Style], options: Options, alpha: ArrayLike | Sequence[ArrayLike], eps: ArrayLike
) -> Plan:
    """Plan the levels of all passes.

    Args:
        model: Encoder and decoders.
        styles: Styles of the same encoder.
        options: Layers, transform, swap layers, patches and passes. Its alpha and eps are not used.
        alpha: A scalar in 0..1, or one for each layer.
        eps: Relative cut of the spectra, a scalar in 0..1.

    Raises:
        ValueError: A layer has no decoder or no statistics, a style was made with another encoder, style swap lacks the
            features of a style, or layers and alphas do not fit.
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
    patches, eps = (options.patch, options.stride), as_array(eps)
    # The numbers are arrays so that what is compiled serves all values.
    levels = [
        Level(layer, as_array(alpha), eps, options.transform, patches if layer in options.swap_layers else None)
        for layer, alpha in with_alphas(names, alpha)
    ]
    return Plan(model, styles, (options.passes or 1) * levels)


def with_alphas(layers: Sequence[str], alpha: ArrayLike | Sequence[ArrayLike] = 1.0) -> list[tuple[str, ArrayLike]]:
    """Pairs of layer and alpha, deepest layer first.

    Args:
        layers: Layers in any order, each once, as `Options` checks.
        alpha: A scalar, or one for each of `layers` in their order.

    Raises:
        ValueError: There is no layer, or there are neither one nor as many alphas as layers.
    """
    if not layers:
        raise ValueError("there is no layer to stylize: expected one that the model can decode and the style has")
    if getattr(alpha, "ndim", 0) > 1:
        raise ValueError(f"alpha must be one number or one for each layer, got {described(alpha)}: see alpha_map")
    alphas = as_numbers("alpha", alpha, 0, 1)
    if len(alphas) == 1:
        alphas *= len(layers)
    if len(alphas) != len(layers):
        raise ValueError(f"alpha must be one number or one for each of {len(layers)} layers, got {len(alphas)} numbers")
    return sorted(zip(layers, alphas, strict=True), key=lambda level: depth_of(level[0]), reverse=True)

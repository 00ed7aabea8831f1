"""The plan of a painting: which layers run, in which order and with which settings."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import jax
from jax.typing import ArrayLike

from wct_jax.checks.arguments import as_numbers, check_kind, described, is_traced
from wct_jax.kernels.canvas import as_array
from wct_jax.networks.model import Model
from wct_jax.networks.vgg import depth_of
from wct_jax.painting.level import Level
from wct_jax.painting.memory import Memory
from wct_jax.painting.options import BASELINES, PAINTERS, STRUCTURE_OF_THE_CASCADE, Options
from wct_jax.painting.style import Style


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("model", "styles", "levels", "memories"),
    meta_fields=("passes", "method"),
)
@dataclass(frozen=True, eq=False)
class Plan:
    """The networks, styles and levels that paint an image, as one pytree.

    Attributes:
        model: The networks.
        styles: One style, or one for each of the guides' shares.
        levels: The levels of a pass, in the order they run.
        passes: Number of passes.
        method: A name in `wct_jax.painting.options.METHODS`.
        memories: For a frame of a film, the memory of each level of all passes; empty for an image by itself.
    """

    model: Model
    styles: Sequence[Style]
    levels: Sequence[Level]
    passes: int = 1
    method: str = "cascade"
    memories: Sequence[Memory] = ()

    def memory(self, number: int) -> Memory | None:
        """The memory of a level, by its number among those of all passes."""
        return self.memories[number] if self.memories else None


@dataclass(frozen=True)
class Settings:
    """The numbers of a painting that JAX may trace.

    Attributes:
        alpha: A scalar in 0..1, or one for each layer.
        eps: Relative cut of the spectra, a scalar in 0..1.
        structure: Share of the photo's own features in one pass, a scalar in 0..1, or one for each layer.
        shrinkage: Shrinkage of the covariances, a scalar in 0..1.
    """

    alpha: ArrayLike | Sequence[ArrayLike] = 1.0
    eps: ArrayLike = 1e-6
    structure: ArrayLike | Sequence[ArrayLike] = 0.0
    shrinkage: ArrayLike = 0.0


def make_plan(model: Model, styles: Sequence[Style], options: Options, settings: Settings) -> Plan:
    """Plan the levels of all passes.

    Args:
        model: The networks.
        styles: Styles of the same encoder.
        options: Method, layers, transform, swap layers, patches and passes. Its numbers are not used.
        settings: The numbers.

    Raises:
        ValueError: The model has no painter, a layer has no decoder or no statistics, a style was made with another
            encoder, style swap lacks the features of a style, or layers and numbers do not fit.
    """
    check_kind("model", model, Model, "load_model")
    if options.method in BASELINES:
        raise ValueError(
            f"method must be one of {', '.join(PAINTERS)} here, got {options.method!r}: see wct_jax.Session"
        )
    for style in styles:
        if style.digest != model.digest:
            raise ValueError(
                f"the style was made with another encoder: its digest is {style.digest[:12]}, "
                f"the model's {model.digest[:12]}"
            )
    in_one = method_of(model, options, settings, styles) == "one-pass"
    if in_one and not model.painter:
        raise ValueError("the model has no painter of one pass: expected method cascade, or a model with one")
    have = model.painter_layers if in_one else model.layers
    usable = [layer for layer in have if all(layer in style.moments for style in styles)]
    names = usable if options.layers is None else options.layers
    for layer in names:
        if layer not in usable:
            no_network = f"the {'painter does not reach' if in_one else 'model has no decoder for'} {layer}"
            lacks = f"the style has no statistics for {layer}" if layer in have else no_network
            raise ValueError(f"{lacks}, expected one of {', '.join(usable) or 'none'}")
    for layer in options.swap_layers:
        if layer not in names:
            raise ValueError(f"swap_layers must be among the layers that are used, got {layer}")
        if any(layer not in style.features for style in styles):
            raise ValueError(
                f"style swap at {layer} needs the feature of the style's picture, which mixed styles and style files "
                "do not have: expected one that extract_style made with swap_layers"
            )
    patches, eps = (options.patch, options.stride), as_array(settings.eps)
    structures = dict(per_layer("structure", names, settings.structure))
    if not any(is_traced(share) or share for share in structures.values()):
        structures = {}  # The photo's own features need not be computed.
    if structures and not in_one:
        raise ValueError(STRUCTURE_OF_THE_CASCADE)
    shrinkage = settings.shrinkage
    shrunk = as_array(shrinkage) if is_traced(shrinkage) or shrinkage else None
    # The numbers are arrays so that what is compiled serves all values.
    levels = [
        Level(
            layer,
            as_array(alpha),
            eps,
            options.transform,
            patches if layer in options.swap_layers else None,
            as_array(structures[layer]) if structures else None,
            shrunk,
        )
        for layer, alpha in per_layer("alpha", names, settings.alpha)
    ]
    return Plan(model, styles, levels, options.passes or 1, "one-pass" if in_one else "cascade")


def method_of(model: Model, options: Options, settings: Settings, styles: Sequence[Style] = ()) -> str:
    """The method that options stand for.

    Without a method an image is painted in one pass if the model has a painter, unless the layers, or as many alphas as
    the model has decoders, ask for more than the painter reaches, or a style has not all of its layers.

    Args:
        model: The networks.
        options: Method and layers.
        settings: The numbers.
        styles: Styles, if they are known.
    """
    if options.method:
        return options.method
    if any(is_traced(share) or share for share in as_numbers("structure", settings.structure, 0, 1)):
        return "one-pass"
    have = set(model.painter_layers)
    wanted = options.layers or (have if all(have <= set(style.moments) for style in styles) else model.layers)
    alphas = len(as_numbers("alpha", settings.alpha, 0, 1)) if options.layers is None else 1
    return "one-pass" if have and {*wanted, *options.swap_layers} <= have and alphas in (1, len(have)) else "cascade"


def per_layer(
    name: str, layers: Sequence[str], values: ArrayLike | Sequence[ArrayLike] = 1.0
) -> list[tuple[str, ArrayLike]]:
    """Pairs of layer and number, deepest layer first.

    Args:
        name: Name of the argument, "alpha" or "structure", for messages.
        layers: Layers in any order, each once, as `Options` checks.
        values: A scalar in 0..1, or one for each of `layers` in their order.

    Raises:
        ValueError: There is no layer, or there are neither one nor as many numbers as layers.
    """
    if not layers:
        raise ValueError("there is no layer to stylize: expected one that the model can decode and the style has")
    if getattr(values, "ndim", 0) > 1:
        raise ValueError(f"{name} must be one number or one for each layer, got {described(values)}: see {name}_map")
    numbers = as_numbers(name, values, 0, 1)
    if len(numbers) == 1:
        numbers *= len(layers)
    if len(numbers) != len(layers):
        raise ValueError(
            f"{name} must be one number or one for each of {len(layers)} layers, got {len(numbers)} numbers"
        )
    return sorted(zip(layers, numbers, strict=True), key=lambda level: depth_of(level[0]), reverse=True)

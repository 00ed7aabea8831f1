"""Taps: which layers are read from which of several encoders."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax
from jax import Array

from wct_jax.networks.model import Model
from wct_jax.networks.vgg import LAYERS


@functools.partial(jax.tree_util.register_dataclass, data_fields=("model",), meta_fields=("layers",))
@dataclass(frozen=True, eq=False)
class Taps:
    """An encoder and the layers read from it, as a pytree: a teacher in distillation, or in a perceptual loss.

    Attributes:
        model: Model with the encoder; its decoders are not used.
        layers: Layers to read.
    """

    model: Model
    layers: tuple[str, ...]


def choose_taps(models: Sequence[Model], layers: Sequence[str] | None = None) -> tuple[Taps, ...]:
    """Read each layer from the first of several encoders that has it.

    Args:
        models: Models in the order of preference.
        layers: Layers to read; None for all that any of the models has.

    Raises:
        ValueError: None of the models has a layer.
    """
    chosen: dict[int, list[str]] = {}
    available = LAYERS[: max(len(model.widths) for model in models)]
    for layer in available if layers is None else dict.fromkeys(layers):
        have = [i for i, model in enumerate(models) if layer in LAYERS[: len(model.widths)]]
        if not have:
            ends = ", ".join(LAYERS[len(model.widths) - 1] for model in models)
            raise ValueError(f"none of the encoders has {layer}: they end at {ends}")
        chosen.setdefault(have[0], []).append(layer)
    return tuple(
        Taps(replace(models[i], decoders={}, auxiliary={}, painter={}), tuple(layers))
        for i, layers in sorted(chosen.items())
    )


def read(taps: Sequence[Taps], images: Array) -> dict[str, Array]:
    """The features of images `[..., H, W, 3]` at all the taps, by layer; no layer may be in two of them."""
    return {layer: x for tap in taps for layer, x in tap.model.encode(images, tap.layers).items()}

"""Reading several encoders: which layer is read from which."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax
from jax import Array

from wct_jax.networks.model import Model
from wct_jax.networks.vgg import (
    LAYERS,
)


@functools.partial(jax.tree_util.register_dataclass, data_fields=("model",), meta_fields=("layers",))
@dataclass(frozen=True, eq=False)
class Taps:
    """An encoder and where it is read: a teacher in distillation, the measure of a perceptual loss.

    A pytree, so that it passes through `jit`.

    Attributes:
        model: The encoder; its decoders are not used.
        layers: The layers to read.
    """

    model: Model
    layers: tuple[str, ...]


def choose_taps(models: Sequence[Model], layers: Sequence[str] | None = None) -> tuple[Taps, ...]:
    """Read each layer from the first of several encoders that has it.

    Args:
        models: In the order of preference.
        layers: The layers wanted; None for all that any of them has.

    Raises:
        ValueError: A layer that none of them has.
    """
    chosen: dict[int, list[str]] = {}
    available = LAYERS[: max(len(model.widths) for model in models)]
    for layer in available if layers is None else dict.fromkeys(layers):
        have = [i for i, model in enumerate(models) if layer in LAYERS[: len(model.widths)]]
        if not have:
            raise ValueError(f"none of the encoders has {layer}: they end at {', '.join(map(_deepest, models))}")
        chosen.setdefault(have[0], []).append(layer)
    return tuple(
        Taps(replace(models[i], decoders={}, auxiliary={}), tuple(layers)) for i, layers in sorted(chosen.items())
    )


def read(taps: Sequence[Taps], images: Array) -> dict[str, Array]:
    """The features of images at all the taps, by layer.

    Args:
        taps: No two of them for one layer.
        images: `[..., H, W, 3]` in 0..1.
    """
    return {layer: x for tap in taps for layer, x in tap.model.encode(images, tap.layers).items()}


def _deepest(model: Model) -> str:
    return LAYERS[len(model.widths) - 1]

"""The parts of a model, its networks beside the encoder: how they are added, and what is said where one is missing."""

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from wct_jax.networks.model import Model, Parameters
from wct_jax.networks.vgg import LAYERS


def with_decoder(model: Model, layer: str, decoder: Parameters, record: Mapping[str, Any]) -> Model:
    """A model with a decoder added, or replaced for its layer.

    Args:
        model: Model without the decoder.
        layer: Layer of the decoder.
        decoder: Parameters of the decoder.
        record: JSON values that describe its origin.
    """
    records = model.metadata.get("decoders", {}) | {layer: dict(record)}
    document = json.dumps(model.metadata | {"decoders": records})
    return dataclasses.replace(model, decoders={**model.decoders, layer: decoder}, document=document)


def with_painter(model: Model, painter: Parameters, record: Mapping[str, Any]) -> Model:
    """A model with a painter added, or replaced.

    Args:
        model: Model without the painter.
        painter: Parameters of the painter.
        record: JSON values that describe its origin.
    """
    document = json.dumps(model.metadata | {"painter": dict(record)})
    return dataclasses.replace(model, painter=painter, document=document)


def require_painter(model: Model, name: str | os.PathLike[str], layers: Sequence[str] | None) -> tuple[str, ...]:
    """The layers to paint in one pass, after a check that the model has a painter and that it reaches them.

    Args:
        model: The model.
        name: Name or path of its file, for messages.
        layers: Layers asked for; None for all that the painter reaches, deepest first.

    Raises:
        ValueError: The model has no painter, or the painter does not reach a layer.
    """
    have = model.painter_layers
    if not have:
        raise ValueError(
            f"the model {name} has no painter of one pass: python train.py --painter --model {name} trains one"
        )
    wanted = have if layers is None else tuple(layers)
    for layer in wanted:
        if layer not in have:
            raise ValueError(f"the painter of {name} paints {', '.join(have)}, got {layer}")
    return wanted


def require_decoders(model: Model, name: str | os.PathLike[str], layers: Sequence[str] | None) -> tuple[str, ...]:
    """The layers to stylize, after a check that the model can decode them.

    Args:
        model: The model.
        name: Name or path of its file, for messages.
        layers: Layers asked for; None for all that the model can decode, deepest first.

    Raises:
        ValueError: A layer is unknown, or has no decoder; the message then has the command that trains one.
    """
    wanted = tuple(model.layers if layers is None else layers)
    depth = len(model.widths)
    for layer in wanted or LAYERS[depth - 1 : depth]:
        if layer not in LAYERS[:depth]:
            raise ValueError(f"unknown layer {layer!r}: the encoder of {name} has {', '.join(LAYERS[:depth])}")
        if layer not in model.decoders:
            raise ValueError(
                f"the model {name} has no decoder for {layer} (it has {', '.join(model.layers) or 'none'}): "
                f"python train.py --layer {layer} --model {name} trains one, "
                f"and python convert_vgg.py {name} --decoder FILE adds a published one"
            )
    return wanted

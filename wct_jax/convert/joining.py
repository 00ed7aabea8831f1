"""Joining encoders that were published for one layer each."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from jax import Array

from wct_jax.networks.digest import encoder_digest
from wct_jax.networks.model import Model, Parameters
from wct_jax.networks.vgg import LAYERS, deepest

_ORIGIN = ("source", "preprocessing", "normalisation", "licence")


def join(models: Mapping[str, Model]) -> Model:
    """Join models: each encoder's last layer is read from that encoder, all other layers from the deepest one.

    Args:
        models: The models by their names in messages.

    Returns:
        The joined model; its document is the deepest encoder's, with the origins of the others under `sources`.

    Raises:
        ValueError: Two encoders end at the same layer, a model has several encoders already, or a decoder's layer
            would be read from an encoder other than its own.
    """
    ends: dict[str, str] = {}
    for name, model in models.items():
        last = LAYERS[len(model.widths) - 1]
        if model.encoders:
            raise ValueError(f"{name} has several encoders already: expected encoders and models of one encoder")
        if model.painter:
            raise ValueError(f"{name} has a painter, which needs one encoder for all layers: expected one without")
        if last in ends:
            raise ValueError(
                f"{ends[last]} and {name} both end at {last}: expected each encoder to end at another layer"
            )
        ends[last] = name
    bottom = deepest(ends)
    whole = models[ends[bottom]]
    decoders: dict[str, Parameters] = {}
    auxiliary: dict[str, Mapping[str, Array]] = {}
    sources: dict[str, Any] = {}
    records: dict[str, Any] = {}
    for last, name in ends.items():
        model = models[name]
        mine = [layer for layer in LAYERS if layer == last or (last == bottom and layer not in ends)]
        strange = [layer for layer in model.layers if layer not in mine]
        if strange:
            raise ValueError(
                f"{name} has a decoder of {strange[0]}, which would be read from "
                f"{ends.get(strange[0], ends[bottom])}: expected decoders of {', '.join(mine)}"
            )
        decoders |= model.decoders
        auxiliary |= {layer: leaves for layer, leaves in model.auxiliary.items() if layer in mine}
        records |= model.metadata.get("decoders", {})
        sources[last] = {key: model.metadata[key] for key in _ORIGIN if key in model.metadata}
    encoders = {last: models[name].encoder for last, name in ends.items() if last != bottom}
    del sources[bottom]
    document = whole.metadata | {"sources": sources, **({"decoders": records} if records else {})}
    return dataclasses.replace(
        whole,
        decoders=decoders,
        digest=encoder_digest(whole.encoder, encoders),
        auxiliary=auxiliary,
        document=json.dumps(document),
        encoders=encoders,
    )

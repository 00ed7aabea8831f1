"""Several encoders, published for a layer each, in one model."""

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
    """One model of several: the layer that an encoder ends at is read from it, all others from the deepest encoder.

    Args:
        models: By what to call them in messages.

    Returns:
        The model. Its document is that of the deepest encoder, and says under `sources` where the others come from.

    Raises:
        ValueError: Two encoders that end at one layer, a model of several encoders, or a decoder of a layer that is
            read from another encoder than the decoder's.
    """
    ends: dict[str, str] = {}
    for name, model in models.items():
        last = LAYERS[len(model.widths) - 1]
        if model.encoders:
            raise ValueError(f"{name} has several encoders already: expected encoders and models of one encoder")
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

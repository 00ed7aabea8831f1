"""A model: an encoder, and the decoders there are for it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
from jax import Array

from wct_jax.checks.arguments import as_names, is_traced
from wct_jax.networks.autoencoder import Decoder, Encoder
from wct_jax.networks.vgg import (
    LAYERS,
    convolution_of,
    deepest_first,
    depth_of,
)

Parameters = Mapping[str, Mapping[str, Array]]


def widths_of(encoder: Parameters) -> tuple[int, ...]:
    """Channels of the blocks of an encoder."""
    taken = map(convolution_of, LAYERS)
    return tuple(encoder[name]["bias"].shape[-1] for name in taken if name in encoder)


@dataclass(frozen=True, eq=False)
class Model:
    """An encoder and the decoders there are for it; some of the layers may have an encoder of their own.

    A pytree of parameters that passes through `jit`. Widths and digest are static: models that differ in them are
    compiled for separately. The document does not count there, so `jax.tree.map` and `jax.device_put` keep it, and a
    model that JAX traces, or that a jitted function returns, has an empty one. Equal to itself alone, and hashed by
    that; models with the same `digest` have the same encoder.

    Attributes:
        encoder: Convolution name to `kernel` `[3, 3, in, out]` and `bias` `[out]`.
        decoders: Layer to the parameters of its decoder, named the same way.
        widths: Channels of the encoder's blocks.
        digest: Of the names, shapes and values of all its encoders: what styles are tied to.
        auxiliary: Layer to `kernel` `[1, 1, in, out]` and `bias` `[out]` of a map whose ReLU approximates another
            network's feature. Only distillation uses it.
        document: JSON: where the weights came from, their licence, how each decoder was trained.
        encoders: Layer to the parameters of an encoder that ends at it, which the layer is read from instead.
    """

    encoder: Parameters
    decoders: Mapping[str, Parameters]
    widths: tuple[int, ...]
    digest: str = ""
    auxiliary: Parameters = field(default_factory=dict)
    document: str = "{}"
    encoders: Mapping[str, Parameters] = field(default_factory=dict)

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that can be stylized, deepest first."""
        return deepest_first(self.decoders)

    @property
    def metadata(self) -> dict[str, Any]:
        """The document as a dictionary."""
        return dict(json.loads(self.document))

    @property
    def bare(self) -> "Model":
        """The networks without digest and document: all models of the same shapes share what is compiled for it."""
        return replace(self, digest="", document="{}")

    def encode(self, images: Array, layers: Sequence[str] | None = None, size: Array | None = None) -> dict[str, Array]:
        """The encoders' features, see `Encoder`."""
        wanted = LAYERS[: len(self.widths)] if layers is None else as_names("layers", layers)
        own = [layer for layer in wanted if layer in self.encoders]
        common = [layer for layer in wanted if layer not in own]
        features: dict[str, Array] = {}
        if common or not own:
            # Flax types what `apply` returns for modules that also return changed state.
            features = Encoder(self.widths).apply({"params": self.encoder}, images, common, size)  # type: ignore[assignment]
        for layer in own:
            encoder = Encoder(self.widths_at(layer))
            features |= encoder.apply({"params": self.encoders[layer]}, images, (layer,), size)  # type: ignore[arg-type]
        return features

    def widths_at(self, layer: str) -> tuple[int, ...]:
        """Channels of the blocks of the encoder that a layer is read from."""
        return widths_of(self.encoders[layer]) if layer in self.encoders else self.widths

    def channels_at(self, layer: str) -> int:
        """Channels of a layer's feature."""
        return self.widths_at(layer)[depth_of(layer) - 1]

    def decode(self, layer: str, feature: Array, size: Array | None = None) -> Array:
        """The image of a feature, see `Decoder`.

        Raises:
            ValueError: The model has no decoder for the layer.
        """
        if layer not in self.decoders:
            have = ", ".join(self.layers) or "none"
            raise ValueError(f"the model has no decoder for {layer} (it has {have})")
        return Decoder(layer, self.widths_at(layer)).apply({"params": self.decoders[layer]}, feature, size)  # type: ignore[return-value]


@dataclass(frozen=True)
class _Aside:
    """A text that does not count where pytrees are compared."""

    text: str = field(compare=False)


_NETWORKS = ("encoder", "decoders", "auxiliary", "encoders")


def _flatten(model: Model) -> tuple[Any, tuple[tuple[int, ...], str, _Aside]]:
    networks = [(jax.tree_util.GetAttrKey(name), getattr(model, name)) for name in _NETWORKS]
    return networks, (model.widths, model.digest, _Aside(model.document))


def _unflatten(static: tuple[tuple[int, ...], str, _Aside], networks: Any) -> Model:
    widths, digest, document = static
    # What was traced once serves models of other documents, which must not come out with that of the first.
    traced = any(map(is_traced, jax.tree.leaves(networks)))
    named = dict(zip(_NETWORKS, networks, strict=True))
    return Model(**named, widths=widths, digest=digest, document="{}" if traced else document.text)


jax.tree_util.register_pytree_with_keys(Model, _flatten, _unflatten)

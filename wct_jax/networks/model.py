"""A model: an encoder with its decoders and its painter."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
from jax import Array

from wct_jax.checks.arguments import as_names, is_traced
from wct_jax.networks.autoencoder import Parameters as Parameters
from wct_jax.networks.autoencoder import decode, encode
from wct_jax.networks.vgg import LAYERS, convolution_of, deepest_first, depth_of


def widths_of(encoder: Parameters) -> tuple[int, ...]:
    """Channels of each block of an encoder."""
    return tuple(encoder[name]["bias"].shape[-1] for name in map(convolution_of, LAYERS) if name in encoder)


@dataclass(frozen=True, eq=False)
class Model:
    """An encoder with its decoders and its painter; layers may have an encoder of their own.

    A pytree of parameters that passes through `jit`. JAX compiles separately for models that differ in widths or
    digest, but not for those that differ only in the document: `jax.tree.map` and `jax.device_put` keep it, and a model
    that JAX traces, or that a jitted function returns, has an empty one. Equality and hash go by identity; models with
    the same `digest` have the same encoder.

    >>> model = load_model("compact")
    >>> feature = model.encode(np.zeros((32, 48, 3), np.float32), ["relu2_1"])["relu2_1"]
    >>> feature.shape[:2], model.decode("relu2_1", feature).shape
    ((16, 24), (32, 48, 3))

    Attributes:
        encoder: Convolution name to `kernel` `[3, 3, in, out]` and `bias` `[out]`.
        decoders: Layer to the parameters of its decoder, named the same way.
        widths: Channels of each block of the encoder.
        digest: SHA-256 of the names, shapes and values of all encoders, to which styles are tied.
        auxiliary: Layer to `kernel` `[1, 1, in, out]` and `bias` `[out]` of a map whose ReLU approximates another
            network's feature. Only distillation uses it.
        document: JSON with the origin of the weights, their licence, and the training of each decoder.
        encoders: Layer to the parameters of an encoder that ends at it, from which the layer is read instead.
        painter: Parameters of the decoder that paints in one pass, see `wct_jax.painting.one_pass`: its inputs are like
            the encoder's features at every layer from its deepest up. Empty if there is none.
    """

    encoder: Parameters
    decoders: Mapping[str, Parameters]
    widths: tuple[int, ...]
    digest: str = ""
    auxiliary: Parameters = field(default_factory=dict)
    document: str = "{}"
    encoders: Mapping[str, Parameters] = field(default_factory=dict)
    painter: Parameters = field(default_factory=dict)

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that the cascade can paint, those with a decoder, deepest first."""
        return deepest_first(self.decoders)

    @property
    def painter_layers(self) -> tuple[str, ...]:
        """The layers that the painter can paint in one pass, deepest first."""
        return deepest_first(layer for layer in LAYERS if convolution_of(layer) in self.painter)

    @property
    def metadata(self) -> dict[str, Any]:
        """The document as a dictionary."""
        return dict(json.loads(self.document))

    @property
    def bare(self) -> "Model":
        """The networks without digest and document, so that all models of the same shapes share compiled programs."""
        return replace(self, digest="", document="{}")

    def encode(self, images: Array, layers: Sequence[str] | None = None, size: Array | None = None) -> dict[str, Array]:
        """Encode images: layer to feature, see `wct_jax.networks.autoencoder.encode`."""
        wanted = LAYERS[: len(self.widths)] if layers is None else as_names("layers", layers)
        own = [layer for layer in wanted if layer in self.encoders]
        common = [layer for layer in wanted if layer not in own]
        features: dict[str, Array] = {}
        if common or not own:
            features = encode(self.encoder, images, common, size)
        for layer in own:
            features |= encode(self.encoders[layer], images, (layer,), size)
        return features

    def widths_at(self, layer: str) -> tuple[int, ...]:
        """Channels of each block of the encoder that a layer is read from."""
        return widths_of(self.encoders[layer]) if layer in self.encoders else self.widths

    def channels_at(self, layer: str) -> int:
        """Channels of a layer's feature."""
        return self.widths_at(layer)[depth_of(layer) - 1]

    def decode(self, layer: str, feature: Array, size: Array | None = None) -> Array:
        """Decode the feature of a layer to an image, see `wct_jax.networks.autoencoder.decode`.

        Raises:
            ValueError: The model has no decoder for the layer.
        """
        if layer not in self.decoders:
            have = ", ".join(self.layers) or "none"
            raise ValueError(f"the model has no decoder for {layer} (it has {have})")
        return decode(layer, self.decoders[layer], feature, size)


@dataclass(frozen=True)
class _Aside:
    """A text that pytrees are not compared by."""

    text: str = field(compare=False)


_NETWORKS = ("encoder", "decoders", "auxiliary", "encoders", "painter")


def _flatten(model: Model) -> tuple[Any, tuple[tuple[int, ...], str, _Aside]]:
    networks = [(jax.tree_util.GetAttrKey(name), getattr(model, name)) for name in _NETWORKS]
    return networks, (model.widths, model.digest, _Aside(model.document))


def _unflatten(static: tuple[tuple[int, ...], str, _Aside], networks: Any) -> Model:
    widths, digest, document = static
    # A program traced once serves models with other documents: they must not come out with the first one's.
    traced = any(map(is_traced, jax.tree.leaves(networks)))
    named = dict(zip(_NETWORKS, networks, strict=True))
    return Model(**named, widths=widths, digest=digest, document="{}" if traced else document.text)


jax.tree_util.register_pytree_with_keys(Model, _flatten, _unflatten)

"""The networks: VGG-19 up to relu5_1 read at five taps, and a mirrored decoder for each of them.

The encoder is Simonyan and Zisserman's VGG-19 (arXiv:1409.1556) with reflection padding and pooling that keeps odd
last rows and columns; the decoders are those of Li et al., NIPS 2017, section 3.1. The widths of the five blocks
are free: the same topology serves the small networks.
"""

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array, lax

from wct_jax.checks.arguments import as_names, is_traced
from wct_jax.checks.arrays import as_feature, as_image
from wct_jax.kernels.canvas import doubled, halved, inside
from wct_jax.kernels.compilation import part
from wct_jax.kernels.conv import conv3x3
from wct_jax.networks.vgg import (
    LAYERS,
    VGG19_WIDTHS,
    convolution_of,
    decoder_shapes,
    deepest,
    deepest_first,
    depth_of,
    encoder_shapes,
    table_to,
    tap_of,
)
from wct_jax.transform.mesh import has_rows_apart

Parameters = Mapping[str, Mapping[str, Array]]


def widths_of(encoder: Parameters) -> tuple[int, ...]:
    """Channels of the blocks of an encoder."""
    taken = map(convolution_of, LAYERS)
    return tuple(encoder[name]["bias"].shape[-1] for name in taken if name in encoder)


class _Convolution(nn.Module):
    features: int
    relu: bool = True

    @nn.compact
    def __call__(self, x: Array, size: Array | None, *, upsample: bool = False) -> Array:
        if self.is_initializing():
            self.param("kernel", nn.initializers.he_normal(), (3, 3, x.shape[-1], self.features))
            self.param("bias", nn.initializers.zeros_init(), (self.features,))
        # Not what `param` returns, which traces the initializers each time: as long as a small convolution takes.
        parameters = self.variables["params"]
        return conv3x3(x, parameters["kernel"], parameters["bias"], size=size, upsample=upsample, relu=self.relu)


class Encoder(nn.Module):
    """VGG-19's convolutions down to relu5_1, or to the last block that has a width.

    Attributes:
        widths: Channels of the blocks.
    """

    widths: Sequence[int] = VGG19_WIDTHS

    @nn.compact
    def __call__(
        self, images: Array, layers: Sequence[str] | None = None, size: Array | None = None
    ) -> dict[str, Array]:
        """Encode, no deeper than the deepest layer asked for.

        Args:
            images: `[..., H, W, 3]`, RGB in 0..1, any size from 1x1.
            layers: The taps wanted; None for all that the encoder has.
            size: Rows and columns that the images have, if they lie on a larger canvas; see `wct_jax.kernels.canvas`.

        Returns:
            Tap name to feature `[..., H', W', C]`, sides halved and rounded up for each block after the first.

        Raises:
            ValueError: A layer that the encoder does not have, or an image that is not `[..., H, W, 3]`.
        """
        available = LAYERS[: len(self.widths)]
        wanted = available if layers is None else as_names("layers", layers)
        if not wanted or not set(wanted) <= set(available):
            raise ValueError(f"the encoder has layers {', '.join(available)}, got {', '.join(wanted) or 'none'}")
        images = as_image("images", images)
        if has_rows_apart(images):
            raise ValueError(
                "images must not be spread over explicit axes of a mesh by rows or columns, got "
                f"{jax.typeof(images).sharding.spec}: stylize and extract_style take them"
            )
        shapes = encoder_shapes(self.widths)
        taps, x = {}, images
        for name in table_to(deepest(wanted)):
            if name == "pool":
                x, size = max_pool(x, size), halved(size)
            else:
                x = _Convolution(shapes[name][1], name=name)(x, size)
                if (tap := tap_of(name)) in wanted:
                    taps[tap] = x
        return taps


class Decoder(nn.Module):
    """From the feature of one layer back to an image.

    Attributes:
        layer: The tap it inverts.
        widths: Channels of the encoder's blocks.
    """

    layer: str
    widths: Sequence[int] = VGG19_WIDTHS

    @nn.compact
    def __call__(self, feature: Array, size: Array | None = None) -> Array:
        """Decode: 3x3 convolutions with ReLU, nearest upsampling where the encoder pools, a linear last one.

        Args:
            feature: `[..., H', W', C]` of the layer.
            size: Rows and columns of it that count, if it lies on a larger canvas; see `wct_jax.kernels.canvas`.

        Returns:
            `[..., H, W, 3]`, not clipped; the sides are those of the feature times 2 for each pooling, which for
            odd images is up to that much larger than the image was.

        Raises:
            ValueError: A feature of another number of channels.
        """
        shapes = decoder_shapes(self.layer, self.widths)
        inputs = next(iter(shapes.values()))[0]
        feature = as_feature(self.layer, feature)
        if feature.shape[-1] != inputs:
            raise ValueError(f"{self.layer} must be [..., H, W, {inputs}], got shape {feature.shape}")
        x, upsample = feature, False
        for name in reversed(table_to(self.layer)):
            if name == "pool":
                upsample = True
            else:
                x = _Convolution(shapes[name][1], relu=name != "conv1_1", name=name)(x, size, upsample=upsample)
                size, upsample = size if size is None or not upsample else doubled(size), False
        return x


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


def size_at(layer: str, size: Array | None) -> Array | None:
    """Rows and columns of the feature of an image of that size; None stays None."""
    return functools.reduce(lambda size, _: halved(size), range(depth_of(layer) - 1), size)


def pool_weights(weights: Array, layer: str, size: Array | None = None) -> Array:
    """Bring per-pixel weights to the resolution of a layer, by the mean over the pixels of each cell.

    Args:
        weights: `[..., H, W]`.
        layer: A tap.
        size: Rows and columns that the image has, if it lies on a larger canvas: cells count its pixels alone.

    Returns:
        `[..., H', W']`.
    """
    for _ in range(depth_of(layer) - 1):
        if size is None:
            weights = _mean_pool(weights)
        else:
            within = inside(weights.shape[-2:], size).astype(weights.dtype)
            # A cell with a pixel inside has a quarter of its pixels inside, at least.
            weights = _mean_pool(weights * within) / jnp.maximum(_mean_pool(within), 1 / 4)
            size = halved(size)
    return weights if size is None else jnp.where(inside(weights.shape[-2:], size), weights, 0)


def _mean_pool(x: Array) -> Array:
    return _pool(x[..., None], lambda a, b: (a + b) / 2)[..., 0]


@part()
def max_pool(x: Array, size: Array | None = None) -> Array:
    """The largest of each 2x2 cell; an odd last row or column makes cells of its own.

    Args:
        x: `[..., H, W, C]`.
        size: Rows and columns that count, of an `x` that is nowhere negative. None for all.

    Returns:
        `[..., ceil(H / 2), ceil(W / 2), C]`. The gradient is shared between equals.
    """
    if size is not None:
        x = jnp.where(inside(x.shape[-3:-1], size)[..., None], x, 0)
    return _pool(x, jnp.maximum)


def _pool(x: Array, combine: Callable[[Array, Array], Array]) -> Array:
    """Halve the sides: an odd last row or column is taken twice, which changes neither a maximum nor a mean.

    Not by Flax's, whose gradient of the maximum takes 25 times as long on the CPU, and whose mean counts pixels in
    constants that XLA takes minutes to fold for a large image.
    """
    # One axis at a time: JAX refuses to cut two in one reshape where another is sharded explicitly.
    for axis in (x.ndim - 3, x.ndim - 2):
        if x.shape[axis] % 2:
            x = jnp.concatenate([x, lax.slice_in_dim(x, -1, None, axis=axis)], axis=axis)
        pairs = x.reshape(*x.shape[:axis], x.shape[axis] // 2, 2, *x.shape[axis + 1 :])
        x = combine(*(lax.index_in_dim(pairs, i, axis + 1, keepdims=False) for i in range(2)))
    return x

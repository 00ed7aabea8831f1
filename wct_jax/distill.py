"""Distillation: a small encoder learns, with its decoders, what the features of larger ones hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from wct_jax.loop import State
from wct_jax.losses import mean_squared_error
from wct_jax.model import LAYERS, Encoder, Model, Taps, read
from wct_jax.training import descend, initial_decoder

# 40 dB: a layer that rebuilds photos better than that leaves the encoder to the others.
_UNSEEN = 1e-4


@dataclass(frozen=True)
class DistillWeights:
    """What the terms of the loss count.

    Attributes:
        feature: Of the teachers' features, where the pixels count 1.
    """

    feature: float = 1.0


def init_student(
    widths: Sequence[int], teachers: Sequence[Taps], optimizer: optax.GradientTransformation, seed: int
) -> State:
    """The state before the first step.

    Args:
        widths: Channels of the encoder's blocks.
        teachers: Encoders that between them have a layer for each block.
        optimizer: Of the training.
        seed: Of the initial kernels (He's, arXiv:1502.01852).

    Returns:
        Step 0 of `encoder`, `decoders` that paint everything grey, and `maps`, which predict nothing yet: layer to the
        `[1, 1, in, out]` kernel from the student's channels to the teacher's.
    """
    key, encode, *decode = jax.random.split(jax.random.key(seed), 2 + len(widths))
    encoder = dict(jax.jit(Encoder(widths).init)(encode, jnp.zeros((1, 1, 1, 3)))["params"])
    encoder["conv1_1"] = _standardised(encoder["conv1_1"])
    taught = {layer: teacher.model.widths[LAYERS.index(layer)] for teacher in teachers for layer in teacher.layers}
    layers = LAYERS[: len(widths)]
    parameters = {
        "encoder": encoder,
        "decoders": {layer: initial_decoder(layer, widths, k) for layer, k in zip(layers, decode, strict=True)},
        "maps": {layer: jnp.zeros((1, 1, width, taught[layer])) for layer, width in zip(layers, widths, strict=True)},
    }
    return State(jnp.zeros((), jnp.int32), parameters, optimizer.init(parameters), jax.random.key_data(key))


def _standardised(first: Mapping[str, Array]) -> dict[str, Array]:
    """The first convolution of an encoder, taking pixels in 0..1 as if their mean were 0 and their variance 1."""
    kernel = 4 * first["kernel"]
    return {"kernel": kernel, "bias": -0.5 * kernel.sum((0, 1, 2))}


def distill_step(
    state: State,
    batch: Array,
    teachers: Sequence[Taps],
    *,
    widths: tuple[int, ...],
    optimizer: optax.GradientTransformation,
    weights: DistillWeights,
    dtype: jnp.dtype,
) -> tuple[State, dict[str, Array]]:
    """One step of an encoder and its decoders down log pixel + weight · log feature.

    `pixel` is the geometric mean over the layers of mean (Io - Ii)² + 10⁻⁴, Io the decoder's image of the feature.
    `feature` is that of the share of the teacher's variance that a linear map of the student's feature leaves, both
    about their means in the batch. By the logarithms each layer counts the same, as differences in decibels do:
    relu1_1 can be a thousand times closer to the photo than relu5_1.

    Args:
        state: Of `init_student`.
        batch: uint8 `[B, H, W, 3]`.
        teachers: Whose features are to be predicted.
        widths: Channels of the student's blocks.
        optimizer: Whose state `state` holds.
        weights: Of the terms.
        dtype: Of the convolutions, see `train_step`.

    Returns:
        The next state, and the float32 scalars `loss` = pixel · feature^weight, `pixel`, `feature`, and both of each
        layer, such as `relu1_1/pixel`.
    """
    images = batch.astype(jnp.float32) / 255
    inputs = images.astype(dtype)
    targets = read(teachers, inputs)

    def loss(parameters: Mapping[str, Any]) -> tuple[Array, dict[str, Array]]:
        student = Model(parameters["encoder"], parameters["decoders"], widths)
        pixel, feature = {}, {}
        for layer, x in student.encode(inputs).items():
            output = student.decode(layer, x)[..., : images.shape[1], : images.shape[2], :]
            pixel[f"{layer}/pixel"] = mean_squared_error(output, images)
            feature[f"{layer}/feature"] = _unpredicted(x, targets[layer], parameters["maps"][layer])
        seen = jnp.stack(list(pixel.values())) + _UNSEEN
        logs = [jnp.log(values).mean() for values in (seen, jnp.stack(list(feature.values())))]
        total = logs[0] + weights.feature * logs[1]
        means = {"loss": jnp.exp(total), "pixel": jnp.exp(logs[0]), "feature": jnp.exp(logs[1])}
        return total, means | pixel | feature

    return descend(loss, state, optimizer)


def _unpredicted(x: Array, target: Array, map_: Array) -> Array:
    target = target.astype(jnp.float32)
    error = (x @ map_[0, 0].astype(x.dtype)).astype(jnp.float32) - target
    return _variance(error) / _variance(target)


def _variance(x: Array) -> Array:
    return jnp.var(x, axis=range(x.ndim - 1)).mean()

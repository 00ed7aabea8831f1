"""Training a decoder to rebuild photos from the feature of its layer."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib
from jax import Array

from wct_jax.loop import State
from wct_jax.losses import mean_squared_error, total_variation
from wct_jax.model import Decoder, Model, Parameters, decoder_shapes


@dataclass(frozen=True)
class LossWeights:
    """What the terms of the loss count.

    Attributes:
        pixel: Of the mean squared error of the pixels, in 0..1.
        feature: Of the mean squared error of the layer's feature.
        total_variation: Of the output's total variation.
    """

    pixel: float = 1.0
    feature: float = 1.0
    total_variation: float = 0.0


def make_schedule(learning_rate: float, steps: int) -> optax.Schedule:
    """A rate that rises linearly over the first steps and falls to zero along a cosine.

    Args:
        learning_rate: The highest one.
        steps: Of the whole training.
    """
    return optax.warmup_cosine_decay_schedule(0.0, learning_rate, min(200, steps // 10), max(steps, 1))


def make_optimizer(learning_rate: float, steps: int) -> optax.GradientTransformation:
    """Muon (Jordan et al., 2024) for the kernels but the last, Adam for that and the biases, both on `make_schedule`.

    Features are correlated between channels and neighbours, which Adam, going by single weights, does not see:
    docs/training.md has the figures.

    Args:
        learning_rate: The highest one of Muon; Adam's is a twentieth of it.
        steps: Of the whole training.
    """

    def dimensions(decoder: Parameters) -> Any:
        """A kernel is the matrix of its input patches to its output channels."""
        matrix = optax.contrib.MuonDimensionNumbers(reduction_axis=(0, 1, 2), output_axis=3)
        return {
            name: {leaf: matrix if leaf == "kernel" and name != "conv1_1" else None for leaf in leaves}
            for name, leaves in decoder.items()
        }

    return optax.contrib.muon(
        make_schedule(learning_rate, steps),
        adam_learning_rate=make_schedule(learning_rate / 20, steps),
        muon_weight_dimension_numbers=dimensions,
    )


def init_state(model: Model, layer: str, optimizer: optax.GradientTransformation, seed: int) -> State:
    """The state before the first step.

    Args:
        model: Whose encoder the decoder is to invert.
        layer: The decoder's.
        optimizer: Of the training.
        seed: Of the decoder's initial kernels (He's, arXiv:1502.01852).

    Returns:
        Step 0, whose decoder paints everything grey.
    """
    key, init = jax.random.split(jax.random.key(seed))
    inputs = next(iter(decoder_shapes(layer, model.widths).values()))[0]
    initial = jax.jit(Decoder(layer, model.widths).init)(init, jnp.zeros((1, 1, 1, inputs)))
    decoder = dict(initial["params"])
    # He's kernels assume features of unit variance. Those of VGG-19 make of them an image so far off that the training
    # is spent on forgetting it: 1,500 steps at 0.004 take relu1_1 from there to 12 dB, and from grey to 37.
    decoder["conv1_1"] = {"kernel": jnp.zeros_like(decoder["conv1_1"]["kernel"]), "bias": jnp.full(3, 0.5, jnp.float32)}
    return State(jnp.zeros((), jnp.int32), decoder, optimizer.init(decoder), jax.random.key_data(key))


def reconstruct(model: Model, layer: str, decoder: Parameters, images: Array) -> tuple[Array, Array]:
    """Encode and decode.

    Args:
        model: The encoder.
        layer: Where it is read.
        decoder: Parameters of a decoder of that layer.
        images: `[..., H, W, 3]` in 0..1; the dtype is that of the computation.

    Returns:
        The reconstruction, of the images' size and not clipped, and the feature that it was decoded from.
    """
    feature = model.encode(images, (layer,))[layer]
    output = dataclasses.replace(model, decoders={layer: decoder}).decode(layer, feature)
    height, width = images.shape[-3:-1]
    return output[..., :height, :width, :], feature


def train_step(
    state: State,
    batch: Array,
    model: Model,
    *,
    layer: str,
    optimizer: optax.GradientTransformation,
    weights: LossWeights,
    dtype: jnp.dtype,
) -> tuple[State, dict[str, Array]]:
    """One step down the loss of Li et al., NIPS 2017, equation 1.

    L = pixel · mean (Io - Ii)² + feature · mean (Φ(Io) - Φ(Ii))² + total_variation · TV(Io), where Φ is the encoder
    at the layer, which stays as it is, and Io the decoder's image of Φ(Ii).

    Args:
        state: Parameters of the decoder, the optimizer's state, the step.
        batch: uint8 `[B, H, W, 3]`.
        model: The encoder.
        layer: The decoder's.
        optimizer: Whose state `state` holds.
        weights: Of the terms.
        dtype: Of the convolutions: float32, or bfloat16. Parameters and losses are float32 in either.

    Returns:
        The next state, and the float32 scalars `loss`, `pixel`, `feature` and, where it counts, `variation`.
    """
    images = batch.astype(jnp.float32) / 255

    def loss(decoder: Parameters) -> tuple[Array, dict[str, Array]]:
        output, feature = reconstruct(model, layer, decoder, images.astype(dtype))
        again = model.encode(output, (layer,))[layer]
        terms = {"pixel": mean_squared_error(output, images), "feature": mean_squared_error(again, feature)}
        total = weights.pixel * terms["pixel"] + weights.feature * terms["feature"]
        if weights.total_variation:
            terms["variation"] = total_variation(output)
            total += weights.total_variation * terms["variation"]
        return total, {"loss": total, **terms}

    gradients, metrics = jax.grad(loss, has_aux=True)(state.parameters)
    updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.parameters)
    parameters = optax.apply_updates(state.parameters, updates)
    return State(state.step + 1, parameters, optimizer_state, state.key), metrics

"""Distillation: a small encoder and its decoders learn from the features of larger encoders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from wct_jax.measures.losses import mean_squared_error, perceptual_error
from wct_jax.networks.model import Model, Parameters
from wct_jax.networks.modules import Encoder
from wct_jax.networks.taps import Taps, read
from wct_jax.networks.vgg import LAYERS, deepest, depth_of, table_to
from wct_jax.training.decoder import descend, initial_decoder
from wct_jax.training.loop import State

# 40 dB: a layer that rebuilds photos better than that hardly counts, which leaves the encoder to the others.
_UNSEEN = {"pixel": 1e-4}


@dataclass(frozen=True)
class DistillWeights:
    """The weights of the terms of the loss, beside the pixels' 1.

    Attributes:
        feature: Weight of the teachers' features.
        perceptual: Weight of the judges' features of the decoders' images.
    """

    feature: float = 1.0
    perceptual: float = 0.0


def init_student(
    widths: Sequence[int],
    teachers: Sequence[Taps],
    optimizer: optax.GradientTransformation,
    seed: int,
    model: Model | None = None,
    finetune: bool = False,
) -> State:
    """The state of a student before the first step.

    Args:
        widths: Channels of the encoder's blocks.
        teachers: Encoders to learn from, with the layers that each teaches: together the last ones of the student.
        optimizer: Optimizer of the training.
        seed: Seed of the first kernels, drawn as by He et al. (arXiv:1502.01852).
        model: Model whose encoder stays as it is in front of the layers that are learned.
        finetune: Begin with the model's convolutions and decoders of the layers that are learned.

    Returns:
        The state. Its parameters are `encoder`, the convolutions that only the learned layers need; `decoders` of these
        layers, which paint everything grey if they are new; and `maps`, for each layer the `[1, 1, in, out]` kernel
        from the student's channels to the teacher's, zero at first.
    """
    key, encode, *decode = jax.random.split(jax.random.key(seed), 2 + len(widths))
    keys = dict(zip(LAYERS, decode, strict=False))
    taught = {layer: teacher.model.channels_at(layer) for teacher in teachers for layer in teacher.layers}
    layers = sorted(taught, key=depth_of)
    if model and finetune:
        # Copies, since the step donates the state.
        encoder = jax.tree.map(jnp.copy, dict(model.encoder))
        decoders = {layer: jax.tree.map(jnp.copy, dict(model.decoders[layer])) for layer in layers}
    else:
        encoder = dict(jax.jit(Encoder(widths).init)(encode, jnp.zeros((1, 1, 1, 3)))["params"])
        encoder["conv1_1"] = _standardised(encoder["conv1_1"])
        decoders = {layer: initial_decoder(layer, widths, keys[layer]) for layer in layers}
    fixed = fixed_convolutions(model, layers) if model else {}
    encoder = {name: leaves for name, leaves in encoder.items() if name not in fixed}
    maps = {layer: jnp.zeros((1, 1, widths[depth_of(layer) - 1], taught[layer])) for layer in layers}
    parameters = {"encoder": encoder, "decoders": decoders, "maps": maps}
    return State(jnp.zeros((), jnp.int32), parameters, optimizer.init(parameters), jax.random.key_data(key))


def fixed_convolutions(model: Model, layers: Sequence[str]) -> Parameters:
    """The convolutions of a model's encoder in front of the last `layers`, which are learned."""
    kept = LAYERS[: min(map(depth_of, layers)) - 1]
    names = table_to(deepest(kept)) if kept else ()
    return {name: model.encoder[name] for name in names if name != "pool"}


def _standardised(first: Mapping[str, Array]) -> dict[str, Array]:
    """The first convolution for pixels in 0..1 rather than for pixels of mean 0 and variance 1."""
    kernel = 4 * first["kernel"]
    return {"kernel": kernel, "bias": -0.5 * kernel.sum((0, 1, 2))}


def distill_step(
    state: State,
    batch: Array,
    teachers: Sequence[Taps],
    judges: Sequence[Taps] = (),
    fixed: Parameters | None = None,
    *,
    widths: tuple[int, ...],
    optimizer: optax.GradientTransformation,
    weights: DistillWeights,
    dtype: jnp.dtype,
) -> tuple[State, dict[str, Array]]:
    """One step of an encoder and its decoders down log pixel + feature · log feature + perceptual · log perceptual.

    Each term is a geometric mean over the layers: `pixel` of mean (Io - Ii)² + 10⁻⁴, where Io is the decoder's image of
    the feature; `feature` of the share of the teacher's variance that a linear map of the student's feature leaves,
    both about their means in the batch; `perceptual` of `perceptual_error` between the judges' features of Io and Ii.
    The logarithms make each layer count the same, as decibels do: relu1_1 can be a thousand times closer to the photo
    than relu5_1.

    Args:
        state: State from `init_student` or the step before.
        batch: Photos, uint8 `[B, H, W, 3]`.
        teachers: Encoders whose features are predicted, with the layers that each teaches.
        judges: Encoders for the perceptual loss, with the layers to read.
        fixed: Convolutions of the encoder that are not in the state.
        widths: Channels of the student's blocks.
        optimizer: Optimizer whose state `state` holds.
        weights: Weights of the terms.
        dtype: Float32 or bfloat16, for the convolutions; parameters and losses are float32.

    Returns:
        The next state, and the float32 scalars `loss` = pixel · feature^weight · perceptual^weight, `pixel`, `feature`
        and, if its weight is not 0, `perceptual`, and these of each layer, such as `relu1_1/pixel`.
    """
    images = batch.astype(jnp.float32) / 255
    inputs = images.astype(dtype)
    targets = read(teachers, inputs)
    photo = read(judges, inputs) if weights.perceptual else {}

    def loss(parameters: Mapping[str, Any]) -> tuple[Array, dict[str, Array]]:
        student = Model({**(fixed or {}), **parameters["encoder"]}, parameters["decoders"], widths)
        terms: dict[str, dict[str, Array]] = {"pixel": {}, "feature": {}}
        if photo:
            terms["perceptual"] = {}
        for layer, x in student.encode(inputs, student.layers).items():
            output = student.decode(layer, x)[..., : images.shape[1], : images.shape[2], :]
            terms["pixel"][layer] = mean_squared_error(output, images)
            terms["feature"][layer] = _unpredicted(x, targets[layer], parameters["maps"][layer])
            if photo:
                terms["perceptual"][layer] = perceptual_error(read(judges, output), photo)
        means = {
            term: jnp.log(jnp.stack(list(values.values())) + _UNSEEN.get(term, 0)).mean()
            for term, values in terms.items()
        }
        total = jnp.stack([getattr(weights, term, 1.0) * mean for term, mean in means.items()]).sum()
        metrics = {f"{layer}/{term}": value for term, values in terms.items() for layer, value in values.items()}
        return total, {name: jnp.exp(mean) for name, mean in {"loss": total, **means}.items()} | metrics

    return descend(loss, state, optimizer)


def _unpredicted(x: Array, target: Array, map_: Array) -> Array:
    target = target.astype(jnp.float32)
    error = (x @ map_[0, 0].astype(x.dtype)).astype(jnp.float32) - target
    return _variance(error) / _variance(target)


def _variance(x: Array) -> Array:
    return jnp.var(x, axis=range(x.ndim - 1)).mean()

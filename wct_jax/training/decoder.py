"""Training a decoder to rebuild photos from the feature of its layer."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib
from jax import Array

from wct_jax.measures.losses import (
    covariance_error,
    mean_squared_error,
    perceptual_error,
    relative_error,
    total_variation,
)
from wct_jax.networks.model import Model, Parameters
from wct_jax.networks.modules import Decoder
from wct_jax.networks.taps import Taps, read
from wct_jax.networks.vgg import decoder_shapes, deeper_than
from wct_jax.painting.style import extract_style
from wct_jax.painting.stylization import stylize
from wct_jax.training.loop import State
from wct_jax.transform.whitening import transfer


@dataclass(frozen=True)
class LossWeights:
    """The weights of the terms of the loss.

    Attributes:
        pixel: Weight of the mean squared error of the pixels, in 0..1.
        feature: Weight of the mean squared error of the layer's feature.
        total_variation: Weight of the output's total variation.
        perceptual: Weight of `perceptual_error` between the judges' features of output and photo.
        style: Weight of the errors of images that are decoded from a transformed feature: `covariance_error` between
            the judges' features of the image and of the style, averaged over layers, plus `relative_error` between the
            image's feature at the decoder's layer and the transformed feature.
    """

    pixel: float = 1.0
    feature: float = 1.0
    total_variation: float = 0.0
    perceptual: float = 0.0
    style: float = 0.0


def make_schedule(learning_rate: float, steps: int) -> optax.Schedule:
    """A rate that rises linearly to `learning_rate` over at most 200 steps and falls to 0 along a cosine at `steps`."""
    return optax.warmup_cosine_decay_schedule(0.0, learning_rate, min(200, steps // 10), max(steps, 1))


def make_optimizer(
    learning_rate: float, steps: int, weight_decay: float = 0.0, clip: float | None = None
) -> optax.GradientTransformation:
    """Muon (Jordan et al., 2024) for all kernels except the last, Adam for that one and the biases.

    Features are correlated between channels and neighbours. Adam scales each weight by itself and does not see that:
    docs/training.md has the figures.

    Args:
        learning_rate: Highest rate of Muon, on `make_schedule`; Adam's is a twentieth of it.
        steps: Number of steps of the whole training.
        weight_decay: Decay of the kernels that Muon moves, as a share of its rate. Muon steps equally far in directions
            that the gradient says little about, and without decay nothing undoes what thousands of steps add there.
        clip: Longest norm of a gradient, for losses that have a steep one now and then; None for any.
    """

    def dimensions(parameters: Any) -> Any:
        """Treat a kernel as the matrix from input patches to output channels; leave the one that paints to Adam."""
        matrix = optax.contrib.MuonDimensionNumbers(reduction_axis=(0, 1, 2), output_axis=3)
        return jax.tree.map(lambda leaf: matrix if leaf.ndim == 4 and leaf.shape[3] != 3 else None, parameters)

    muon = optax.contrib.muon(
        make_schedule(learning_rate, steps),
        adam_learning_rate=make_schedule(learning_rate / 20, steps),
        weight_decay=weight_decay,
        muon_weight_dimension_numbers=dimensions,
    )
    return muon if clip is None else optax.chain(optax.clip_by_global_norm(clip), muon)


def init_state(
    model: Model,
    layer: str,
    optimizer: optax.GradientTransformation,
    seed: int,
    decoder: Parameters | None = None,
) -> State:
    """The state of a decoder before the first step.

    Args:
        model: Model with the encoder that the decoder is to invert.
        layer: Layer of the decoder.
        optimizer: Optimizer of the training.
        seed: Seed of the first kernels and of the state's key.
        decoder: Decoder to begin with; by default that of `initial_decoder`.
    """
    key, init = jax.random.split(jax.random.key(seed))
    # A copy, since the step donates the state.
    widths = model.widths_at(layer)
    decoder = initial_decoder(layer, widths, init) if decoder is None else jax.tree.map(jnp.copy, dict(decoder))
    return State(jnp.zeros((), jnp.int32), decoder, optimizer.init(decoder), jax.random.key_data(key))


def initial_decoder(layer: str, widths: Sequence[int], key: Array) -> dict[str, dict[str, Array]]:
    """A decoder of `layer` that paints everything grey, its other kernels drawn as by He et al. (arXiv:1502.01852)."""
    inputs = next(iter(decoder_shapes(layer, widths).values()))[0]
    decoder = dict(jax.jit(Decoder(layer, widths).init)(key, jnp.zeros((1, 1, 1, inputs)))["params"])
    # He's kernels assume features of unit variance. From the features of VGG-19 they paint an image so far off that the
    # training is spent on forgetting it: 1,500 steps at 0.004 take relu1_1 from there to 12 dB, and from grey to 37.
    decoder["conv1_1"] = {"kernel": jnp.zeros_like(decoder["conv1_1"]["kernel"]), "bias": jnp.full(3, 0.5, jnp.float32)}
    return decoder


def reconstruct(model: Model, layer: str, decoder: Parameters, images: Array) -> tuple[Array, Array]:
    """Encode images and decode them again.

    Args:
        model: Model with the encoder.
        layer: Layer at which the encoder is read.
        decoder: Parameters of a decoder of that layer.
        images: Images `[..., H, W, 3]` in 0..1, in the dtype of the computation.

    Returns:
        The reconstruction, `[..., H, W, 3]` and not clipped, and the feature that it was decoded from.
    """
    feature = model.encode(images, (layer,))[layer]
    output = dataclasses.replace(model, decoders={layer: decoder}).decode(layer, feature)
    height, width = images.shape[-3:-1]
    return output[..., :height, :width, :], feature


def train_step(
    state: State,
    batch: Array,
    model: Model,
    judges: Sequence[Taps] = (),
    *,
    layer: str,
    optimizer: optax.GradientTransformation,
    weights: LossWeights,
    dtype: jnp.dtype,
) -> tuple[State, dict[str, Array]]:
    """One step down the loss of Li et al., NIPS 2017, equation 1.

    L = pixel · mean (Io - Ii)² + feature · mean (Φ(Io) - Φ(Ii))² + total_variation · TV(Io), where Φ is the encoder
    at the layer, which stays as it is, and Io the decoder's image of Φ(Ii). If their weights are not 0, two terms are
    added: the perceptual loss of Johnson et al., ECCV 2016, equation 2, and a loss of style on the images of
    transformed features, for which the decoder is made: each photo of the batch, after the deeper levels that the model
    can decode, takes the style of the next photo.

    Args:
        state: State whose parameters are the decoder.
        batch: Photos, uint8 `[B, H, W, 3]`.
        model: Model with the encoder, and with decoders of deeper layers for the loss of style.
        judges: Encoders for the perceptual loss and the loss of style, with the layers to read.
        layer: Layer of the decoder.
        optimizer: Optimizer whose state `state` holds.
        weights: Weights of the terms.
        dtype: Float32 or bfloat16, for the convolutions; parameters and losses are float32.

    Returns:
        The next state, and the float32 scalars `loss`, `pixel`, `feature` and, if their weights are not 0, `variation`,
        `perceptual` and `style`.
    """
    images = batch.astype(jnp.float32) / 255
    inputs = images.astype(dtype)
    photo = read(judges, inputs) if weights.perceptual or weights.style else {}
    wanted = _transferred(model, layer, inputs) if weights.style else None

    def loss(decoder: Parameters) -> tuple[Array, dict[str, Array]]:
        output, feature = reconstruct(model, layer, decoder, inputs)
        again = model.encode(output, (layer,))[layer]
        terms = {"pixel": mean_squared_error(output, images), "feature": mean_squared_error(again, feature)}
        if weights.total_variation:
            terms["variation"] = total_variation(output)
        if weights.perceptual:
            terms["perceptual"] = perceptual_error(read(judges, output), photo)
        if wanted is not None:
            painted = dataclasses.replace(model, decoders={layer: decoder}).decode(layer, wanted)
            painted = painted[..., : images.shape[1], : images.shape[2], :]
            seen = read(judges, painted)
            styles = jnp.stack([covariance_error(seen[name], _next(photo[name])) for name in photo]).mean()
            terms["style"] = styles + relative_error(model.encode(painted, (layer,))[layer], wanted)
        total = sum(getattr(weights, _WEIGHTS.get(name, name)) * value for name, value in terms.items())
        return total, {"loss": total, **terms}

    return descend(loss, state, optimizer)


def descend(
    loss: Callable[[Any], tuple[Array, dict[str, Array]]], state: State, optimizer: optax.GradientTransformation
) -> tuple[State, dict[str, Array]]:
    """One step of an optimizer down a loss.

    Args:
        loss: Function from the parameters to the scalar to lower, and metrics.
        state: State before the step.
        optimizer: Optimizer whose state `state` holds.

    Returns:
        The next state, and the metrics.
    """
    gradients, metrics = jax.grad(loss, has_aux=True)(state.parameters)
    updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.parameters)
    parameters = optax.apply_updates(state.parameters, updates)
    return State(state.step + 1, parameters, optimizer_state, state.key), metrics


_WEIGHTS = {"variation": "total_variation"}


def _transferred(model: Model, layer: str, images: Array) -> Array:
    """The feature that the layer's decoder gets when each image is stylized with the next one as its style."""
    deeper = deeper_than(layer, model.decoders)
    style = jax.tree.map(_next, extract_style(model, images, (*deeper, layer)))
    content = stylize(model, images, style, layers=deeper, method="cascade") if deeper else images
    return transfer(model.encode(content, (layer,))[layer], style.moments[layer])


def _next(batch: Array) -> Array:
    return jnp.roll(batch, -1, axis=0)

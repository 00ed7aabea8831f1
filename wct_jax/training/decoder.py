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
from wct_jax.networks.autoencoder import Decoder
from wct_jax.networks.model import Model, Parameters
from wct_jax.networks.taps import Taps, read
from wct_jax.networks.vgg import decoder_shapes, deeper_than
from wct_jax.painting.cascade import stylize
from wct_jax.painting.style import extract_style
from wct_jax.training.loop import State
from wct_jax.transform.whitening import transfer


@dataclass(frozen=True)
class LossWeights:
    """What the terms of the loss count.

    Attributes:
        pixel: Of the mean squared error of the pixels, in 0..1.
        feature: Of the mean squared error of the layer's feature.
        total_variation: Of the output's total variation.
        perceptual: Of `perceptual_error`, between the features that judge output and photo.
        style: Of what is asked of the image of a transformed feature: the mean over layers of `covariance_error`
            between its features and those of the photo that it took the style of, plus `relative_error` between its
            feature at the decoder's layer and the transformed one.
    """

    pixel: float = 1.0
    feature: float = 1.0
    total_variation: float = 0.0
    perceptual: float = 0.0
    style: float = 0.0


def make_schedule(learning_rate: float, steps: int) -> optax.Schedule:
    """A rate that rises linearly over the first steps and falls to zero along a cosine.

    Args:
        learning_rate: The highest one.
        steps: Of the whole training.
    """
    return optax.warmup_cosine_decay_schedule(0.0, learning_rate, min(200, steps // 10), max(steps, 1))


def make_optimizer(learning_rate: float, steps: int, weight_decay: float = 0.0) -> optax.GradientTransformation:
    """Muon (Jordan et al., 2024) for the kernels but the last, Adam for that and the biases, both on `make_schedule`.

    Features are correlated between channels and neighbours, which Adam, going by single weights, does not see:
    docs/training.md has the figures.

    Args:
        learning_rate: The highest one of Muon; Adam's is a twentieth of it.
        steps: Of the whole training.
        weight_decay: Of the kernels that Muon moves, as a share of its rate. Each of its steps goes as far in the
            directions that the gradient knows little of, where without decay nothing takes back what thousands add.
    """

    def dimensions(parameters: Any) -> Any:
        """A kernel is the matrix of its input patches to its output channels; those that paint are left to Adam."""
        matrix = optax.contrib.MuonDimensionNumbers(reduction_axis=(0, 1, 2), output_axis=3)
        return jax.tree.map(lambda leaf: matrix if leaf.ndim == 4 and leaf.shape[3] != 3 else None, parameters)

    return optax.contrib.muon(
        make_schedule(learning_rate, steps),
        adam_learning_rate=make_schedule(learning_rate / 20, steps),
        weight_decay=weight_decay,
        muon_weight_dimension_numbers=dimensions,
    )


def init_state(
    model: Model,
    layer: str,
    optimizer: optax.GradientTransformation,
    seed: int,
    decoder: Parameters | None = None,
) -> State:
    """The state before the first step.

    Args:
        model: Whose encoder the decoder is to invert.
        layer: The decoder's.
        optimizer: Of the training.
        seed: Of what is drawn.
        decoder: To begin with; by default one of `initial_decoder`.

    Returns:
        Step 0.
    """
    key, init = jax.random.split(jax.random.key(seed))
    # A copy, since the step donates the state.
    widths = model.widths_at(layer)
    decoder = initial_decoder(layer, widths, init) if decoder is None else jax.tree.map(jnp.copy, dict(decoder))
    return State(jnp.zeros((), jnp.int32), decoder, optimizer.init(decoder), jax.random.key_data(key))


def initial_decoder(layer: str, widths: Sequence[int], key: Array) -> dict[str, dict[str, Array]]:
    """A decoder that paints everything grey, its other kernels drawn as He et al. do (arXiv:1502.01852).

    Args:
        layer: The decoder's.
        widths: Channels of the encoder's blocks.
        key: To draw with.
    """
    inputs = next(iter(decoder_shapes(layer, widths).values()))[0]
    decoder = dict(jax.jit(Decoder(layer, widths).init)(key, jnp.zeros((1, 1, 1, inputs)))["params"])
    # He's kernels assume features of unit variance. Those of VGG-19 make of them an image so far off that the training
    # is spent on forgetting it: 1,500 steps at 0.004 take relu1_1 from there to 12 dB, and from grey to 37.
    decoder["conv1_1"] = {"kernel": jnp.zeros_like(decoder["conv1_1"]["kernel"]), "bias": jnp.full(3, 0.5, jnp.float32)}
    return decoder


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
    judges: Sequence[Taps] = (),
    *,
    layer: str,
    optimizer: optax.GradientTransformation,
    weights: LossWeights,
    dtype: jnp.dtype,
) -> tuple[State, dict[str, Array]]:
    """One step down the loss of Li et al., NIPS 2017, equation 1.

    L = pixel · mean (Io - Ii)² + feature · mean (Φ(Io) - Φ(Ii))² + total_variation · TV(Io), where Φ is the encoder
    at the layer, which stays as it is, and Io the decoder's image of Φ(Ii). To these come, where they count, the
    perceptual loss of Johnson et al., ECCV 2016, equation 2, and one on the images of transformed features, which are
    what the decoder is for: each photo of the batch, after the deeper levels that the model can decode, takes the style
    of the next one. See `LossWeights`.

    Args:
        state: Parameters of the decoder, the optimizer's state, the step.
        batch: uint8 `[B, H, W, 3]`.
        model: The encoder, and decoders of deeper layers for the loss of style.
        judges: Encoders, and where they are read for the perceptual loss and that of style.
        layer: The decoder's.
        optimizer: Whose state `state` holds.
        weights: Of the terms.
        dtype: Of the convolutions: float32, or bfloat16. Parameters and losses are float32 in either.

    Returns:
        The next state, and the float32 scalars `loss`, `pixel`, `feature` and, where they count, `variation`,
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
        loss: From the parameters to the scalar to go down, and metrics.
        state: The state.
        optimizer: Whose state `state` holds.

    Returns:
        The next state, and the metrics.
    """
    gradients, metrics = jax.grad(loss, has_aux=True)(state.parameters)
    updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.parameters)
    parameters = optax.apply_updates(state.parameters, updates)
    return State(state.step + 1, parameters, optimizer_state, state.key), metrics


_WEIGHTS = {"variation": "total_variation"}


def _transferred(model: Model, layer: str, images: Array) -> Array:
    """The feature that stylizing has the layer's decoder paint, each image in the style of the next one."""
    deeper = deeper_than(layer, model.decoders)
    style = jax.tree.map(_next, extract_style(model, images, (*deeper, layer)))
    content = stylize(model, images, style, layers=deeper) if deeper else images
    return transfer(model.encode(content, (layer,))[layer], style.moments[layer])


def _next(batch: Array) -> Array:
    return jnp.roll(batch, -1, axis=0)

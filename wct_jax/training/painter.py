"""Training a painter: a decoder whose inputs are the encoder's features, and that has learned to paint in one pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import jax
import jax.numpy as jnp
import optax
from jax import Array

from wct_jax.kernels.mapping import map_pixels
from wct_jax.kernels.moments import moments_of
from wct_jax.measures.losses import covariance_distance, instance_normalised, mean_squared_error, relative_error
from wct_jax.measures.metrics import ssim
from wct_jax.measures.weave import weave
from wct_jax.networks.autoencoder import Parameters, encode
from wct_jax.networks.model import Model
from wct_jax.networks.taps import Taps, read
from wct_jax.networks.vgg import LAYERS, depth_of
from wct_jax.painting.one_pass import decode_to
from wct_jax.training.decoder import descend, initial_decoder
from wct_jax.training.loop import State
from wct_jax.transform.statistics import Moments
from wct_jax.transform.whitening import transfer

# A style that is flat, or a result that has gone astray, must not outweigh all others.
_MOST = 3.0
# Share of the photos that are painted without their own features.
_WITHOUT = 0.25


@dataclass(frozen=True)
class PainterWeights:
    """The weights of the terms of the loss.

    Attributes:
        pixel: Weight of the mean squared error of rebuilt photos, in 0..1.
        feature: Weight of `relative_error` between the painter's inputs and the encoder's features.
        style: Weight of the distance from the style, in the judges' covariances and means.
        structure: Weight of the change of the photo's structure, where its own features are used.
        weave: Weight of `wct_jax.measures.weave.weave`, which painted skies must not have.
        gamut: Weight of the mean squared distance of painted pixels from 0..1, where a file clips them.
    """

    pixel: float = 2.0
    feature: float = 0.1
    style: float = 1.0
    structure: float = 0.1
    weave: float = 0.2
    gamut: float = 5.0


def init_painter(
    model: Model, layer: str, optimizer: optax.GradientTransformation, seed: int, painter: Parameters | None = None
) -> State:
    """The state of a painter before the first step.

    Args:
        model: Model with the encoder.
        layer: The painter's deepest layer.
        optimizer: Optimizer of the training.
        seed: Seed of the first kernels and of the state's key.
        painter: Painter, or decoder of the layer, to begin with; None for the model's decoder of the layer or, without
            one, for one that paints everything grey.
    """
    key, init = jax.random.split(jax.random.key(seed))
    first = painter or model.decoders.get(layer) or initial_decoder(layer, model.widths, init)
    parameters = jax.tree.map(jnp.copy, dict(first))  # A copy, since the step donates the state.
    return State(jnp.zeros((), jnp.int32), parameters, optimizer.init(parameters), jax.random.key_data(key))


def painter_step(
    state: State,
    batch: Array,
    model: Model,
    judges: Sequence[Taps] = (),
    *,
    layer: str,
    optimizer: optax.GradientTransformation,
    weights: PainterWeights,
    dtype: jnp.dtype,
) -> tuple[State, dict[str, Array]]:
    """One step of a painter, from its inputs to its pictures.

    Two terms make it a painter: `pixel`, the mean squared error of the photo that each block, and the whole, rebuilds
    from the encoder's features; and `feature`, the sum of `relative_error` between the inputs of its blocks and the
    encoder's own features, block by block and along the whole way. Three more teach it to paint. Each photo takes the
    style beside it, with random shares of its own features. `style` is the mean over the judges' layers of
    `covariance_distance` between result and style. `structure` is the mean squared difference between the
    instance-normalised features of result and photo at the judges' deepest layer, plus 1 - SSIM; it counts as much as
    the photo's own features do, so that without them the painter is free. `weave` keeps skies calm, and `gamut` colours
    in 0..1; the judges see them clipped, as in a file. The gradient of the transforms is exact.

    Args:
        state: State whose parameters are the painter.
        batch: Photos and styles, uint8 `[B, 2, H, W, 3]`.
        model: Model with the encoder.
        judges: Encoders for style and structure, with the layers to read.
        layer: The painter's deepest layer.
        optimizer: Optimizer whose state `state` holds.
        weights: Weights of the terms.
        dtype: Float32 or bfloat16, for the convolutions; parameters and losses are float32.

    Returns:
        The next state, and the float32 scalars `loss`, `pixel`, `feature` and, unless the weights of style, structure
        and weave are all 0, the other terms.
    """
    images = batch.astype(jnp.float32) / 255
    photos, styles = images[:, 0].astype(dtype), images[:, 1].astype(dtype)
    layers = LAYERS[: depth_of(layer)]
    own = encode(model.encoder, photos, layers)
    key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)

    def loss(painter: Parameters) -> tuple[Array, dict[str, Array]]:
        terms = _rebuilding(painter, own, images[:, 0])
        if weights.style or weights.structure or weights.weave:
            shares = _draw_shares(key, layers, len(batch))
            wanted = {name: moments_of(feature) for name, feature in encode(model.encoder, styles, layers).items()}
            painted = _painted(painter, own, wanted, shares, (photos.shape[-3], photos.shape[-2]))
            terms["gamut"] = mean_squared_error(painted, clipped := jnp.clip(painted, 0, 1))
            terms |= _painting(clipped, photos, read(judges, styles), judges, shares[layer])
            terms["weave"] = weave(painted, images[:, 0], images[:, 1])
        total = jnp.stack([getattr(weights, name) * value for name, value in terms.items()]).sum()
        return total, {"loss": total, **terms}

    return descend(loss, state, optimizer)


def _rebuilding(painter: Parameters, own: dict[str, Array], photos: Array) -> dict[str, Array]:
    """The errors of the painter's inputs and of the photos that it rebuilds, block by block and along the whole way."""
    deepest_first = list(own)[::-1]
    sides = (photos.shape[-3], photos.shape[-2])
    running, feature, pixel = own[deepest_first[0]], jnp.zeros(()), jnp.zeros(())
    for name, end in pairwise([*deepest_first, None]):
        assert name
        block = decode_to(end, painter, own[name], name, None, sides)
        running = block if name == deepest_first[0] else decode_to(end, painter, running, name, None, sides)
        if end:
            feature = feature + relative_error(block, own[end]) + relative_error(running, own[end])
        else:
            pixel = mean_squared_error(block, photos) + mean_squared_error(running, photos)
    return {"pixel": pixel, "feature": feature}


def _draw_shares(key: Array, layers: Sequence[str], count: int) -> dict[str, Array]:
    """The share of each photo's own feature at each layer, `[count, 1, 1, 1]`: that of the deepest is the largest."""
    keys = jax.random.split(key, len(layers) + 1)
    most = jax.random.uniform(keys[0], (count, 1, 1, 1))
    most = jnp.where(jax.random.bernoulli(keys[1], _WITHOUT, most.shape), 0, most)
    each = zip(layers[:-1], keys[2:], strict=True)
    return {layer: most * jax.random.uniform(own, most.shape) ** 0.5 for layer, own in each} | {layers[-1]: most}


def _painted(
    painter: Parameters,
    own: dict[str, Array],
    styles: dict[str, Moments],
    shares: dict[str, Array],
    sides: tuple[int, int],
) -> Array:
    """Paint photos in one pass, each in its own style and with its own structure."""
    deepest_first = list(own)[::-1]
    x = own[deepest_first[0]]
    for name, end in pairwise([*deepest_first, None]):
        assert name
        if name != deepest_first[0]:
            share = shares[name].astype(x.dtype)
            x = (1 - share) * x + share * own[name]
        x = transfer(x, styles[name], statistics=moments_of(x), blend=map_pixels)
        x = decode_to(end, painter, x, name, None, sides)
    return x


def _painting(
    painted: Array, photos: Array, styles: dict[str, Array], judges: Sequence[Taps], share: Array
) -> dict[str, Array]:
    """The distance of painted photos from their styles, and the change of their structure."""
    seen = read(judges, painted)
    distances = [covariance_distance(seen[name], styles[name]) for name in styles]
    style = jnp.stack([jnp.minimum(each, _MOST).mean() for each in distances]).mean()
    deepest = max(seen, key=depth_of)
    normalised = [instance_normalised(x) for x in (seen[deepest], read(judges, photos)[deepest])]
    change = jnp.square(normalised[0] - normalised[1]).mean((-3, -2, -1)) + 1 - ssim(painted, photos)
    return {"style": style, "structure": (2 * share[:, 0, 0, 0] * change).mean()}

"""Training a grader: photos that take the colours and the light of others, and photos that get their own back."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from wct_jax.kernels.moments import moments_of
from wct_jax.measures.losses import covariance_distance, mean_squared_error
from wct_jax.measures.metrics import edge_similarity
from wct_jax.networks.autoencoder import Parameters, encode
from wct_jax.networks.cells import Photos
from wct_jax.networks.grader import COLORS, LOOKS, coefficients, correct, grader_layers, initial_grader
from wct_jax.networks.model import Model
from wct_jax.networks.taps import Taps, read
from wct_jax.networks.tone import Toning, into_gamut
from wct_jax.photo.transfer import extract_photo_style, transfer_photo
from wct_jax.training.decoder import descend, make_schedule
from wct_jax.training.loop import State
from wct_jax.transform.statistics import Moments

# A style that is flat must not outweigh all others.
_MOST = 3.0
# Share of the photos, and of the styles, that are regraded before.
_REGRADED = 0.6
# Share of them that lose colour.
_FADED = 0.15
# Points of a random curve between black and white.
_KNOTS = 4


@dataclass(frozen=True)
class GraderWeights:
    """The weights of the terms of the loss.

    Attributes:
        style: Weight of the distance from the style, in the judges' covariances and means.
        edges: Weight of 1 less `wct_jax.measures.metrics.edge_similarity` between result and photo.
        gamut: Weight of the root mean square of what brings a result into 0..1.
        smooth: Weight of the mean squared difference between the coefficients of neighbouring cells.
        restored: Weight of the mean squared error of regraded halves of photos in the style of the other halves.
    """

    style: float = 1.0
    edges: float = 0.4
    gamut: float = 2.0
    smooth: float = 0.1
    restored: float = 25.0


def init_grader(
    model: Model, optimizer: optax.GradientTransformation, seed: int, grader: Parameters | None = None
) -> State:
    """The state of a grader before the first step.

    Args:
        model: Model with the encoder.
        optimizer: Optimizer of the training.
        seed: Seed of the first kernels and of the state's key.
        grader: Grader to begin with; None for a new one.
    """
    key, init = jax.random.split(jax.random.key(seed))
    # A copy, since the step donates the state.
    parameters = initial_grader(model.widths, init) if grader is None else jax.tree.map(jnp.copy, dict(grader))
    return State(jnp.zeros((), jnp.int32), parameters, optimizer.init(parameters), jax.random.key_data(key))


def grader_step(
    state: State,
    batch: Array,
    model: Model,
    judges: Sequence[Taps] = (),
    *,
    optimizer: optax.GradientTransformation,
    weights: GraderWeights,
    dtype: jnp.dtype,
) -> tuple[State, dict[str, Array]]:
    """One step of a grader.

    Each photo takes the style beside it, some of the photos and of the styles regraded by random curves, so that there
    is more light and less than in the photos. `style` is the mean over the judges' layers of `covariance_distance`
    between result and style, `edges` and `gamut` keep drawing and hues. And the right half of each photo, regraded,
    takes the style of the left half: `restored` is the mean squared error between it and what it was. What is judged is
    one of the grader's looks, drawn at random.

    Args:
        state: State whose parameters are the grader.
        batch: Photos and styles, uint8 `[B, 2, H, W, 3]`.
        model: Model with the encoder.
        judges: Encoders for the loss of style, with the layers to read.
        optimizer: Optimizer whose state `state` holds.
        weights: Weights of the terms.
        dtype: Float32 or bfloat16, for the convolutions; parameters and losses are float32.

    Returns:
        The next state, and the float32 scalars `loss` and the terms.
    """
    images = batch.astype(jnp.float32) / 255
    keys = jax.random.split(jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step), 4)
    photos, styles = (_in_any_light(key, images[:, i]) for i, key in enumerate(keys[:2]))
    half = images.shape[3] // 2
    left, right = images[:, 0, :, :half], images[:, 0, :, half : 2 * half]
    regraded_right = regraded(keys[2], right)
    # It corrects what a drawn number of looks before have made of the photos.
    looks = jax.random.randint(keys[3], (), 0, LOOKS)
    before = []
    for content, targets in ((photos, styles), (regraded_right, left)):
        style = _style_of(model, targets, dtype)
        own = Photos(content, Toning.of(moments_of(content), style.pop(COLORS)))
        cells = coefficients(state.parameters, model.encoder, own, style, looks, dtype)
        before.append((own, style, cells))
    wanted = read(judges, styles.astype(dtype))

    def loss(grader: Parameters) -> tuple[Array, dict[str, Array]]:
        open_range, cells = _graded(grader, model, *before[0], dtype)
        result = into_gamut(open_range)
        got = read(judges, result.astype(dtype))
        distances = [jnp.minimum(covariance_distance(got[name], wanted[name]), _MOST).mean() for name in wanted]
        restored, _ = _graded(grader, model, *before[1], dtype)
        terms = {
            "style": jnp.stack(distances).mean(),
            "edges": 1 - edge_similarity(result, photos).mean(),
            "gamut": jnp.sqrt(jnp.square(open_range - result).mean((-3, -2, -1)) + 1e-8).mean(),
            "smooth": jnp.stack([_mean(jnp.square(jnp.diff(cells, axis=axis))) for axis in (-4, -3)]).sum(),
            "restored": mean_squared_error(into_gamut(restored), right),
        }
        total = jnp.stack([getattr(weights, name) * value for name, value in terms.items()]).sum()
        return total, {"loss": total, **terms}

    return descend(loss, state, optimizer)


def grader_optimizer(learning_rate: float, steps: int) -> optax.GradientTransformation:
    """Adam on `make_schedule`: batches differ much, and Muon, at rates that suit decoders, loses its way."""
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(make_schedule(learning_rate, steps)))


def restored_halves(model: Model, photos: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Regrade the right half of each photo, give it the style of the left half, and put it beside what it was."""
    for number, photo in enumerate(photos):
        left, right = np.array_split(photo, 2, axis=1)
        curved = np.asarray(regraded(jax.random.key(number), jnp.asarray(right)[None])[0])
        yield transfer_photo(model, curved, extract_photo_style(model, left)), right


def restored(model: Model, photo: np.ndarray) -> np.ndarray:
    """A photo whose right half was regraded and got its colours back."""
    half, was = next(restored_halves(model, [photo]))
    return np.concatenate([photo[:, : photo.shape[1] - was.shape[1]], half], 1)


def _mean(x: Array) -> Array:
    """The mean, 0 of nothing: an image may be a single cell."""
    return x.sum() / max(x.size, 1)


def _style_of(model: Model, images: Array, dtype: jnp.dtype) -> dict[str, Moments]:
    """The moments of styles, at the grader's layers and of their colours."""
    features = encode(model.encoder, images.astype(dtype), grader_layers(model.widths))
    return {name: moments_of(x) for name, x in {COLORS: images, **features}.items()}


def _graded(
    grader: Parameters, model: Model, photos: Photos, style: Mapping[str, Moments], before: Array, dtype: jnp.dtype
) -> tuple[Array, Array]:
    """Photos after one look more, not confined to 0..1, and their coefficients."""
    cells = correct(grader, model.encoder, photos, style, before, dtype)
    return photos.graded(cells), cells


def _in_any_light(key: Array, images: Array) -> Array:
    """Regrade some of the images, and take colour from some."""
    curve, chances, shares = jax.random.split(key, 3)
    changed, faded = jax.random.bernoulli(chances, jnp.asarray([_REGRADED, _FADED])[:, None], (2, len(images)))
    images = jnp.where(changed[:, None, None, None], regraded(curve, images), images)
    share = jnp.where(faded, jax.random.uniform(shares, faded.shape) ** 0.5, 0)[:, None, None, None]
    return images + share * (images.mean(-1, keepdims=True) - images)


def regraded(key: Array, images: Array) -> Array:
    """Change images `[B, H, W, 3]` in 0..1 by a random curve that rises, partly the same for all channels.

    Exposure and contrast change, too, so that there is night and fog among the results.
    """
    common, own, strengths, powers = jax.random.split(key, 4)
    shape = (len(images), 1, _KNOTS)
    power = 2 ** jax.random.uniform(powers, (len(images), 1, 1), minval=-1, maxval=2.5)
    heights = jnp.sort(jax.random.uniform(common, shape), -1) ** power
    apart = jnp.sort(jax.random.uniform(own, (len(images), 3, _KNOTS)), -1)
    straight = jnp.linspace(0, 1, _KNOTS + 2)[None, None, 1:-1]
    strength = jax.random.uniform(strengths, (2, len(images), 1, 1))
    heights = heights + 0.5 * strength[1] * (apart - heights)
    rise = straight + strength[0] * (heights - straight)
    rise = jnp.clip(jnp.pad(rise, [(0, 0), (0, 0), (1, 1)], constant_values=((0, 0), (0, 0), (0, 1))), 0, 1)
    places = images[..., None] * (_KNOTS + 1)
    knots = jnp.arange(_KNOTS + 2, dtype=jnp.float32).reshape(*[1] * images.ndim, -1)
    shares = jnp.maximum(1 - jnp.abs(places - knots), 0)
    return jnp.einsum("bhwck,bck->bhwc", shares, rise)

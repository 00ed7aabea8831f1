"""Painters: the loss against NumPy, gradients, and a painter that learns."""

import dataclasses
import functools
import io
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rich.console import Console

from wct_jax.measures.losses import covariance_distance, instance_normalised
from wct_jax.measures.metrics import ssim
from wct_jax.measures.weave import weave
from wct_jax.networks.model_file import load_model
from wct_jax.networks.taps import choose_taps
from wct_jax.networks.vgg import LAYERS, decoder_shapes
from wct_jax.painting.style import extract_style
from wct_jax.painting.stylization import stylize
from wct_jax.training import painter as training
from wct_jax.training import recipe
from wct_jax.training.decoder import make_optimizer
from wct_jax.training.painter import PainterWeights, init_painter, painter_step
from wct_jax.training.recipe import train_painter
from wct_jax.training.task import Recipe, Setup

LAYER = "relu2_1"
DEEPEST_FIRST = LAYERS[1::-1]
WEIGHTS = PainterWeights(pixel=2, feature=3, style=5, structure=7, weave=11, gamut=13)

pytestmark = pytest.mark.usefixtures("quick", "directly")


@pytest.fixture
def model(random_model):
    return random_model((3, 4), (LAYER,))


@pytest.fixture
def judges(model):
    return choose_taps([model])


@pytest.fixture
def batch(rng):
    """Photos beside styles, one of them flat."""
    pairs = rng.integers(0, 256, (2, 2, 40, 36, 3), dtype=np.uint8)
    pairs[0, 0] = 90 + pairs[0, 0] // 64
    return pairs


def jitted(optimizer, weights=WEIGHTS, dtype="float32"):
    step = functools.partial(painter_step, layer=LAYER, optimizer=optimizer, weights=weights, dtype=jnp.dtype(dtype))
    return jax.jit(step)


def painted_by(model, painter, photo, style, structure):
    paints = dataclasses.replace(model, painter=painter)
    return stylize(paints, photo, extract_style(paints, style, DEEPEST_FIRST), method="one-pass", structure=structure)


def test_the_first_painter_is_the_decoder_of_its_layer_or_paints_grey(model):
    state = init_painter(model, LAYER, optax.sgd(0.1), 0)
    jax.tree.map(np.testing.assert_array_equal, state.parameters, dict(model.decoders[LAYER]))
    grey = init_painter(model, "relu1_1", optax.sgd(0.1), 0).parameters
    assert {name: leaves["kernel"].shape[2:] for name, leaves in grey.items()} == decoder_shapes("relu1_1", (3, 4))
    np.testing.assert_array_equal(grey["conv1_1"]["bias"], 0.5)
    other = init_painter(model, LAYER, optax.sgd(0.1), 0, painter=grey)
    jax.tree.map(np.testing.assert_array_equal, other.parameters, grey)


@pytest.mark.slow
def test_the_metrics_are_those_of_the_equation(model, judges, batch, monkeypatch):
    """With given shares of the photo's own features, and painted by the public function."""
    shares = {"relu1_1": 0.3, "relu2_1": 0.8}
    given = {layer: jnp.full((2, 1, 1, 1), share) for layer, share in shares.items()}
    monkeypatch.setattr(training, "_draw_shares", lambda *_: given)
    state = init_painter(model, LAYER, optax.sgd(0.1), 0)
    _, metrics = jitted(optax.sgd(0.1))(state, batch, model, judges)
    assert set(metrics) == {"loss", "pixel", "feature", "style", "structure", "weave", "gamut"}

    photos, styles = (jnp.asarray(batch[:, i] / 255, jnp.float32) for i in (0, 1))
    rebuilt = dataclasses.replace(model, painter=state.parameters)
    own = model.encode(photos, LAYERS[:2])
    whole = model.decode(LAYER, own[LAYER])[:, :40, :36]
    # From relu1_1, the last block alone.
    last = dataclasses.replace(model, decoders={"relu1_1": {"conv1_1": state.parameters["conv1_1"]}})
    errors = [np.mean(np.square(np.float64(x - photos))) for x in (whole, last.decode("relu1_1", own["relu1_1"]))]
    np.testing.assert_allclose(metrics["pixel"], sum(errors), rtol=1e-4)

    painted = jnp.stack(
        [
            painted_by(rebuilt, state.parameters, photo, style, [shares[layer] for layer in DEEPEST_FIRST])
            for photo, style in zip(photos, styles, strict=True)
        ]
    )
    clipped = jnp.clip(painted, 0, 1)
    np.testing.assert_allclose(metrics["gamut"], np.square(painted - clipped).mean(), rtol=1e-2, atol=1e-6)
    seen, wanted, before = (model.encode(x, LAYERS[:2]) for x in (clipped, styles, photos))
    style = np.mean([np.minimum(covariance_distance(seen[name], wanted[name]), 3) for name in seen])
    np.testing.assert_allclose(metrics["style"], style, rtol=2e-3)
    changes = instance_normalised(seen["relu2_1"]) - instance_normalised(before["relu2_1"])
    change = np.square(changes).mean((1, 2, 3)) + 1 - ssim(clipped, photos)
    np.testing.assert_allclose(metrics["structure"], np.mean(2 * 0.8 * change), rtol=2e-3)
    np.testing.assert_allclose(metrics["weave"], weave(painted, photos, styles), rtol=1e-2, atol=1e-4)
    weights = dataclasses.asdict(WEIGHTS)
    total = sum(weights[name] * metrics[name] for name in weights)
    np.testing.assert_allclose(metrics["loss"], total, rtol=1e-5)


def test_without_painting_nothing_is_painted(model, batch):
    weights = PainterWeights(style=0, structure=0, weave=0)
    _, metrics = jitted(optax.sgd(0.1), weights)(init_painter(model, LAYER, optax.sgd(0.1), 0), batch, model)
    assert set(metrics) == {"loss", "pixel", "feature"}


def test_shares_of_the_photo_are_drawn_for_each_photo_and_layer():
    shares = training._draw_shares(jax.random.key(0), LAYERS[:2], 400)
    assert list(shares) == list(LAYERS[:2])
    most = np.ravel(shares[LAYER])
    assert 0.15 < np.mean(most == 0) < 0.35
    own = np.ravel(shares["relu1_1"])
    assert ((own >= 0) & (own <= most)).all()
    assert len(np.unique(own)) > 250
    assert most.max() < 1


@pytest.mark.slow
def test_a_painter_learns_all_of_it(model, judges, batch, lenient):
    optimizer = lenient(make_optimizer(0.01, 60, clip=1.0))
    step, state = jitted(optimizer), init_painter(model, LAYER, optimizer, 0)
    before, history = state.parameters, []
    for _ in range(60):
        state, metrics = step(state, batch, model, judges)
        history.append(jax.device_get(metrics))
    for name in ("loss", "pixel", "feature", "style"):
        last, first = (np.mean([metrics[name] for metrics in part]) for part in (history[-10:], history[:10]))
        assert last < first, name
    moved = jax.tree.map(lambda x, y: bool((x != y).any()), before, state.parameters)
    assert all(jax.tree.leaves(moved))


@pytest.mark.slow
def test_a_painter_goes_from_batches_to_the_model_file(model, judges, rng, tmp_path, lenient, monkeypatch):
    monkeypatch.setattr(recipe, "make_optimizer", lambda *given, **more: lenient(make_optimizer(*given, **more)))
    pairs = iter([rng.integers(0, 256, (4, 2, 36, 36, 3), dtype=np.uint8) for _ in range(2)])
    settings = Recipe(steps=2, batch_size=4, crop=36, learning_rate=1e-2, precision="float32", seed=3, data="noise")
    photos = [rng.random((13, 18, 3), np.float32)]
    setup = Setup(pairs, tmp_path / "run", settings, photos, lambda: photos, 1, Console(file=io.StringIO()))
    trained, record = train_painter(model, LAYER, WEIGHTS, setup, judges=judges)
    assert trained.painter_layers == DEEPEST_FIRST
    assert trained.layers == ()
    assert record["val"]["photos"] == 1
    assert (record["structure"], record["finetune"]) == (7, False)
    assert json.loads(json.dumps(record)) == record
    saved = load_model(tmp_path / "run" / "model.safetensors")
    jax.tree.map(np.testing.assert_array_equal, dict(saved.painter), dict(trained.painter))
    assert saved.metadata["painter"]["steps"] == 2
    assert (tmp_path / "run" / "curves.png").exists()

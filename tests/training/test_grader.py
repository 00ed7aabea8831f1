"""Graders: the loss against NumPy, random curves, and a grader that learns."""

import dataclasses
import functools
import io
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rich.console import Console

from wct_jax.measures.losses import covariance_distance
from wct_jax.measures.metrics import edge_similarity
from wct_jax.networks.cells import Photos
from wct_jax.networks.grader import coefficients, grader_shapes
from wct_jax.networks.model_file import load_model
from wct_jax.networks.taps import choose_taps
from wct_jax.networks.tone import Toning, into_gamut
from wct_jax.networks.vgg import LAYERS
from wct_jax.painting.style import extract_style
from wct_jax.training import grader as training
from wct_jax.training import recipe as recipes
from wct_jax.training.grader import GraderWeights, grader_optimizer, grader_step, init_grader, regraded
from wct_jax.training.recipe import train_grader
from wct_jax.training.task import Recipe, Setup
from wct_jax.transform.statistics import moments

WEIGHTS = GraderWeights(style=2, edges=3, gamut=5, smooth=7, restored=11)

pytestmark = pytest.mark.usefixtures("quick", "directly")


@pytest.fixture
def model(random_model):
    return random_model((3, 4), ())


@pytest.fixture
def judges(model):
    return choose_taps([model])


@pytest.fixture
def batch(rng):
    return rng.integers(0, 256, (2, 2, 40, 72, 3), dtype=np.uint8)


@functools.cache
def jitted():
    return jax.jit(functools.partial(grader_step, optimizer=optax.sgd(0.1), weights=WEIGHTS, dtype=jnp.float32))


def graded(model, photo, style, looks):
    """By the pieces that `transfer_photo` is made of."""
    found = extract_style(model, style, LAYERS[:2]).moments
    photos = Photos(photo, Toning.of(moments(photo), moments(style)))
    cells = coefficients(model.grader, model.encoder, photos, found, looks)
    return photos.graded(cells), cells


def test_a_new_grader_has_its_shapes_and_changes_nothing_yet(model):
    grader = init_grader(model, optax.sgd(0.1), 0).parameters
    assert {name: leaves["kernel"].shape for name, leaves in grader.items()} == grader_shapes((3, 4))
    np.testing.assert_array_equal(grader["last"]["kernel"], 0)
    other = init_grader(model, optax.sgd(0.1), 1, grader).parameters
    jax.tree.map(np.testing.assert_array_equal, other, grader)


@pytest.mark.slow
def test_the_metrics_are_those_of_the_equation(model, judges, batch, monkeypatch):
    """In a given light, from the second look on."""
    state = init_grader(model, optax.sgd(0.1), 0)
    kernel = 1e-3 * jax.random.normal(jax.random.key(1), grader_shapes(model.widths)["last"])
    last = {"kernel": kernel, "bias": jnp.zeros(kernel.shape[-1])}
    state = dataclasses.replace(state, parameters={**state.parameters, "last": last})
    monkeypatch.setattr(training, "_in_any_light", lambda key, images: images)
    monkeypatch.setattr(training, "regraded", lambda key, images: jnp.square(images))
    monkeypatch.setattr(jax.random, "randint", lambda *_: jnp.asarray(1))
    _, metrics = jax.jit(functools.partial(grader_step, optimizer=optax.sgd(0.1), weights=WEIGHTS, dtype=jnp.float32))(
        state, batch, model, judges
    )
    assert set(metrics) == {"loss", "style", "edges", "gamut", "smooth", "restored"}

    grades = dataclasses.replace(model, grader=state.parameters)
    photos, styles = (jnp.asarray(batch[:, i] / 255, jnp.float32) for i in (0, 1))
    made = [graded(grades, photo, style, 2) for photo, style in zip(photos, styles, strict=True)]
    opened, cells = (jnp.stack(each) for each in zip(*made, strict=True))
    result = into_gamut(opened)
    seen, wanted = (model.encode(x, LAYERS[:2]) for x in (result, styles))
    style = np.mean([np.minimum(covariance_distance(seen[name], wanted[name]), 3) for name in seen])
    np.testing.assert_allclose(metrics["style"], style, rtol=2e-3)
    np.testing.assert_allclose(metrics["edges"], 1 - edge_similarity(result, photos).mean(), rtol=2e-3, atol=1e-5)
    excess = np.sqrt(np.square(opened - result).mean((1, 2, 3))).mean()
    np.testing.assert_allclose(metrics["gamut"], excess, rtol=2e-2, atol=2e-4)
    steps = np.square(np.diff(cells, axis=1)).mean() + np.square(np.diff(cells, axis=2)).mean()
    np.testing.assert_allclose(metrics["smooth"], steps, rtol=2e-3)
    halves = [
        into_gamut(graded(grades, jnp.square(photo[:, 36:]), photo[:, :36], 2)[0]) - photo[:, 36:] for photo in photos
    ]
    np.testing.assert_allclose(metrics["restored"], np.square(halves).mean(), rtol=2e-3)
    weights = dataclasses.asdict(WEIGHTS)
    np.testing.assert_allclose(metrics["loss"], sum(weights[name] * metrics[name] for name in weights), rtol=1e-5)


@pytest.mark.slow
def test_the_gradient_reaches_every_parameter_after_a_step(model, judges, batch):
    state = init_grader(model, optax.sgd(0.1), 0)
    for _ in range(2):
        before, (state, metrics) = state, jitted()(state, batch, model, judges)
    assert all(np.isfinite(value) for value in metrics.values())
    for name, leaves in state.parameters.items():
        assert np.abs(leaves["kernel"] - before.parameters[name]["kernel"]).max() > 0, name


@pytest.mark.slow
def test_flat_photos_and_styles_have_finite_gradients(model, judges):
    batch = np.full((2, 2, 40, 72, 3), 128, np.uint8)
    batch[1, :, 20:] = 7
    state, metrics = jitted()(init_grader(model, optax.sgd(0.1), 0), batch, model, judges)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((state.parameters, metrics)))


def test_random_curves_rise_from_black_and_stay_in_range():
    ramp = np.broadcast_to(np.linspace(0, 1, 101, dtype=np.float32)[None, :, None], (1, 101, 3))
    curves = np.asarray(regraded(jax.random.key(0), jnp.asarray(np.stack([ramp] * 50))))
    assert curves.min() >= 0
    assert curves.max() <= 1
    assert (np.diff(curves, axis=2) >= -1e-6).all()
    np.testing.assert_allclose(curves[:, :, 0], 0, atol=1e-6)
    np.testing.assert_allclose(curves[:, :, -1], 1, atol=1e-6)
    assert np.std(curves[:, 0, 50], 0).min() > 0.05
    assert np.abs(np.diff(curves[:, 0, 50], axis=-1)).max() > 0.05  # Channels have curves of their own.


@pytest.mark.slow
def test_a_grader_learns_and_is_recorded(model, judges, tmp_path, rng, lenient, monkeypatch):
    monkeypatch.setattr(recipes, "grader_optimizer", lambda *given: lenient(grader_optimizer(*given)))
    waves = rng.random((8, 2, 64, 64, 3), np.float32) ** np.asarray([1, 3], np.float32)[:, None, None, None]
    batches = ((waves[rng.integers(0, 8, 4)] * 255).astype(np.uint8) for _ in itertools.count())
    recipe = Recipe(60, 4, 64, 3e-3, "float32", 0, "noise")
    photos = [rng.random((64, 64, 3), np.float32) for _ in range(2)]
    setup = Setup(batches, tmp_path / "run", recipe, photos, lambda: iter(photos), 60, Console(file=io.StringIO()))
    trained, record = train_grader(model, GraderWeights(), setup, judges=judges)
    metrics = [line for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines() if line]
    assert len(metrics) == 60
    assert record["val"]["photos"] == 2
    assert record["restored"] == 25
    saved = load_model(tmp_path / "run" / "model.safetensors")
    jax.tree.map(np.testing.assert_array_equal, saved.grader, trained.grader)
    losses = [float(np.mean(part)) for part in np.split(np.asarray([eval(line)["loss"] for line in metrics]), 3)]
    assert losses[-1] < losses[0]

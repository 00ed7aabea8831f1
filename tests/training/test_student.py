"""Distillation: the loss against NumPy, and a student that learns."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from wct_jax.networks.model import Model
from wct_jax.networks.taps import choose_taps
from wct_jax.networks.vgg import LAYERS, decoder_shapes, encoder_shapes
from wct_jax.training.decoder import make_optimizer
from wct_jax.training.student import DistillWeights, distill_step, fixed_convolutions, init_student

WIDTHS = (3, 4, 5)
LEARNED = LAYERS[: len(WIDTHS)]

pytestmark = pytest.mark.usefixtures("quick", "directly")


@pytest.fixture
def teachers(model):
    """One for the first layer and another, which has more channels, for the rest."""
    shallow = Model({"conv1_1": model.encoder["conv1_1"]}, {}, model.widths[:1])
    return choose_taps((shallow, model), LEARNED)


@pytest.fixture
def batch(rng):
    return rng.integers(0, 256, (2, 12, 9, 3), dtype=np.uint8)


def jitted(optimizer, weights=DistillWeights(), dtype="float32"):  # noqa: B008 (frozen)
    step = functools.partial(distill_step, widths=WIDTHS, optimizer=optimizer, weights=weights, dtype=jnp.dtype(dtype))
    return jax.jit(step)


def stirred(state, rng):
    """Parameters that are not zero, so that all take part."""
    moved = jax.tree.map(lambda x: x + jnp.asarray(rng.normal(0, 0.1, x.shape), jnp.float32), state.parameters)
    return type(state)(state.step, moved, state.optimizer, state.key)


def test_the_first_student_has_the_widths_and_paints_grey(teachers, batch):
    state = init_student(WIDTHS, teachers, optax.sgd(0.1), 0)
    student = Model(state.parameters["encoder"], state.parameters["decoders"], WIDTHS)
    shapes = {name: leaves["kernel"].shape[2:] for name, leaves in student.encoder.items()}
    assert shapes == encoder_shapes(WIDTHS)
    for layer in LEARNED:
        assert {n: p["kernel"].shape[2:] for n, p in student.decoders[layer].items()} == decoder_shapes(layer, WIDTHS)
    maps = {"relu1_1": (1, 1, 3, 4), "relu2_1": (1, 1, 4, 6), "relu3_1": (1, 1, 5, 8)}
    assert {name: kernel.shape for name, kernel in state.parameters["maps"].items()} == maps
    images = jnp.asarray(batch / 255, jnp.float32)
    features = jax.jit(student.encode)(images)
    for layer, feature in features.items():
        np.testing.assert_array_equal(jax.jit(student.decode, static_argnums=0)(layer, feature), 0.5)


def test_the_first_convolution_takes_pixels_as_standardised(teachers, rng):
    """Mid grey gives nothing, and the spread of pixels that of a standard normal."""
    first = init_student((256,), choose_taps([teachers[0].model], LAYERS[:1]), optax.sgd(0.1), 0).parameters["encoder"]
    kernel, bias = np.float64(first["conv1_1"]["kernel"]), np.float64(first["conv1_1"]["bias"])
    pixels = 0.5 + rng.normal(0, 0.25, (64, 3, 3, 3))
    values = np.einsum("nyxi,yxio->no", pixels, kernel) + bias
    np.testing.assert_allclose(0.5 * kernel.sum((0, 1, 2)) + bias, 0, atol=1e-5)
    np.testing.assert_allclose(values.var(), 2, rtol=0.2)  # He's gain


def test_the_first_student_depends_on_the_seed_alone(teachers):
    one, same, other = (init_student(WIDTHS, teachers, optax.sgd(0.1), seed) for seed in (3, 3, 4))
    jax.tree.map(np.testing.assert_array_equal, one, same)
    kernels = [state.parameters["encoder"]["conv2_1"]["kernel"] for state in (one, other)]
    assert not np.array_equal(*kernels)
    decoders = one.parameters["decoders"]
    assert not np.array_equal(decoders["relu2_1"]["conv2_1"]["kernel"], decoders["relu3_1"]["conv2_1"]["kernel"])


@pytest.mark.slow
def test_the_metrics_are_those_of_the_equation(teachers, batch, rng):
    optimizer = optax.sgd(0.1)
    state = stirred(init_student(WIDTHS, teachers, optimizer, 0), rng)
    judge = teachers[1].model
    judges = choose_taps([judge], LAYERS[:2])
    _, metrics = jitted(optimizer, DistillWeights(feature=0.5, perceptual=2))(state, batch, teachers, judges)

    student = Model(state.parameters["encoder"], state.parameters["decoders"], WIDTHS)
    images = jnp.asarray(batch / 255, jnp.float32)
    features = jax.jit(student.encode)(images)
    photo = jax.jit(judge.encode)(images)
    pixel, feature, perceptual = [], [], []
    for teacher in teachers:
        for layer, target in jax.jit(teacher.model.encode)(images).items():
            if layer not in teacher.layers:
                continue
            x = features[layer]
            output = jax.jit(student.decode, static_argnums=0)(layer, x)[:, :12, :9]
            pixel.append(np.mean((np.float64(output) - np.float64(images)) ** 2))
            seen = jax.jit(judge.encode)(output)
            pairs = [(np.float64(seen[name]), np.float64(photo[name])) for name in judges[0].layers]
            errors = [np.mean((painted - own) ** 2) / own.var((0, 1, 2)).mean() for painted, own in pairs]
            perceptual.append(np.mean(errors))
            target = np.float64(target)
            error = np.float64(x) @ np.float64(state.parameters["maps"][layer][0, 0]) - target
            feature.append(error.var((0, 1, 2)).mean() / target.var((0, 1, 2)).mean())
            for term, values in (("pixel", pixel), ("feature", feature), ("perceptual", perceptual)):
                np.testing.assert_allclose(metrics[f"{layer}/{term}"], values[-1], rtol=1e-4)
    terms = {"pixel": np.add(pixel, 1e-4), "feature": feature, "perceptual": perceptual}
    means = {term: np.prod(values) ** (1 / 3) for term, values in terms.items()}
    means["loss"] = means["pixel"] * means["feature"] ** 0.5 * means["perceptual"] ** 2
    for name, value in means.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-4)
    assert all(value.dtype == jnp.float32 and value.shape == () for value in metrics.values())


@pytest.mark.slow
def test_a_student_learns_all_of_it(teachers, batch, lenient):
    optimizer = lenient(make_optimizer(0.02, 60))
    step, state = jitted(optimizer), init_student(WIDTHS, teachers, optimizer, 0)
    before = state.parameters
    history = []
    for _ in range(60):
        state, metrics = step(state, batch, teachers)
        history.append(jax.device_get(metrics))
    for name in history[0]:
        assert history[-1][name] < history[0][name], name
    assert history[-1]["loss"] < 0.6 * history[0]["loss"]
    moved = jax.tree.map(lambda x, y: bool((x != y).any()), before, state.parameters)
    assert all(jax.tree.leaves(moved))
    assert int(state.step) == 60


@pytest.mark.slow
def test_the_last_layers_are_learned_alone(teachers, batch, model, lenient):
    """The blocks before them stay, and what is learned goes on from the model or begins anew."""
    state = init_student(WIDTHS, teachers, optax.sgd(0.1), 0)
    start = Model(state.parameters["encoder"], state.parameters["decoders"], WIDTHS)
    last = choose_taps([model], LAYERS[2:3])
    optimizer = lenient(make_optimizer(0.02, 40))
    fixed = fixed_convolutions(start, LAYERS[2:3])
    assert set(fixed) == {"conv1_1", "conv1_2", "conv2_1"}
    assert fixed_convolutions(start, LAYERS) == {}
    fresh = init_student(WIDTHS, last, optimizer, 1, start).parameters
    state = init_student(WIDTHS, last, optimizer, 0, start, finetune=True)
    assert jax.tree.map(jnp.shape, fresh) == jax.tree.map(jnp.shape, state.parameters)
    assert not np.array_equal(fresh["encoder"]["conv3_1"]["kernel"], start.encoder["conv3_1"]["kernel"])
    first = jax.device_get(state.parameters)
    names = {"encoder": {"conv2_2", "conv3_1"}, "decoders": {"relu3_1"}, "maps": {"relu3_1"}}
    assert {name: set(value) for name, value in first.items()} == names
    jax.tree.map(np.testing.assert_array_equal, first["encoder"], {n: start.encoder[n] for n in first["encoder"]})
    jax.tree.map(np.testing.assert_array_equal, first["decoders"]["relu3_1"], start.decoders["relu3_1"])
    step = jitted(optimizer)
    history = []
    for _ in range(40):
        state, metrics = step(state, batch, last, (), fixed)
        history.append(jax.device_get(metrics))
    assert set(metrics) == {"loss", "pixel", "feature", "relu3_1/pixel", "relu3_1/feature"}
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]
    # The step gives away the state, not the model that it began from.
    assert np.isfinite(np.float64(start.decoders["relu3_1"]["conv3_1"]["kernel"])).all()


@pytest.mark.slow
def test_bfloat16_is_of_the_convolutions_alone(teachers, batch, rng, lenient):
    optimizer = lenient(make_optimizer(1e-3, 2))
    before = stirred(init_student(WIDTHS, teachers, optimizer, 0), rng)
    (state, half), (_, single) = (
        jitted(optimizer, dtype=dtype)(before, batch, teachers) for dtype in ("bfloat16", "float32")
    )
    assert jax.tree.map(lambda x: x.dtype, state) == jax.tree.map(lambda x: x.dtype, before)
    for name, value in single.items():
        np.testing.assert_allclose(half[name], value, rtol=0.1)
        assert half[name] != value

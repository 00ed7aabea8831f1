"""One step of training: the loss's equation, what it changes and what it leaves alone."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from wct_jax.networks.digest import encoder_digest
from wct_jax.networks.model import Model
from wct_jax.networks.taps import choose_taps, read
from wct_jax.networks.vgg import LAYERS, cell_of, decoder_shapes
from wct_jax.painting.style import extract_style
from wct_jax.painting.stylization import stylize
from wct_jax.training.decoder import LossWeights, init_state, make_optimizer, make_schedule, reconstruct, train_step
from wct_jax.training.loop import State
from wct_jax.transform.whitening import wct

pytestmark = pytest.mark.usefixtures("quick", "directly")


def jitted(layer, optimizer, weights=LossWeights(), dtype="float32", donate=False):  # noqa: B008 (frozen)
    step = functools.partial(train_step, layer=layer, optimizer=optimizer, weights=weights, dtype=jnp.dtype(dtype))
    return jax.jit(step, donate_argnums=0 if donate else ())


def shapes_of(parameters):
    """Input and output channels of each convolution."""
    return {name: leaves["kernel"].shape[2:] for name, leaves in parameters.items()}


def begun(model, layer, optimizer):
    """The state of a decoder that is not grey, so that each of its kernels has a gradient."""
    decoder = model.decoders[layer]
    return State(jnp.zeros((), jnp.int32), decoder, optimizer.init(decoder), jax.random.key_data(jax.random.key(0)))


@pytest.fixture
def batch(rng):
    return rng.integers(0, 256, (2, 12, 12, 3), dtype=np.uint8)


@functools.partial(jax.jit, static_argnames="layer")
def networks(model, layer, decoder, images):
    output, feature = reconstruct(model, layer, decoder, images)
    return output, feature, model.encode(output, (layer,))[layer]


def terms(model, layer, decoder, batch):
    """The three terms in NumPy, from the images and features of the networks."""
    images = np.float32(batch / 255)
    output, feature, again = (np.asarray(x, np.float64) for x in networks(model, layer, decoder, images))
    return {
        "pixel": ((output - images) ** 2).mean(),
        "feature": ((again - feature) ** 2).mean(),
        "variation": sum((np.diff(output, axis=axis) ** 2).mean() for axis in (1, 2)),
    }


def test_a_decoder_is_trained_against_the_encoder_of_its_layer(several, batch):
    for layer, widths in (("relu1_1", (7,)), ("relu2_1", (3, 5)), ("relu3_1", (4, 6, 8))):
        optimizer = optax.sgd(0.1)
        state = init_state(several, layer, optimizer, 0)
        assert shapes_of(state.parameters) == decoder_shapes(layer, widths)
    own = Model(several.encoders["relu2_1"], {}, (3, 5))
    decoder = several.decoders["relu2_1"]
    for joined, alone in zip(*(networks(m, "relu2_1", decoder, batch / 255) for m in (several, own)), strict=True):
        np.testing.assert_array_equal(joined, alone)


@pytest.mark.parametrize(("layer", "side"), [("relu1_1", 12), ("relu2_1", 9)])
def test_the_metrics_are_the_terms_of_the_equation(model, rng, layer, side):
    batch = rng.integers(0, 256, (2, side, side + 2, 3), dtype=np.uint8)
    optimizer = optax.sgd(0.1)
    step = jitted(layer, optimizer, LossWeights(pixel=2, feature=0.5, total_variation=0.25))
    state, metrics = step(begun(model, layer, optimizer), batch, model)
    expected = terms(model, layer, model.decoders[layer], batch)
    expected["loss"] = 2 * expected["pixel"] + 0.5 * expected["feature"] + 0.25 * expected["variation"]
    assert set(metrics) == set(expected)
    for name, value in metrics.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-4, err_msg=name)
        assert value.dtype == jnp.float32
        assert value.shape == ()
    assert int(state.step) == 1


@pytest.mark.slow
def test_the_losses_of_the_judges(model, batch):
    """Against NumPy, from the judges' features."""
    layer, optimizer = "relu2_1", optax.sgd(0.1)
    judges = choose_taps((model,), ("relu1_1", "relu3_1"))
    decoder = model.decoders[layer]
    images = jnp.asarray(batch / 255, jnp.float32)
    output = networks(model, layer, decoder, images)[0]

    def error(x, y):
        x, y = np.float64(x), np.float64(y)
        return ((x - y) ** 2).mean() / y.var((0, 1, 2)).mean()

    see = jax.jit(lambda x: read(judges, x))
    there, here = see(images), see(output)
    perceptual = np.mean([error(here[name], there[name]) for name in there])

    # Each photo in the style of the other, through the level below first.
    levels = ("relu3_1", layer)
    content = [
        stylize(model, images[i], extract_style(model, images[1 - i]), layers=levels[:1], method="cascade")
        for i in range(2)
    ]
    wanted = jnp.stack([wct(model.encode(content[i])[layer], model.encode(images[1 - i])[layer]) for i in range(2)])
    painted = jax.jit(lambda x: model.decode(layer, x))(wanted)
    seen = see(painted)
    apart = []
    for name in there:
        got, asked = (
            np.stack([np.cov(np.float64(x).reshape(-1, x.shape[-1]), rowvar=False) for x in features])
            for features in (seen[name], there[name][::-1])
        )
        apart.append(np.linalg.norm(got - asked, axis=(1, 2)).mean() / np.linalg.norm(asked, axis=(1, 2)).mean())
    style = np.mean(apart) + error(networks(model, layer, decoder, painted)[1], wanted)

    step = jitted(layer, optimizer, LossWeights(1, 0, 0, 3, 5))
    deeper = dataclasses.replace(model, decoders={"relu3_1": model.decoders["relu3_1"]})
    _, metrics = step(begun(model, layer, optimizer), batch, deeper, judges)
    np.testing.assert_allclose(metrics["perceptual"], perceptual, rtol=1e-3)
    np.testing.assert_allclose(metrics["style"], style, rtol=1e-3)
    np.testing.assert_allclose(metrics["loss"], metrics["pixel"] + 3 * perceptual + 5 * style, rtol=1e-3)


@pytest.mark.parametrize("weights", [LossWeights(1e-3, 0, 0, 1), LossWeights(1e-3, 0, 0, 0, 1)])
@pytest.mark.slow
def test_steps_lower_what_the_judges_see(model, batch, lenient, weights):
    layer, optimizer = "relu2_1", lenient(make_optimizer(0.05, 20))
    judges, step = choose_taps((model,), LAYERS[:3]), jitted(layer, optimizer, weights)
    bare = dataclasses.replace(model, decoders={})
    state, losses = begun(model, layer, optimizer), []
    for _ in range(20):
        state, metrics = step(state, batch, bare, judges)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.8 * losses[0]


def test_total_variation_is_not_taken_where_it_does_not_count(model, batch):
    optimizer = optax.sgd(0.1)
    metrics = jitted("relu1_1", optimizer)(begun(model, "relu1_1", optimizer), batch, model)[1]
    assert set(metrics) == {"loss", "pixel", "feature"}
    np.testing.assert_allclose(metrics["loss"], metrics["pixel"] + metrics["feature"], rtol=1e-6)


@pytest.mark.parametrize("weights", [LossWeights(1, 0), LossWeights(0, 1), LossWeights(0, 0, 1)])
def test_the_step_goes_down_the_gradient_of_each_term(model, batch, weights):
    """Against the difference quotient of the terms, along the gradient."""
    layer, optimizer = "relu1_1", optax.sgd(1.0)
    before = begun(model, layer, optimizer)
    after = jitted(layer, optimizer, weights)(before, batch, model)[0]
    gradient = jax.tree.map(jnp.subtract, before.parameters, after.parameters)
    norm = optax.tree.norm(gradient)
    width = 1e-3

    def loss(distance):
        moved = jax.tree.map(lambda p, g: p + distance / norm * g, before.parameters, gradient)
        counted = zip(("pixel", "feature", "total_variation"), terms(model, layer, moved, batch).values(), strict=True)
        return sum(getattr(weights, name) * value for name, value in counted)

    np.testing.assert_allclose((loss(width) - loss(-width)) / (2 * width), norm, rtol=1e-2)


def test_steps_lower_the_loss_and_leave_the_encoder_and_the_key_alone(model, batch, lenient):
    optimizer = lenient(make_optimizer(0.2, 30))
    step = jitted("relu1_1", optimizer, donate=True)
    state = init_state(model, "relu1_1", optimizer, 0)
    key, losses = np.array(state.key), []
    for _ in range(30):
        state, metrics = step(state, batch, model)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.7 * losses[0]
    assert int(state.step) == 30
    assert shapes_of(state.parameters) == decoder_shapes("relu1_1", model.widths)
    assert step._cache_size() == 1  # The first state has the types of those that follow, or it is compiled again.
    assert encoder_digest(model.encoder) == model.digest
    np.testing.assert_array_equal(state.key, key)


def test_bfloat16_is_of_the_convolutions_alone(model, batch, lenient):
    optimizer = lenient(make_optimizer(1e-3, 2))
    before, results = begun(model, "relu1_1", optimizer), {}
    for dtype in ("float32", "bfloat16"):
        step = jitted("relu1_1", optimizer, LossWeights(1, 1, 1), dtype)
        state, results[dtype] = step(before, batch, model)
        assert jax.tree.map(lambda x: x.dtype, state) == jax.tree.map(lambda x: x.dtype, before)
        assert {value.dtype for value in results[dtype].values()} == {jnp.dtype("float32")}
    half, single = results["bfloat16"], results["float32"]
    for name in single:
        np.testing.assert_allclose(half[name], single[name], rtol=0.05)
        assert float(half[name]) != float(single[name])


@pytest.mark.parametrize(
    ("layer", "size"), [("relu1_1", (5, 7)), ("relu3_1", (9, 6)), ("relu5_1", (17, 13)), ("relu5_1", (1, 2))]
)
def test_a_reconstruction_has_the_photos_size(model, rng, layer, size):
    images = jnp.asarray(rng.random((2, *size, 3)), jnp.float32)
    output, feature, _ = networks(model, layer, model.decoders[layer], images)
    assert output.shape == images.shape
    whole = jax.jit(lambda x: model.decode(layer, model.encode(x, (layer,))[layer]))(images)
    np.testing.assert_allclose(output, whole[:, : size[0], : size[1]], rtol=1e-5, atol=1e-6)
    halved = [-(-length // cell_of(layer)) for length in size]
    assert feature.shape == (2, *halved, model.channels_at(layer))


def test_a_reconstruction_is_by_the_decoder_given(model, rng):
    """Not by the model's own, nor does the model need one."""
    image = jnp.asarray(rng.random((8, 8, 3)), jnp.float32)
    own = model.decoders["relu1_1"]
    decoders = own, jax.tree.map(lambda array: 2 * array, own)
    once, twice = (reconstruct(model, "relu1_1", decoder, image)[0] for decoder in decoders)
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-5)


@pytest.mark.parametrize("layer", ["relu1_1", "relu2_1"])
def test_the_first_decoder_paints_grey(model, rng, layer):
    state = init_state(model, layer, optax.adam(1e-3), 0)
    images = jnp.asarray(rng.random((1, 9, 9, 3)), jnp.float32)
    np.testing.assert_array_equal(networks(model, layer, state.parameters, images)[0], 0.5)
    assert state.step.dtype == jnp.int32
    assert int(state.step) == 0
    assert shapes_of(state.parameters) == decoder_shapes(layer, model.widths)
    for name, leaves in state.parameters.items():
        assert name == "conv1_1" or np.std(leaves["kernel"]) > 0.05


def test_the_first_decoder_depends_on_the_seed_alone(model):
    one, same, other = (init_state(model, "relu2_1", optax.adam(1e-3), seed) for seed in (3, 3, 4))
    jax.tree.map(np.testing.assert_array_equal, one, same)
    assert not np.array_equal(one.parameters["conv2_1"]["kernel"], other.parameters["conv2_1"]["kernel"])
    assert not np.array_equal(one.key, other.key)


def test_training_can_begin_with_a_decoder(model):
    optimizer = optax.adam(1e-3)
    state = init_state(model, "relu1_1", optimizer, 0, model.decoders["relu1_1"])
    jax.tree.map(np.testing.assert_array_equal, state.parameters, model.decoders["relu1_1"])
    leaves = map(jax.tree.leaves, (state.parameters, model.decoders["relu1_1"]))
    assert all(x is not y for x, y in zip(*leaves, strict=True))


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0), (9, 0), (40, 4), (15_000, 200)])
def test_the_rate_rises_and_falls(steps, warmup):
    places = np.arange(0, steps, max(1, steps // 150))
    found = np.array([make_schedule(0.01, steps)(int(place)) for place in places])
    rising = places < warmup
    np.testing.assert_allclose(found[rising], 0.01 * places[rising] / max(warmup, 1), rtol=1e-4)
    angle = np.pi * (places[~rising] - warmup) / (steps - warmup)
    np.testing.assert_allclose(found[~rising], 0.005 * (1 + np.cos(angle)), rtol=1e-3, atol=1e-7)


def test_a_kernel_but_the_last_goes_in_all_directions_at_one_speed(rng, lenient):
    """As a matrix from patches to outputs; Muon's iteration leaves the singular values between 0.6 and 1.3."""
    optimizer = lenient(make_optimizer(0.01, 9))
    # Directions that differ a hundredfold.
    left, right = (np.linalg.qr(rng.normal(size=(rows, 4)))[0] for rows in (45, 4))
    gradient = left * [1, 0.3, 0.1, 0.01] @ right
    layer = {"kernel": jnp.asarray(gradient.reshape(3, 3, 5, 4), jnp.float32), "bias": jnp.ones(4)}
    last = {"kernel": jnp.asarray(rng.normal(size=(3, 3, 5, 3)), jnp.float32), "bias": jnp.ones(3)}
    gradients = {"conv1_2": layer, "conv1_1": last}
    parameters = jax.tree.map(jnp.zeros_like, gradients)
    update, _ = optimizer.update(gradients, optimizer.init(parameters), parameters)
    speeds = np.linalg.svd(np.asarray(update["conv1_2"]["kernel"]).reshape(45, 4), compute_uv=False) / 0.01
    assert speeds.min() > 0.3
    assert speeds.max() < 1.5
    # The last one goes by Adam, which takes every weight equally far, at a rate of its own.
    weights = np.abs(update["conv1_1"]["kernel"])
    np.testing.assert_allclose(weights, weights.mean(), rtol=1e-3)
    assert 0.0005 <= weights.mean() < 0.001

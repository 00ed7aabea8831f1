"""The networks: their shapes, their topology, and what of a model JAX sees."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wct_jax import Decoder, Encoder, Model, extract_style, stylize
from wct_jax.kernels.conv import algorithm
from wct_jax.kernels.pooling import max_pool
from wct_jax.networks.digest import encoder_digest
from wct_jax.networks.pooling import pool_weights, size_at
from wct_jax.networks.taps import choose_taps, read
from wct_jax.networks.vgg import LAYERS, encoder_shapes

WIDTHS = (4, 6, 8, 8, 8)

pytestmark = pytest.mark.usefixtures("quick")


@pytest.mark.core
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (16, 16), (17, 33)])
def test_every_layer_encodes_and_decodes_any_size(model, size):
    features = jax.jit(model.encode)(np.full((*size, 3), 0.5, np.float32))
    assert list(features) == list(LAYERS)
    decode = jax.jit(model.decode, static_argnums=0)
    for depth, (layer, feature) in enumerate(features.items()):
        cells = tuple(-(-side // 2**depth) for side in size)
        assert feature.shape == (*cells, WIDTHS[depth])
        assert decode(layer, feature).shape == (*(side * 2**depth for side in cells), 3)


def test_only_the_taps_asked_for_and_no_deeper(model, rng):
    image = rng.uniform(size=(16, 16, 3)).astype(np.float32)
    features = model.encode(image, ("relu2_1",))
    assert list(features) == ["relu2_1"]
    np.testing.assert_array_equal(features["relu2_1"], model.encode(image)["relu2_1"])
    with algorithm("direct"):
        shallow = jax.jit(lambda x: model.encode(x, ("relu2_1",))).lower(image).as_text()
    assert shallow.count("stablehlo.convolution") == 3


def test_pooling_keeps_odd_rows_and_columns(rng):
    encoder = Encoder((3, 3))
    identity = np.zeros((3, 3, 3, 3), np.float32)
    identity[1, 1] = np.eye(3)
    layer = {"kernel": identity, "bias": np.zeros(3, np.float32)}
    image = rng.uniform(size=(3, 5, 3)).astype(np.float32)
    got = encoder.apply({"params": dict.fromkeys(encoder_shapes((3, 3)), layer)}, image)["relu2_1"]
    expected = [[image[y : y + 2, x : x + 2].max((0, 1)) for x in (0, 2, 4)] for y in (0, 2)]
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("size", [(3, 5), pytest.param((4, 6), marks=pytest.mark.slow), (1, 2)])
def test_gradient_of_pooling_goes_to_the_largest(rng, size):
    x = jnp.asarray(rng.permutation(size[0] * size[1] * 2).reshape(*size, 2), jnp.float32)
    weights = jnp.asarray(rng.normal(size=(-(-size[0] // 2), -(-size[1] // 2), 2)), jnp.float32)
    got = jax.grad(lambda x: (max_pool(x) * weights).sum())(x)
    cells, spread = (each.repeat(2, 0).repeat(2, 1)[: size[0], : size[1]] for each in (max_pool(x), weights))
    np.testing.assert_array_equal(got, jnp.where(x == cells, spread, 0))


def test_gradient_of_pooling_is_shared_between_equals():
    gradient = jax.grad(lambda x: max_pool(x).sum())(jnp.ones((3, 4, 1)))
    np.testing.assert_allclose(gradient[..., 0], [[0.25] * 4] * 2 + [[0.5] * 4])


def test_leading_dimensions(model, rng):
    images = rng.uniform(size=(2, 3, 9, 7, 3)).astype(np.float32)
    encode, decode = jax.jit(model.encode, static_argnums=1), jax.jit(model.decode, static_argnums=0)
    feature = encode(images, ("relu3_1",))["relu3_1"]
    single = encode(images[1, 2], ("relu3_1",))["relu3_1"]
    np.testing.assert_allclose(feature[1, 2], single, atol=1e-5)
    np.testing.assert_allclose(decode("relu3_1", feature)[1, 2], decode("relu3_1", single), atol=1e-5)


def test_last_convolution_is_linear(model):
    black = model.decode("relu1_1", -jnp.ones((2, 2, 4)))
    np.testing.assert_allclose(black, -model.decode("relu1_1", jnp.ones((2, 2, 4))), atol=1e-6)


@pytest.mark.core
def test_model_passes_through_jit(model, rng):
    image = rng.uniform(size=(8, 8, 3)).astype(np.float32)

    @jax.jit
    def feature(model, image):
        assert isinstance(model, Model)
        assert model.widths == WIDTHS
        return model.encode(image, ("relu1_1",))["relu1_1"]

    np.testing.assert_allclose(feature(model, image), model.encode(image)["relu1_1"], atol=1e-6)
    assert jax.tree.structure(model) == jax.tree.structure(jax.tree.map(lambda x: x + 0, model))


@pytest.fixture
def other(model):
    """The same shapes, other values."""
    other = jax.tree.map(lambda x: x / 2, model)
    return dataclasses.replace(other, digest=encoder_digest(other.encoder), document='{"licence": "MIT"}')


def test_models_that_differ_in_their_documents_share_what_is_compiled(model):
    one, other = (dataclasses.replace(model, document=document) for document in ('{"n": 1}', '{"n": 2}'))
    double = jax.jit(lambda model: jax.tree.map(lambda x: 2 * x, model))
    # The results could only have the document of the first.
    assert [double(each).metadata for each in (one, other)] == [{}, {}]
    assert double._cache_size() == 1
    assert jax.tree.map(lambda x: 2 * x, other).metadata == {"n": 2}
    assert jax.tree.map(lambda x, y: x + y, one, other).metadata == {"n": 1}
    assert jax.device_put(other, jax.devices()[1]).metadata == {"n": 2}
    assert other.bare.digest == ""
    assert next(path[0].name for path, _ in jax.tree.leaves_with_path(other)) == "encoder"


@pytest.mark.parametrize("jitted", [False, True])
def test_models_of_equal_shapes_share_the_networks_and_not_the_digest(model, other, rng, caplog, jitted):
    extract, repaint = (
        lambda model, image: extract_style(model, image, "relu1_1"),
        lambda model, image, style: stylize(model, image, style, layers="relu1_1", method="cascade"),
    )
    if jitted:
        extract, repaint = jax.jit(extract), jax.jit(repaint)
    image = jnp.asarray(rng.random((8, 8, 3)), jnp.float32)
    with jax.log_compiles():
        styles = [extract(each, image) for each in (model, other)]
        pictures = [repaint(each, image, style) for each, style in zip((model, other), styles, strict=True)]
    assert [style.digest for style in styles] == [model.digest, other.digest]
    assert np.abs(pictures[0] - pictures[1]).max() > 1e-3
    with pytest.raises(ValueError, match="the style was made with another encoder"):
        repaint(model, image, styles[1])
    if not jitted:
        for name in ("extract_from_canvas", "stylize_level"):
            assert sum(f"Compiling jit({name})" in message for message in caplog.messages) == 1


def test_layers_are_deepest_first(model, several):
    assert model.layers == tuple(reversed(LAYERS))
    assert [several.widths_at(layer) for layer in several.layers] == [(4, 6, 8), (3, 5), (7,)]


@pytest.mark.slow
def test_pool_weights_averages_the_pixels_of_each_cell():
    weights = jnp.arange(15.0).reshape(3, 5)
    np.testing.assert_allclose(pool_weights(weights, "relu1_1"), weights)
    np.testing.assert_allclose(pool_weights(weights, "relu2_1"), [[3, 5, 6.5], [10.5, 12.5, 14]])
    np.testing.assert_allclose(pool_weights(jnp.ones((9, 7)), "relu5_1"), [[1]])


@pytest.mark.slow
@pytest.mark.parametrize("size", [(9, 13), (2, 3), (16, 16)])
def test_pooling_ends_where_the_image_does(rng, size):
    height, width = size
    canvas = np.full((16, 16, 3), 7, np.float32)  # Larger than anything in the image.
    canvas[:height, :width] = image = rng.random((height, width, 3), np.float32)
    weights = np.full((16, 16), 7, np.float32)
    weights[:height, :width] = image[..., 0]
    rows, columns = -(-height // 2), -(-width // 2)
    pooled = max_pool(canvas, jnp.asarray(size))
    np.testing.assert_array_equal(pooled[:rows, :columns], max_pool(image))
    for layer in LAYERS:
        got, expected = pool_weights(weights, layer, jnp.asarray(size)), pool_weights(image[..., 0], layer)
        rows, columns = expected.shape
        assert size_at(layer, jnp.asarray(size)).tolist() == [rows, columns]
        # In a cell of one row the canvas has zeros for the other.
        np.testing.assert_allclose(got[:rows, :columns], expected, rtol=1e-6)
        assert float(got[rows:].sum() + got[:, columns:].sum()) == 0


def test_pooling_has_no_constants_of_the_size_of_the_image():
    # XLA folds those of a reduction over windows, which takes minutes for a large image.
    weights, size = jax.ShapeDtypeStruct((3328, 3328), jnp.float32), jax.ShapeDtypeStruct((2,), jnp.int32)
    text = jax.jit(lambda weights, size: pool_weights(weights, "relu5_1", size)).lower(weights, size).as_text()
    assert "reduce_window" not in text


def test_bad_calls_are_refused(model):
    image = jnp.zeros((4, 4, 3))
    for call, message in (
        (lambda: model.encode(image, ("relu9_1",)), r"has layers .*got relu9_1"),
        (lambda: model.encode(jnp.zeros((4, 4, 4))), r"\[..., H, W, 3\].*\(4, 4, 4\)"),
        (lambda: model.decode("relu9_1", image), "no decoder for relu9_1"),
        (lambda: model.decode("relu1_1", image), r"relu1_1 must be \[..., H, W, 4\]"),
        (lambda: Decoder("relu3_1", (4, 4)).init(jax.random.key(0), image), "needs 3 widths"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_each_layer_is_read_from_the_first_encoder_that_has_it(model, rng):
    shallow = Model({name: model.encoder[name] for name in encoder_shapes(WIDTHS[:2])}, {}, WIDTHS[:2])
    taps = choose_taps((shallow, model), LAYERS[:4])
    assert [(tap.model.widths, tap.layers) for tap in taps] == [(WIDTHS[:2], LAYERS[:2]), (WIDTHS, LAYERS[2:4])]
    assert not taps[1].model.decoders
    (tap,) = choose_taps((model, shallow), LAYERS)
    assert (tap.model.digest, tap.layers) == (model.digest, LAYERS)
    image = jnp.asarray(rng.random((8, 8, 3)), jnp.float32)
    features = jax.jit(read)(taps, image)
    assert set(features) == set(LAYERS[:4])
    np.testing.assert_allclose(features["relu4_1"], model.encode(image)["relu4_1"], rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="none of the encoders has relu3_1: they end at relu2_1"):
        choose_taps((shallow,), LAYERS)

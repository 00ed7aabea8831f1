import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wct_jax.convert.assembly import auxiliary_parameters, decoder_parameters, encoder_parameters, fold
from wct_jax.convert.checkpoint import Checkpoint, Convolution, Preprocessing
from wct_jax.kernels.conv import conv3x3
from wct_jax.networks.modules import Decoder, Encoder
from wct_jax.networks.vgg import LAYERS, decoder_shapes, encoder_shapes

WIDTHS = (4, 5, 6, 7, 8)
IDENTITY = Preprocessing("none", np.eye(3), np.zeros(3))


def checkpoint(chain, preprocessing, **fields):
    convolutions = [Convolution(f"layer {number}", *layer) for number, layer in enumerate(chain)]
    return Checkpoint("test", convolutions, preprocessing, normalised=True, **fields)


def convolve(x, kernel, bias):
    """A reflection-padded 3x3 convolution by its definition, in float64."""
    height, width, _ = x.shape
    x = np.pad(x, ((1, 1), (1, 1), (0, 0)), "reflect")
    return bias + sum(
        x[row : row + height, column : column + width] @ kernel[row, column] for row in range(3) for column in range(3)
    )


def assert_parameters(parameters, shapes, chain):
    assert list(parameters) == list(shapes)
    for (name, (inputs, outputs)), (kernel, bias) in zip(shapes.items(), chain, strict=True):
        assert kernel.shape == (3, 3, inputs, outputs)
        assert parameters[name]["kernel"].dtype == parameters[name]["bias"].dtype == jnp.float32
        np.testing.assert_array_equal(parameters[name]["kernel"], kernel)
        np.testing.assert_array_equal(parameters[name]["bias"], bias)


# Folding


@given(seed=st.integers(0, 2**32 - 1), height=st.integers(2, 6), width=st.integers(2, 6))
def test_folding_is_exact_borders_included(seed, height, width):
    rng = np.random.default_rng(seed)
    matrix, offset = rng.normal(scale=255, size=(3, 3)), rng.normal(scale=100, size=3)
    layer = Convolution("first", *(rng.normal(size=shape).astype(np.float32) for shape in ((3, 3, 3, 4), 4)))
    image = rng.uniform(size=(height, width, 3))
    expected = convolve(image @ matrix.T + offset, layer.kernel, layer.bias)
    folded = fold(layer, Preprocessing("random", matrix, offset))
    np.testing.assert_allclose(convolve(image, folded.kernel, folded.bias), expected, rtol=0, atol=1e-10)
    assert folded.name == "first"


def test_the_folded_network_is_the_network_of_the_preprocessed_image(layers, rng):
    preprocessing = Preprocessing("BGR 0..255", 255 * np.eye(3)[::-1], -np.array([103.939, 116.779, 123.68]))
    parameters, widths = encoder_parameters(checkpoint(layers(1, WIDTHS), preprocessing))
    image = rng.uniform(size=(7, 9, 3)).astype(np.float32)
    kernel, bias = layers(1, WIDTHS)[0]
    seen = (image[..., ::-1] * 255 - np.array([103.939, 116.779, 123.68])).astype(np.float32)
    expected = np.maximum(conv3x3(jnp.asarray(seen), jnp.asarray(kernel), jnp.asarray(bias)), 0)
    feature = Encoder(widths).apply({"params": parameters}, image)["relu1_1"]
    np.testing.assert_allclose(feature, expected, rtol=0, atol=1e-5 * expected.max())


# Naming


@pytest.mark.parametrize(
    ("depth", "kept"), [(1, 1), (2, 1), (3, 3), (4, 3), (5, 5), (8, 5), (9, 9), (13, 13), (16, 13)]
)
def test_an_encoder_is_named_down_to_its_last_tap(layers, depth, kept):
    parameters, widths = encoder_parameters(checkpoint(layers(depth, WIDTHS), IDENTITY))
    assert widths == WIDTHS[: {1: 1, 3: 2, 5: 3, 9: 4, 13: 5}[kept]]
    assert_parameters(parameters, encoder_shapes(widths), layers(depth, WIDTHS)[:kept])


@pytest.mark.parametrize(("layer", "depth"), list(zip(LAYERS, (1, 3, 5, 9, 13), strict=True)))
def test_a_decoder_says_by_its_length_what_it_inverts(decoder, layer, depth):
    found, parameters = decoder_parameters(checkpoint(decoder(depth, WIDTHS), None), WIDTHS)
    assert found == layer
    assert_parameters(parameters, decoder_shapes(layer, WIDTHS), decoder(depth, WIDTHS))


def test_what_is_named_is_what_the_networks_take(layers, decoder):
    encoder, widths = encoder_parameters(checkpoint(layers(5, WIDTHS), IDENTITY))
    layer, parameters = decoder_parameters(checkpoint(decoder(5, WIDTHS), None), widths)
    image = jax.ShapeDtypeStruct((6, 8, 3), jnp.float32)
    feature = jax.eval_shape(lambda x: Encoder(widths).apply({"params": encoder}, x)[layer], image)
    assert feature.shape == (2, 2, 6)
    assert jax.eval_shape(lambda x: Decoder(layer, widths).apply({"params": parameters}, x), feature).shape == (8, 8, 3)


def test_the_other_kind_of_network(layers, decoder):
    with pytest.raises(ValueError, match=r"expected an encoder, got a decoder \(test\)"):
        encoder_parameters(checkpoint(decoder(3, WIDTHS), None))
    with pytest.raises(ValueError, match=r"expected a decoder, got an encoder \(test\)"):
        decoder_parameters(checkpoint(layers(3, WIDTHS), IDENTITY), WIDTHS)


def test_a_decoder_that_does_not_fit(decoder):
    with pytest.raises(ValueError, match=r"as one of 1 \(relu1_1\), 3 \(relu2_1\), got 5"):
        decoder_parameters(checkpoint(decoder(5, WIDTHS), None), WIDTHS[:2])
    message = "its layer 0 maps 6 channels to 5, but conv3_1 of a decoder of relu3_1 for this encoder maps 9 to 5"
    with pytest.raises(ValueError, match=message):
        decoder_parameters(checkpoint(decoder(5, WIDTHS), None), (4, 5, 9))


def test_auxiliary_maps_of_the_taps_that_are_left():
    maps = {
        layer: Convolution(layer, np.full((1, 1, width, 9), width, np.float32), np.zeros(9, np.float32))
        for layer, width in zip(LAYERS, WIDTHS, strict=True)
    }
    found = auxiliary_parameters(checkpoint([], IDENTITY, auxiliary=maps), 3)
    assert list(found) == ["relu1_1", "relu2_1", "relu3_1"]
    np.testing.assert_array_equal(found["relu3_1"]["kernel"], maps["relu3_1"].kernel)
    del maps["relu2_1"]
    assert list(auxiliary_parameters(checkpoint([], IDENTITY, auxiliary=maps), 5)) == [*LAYERS[:1], *LAYERS[2:]]
    assert auxiliary_parameters(checkpoint([], IDENTITY), 5) == {}


def test_a_preprocessing_that_leaves_the_range_of_single_precision(layers):
    chain = layers(1, WIDTHS)
    chain[0][0][0, 0, 0, 0] = 3e38
    with pytest.raises(ValueError, match="layer 0 holds values that are NaN or infinite"):
        encoder_parameters(checkpoint(chain, Preprocessing("large", 255 * np.eye(3), np.zeros(3))))

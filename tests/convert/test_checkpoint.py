import ml_dtypes
import numpy as np
import pytest

from wct_jax.convert.checkpoint import CheckpointError, Convolution, Preprocessing, assemble, in_vgg_order

RGB = Preprocessing("none", np.eye(3), np.zeros(3))


def named(layers):
    return [Convolution(f"L{number}", *layer) for number, layer in enumerate(layers)]


@pytest.mark.parametrize("depth", range(1, 17))
def test_encoder_of_any_depth(layers, assert_holds, depth):
    checkpoint = assemble("kind", named(layers(depth)), RGB, normalised=True)
    assert_holds(checkpoint, layers(depth))
    assert checkpoint.normalised
    assert checkpoint.auxiliary == {}


@pytest.mark.parametrize("depth", [1, 3, 5, 9, 13])
def test_decoder_of_any_depth(decoder, assert_holds, depth):
    assert_holds(assemble("kind", named(decoder(depth)), None), decoder(depth))


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64, np.dtype(">f4")])
def test_other_floating_dtypes_become_float32(layers, dtype):
    (kernel, bias) = layers(1)[0]
    given = Convolution("L0", kernel.astype(dtype), bias.astype(dtype))
    layer = assemble("kind", [given], RGB).convolutions[0]
    assert layer.kernel.dtype == np.float32
    assert layer.kernel.dtype.isnative
    np.testing.assert_array_equal(layer.kernel, given.kernel.astype(np.float32))
    np.testing.assert_array_equal(layer.bias, given.bias.astype(np.float32))


def test_arrays_are_contiguous_copies(layers):
    kernel, bias = layers(1)[0]
    layer = assemble("kind", [Convolution("L0", np.asfortranarray(kernel), bias)], RGB).convolutions[0]
    assert layer.kernel.flags.c_contiguous
    assert not np.shares_memory(layer.bias, bias)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
@pytest.mark.parametrize("part", ["kernel", "bias"])
def test_values_that_are_not_finite(layers, value, part):
    wide = [(kernel.astype(np.float64), bias.astype(np.float64)) for kernel, bias in layers(5)]
    given = named(wide)
    getattr(given[2], part)[..., -1] = value
    with pytest.raises(CheckpointError, match="layer L2 holds values that are NaN or infinite"):
        assemble("kind", given, RGB)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda chain: [(chain[0][0].astype(np.int8), chain[0][1])], "L0 holds int8 values, expected floating point"),
        (lambda chain: [], "no 3x3 convolutions"),
        (lambda chain: [*chain, chain[-1]], "it has 17 convolutions, expected at most VGG-19's 16"),
        (lambda chain: [(chain[0][0], chain[2][1])], r"layer L0 has a bias of shape \[5\], expected \[4\]"),
        (lambda chain: [chain[0], chain[3]], "layer L1 takes 5 channels but L0 before it gives 4"),
        (lambda chain: chain[1:3], "L0 has 4 channels on the picture's side, expected 3"),
        # VGG-16's third block ends after three convolutions: its eighth widens to the fourth block's width.
        (
            lambda chain: [*chain[:7], *chain[8:11]],
            r"L7, in the place of VGG-19's conv3_4, has 7 channels .* block has 6",
        ),
    ],
)
def test_other_encoders(layers, change, sentence):
    with pytest.raises(CheckpointError, match=sentence):
        assemble("kind", named(change(layers(16))), RGB)


def test_decoder_that_does_not_end_in_a_picture(decoder):
    with pytest.raises(CheckpointError, match="L1 has 4 channels on the picture's side, expected 3"):
        assemble("kind", named(decoder(3)[:-1]), None)


@pytest.mark.parametrize("shape", [(3, 3, 3), (5, 5, 3, 4), (3, 1, 3, 4), (3, 3, 3, 0), (64, 3, 3, 3)])
def test_kernels_that_are_not_3x3(shape):
    with pytest.raises(CheckpointError, match=r"layer L0 has a kernel of shape .*, expected \[3, 3, in, out\]"):
        assemble("kind", named([(np.zeros(shape, np.float32), np.zeros(4, np.float32))]), RGB)


def test_auxiliary_maps_are_keyed_by_tap(layers):
    kernel = np.ones((1, 1, 6, 9), np.float64)
    checkpoint = assemble(
        "kind", named(layers(5)), RGB, auxiliary={(3, 1): Convolution("aux", kernel, np.zeros(9, np.float64))}
    )
    assert list(checkpoint.auxiliary) == ["relu3_1"]
    assert checkpoint.auxiliary["relu3_1"].kernel.dtype == np.float32


@pytest.mark.parametrize(("place", "inputs"), [((3, 1), 5), ((4, 1), 7)])
def test_auxiliary_map_that_does_not_fit(layers, place, inputs):
    layer = Convolution("aux", np.ones((1, 1, inputs, 9), np.float32), np.zeros(9, np.float32))
    with pytest.raises(CheckpointError, match="aux does not fit the output of conv"):
        assemble("kind", named(layers(5)), RGB, auxiliary={place: layer})


def test_order_does_not_depend_on_the_files():
    assert in_vgg_order({(2, 1): "c", (1, 1): "a", (1, 2): "b"}) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        ([(1, 1), (2, 1)], "it has conv2_1 but no conv1_2"),
        ([(1, 2)], "it has conv1_2 but no conv1_1"),
        ([(1, 1), (1, 2), (1, 3)], "it has a conv1_3, which VGG-19 does not have"),
    ],
)
def test_other_networks_by_name(found, sentence):
    with pytest.raises(CheckpointError, match=sentence):
        in_vgg_order(dict.fromkeys(found, "x"))

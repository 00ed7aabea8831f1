"""Which preprocessing weights expect: by whose they are, and by names and scale together."""

import numpy as np
import pytest
import safetensors.torch
import torch

from wct_jax.convert.checkpoint import CheckpointError, Convolution
from wct_jax.convert.conversion import convert
from wct_jax.convert.preprocessing import (
    _CAFFE_BIAS,
    _CAFFE_FILTER,
    _CAFFE_KERNEL,
    _TORCHVISION_KERNEL,
    PREPROCESSINGS,
    find_preprocessing,
    whose_weights,
)
from wct_jax.convert.reading import read_checkpoint

TORCHVISION = [0, 2, 5, 7, 10]
CAFFE_CLASSIFIERS = [(1, 4, 6), (1, 4, 7), (1,)]
TORCHVISION_CLASSIFIERS = [(0, 3, 6), (0,), ()]


def first(scale=0.11, width=64):
    """A conv1_1 that nobody has published; the scale is that of PyTorch's own initialisation."""
    rng = np.random.default_rng(3)
    kernel = rng.normal(scale=scale, size=(3, 3, 3, width)).astype(np.float32)
    return Convolution("first", kernel, rng.normal(scale=scale, size=width).astype(np.float32))


def caffe(is_rgb=False, scale=1.0):
    """A conv1_1 with the filter that Caffe's is known by."""
    _, kernel, bias = first()
    planes = _CAFFE_KERNEL[::-1] if is_rgb else _CAFFE_KERNEL
    kernel[..., _CAFFE_FILTER] = scale * planes.T.reshape(3, 3, 3)
    bias[_CAFFE_FILTER] = scale * _CAFFE_BIAS
    return Convolution("first", kernel, bias)


def torchvision(scale=1.0):
    _, kernel, bias = first()
    kernel[..., 0] = scale * _TORCHVISION_KERNEL.T.reshape(3, 3, 3)
    return Convolution("first", kernel, bias)


def filled(shape, value, dtype=np.float32):
    return Convolution("first", np.full(shape, value, dtype), np.zeros(shape[3], dtype))


def half(layer):
    return Convolution(layer.name, layer.kernel.astype(np.float16), layer.bias.astype(np.float16))


@pytest.mark.parametrize(
    ("layer", "whose"),
    [
        (caffe(), "caffe"),
        (caffe(is_rgb=True), "caffe-rgb"),
        (caffe(scale=0.06), "caffe"),  # Scaled to mean activation 1.
        (half(caffe()), "caffe"),
        (torchvision(), "torchvision"),
        (half(torchvision()), "torchvision"),
        (torchvision(scale=4.4), None),  # For inputs that were not divided by a deviation.
        (torchvision(scale=1 / 255), None),
        (first(), None),
        (first(width=8), None),
        (first(scale=0), None),
        (filled((3, 3, 3, 64), np.nan), None),
        (filled((3, 3, 3, 64), 1e300, np.float64), None),
        (filled((1, 1, 3, 64), 0), None),
        (filled((3, 3, 3, 0), 0), None),
    ],
)
def test_published_weights_are_known(layer, whose):
    assert whose_weights(layer) == whose


@pytest.mark.parametrize("names_say", ["torchvision", "caffe", None])
@pytest.mark.parametrize("whose", [caffe, torchvision])
def test_whose_they_are_outweighs_names(names_say, whose):
    assert find_preprocessing(whose(), names_say, None) is PREPROCESSINGS[whose.__name__]


@pytest.mark.parametrize("given", PREPROCESSINGS)
@pytest.mark.parametrize("layer", [first(), first(scale=1e-4), caffe(), torchvision()])
def test_what_the_user_says_outweighs_all(given, layer):
    for names_say in ("torchvision", "caffe", None):
        assert find_preprocessing(layer, names_say, given) is PREPROCESSINGS[given]


@pytest.mark.parametrize(
    ("names_say", "scale", "is_clear"),
    [
        ("torchvision", 0.059, True),  # torchvision's own initialisation.
        ("torchvision", 0.11, True),
        ("torchvision", 1, True),
        ("torchvision", 0.11 / 58, False),
        ("torchvision", 0.11 / 255, False),
        ("torchvision", 0.11 * 58, False),
        ("torchvision", 0, False),
        ("caffe", 0.19, True),
        ("caffe", 0.19 / 58, True),
        ("caffe", 0.19 * 255, False),
        (None, 0.11, False),
        (None, 0.002, False),
    ],
)
def test_names_count_where_the_scale_fits(names_say, scale, is_clear):
    if is_clear:
        assert find_preprocessing(first(scale), names_say, None) is PREPROCESSINGS[names_say]
        return
    sentence = r"not clear what preprocessing .* say which by --preprocessing, one of caffe, caffe-rgb"
    with pytest.raises(CheckpointError, match=sentence):
        find_preprocessing(first(scale), names_say, None)


def test_what_the_preprocessings_do():
    rgb = np.array([0.2, 0.5, 0.9])
    expected = {
        "caffe": 255 * rgb[::-1] - [103.939, 116.779, 123.68],
        "caffe-rgb": 255 * rgb - [123.68, 116.779, 103.939],
        "torchvision": (rgb - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
        "none": rgb,
    }
    assert list(expected) == list(PREPROCESSINGS)
    for name, (_, matrix, offset) in PREPROCESSINGS.items():
        np.testing.assert_allclose(matrix @ rgb + offset, expected[name])


# Through the files


def save(path, state):
    if path.suffix == ".pth":
        torch.save(state, path)
    else:
        safetensors.torch.save_file(state, path)
    return path


@pytest.fixture
def tensors(layers, state_dict):
    """The state dict of VGG-19's first convolutions and a classifier's dense layers."""

    def tensors(classifier, conv1_1=None, name="features.{}"):
        chain = layers(5)
        if conv1_1 is not None:
            chain = [conv1_1[1:], *layers(5, (64, 5, 6))[1:]]
        state = state_dict(map(name.format, TORCHVISION), chain)
        for number in classifier:
            state |= {f"classifier.{number}.weight": torch.zeros(2, 3), f"classifier.{number}.bias": torch.zeros(2)}
        return state

    return tensors


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    ("classifier", "expected"),
    [*((c, "caffe") for c in CAFFE_CLASSIFIERS), *((c, "torchvision") for c in TORCHVISION_CLASSIFIERS)],
)
def test_the_classifiers_names_count(tmp_path, tensors, suffix, classifier, expected):
    checkpoint = read_checkpoint(save(tmp_path / f"x{suffix}", tensors(classifier)))
    assert checkpoint.preprocessing is PREPROCESSINGS[expected]
    assert ("torchvision VGG-19" in checkpoint.kind) == (expected == "torchvision")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("classifier", [(0, 3, 6), ()])
def test_caffes_weights_under_torchvisions_names(tmp_path, tensors, dtype, classifier):
    state = {name: tensor.to(dtype) for name, tensor in tensors(classifier, caffe()).items()}
    assert read_checkpoint(save(tmp_path / "x.pth", state)).preprocessing is PREPROCESSINGS["caffe"]


def test_timms_names(tmp_path, tensors):
    state = tensors((), torchvision())
    state |= {"pre_logits.fc1.weight": torch.zeros(4, 2, 7, 7), "head.fc.weight": torch.zeros(5, 4)}
    checkpoint = read_checkpoint(save(tmp_path / "x.safetensors", state))
    assert checkpoint.preprocessing is PREPROCESSINGS["torchvision"]


def test_scales_that_contradict_the_names(tmp_path, tensors, refusal):
    path = save(tmp_path / "x.pth", tensors((0, 3, 6), first(0.11 / 58)))
    assert "its names say torchvision, and the filters of features.0 have a median norm of" in refusal(path)
    for name, expected in PREPROCESSINGS.items():
        assert read_checkpoint(path, name).preprocessing is expected


@pytest.mark.parametrize(("conv1_1", "expected"), [(caffe(), "caffe"), (torchvision(), "torchvision")])
def test_features_alone_as_a_sequential(tmp_path, tensors, refusal, conv1_1, expected):
    path = save(tmp_path / "x.pth", tensors((), conv1_1, name="{}"))
    assert read_checkpoint(path).preprocessing is PREPROCESSINGS[expected]
    unknown = save(tmp_path / "y.pth", tensors((), name="{}"))
    sentence = refusal(unknown)
    assert "expected an encoder that begins with a 1x1 convolution" in sentence
    assert "--preprocessing says" in sentence
    checkpoint = read_checkpoint(unknown, "torchvision")
    assert checkpoint.preprocessing is PREPROCESSINGS["torchvision"]
    assert not checkpoint.normalised


def test_caffes_names(tmp_path, layers, state_dict, assert_holds, refusal):
    names = ["conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1"]
    chain = layers(5, (64, 5, 6))
    chain[0] = caffe(scale=0.06)[1:]
    dense = {"fc6.weight": torch.zeros(2, 2), "fc6.bias": torch.zeros(2)}
    checkpoint = read_checkpoint(save(tmp_path / "x.pth", state_dict(names, chain) | dense))
    assert checkpoint.kind == "VGG-19 state dict with Caffe's names"
    assert checkpoint.preprocessing is PREPROCESSINGS["caffe"]
    assert_holds(checkpoint, chain)
    path = save(tmp_path / "y.pth", state_dict(names, layers(5)))
    assert "its names do not tell, " in refusal(path)
    assert read_checkpoint(path, "caffe").preprocessing is PREPROCESSINGS["caffe"]


@pytest.mark.parametrize("kind", ["keras.h5", "npz", "mat"])
def test_the_user_may_say_it_of_every_kind(valid_files, kind):
    assert read_checkpoint(valid_files[kind], "none").preprocessing is PREPROCESSINGS["none"]


@pytest.mark.parametrize("kind", ["zip.pth", "legacy.pth", "safetensors", "t7"])
def test_what_a_network_brings_along_cannot_be_replaced(valid_files, refusal, kind):
    sentence = "is its preprocessing, a 1x1 convolution of RGB in 0..1: leave out --preproc"
    assert sentence in refusal(valid_files[kind], "caffe")


def test_unknown_names(valid_files):
    expected = "^unknown preprocessing 'bgr', expected one of caffe, caffe-rgb, torchvision, none$"
    with pytest.raises(ValueError, match=expected):
        read_checkpoint(valid_files["npz"], "bgr")
    with pytest.raises(ValueError, match=expected):
        convert("nowhere", preprocessing="bgr")


def test_the_real_weights_are_known(shared, tmp_path):
    weights = np.load(shared / "weights" / "vgg19_keras_conv1_to_conv3.npz")
    kernel, bias = weights["block1_conv1/kernel"], weights["block1_conv1/bias"]
    for flip, whose in ((slice(None), "caffe"), (slice(None, None, -1), "caffe-rgb")):
        layer = Convolution("first", kernel[:, :, flip], bias)
        assert whose_weights(layer) == whose
        assert whose_weights(half(layer)) == whose
    assert read_checkpoint(shared / "weights" / "vgg19_keras_conv1_to_conv3.npz").preprocessing.matrix[0, 2] == 255
    normalised = read_checkpoint(shared / "weights" / "vgg19_normalised" / "vgg_normalised_conv3_1.pth")
    assert whose_weights(normalised.convolutions[0]) == "caffe"

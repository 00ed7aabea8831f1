import collections

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from wct_jax.convert.reading import read_checkpoint

TORCHVISION = [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34]
# The network of https://github.com/naoto0804/pytorch-AdaIN: padding and ReLU around each, pooling between blocks.
NORMALISED = [0, 2, 5, 9, 12, 16, 19, 22, 25, 29, 32, 35, 38, 42, 45, 48, 51]
DECODER = [1, 5, 8, 11, 14, 18, 21, 25, 28]


@pytest.fixture(params=["torch", "safetensors"])
def save(request, tmp_path):
    def save(state):
        path = tmp_path / "network"
        if request.param == "torch":
            torch.save(state, path)
        else:
            safetensors.torch.save_file(state, path)
        return path

    return save


@pytest.mark.parametrize("depth", [1, 9, 16])
def test_torchvision(save, state_dict, layers, assert_holds, depth):
    state = state_dict([f"features.{index}" for index in TORCHVISION[:depth]], layers(depth))
    state["classifier.0.weight"], state["classifier.0.bias"] = torch.zeros(2, 8), torch.zeros(2)
    checkpoint = read_checkpoint(save(state))
    assert_holds(checkpoint, layers(depth))
    assert checkpoint.kind == "torchvision VGG-19 state dict"
    assert not checkpoint.normalised
    assert checkpoint.convolutions[0].name == "features.0"
    rgb = np.array([0.2, 0.5, 0.9])
    expected = (rgb - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(checkpoint.preprocessing.matrix @ rgb + checkpoint.preprocessing.offset, expected)


@pytest.mark.parametrize("prefix", ["module.features.{}", "features.module.{}", "module.module.features.{}"])
def test_data_parallel(save, state_dict, layers, assert_holds, prefix):
    state = state_dict([prefix.format(index) for index in TORCHVISION[:3]], layers(3))
    assert_holds(read_checkpoint(save(state)), layers(3))


def test_channels_and_space_are_not_mixed_up(save, layers):
    kernel, bias = layers(1)[0]
    convolution = nn.Conv2d(3, 4, 3)
    convolution.load_state_dict(
        {"weight": torch.from_numpy(kernel.transpose(3, 2, 0, 1)), "bias": torch.from_numpy(bias)}
    )
    picture = np.random.default_rng(0).normal(size=(3, 3, 3)).astype(np.float32)
    expected = convolution(torch.from_numpy(picture.transpose(2, 0, 1))[None]).detach().numpy().ravel()
    state = {f"features.0.{name}": tensor.contiguous() for name, tensor in convolution.state_dict().items()}
    layer = read_checkpoint(save(state)).convolutions[0]
    np.testing.assert_allclose(np.einsum("hwi,hwio->o", picture, layer.kernel) + layer.bias, expected, rtol=1e-5)


def test_vgg16(save, state_dict, layers, refusal):
    # torchvision.models.vgg16().features
    indices = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    message = refusal(save(state_dict([f"features.{index}" for index in indices], layers(13))))
    assert "it has layers at features 0, 2, 5, 7, 10, 12, 14, 17, 19" in message
    assert "expected VGG-19's convolutions at 0, 2, 5, 7, 10, 12, 14, 16, 19" in message


def test_batch_normalisation(save, refusal):
    network = nn.Module()
    network.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    assert "it holds batch normalisation, features.1.running_mean" in refusal(save(network.state_dict()))
    sequential = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    assert "', expected the weight and bias of VGG-19's convolutions only" in refusal(save(sequential.state_dict()))


@pytest.mark.parametrize("depth", [1, 2, 5, 13, 16])
def test_normalised_vgg(save, state_dict, layers, colour, assert_holds, depth):
    state = state_dict(NORMALISED[: depth + 1], [colour, *layers(depth)])
    checkpoint = read_checkpoint(save(state))
    assert_holds(checkpoint, layers(depth))
    assert checkpoint.kind == "normalised VGG-19, Sequential state dict"
    assert checkpoint.normalised
    np.testing.assert_array_equal(checkpoint.preprocessing.matrix, colour[0][0, 0].T)
    np.testing.assert_array_equal(checkpoint.preprocessing.offset, colour[1])
    assert checkpoint.preprocessing.matrix.dtype == np.float64


def test_preprocessing_is_what_the_convolution_does(save, state_dict, layers, colour):
    state = state_dict(["0", "2"], [colour, *layers(1)])
    rgb = np.array([0.2, 0.5, 0.9], np.float32)
    expected = torch.conv2d(torch.from_numpy(rgb)[None, :, None, None], state["0.weight"], state["0.bias"]).numpy()
    preprocessing = read_checkpoint(save(state)).preprocessing
    np.testing.assert_allclose(preprocessing.matrix @ rgb + preprocessing.offset, expected.ravel(), rtol=1e-5)


@pytest.mark.parametrize("depth", [1, 3, 5, 9])
def test_sequential_decoder(save, state_dict, decoder, assert_holds, depth):
    # Backwards, since the order is that of the numbers: 5 comes before 11.
    state = dict(reversed(state_dict(DECODER[-depth:], decoder(depth)).items()))
    checkpoint = read_checkpoint(save(state))
    assert_holds(checkpoint, decoder(depth))
    assert checkpoint.kind == "decoder, Sequential state dict"
    assert checkpoint.preprocessing is None
    assert not checkpoint.normalised


def test_sequentials_that_lack_something(save, state_dict, layers, colour, refusal):
    message = refusal(save(state_dict(["0", "2"], layers(2))))
    assert "expected an encoder that begins with a 1x1 convolution of RGB or a decoder" in message
    assert "it has no 3x3 convolutions" in refusal(save(state_dict(["0"], [colour])))
    state = {"0.weight": torch.ones(3, 3, 1, 1), "0.bias": torch.ones(3), "2.weight": torch.ones(4, 3, 3, 3)}
    assert "layer 2 has no bias" in refusal(save(state))


NAMES = ["conv11", "conv12", "conv21", "conv22", "conv31", "conv32", "conv33", "conv34", "conv41"]


@pytest.mark.parametrize("depth", [1, 3, 5, 9])
def test_compressed_encoder(save, state_dict, layers, colour, assert_holds, depth):
    rng = np.random.default_rng(3)
    maps = {
        name: (rng.normal(size=(1, 1, kernel.shape[3], 9)).astype(np.float32), rng.normal(size=9).astype(np.float32))
        for name, (kernel, _) in zip(NAMES, layers(depth), strict=False)
        if name.endswith("1")
    }
    names = ["conv0", *NAMES[:depth], *(f"{name}_aux" for name in maps)]
    state = state_dict(names, [colour, *layers(depth), *maps.values()])
    checkpoint = read_checkpoint(save(dict(reversed(state.items()))))
    assert_holds(checkpoint, layers(depth))
    assert checkpoint.kind == "compressed encoder state dict"
    assert checkpoint.normalised
    np.testing.assert_array_equal(checkpoint.preprocessing.matrix, colour[0][0, 0].T)
    assert {f"conv{tap[4]}1" for tap in checkpoint.auxiliary} == set(maps)
    for tap, layer in checkpoint.auxiliary.items():
        assert layer.name == f"conv{tap[4]}1_aux"
        np.testing.assert_array_equal(layer.kernel, maps[f"conv{tap[4]}1"][0])
        np.testing.assert_array_equal(layer.bias, maps[f"conv{tap[4]}1"][1])


@pytest.mark.parametrize("depth", [1, 3, 5, 9])
def test_compressed_decoder(save, state_dict, decoder, assert_holds, depth):
    state = state_dict(NAMES[:depth][::-1], decoder(depth))
    checkpoint = read_checkpoint(save(dict(sorted(state.items()))))
    assert_holds(checkpoint, decoder(depth))
    assert checkpoint.kind == "compressed decoder state dict"
    assert checkpoint.preprocessing is None


def test_compressed_networks_that_lack_something(save, state_dict, layers, colour, refusal):
    for names, chain, sentence in (
        (NAMES[:3], layers(3), "it has no conv0, the map from RGB"),
        (["conv0", "conv11", "conv21"], [colour, *layers(2)], "it has conv2_1 but no conv1_2"),
        (["conv0", "conv11"], layers(2), "layer conv0, the preprocessing, has a kernel of shape [3, 3, 3, 4]"),
    ):
        assert sentence in refusal(save(state_dict(names, chain)))


def test_nan(save, state_dict, layers, colour, refusal):
    state = state_dict(["0", "2", "5"], [colour, *layers(2)])
    state["5.bias"][1] = torch.nan
    assert "layer 5 holds values that are NaN or infinite" in refusal(save(state))


def test_other_networks(save, refusal):
    linear = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)).state_dict()
    assert "0.weight has shape [3, 4], expected a convolution's [out, in, height, width]" in refusal(save(linear))
    resnet = {"conv1.weight": torch.ones(4, 3, 7, 7), "bn1.weight": torch.ones(4), "fc.weight": torch.ones(2, 2)}
    message = refusal(save(resnet | {"layer1.0.conv1.weight": torch.ones(4)}))
    assert "its tensors are named '" in message
    assert "' and 1 more, expected features.N.weight (torchvision)" in message


def test_half_precision(save, state_dict, layers):
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        state = {name: tensor.to(dtype) for name, tensor in state_dict(["features.0"], layers(1)).items()}
        layer = read_checkpoint(save(state)).convolutions[0]
        expected = state["features.0.weight"].float().numpy().transpose(2, 3, 1, 0)
        np.testing.assert_array_equal(layer.kernel, expected)


# Prefixes


WRAPPERS = [
    *("_orig_mod.{}", "model.{}", "vgg.{}", "module.{}", "0.{}"),
    *("net.encoder.{}", "module._orig_mod.model.{}", "model.model.{}", "_orig_mod.module.vgg.0.{}"),
]


def prefixed(state, wrapper):
    return {wrapper.format(name): tensor.clone() for name, tensor in state.items()}


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("depth", [1, 3])
def test_prefixes_that_all_names_have(save, state_dict, layers, decoder, colour, assert_holds, wrapper, depth):
    torchvision = state_dict([f"features.{index}" for index in TORCHVISION[:depth]], layers(depth))
    dense = {"classifier.0.weight": torch.zeros(2, 8), "classifier.0.bias": torch.zeros(2)}
    normalised = state_dict(NORMALISED[: depth + 1], [colour, *layers(depth)])
    compressed = state_dict(["conv0", *NAMES[:depth]], [colour, *layers(depth)])
    for state in (torchvision, torchvision | dense, normalised, compressed):
        assert_holds(read_checkpoint(save(prefixed(state, wrapper))), layers(depth))
    inverse = state_dict(DECODER[-depth:], decoder(depth))
    assert_holds(read_checkpoint(save(prefixed(inverse, wrapper))), decoder(depth))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state},
        lambda state: {"model": state},
        lambda state: {"model": {"module": state}},
        lambda state: {
            "epoch": 3,
            "global_step": 7,
            "pytorch-lightning_version": "2.4.0",
            "state_dict": state,
            "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 1}}}},
            "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_score": torch.tensor(0.5)}},
            "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(2, 3)}}, "param_groups": [{"lr": 0.1}]}],
            "lr_schedulers": [{"milestones": collections.Counter([3, 5]), "device": torch.device("cpu")}],
        },
    ],
)
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_prefixes_within_a_training_checkpoint(tmp_path, state_dict, layers, assert_holds, wrap, wrapper):
    state = prefixed(state_dict([f"features.{index}" for index in TORCHVISION[:3]], layers(3)), wrapper)
    torch.save(wrap(state), tmp_path / "network")
    assert_holds(read_checkpoint(tmp_path / "network"), layers(3))


def test_what_lies_beside_the_network_is_left(save, state_dict, layers, assert_holds):
    state = prefixed(state_dict([f"features.{index}" for index in TORCHVISION[:3]], layers(3)), "loss.vgg.{}")
    beside = {"mean": torch.zeros(3), "loss.std": torch.ones(3), "head.weight": torch.zeros(2, 2)}
    assert_holds(read_checkpoint(save(state | beside)), layers(3))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("features.0", "it holds 2 networks, 'a.', 'b.'; save the one"), ("0", "its tensors are named '")],
)
def test_two_networks_in_one(save, state_dict, layers, refusal, name, expected):
    state = state_dict([name], layers(1))
    assert expected in refusal(save(prefixed(state, "a.{}") | prefixed(state, "b.{}")))


def test_other_types_are_named(tmp_path, state_dict, layers, refusal):
    expected = "expected float16, bfloat16, float32 or float64"
    for dtype in (torch.float8_e4m3fn, torch.float8_e5m2, torch.int8, torch.complex64):
        state = {name: tensor.to(dtype) for name, tensor in state_dict(["features.0"], layers(1)).items()}
        safetensors.torch.save_file(state, tmp_path / "network")
        message = refusal(tmp_path / "network")
        assert message.endswith(f"features.0.weight holds {str(dtype).removeprefix('torch.')} values, {expected}")
    for dtype in (torch.float8_e4m3fn, torch.complex64, torch.uint16):
        torch.save({"features.0.weight": torch.ones(2).to(dtype)}, tmp_path / "network")
        assert refusal(tmp_path / "network").endswith(f", expected values of {expected.removeprefix('expected ')}")


def test_many_tensors_of_one_storage_are_not_all_read(tmp_path, refusal):
    whole = torch.zeros(3)
    torch.save({f"{number}.weight": whole for number in range(1000)}, tmp_path / "network")
    assert "it has 1000 layers, expected at most VGG-19's 16 convolutions" in refusal(tmp_path / "network")


@pytest.mark.parametrize(
    ("name", "length"), [("x" * 2_000_000, 500), (f"features.{'9' * 2_000_000}", 1200)], ids=[0, 1]
)
def test_names_of_megabytes(tmp_path, refusal, name, length):
    torch.save({f"{name}.weight": torch.zeros(2)}, tmp_path / "network")
    assert len(refusal(tmp_path / "network")) < length + len(str(tmp_path))

import collections
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from wct_jax.convert.checkpoint import CheckpointError
from wct_jax.convert.reading import read_checkpoint
from wct_jax.convert.torch.torch_file import read_legacy, read_zip


@pytest.fixture(params=["zip", "legacy"])
def load(request, tmp_path):
    """Save with PyTorch in one of its formats; read with ours."""

    def load(value, **options):
        path = tmp_path / "network"
        is_zip = request.param == "zip"
        torch.save(value, path, _use_new_zipfile_serialization=is_zip, **options)
        return (read_zip if is_zip else read_legacy)(path)

    return load


def assert_same(found, state):
    assert list(found) == list(state)
    for name, tensor in state.items():
        expected = tensor.detach()
        assert found[name].shape == tuple(expected.shape)
        assert str(found[name].dtype) == str(expected.dtype).removeprefix("torch.")
        np.testing.assert_array_equal(found[name].astype(np.float64), expected.double().numpy())


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_floating_dtypes(load, dtype):
    state = {"0.weight": torch.randn(5, 4, 3, 2).to(getattr(torch, dtype))}
    assert_same(load(state), state)


@pytest.mark.parametrize("dtype", ["int64", "int32", "int16", "int8", "uint8", "bool"])
def test_integers(load, dtype):
    state = {"0.weight": torch.randn(3), "0.steps": torch.randint(0, 2, (4, 3)).to(getattr(torch, dtype))}
    assert_same(load(state), state)


def test_scalars_and_empty_tensors(load):
    state = {"0.weight": torch.tensor(2.5), "1.weight": torch.zeros(0), "2.weight": torch.zeros(3, 0, 2)}
    assert_same(load(state), state)


def test_views_share_their_storage(load):
    whole = torch.arange(120, dtype=torch.float32)
    grid = whole.view(4, 5, 6)
    state = {
        "0.weight": whole[7:19],
        "1.weight": grid.permute(2, 0, 1),
        "2.weight": grid[1:, ::2, 3],
        "3.weight": grid[2].t(),
        "4.weight": whole,
    }
    found = load(state)
    assert_same(found, state)
    assert np.shares_memory(found["0.weight"], found["4.weight"])


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickle_protocols(load, protocol):
    state = {"0.weight": torch.randn(2, 3), "0.bias": torch.randn(2)}
    assert_same(load({"epoch": 3, "model": state}, pickle_protocol=protocol), state)


def test_module_state_dict_and_its_parameters(load):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 3))
    assert_same(load(network.state_dict()), network.state_dict())
    assert_same(load(dict(network.named_parameters())), dict(network.named_parameters()))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"model": state},
        lambda state: {"epoch": 7, "loss": 0.5, "state_dict": state, "name": "x", "done": True, "best": None},
        lambda state: {"params": {"generator": state}, "history": [1.0, (2, 3)], "shape": torch.Size([3, 4])},
        lambda state: collections.OrderedDict(net=collections.OrderedDict(state)),
        lambda state: {"network": state, "lr": torch.tensor(0.1), "big": 2**80, "bytes": b"\0\1"},
    ],
)
def test_state_dict_wherever_it_is(load, wrap):
    state = {"0.weight": torch.randn(2, 3), "0.bias": torch.randn(2)}
    assert_same(load(wrap(state), pickle_protocol=4), state)


def test_training_checkpoint_with_its_optimizer(load):
    state = {"0.weight": torch.randn(2, 3), "0.bias": torch.randn(2)}
    moments = {index: {"step": torch.tensor(1.0), "exp_avg": torch.zeros(2, 3)} for index in range(2)}
    adam = {"state": moments, "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.999), "params": [0, 1], "fused": None}]}
    assert_same(load({"optimizer": adam, "model": state, "step": 1}), state)


def test_two_state_dicts(load):
    state = {"0.weight": torch.ones(2)}
    with pytest.raises(CheckpointError, match="it holds 2 state dicts, under 'encoder and decoder'; save the one"):
        load({"encoder": state, "decoder": dict(state)})


@pytest.mark.parametrize(
    "value", [{}, [], 3, {"a": torch.ones(2)}, torch.ones(2), {"x": [{"0.weight": torch.ones(2)}]}]
)
def test_no_state_dict(load, value):
    with pytest.raises(CheckpointError, match="it holds no state dict, expected tensors named like"):
        load(value)


def test_dict_within_itself(load):
    value = {"0.weight": torch.ones(2)}
    value["self"] = value
    assert list(load(value)) == ["0.weight"]


def test_dtypes_that_are_not_read(load):
    with pytest.raises(CheckpointError, match=r"asks for 'torch\.ComplexFloatStorage'"):
        load({"0.weight": torch.ones(2, dtype=torch.complex64)})
    with pytest.raises(CheckpointError, match=r"asks for 'torch\.float8_e4m3fn'"):
        load({"0.weight": torch.ones(2).to(torch.float8_e4m3fn)})


def test_whole_network_is_refused_with_advice(load):
    sentence = r"'torch.nn.modules.\w+.\w+'.* save the network's state_dict\(\) instead"
    with pytest.raises(CheckpointError, match=sentence):
        load(nn.Sequential(nn.Conv2d(3, 4, 3)))


def test_python_2_pickle_of_pairs(tmp_path):
    # Python 2 wrote an OrderedDict as a call with the list of its pairs, and strings as bytes.
    path = tmp_path / "network"
    torch.save({"0.weight": torch.arange(6.0)}, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    start = content.index(b"}q\0X\x08\0\0\0000.weight")
    end = content.index(b"s.", start)
    tensor = content[start + len(b"}q\0X\x08\0\0\0000.weightq\1") : end]
    pairs = b"ccollections\nOrderedDict\n](](U\x080.weight" + tensor + b"ee\x85R."
    path.write_bytes(content[:start] + pairs + content[end + 2 :])
    with path.open("rb") as file:
        assert list(torch.load(file, weights_only=True)) == ["0.weight"]
    np.testing.assert_array_equal(read_legacy(path)["0.weight"], np.arange(6))


def rewrite(path, change, method=zipfile.ZIP_STORED):
    """Change the records of a zip file: name to bytes."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in change(records).items():
            archive.writestr(name, data)


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "network"
    torch.save({"0.weight": torch.arange(6.0), "1.weight": torch.arange(5).to(torch.bfloat16)}, path)
    return path


def test_big_endian_record(archive):
    def change(records):
        records["network/byteorder"] = b"big"
        records["network/data/0"] = np.arange(6, dtype=">f4").tobytes()
        records["network/data/1"] = np.frombuffer(records["network/data/1"], "u2").byteswap().tobytes()
        return records

    rewrite(archive, change)
    found = read_zip(archive)
    np.testing.assert_array_equal(found["0.weight"], np.arange(6))
    np.testing.assert_array_equal(found["1.weight"].astype(np.float32), np.arange(5))


def test_no_byteorder_record(archive):
    rewrite(archive, lambda records: {name: data for name, data in records.items() if "byteorder" not in name})
    np.testing.assert_array_equal(read_zip(archive)["0.weight"], np.arange(6))


@pytest.mark.parametrize("length", [0, 20, 23, 25, 28])
def test_storage_of_another_length(archive, length):
    rewrite(archive, lambda records: records | {"network/data/0": bytes(length)})
    with pytest.raises(CheckpointError, match=f"a storage has {length} bytes, expected 6 float32 values"):
        read_zip(archive)


def test_missing_storage(archive):
    rewrite(archive, lambda records: {name: data for name, data in records.items() if name != "network/data/0"})
    with pytest.raises(ValueError, match=r"network: it is damaged or cut short .*network/data/0"):
        read_checkpoint(archive)


def test_two_pickles(archive):
    rewrite(archive, lambda records: records | {"other/data.pkl": b""})
    with pytest.raises(CheckpointError, match=r"it holds 2 data\.pkl, expected the one"):
        read_zip(archive)


def test_compressed_records_cannot_fill_the_memory(tmp_path):
    path = tmp_path / "network"
    torch.save({"0.weight": torch.zeros(2_000_000)}, path)
    rewrite(path, lambda records: records, zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match="its records hold more than the file can"):
        read_zip(path)


def edit_pickle(path, old, new):
    """Replace bytes of the pickle in either format, the storages staying as they are."""
    content = path.read_bytes()
    assert content.count(old) == 1
    if content.startswith(b"PK"):
        rewrite(path, lambda records: records | {"network/data.pkl": records["network/data.pkl"].replace(old, new)})
    else:
        path.write_bytes(content.replace(old, new))


@pytest.fixture(params=["zip", "legacy"])
def flat(request, tmp_path):
    path = tmp_path / "network"
    torch.save({"0.weight": torch.arange(6.0)}, path, _use_new_zipfile_serialization=request.param == "zip")
    return path


# The tensor's arguments end: offset K0, size K6 in a tuple, stride K1 in a tuple.
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"QK\0K\6\x85", b"QK\1K\6\x85"),
        (b"QK\0K\6\x85", b"QK\0K\7\x85"),
        (b"QK\0K\6\x85", b"QJ\xff\xff\xff\xffK\6\x85"),
        (b"QK\0K\6\x85", b"QK\0J\xff\xff\xff\x7f\x85"),
        (b"QK\0K\6\x85", b"QK\0\x8a\x08" + b"\xff" * 7 + b"\x7f\x85"),
        (b"QK\0K\6\x85", b"QK\0K\6K\6\x86"),
        (b"QK\0K\6\x85", b"QK\0G@\x18\0\0\0\0\0\0\x85"),
    ],
    ids=["offset", "size", "negative", "large", "huge", "rank", "float"],
)
def test_tensor_that_does_not_lie_within_its_storage(flat, old, new):
    edit_pickle(flat, old, new)
    with pytest.raises(ValueError, match=r"network: it is damaged: a tensor"):
        read_checkpoint(flat)


def test_repeated_elements_are_not_expanded(flat):
    # The same element a thousand million times: stride 0.
    content = flat.read_bytes()
    start = content.index(b"QK\0K\6\x85")
    old = content[start : content.index(b"\x89", start)]
    edit_pickle(flat, old, b"QK\0J\0\xca\x9a\x3b\x85K\0\x85")
    with pytest.raises(ValueError, match=r"a tensor of size \[1000000000\] does not lie within its storage of 6"):
        read_checkpoint(flat)


@pytest.fixture
def published(shared):
    paths = sorted((shared / "weights").glob("**/*.pth"))
    assert len(paths) >= 16
    return paths


def test_real_files_are_read_as_pytorch_reads_them(tmp_path, published):
    for path in published:
        expected = torch.load(path, map_location="cpu", weights_only=True)
        expected = expected.get("model", expected)
        assert_same(read_legacy(path), expected)
        torch.save({"model": expected}, tmp_path / "anew")
        assert_same(read_zip(tmp_path / "anew"), expected)


def test_real_files_become_networks(published):
    depths = {1: 1, 2: 3, 3: 5, 4: 9, 5: 13}
    for path in published:
        checkpoint = read_checkpoint(path)
        level = int(path.stem[-3])
        is_encoder = path.stem.startswith(("encoder", "vgg"))
        assert len(checkpoint.convolutions) == depths[level]
        assert (checkpoint.preprocessing is not None) == checkpoint.normalised == is_encoder
        maps = [f"relu{tap}_1" for tap in range(1, level + 1)] if path.stem.startswith("encoder") else []
        assert list(checkpoint.auxiliary) == maps
        if is_encoder:
            # RGB 0..1 to about BGR 0..255 less the means.
            np.testing.assert_allclose(checkpoint.preprocessing.matrix, 255 * np.eye(3)[::-1], atol=1)


def test_real_normalised_vgg_has_the_direction_of_the_keras_one(shared):
    keras = read_checkpoint(shared / "weights" / "vgg19_keras_conv1_to_conv3.npz")
    normalised = read_checkpoint(shared / "weights" / "vgg19_normalised" / "vgg_normalised_conv1_1.pth")
    np.testing.assert_allclose(keras.preprocessing.matrix, normalised.preprocessing.matrix, atol=1e-3)
    np.testing.assert_allclose(keras.preprocessing.offset, normalised.preprocessing.offset, atol=1e-3)
    ours, theirs = (checkpoint.convolutions[0].kernel.reshape(27, 64) for checkpoint in (keras, normalised))
    cosines = (ours * theirs).sum(0) / np.linalg.norm(ours, axis=0) / np.linalg.norm(theirs, axis=0)
    np.testing.assert_allclose(cosines, 1, atol=1e-5)


def test_pickle_that_is_no_checkpoint(tmp_path):
    path = tmp_path / "network"
    path.write_bytes(pickle.dumps({"0.weight": [1.0]}))
    with pytest.raises(ValueError, match=r"it is a pickle that torch\.save did not write"):
        read_checkpoint(path)


def test_dense_layers_are_not_read(tmp_path):
    path = tmp_path / "network"
    state = {"features.0.weight": torch.ones(4, 3, 3, 3), "features.0.bias": torch.ones(4)}
    for is_zip in (True, False):
        torch.save(state | {"classifier.0.weight": torch.ones(3_000_000)}, path, _use_new_zipfile_serialization=is_zip)
        tracemalloc.start()
        read_checkpoint(path)
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
        tracemalloc.stop()

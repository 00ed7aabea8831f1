import tracemalloc
import zipfile

import h5py
import numpy as np
import pytest

from wct_jax.convert.reading import read_checkpoint


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights"


def write_hdf5(path, datasets):
    with h5py.File(path, "w") as file:
        for name, value in datasets.items():
            file[name] = value


def write_npz(path, arrays, save=np.savez):
    with path.open("wb") as file:
        save(file, **arrays)
    return path


def named(layer, place=(1, 1), names=("{}/kernel", "{}/bias")):
    """A layer's arrays by their names in a file."""
    return {name.format("block{}_conv{}".format(*place)): array for name, array in zip(names, layer, strict=True)}


def assert_keras(checkpoint, kind):
    assert checkpoint.kind == kind
    assert not checkpoint.normalised
    # keras.applications.imagenet_utils.preprocess_input, mode "caffe".
    rgb = np.array([0.2, 0.5, 0.9])
    expected = 255 * rgb[::-1] - [103.939, 116.779, 123.68]
    np.testing.assert_allclose(checkpoint.preprocessing.matrix @ rgb + checkpoint.preprocessing.offset, expected)


@pytest.mark.core
@pytest.mark.parametrize("old_names", [True, False])
def test_notop_file(path, layers, keras_writer, assert_holds, old_names):
    with h5py.File(path, "w") as file:
        keras_writer(file, layers(16), old_names=old_names)
    checkpoint = read_checkpoint(path)
    assert_holds(checkpoint, layers(16))
    assert_keras(checkpoint, "Keras HDF5")
    assert [layer.name for layer in checkpoint.convolutions][:3] == ["block1_conv1", "block1_conv2", "block2_conv1"]


def test_full_file_without_its_dense_layers(path, layers, keras_writer, assert_holds):
    with h5py.File(path, "w") as file:
        keras_writer(file, layers(16), old_names=True)
        file.create_group("fc1").attrs["weight_names"] = [b"fc1_W_1:0", b"fc1_b_1:0"]
        file["fc1"]["fc1_W_1:0"], file["fc1"]["fc1_b_1:0"] = np.zeros((8, 10)), np.zeros(10)
    assert_holds(read_checkpoint(path), layers(16))


def test_whole_model_with_its_optimizer(path, layers, keras_writer, assert_holds):
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = '{"class_name": "Functional"}'
        keras_writer(file.create_group("model_weights"), layers(5))
        file["optimizer_weights/adam/block1_conv1/kernel_m"] = np.zeros((3, 3, 3, 4), np.float32)
    assert_holds(read_checkpoint(path), layers(5))


def test_network_within_another_one(path, layers, assert_holds):
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["vgg19", "dense"]
        for index, layer in enumerate(layers(2), 1):
            for name, array in named(layer, (1, index)).items():
                file[f"vgg19/{name}"] = array
        file["dense/dense/kernel:0"] = np.zeros((8, 10))
    assert_holds(read_checkpoint(path), layers(2))


@pytest.mark.parametrize("convert", [str.encode, str])
def test_attributes_are_bytes_or_text(path, layers, assert_holds, convert):
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [convert("block1_conv1")]
        file.create_group("block1_conv1").attrs["weight_names"] = [convert("a/W:0")]
        file["block1_conv1/a/W:0"], file["block1_conv1/a/b:0"] = layers(1)[0]
    assert_holds(read_checkpoint(path), layers(1))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("names", [("{}/kernel", "{}/bias"), ("{}_W", "{}_b"), ("{0}/{0}_W_1:0", "{0}/{0}_b_1:0")])
def test_npz(path, layers, places, assert_holds, save, names):
    arrays = {"fc1": np.zeros((3, 3))}
    # Backwards: the order is that of the names.
    for place, (kernel, bias) in reversed(list(zip(places, layers(8), strict=False))):
        arrays |= named((np.asfortranarray(kernel), bias), place, names)
    checkpoint = read_checkpoint(write_npz(path, arrays, save))
    assert_holds(checkpoint, layers(8))
    assert_keras(checkpoint, "NumPy archive with Keras layer names")


@pytest.mark.parametrize(
    ("parts", "more", "expected"),
    [
        (["kernel"], {}, "layer block1_conv1 has no bias"),
        (["bias"], {}, "layer block1_conv1 has no kernel"),
        (["kernel", "bias"], {"block1_conv1/gamma": np.zeros(4)}, "expected one kernel and one bias"),
        (["kernel", "bias"], {"block1_conv1/x": np.zeros((2, 2))}, "block1_conv1/x has shape [2, 2]"),
        ([], {"dense/kernel": np.zeros((3, 3, 3, 4))}, "no layer block1_conv1"),
        (["bias"], {"block1_conv1/kernel": np.array([{}, {}], object)}, "OBJECT"),  # It is not unpickled.
        ([], {"block1_conv1/a\n\x1b[31mb": np.zeros((2, 2))}, "block1_conv1/a  [31mb has shape [2, 2]"),
    ],
)
def test_npz_of_other_arrays(path, layers, refusal, parts, more, expected):
    pair = named(layers(1)[0])
    arrays = {name: array for name, array in pair.items() if name.rpartition("/")[2] in parts}
    assert expected in refusal(write_npz(path, arrays | more))


def test_vgg16_by_its_names(path, layers, places, refusal):
    arrays = {}
    for place, layer in zip(places, layers(16), strict=True):
        if place[1] < 4:
            arrays |= named(layer, place)
    assert "it has conv5_3 but no conv3_4, so it is not VGG-19" in refusal(write_npz(path, arrays))


def test_npz_cannot_fill_the_memory(path, refusal):
    write_npz(path, {"block1_conv1/kernel": np.zeros((3, 3, 512, 512), np.float32)}, np.savez_compressed)
    assert path.stat().st_size < 30_000
    assert "announces more values than the file can hold" in refusal(path)


def test_hdf5_cannot_fill_the_memory(path, refusal):
    with h5py.File(path, "w") as file:
        file.create_dataset("block1_conv1/kernel", (3, 3, 2**20, 2**20), np.float32, chunks=(3, 3, 16, 16))
    assert "announces more values than the file can hold" in refusal(path)


def test_hdf5_values_in_other_files_are_not_read(path, layers, tmp_path, refusal):
    kernel, bias = layers(1)[0]
    raw = tmp_path / "secret"
    raw.write_bytes(kernel.tobytes())
    with h5py.File(path, "w") as file:
        file["block1_conv1/bias"] = bias
        external = [(str(raw), 0, raw.stat().st_size)]
        file.create_dataset("block1_conv1/kernel", kernel.shape, np.float32, external=external)
    assert "do not lie in the file itself" in refusal(path)
    write_hdf5(tmp_path / "other", {"kernel": kernel})
    link = h5py.ExternalLink(str(tmp_path / "other"), "kernel")
    write_hdf5(path, {"block1_conv1/bias": bias, "block1_conv1/kernel": link})
    assert "layer block1_conv1 has no kernel" in refusal(path)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("block1_conv1/kernel", ["a", "b"], "holds object values, expected floating point"),
        ("image", np.zeros((4, 4)), "no layer block1_conv1"),
    ],
)
def test_hdf5_of_something_else(path, refusal, name, value, expected):
    write_hdf5(path, {name: value})
    assert expected in refusal(path)


def test_npz_of_python_2(path, layers, assert_holds):
    # Python 2 wrote lengths as "3L". NumPy warns about them, and the tests turn warnings into errors.
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in named(layers(1)[0]).items():
            shape = "".join(f"{length}L, " for length in array.shape)
            header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}\n".encode()
            content = b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + array.tobytes()
            archive.writestr(f"{name}.npy", content)
    assert_holds(read_checkpoint(path), layers(1))


def test_npz_counts_its_arrays_together(path, places, refusal):
    kernel = np.random.default_rng(0).integers(0, 2, (3, 3, 8, 8)).astype(np.float64)
    arrays = {f"block{block}_conv{index}/kernel": kernel for block, index in places}
    write_npz(path, arrays, np.savez_compressed)
    assert len(places) * kernel.nbytes > 3 * path.stat().st_size
    assert "layer block1_conv1 has no bias" in refusal(path)
    zeros = dict.fromkeys(arrays, kernel * 0)
    write_npz(path, zeros | {"other": np.ones(100)}, np.savez_compressed)
    assert kernel.nbytes < 16 * path.stat().st_size < len(places) * kernel.nbytes
    assert "announces more values than the file can hold" in refusal(path)


def test_what_is_not_wanted_of_an_npz_is_not_unpacked(path, layers, assert_holds):
    write_npz(path, named(layers(1)[0]) | {"fc1/kernel": np.zeros((4000, 4000))}, np.savez_compressed)
    tracemalloc.start()
    assert_holds(read_checkpoint(path), layers(1))
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()

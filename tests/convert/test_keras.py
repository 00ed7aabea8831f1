import tracemalloc
import zipfile

import h5py
import numpy as np
import pytest

from wct_jax.convert.reading import read_checkpoint


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights"


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
        for name, (kernel, bias) in zip(["block1_conv1", "block1_conv2"], layers(2), strict=True):
            file[f"vgg19/{name}/kernel"], file[f"vgg19/{name}/bias"] = kernel, bias
        file["dense/dense/kernel:0"] = np.zeros((8, 10))
    assert_holds(read_checkpoint(path), layers(2))


@pytest.mark.parametrize("convert", [bytes, str])
def test_attributes_are_bytes_or_text(path, layers, assert_holds, convert):
    with h5py.File(path, "w") as file:
        (kernel, bias) = layers(1)[0]
        for group, name, value in [(file, "layer_names", "block1_conv1"), ("block1_conv1", "weight_names", "a/W:0")]:
            holder = file.require_group(group) if isinstance(group, str) else group
            holder.attrs[name] = [value.encode() if convert is bytes else value]
        file["block1_conv1/a/W:0"], file["block1_conv1/a/b:0"] = kernel, bias
    assert_holds(read_checkpoint(path), layers(1))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("names", [("{}/kernel", "{}/bias"), ("{}_W", "{}_b"), ("{0}/{0}_W_1:0", "{0}/{0}_b_1:0")])
def test_npz(path, layers, places, assert_holds, save, names):
    arrays = {}
    # Backwards: the order is that of the names.
    for (block, index), (kernel, bias) in reversed(list(zip(places, layers(8), strict=False))):
        layer = f"block{block}_conv{index}"
        arrays |= {names[0].format(layer): np.asfortranarray(kernel), names[1].format(layer): bias}
    with path.open("wb") as file:
        save(file, fc1=np.zeros((3, 3)), **arrays)
    checkpoint = read_checkpoint(path)
    assert_holds(checkpoint, layers(8))
    assert_keras(checkpoint, "NumPy archive with Keras layer names")


def refusal(path, arrays):
    with path.open("wb") as file:
        np.savez(file, **arrays)
    with pytest.raises(ValueError, match=str(path)) as error:
        read_checkpoint(path)
    return str(error.value)


def test_missing_and_surplus_arrays(path, layers):
    kernel, bias = layers(1)[0]
    assert "layer block1_conv1 has no bias" in refusal(path, {"block1_conv1/kernel": kernel})
    assert "layer block1_conv1 has no kernel" in refusal(path, {"block1_conv1/bias": bias})
    pair = {"block1_conv1/kernel": kernel, "block1_conv1/bias": bias}
    assert "expected one kernel and one bias" in refusal(path, pair | {"block1_conv1/gamma": bias})
    assert "block1_conv1/x has shape [2, 2]" in refusal(path, pair | {"block1_conv1/x": np.zeros((2, 2))})
    assert "no layer block1_conv1" in refusal(path, {"dense/kernel": kernel})


def test_vgg16_by_its_names(path, layers, places):
    arrays = {}
    for (block, index), (kernel, bias) in zip(places, layers(16), strict=True):
        if index < 4:
            arrays |= {f"block{block}_conv{index}/kernel": kernel, f"block{block}_conv{index}/bias": bias}
    assert "it has conv5_3 but no conv3_4, so it is not VGG-19" in refusal(path, arrays)


def test_npz_with_objects_is_not_unpickled(path, layers):
    _, bias = layers(1)[0]
    message = refusal(path, {"block1_conv1/kernel": np.array([{}, {}], object), "block1_conv1/bias": bias})
    assert "OBJECT" in message


def test_npz_cannot_fill_the_memory(path):
    with path.open("wb") as file:
        np.savez_compressed(file, **{"block1_conv1/kernel": np.zeros((3, 3, 512, 512), np.float32)})
    assert path.stat().st_size < 30_000
    with pytest.raises(ValueError, match="announces more values than the file can hold"):
        read_checkpoint(path)


def test_hdf5_cannot_fill_the_memory(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("block1_conv1/kernel", (3, 3, 2**20, 2**20), np.float32, chunks=(3, 3, 16, 16))
    with pytest.raises(ValueError, match="announces more values than the file can hold"):
        read_checkpoint(path)


def test_hdf5_values_in_other_files_are_not_read(path, layers, tmp_path):
    kernel, bias = layers(1)[0]
    raw = tmp_path / "secret"
    raw.write_bytes(kernel.tobytes())
    with h5py.File(path, "w") as file:
        file["block1_conv1/bias"] = bias
        file.create_dataset(
            "block1_conv1/kernel", kernel.shape, np.float32, external=[(str(raw), 0, raw.stat().st_size)]
        )
    with pytest.raises(ValueError, match="do not lie in the file itself"):
        read_checkpoint(path)
    with h5py.File(tmp_path / "other", "w") as file:
        file["kernel"] = kernel
    with h5py.File(path, "w") as file:
        file["block1_conv1/bias"] = bias
        file["block1_conv1/kernel"] = h5py.ExternalLink(str(tmp_path / "other"), "kernel")
    with pytest.raises(ValueError, match="layer block1_conv1 has no kernel"):
        read_checkpoint(path)


def test_hdf5_text_in_the_place_of_weights(path):
    with h5py.File(path, "w") as file:
        file["block1_conv1/kernel"] = ["a", "b"]
    with pytest.raises(ValueError, match="holds object values, expected floating point"):
        read_checkpoint(path)


def test_hdf5_of_something_else(path):
    with h5py.File(path, "w") as file:
        file["image"] = np.zeros((4, 4))
    with pytest.raises(ValueError, match="no layer block1_conv1"):
        read_checkpoint(path)


def test_npz_of_python_2(path, layers, assert_holds):
    # Python 2 wrote lengths as "3L", of which NumPy warns; the tests run with warnings as errors.
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in zip(("kernel", "bias"), layers(1)[0], strict=True):
            shape = "".join(f"{length}L, " for length in array.shape)
            header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}\n".encode()
            content = b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + array.tobytes()
            archive.writestr(f"block1_conv1/{name}.npy", content)
    assert_holds(read_checkpoint(path), layers(1))


def test_names_in_a_message_stay_on_one_line(path):
    message = refusal(path, {"block1_conv1/a\n\x1b[31mb": np.zeros((2, 2))})
    assert "block1_conv1/a  [31mb has shape [2, 2]" in message


def test_npz_counts_its_arrays_together(path, places):
    arrays = {
        f"block{block}_conv{index}/kernel": np.random.default_rng(0).integers(0, 2, (3, 3, 8, 8)).astype(np.float64)
        for block, index in places
    }
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)
    assert sum(array.nbytes for array in arrays.values()) > 3 * path.stat().st_size
    assert "layer block1_conv1 has no bias" in refused(path)
    with path.open("wb") as file:
        np.savez_compressed(file, **{name: array * 0 for name, array in arrays.items()}, other=np.ones(100))
    largest = max(array.nbytes for array in arrays.values())
    assert largest < 16 * path.stat().st_size < sum(array.nbytes for array in arrays.values())
    assert "announces more values than the file can hold" in refused(path)


def refused(path):
    with pytest.raises(ValueError, match=str(path)) as error:
        read_checkpoint(path)
    return str(error.value)


def test_what_is_not_wanted_of_an_npz_is_not_unpacked(path, layers, assert_holds):
    kernel, bias = layers(1)[0]
    with path.open("wb") as file:
        arrays = {"block1_conv1/kernel": kernel, "block1_conv1/bias": bias, "fc1/kernel": np.zeros((4000, 4000))}
        np.savez_compressed(file, **arrays)
    tracemalloc.start()
    assert_holds(read_checkpoint(path), layers(1))
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()

import numpy as np
import pytest
import scipy.io

from wct_jax.convert.reading import read_checkpoint


@pytest.fixture
def save(tmp_path):
    def save(model, **options):
        path = tmp_path / "model"
        with path.open("wb") as file:
            scipy.io.savemat(file, model, **options)
        return path

    return save


@pytest.mark.core
@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("compressed", [False, True])
def test_both_layouts(save, matconvnet, layers, assert_holds, old, compressed):
    checkpoint = read_checkpoint(save(matconvnet(layers(16), old=old), do_compression=compressed))
    assert_holds(checkpoint, layers(16))
    assert checkpoint.kind == "MatConvNet VGG-19"
    assert not checkpoint.normalised
    assert [layer.name for layer in checkpoint.convolutions][-1] == "conv5_4"
    np.testing.assert_array_equal(checkpoint.preprocessing.matrix, 255 * np.eye(3))
    np.testing.assert_allclose(checkpoint.preprocessing.offset, [-123.68, -116.779, -103.939])


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 3), (3, 1), (224, 224, 3)])
def test_average_image_of_any_shape(save, matconvnet, layers, shape):
    average = np.array([120.0, 110.0, 100.0], np.float32)
    image = average.reshape(shape) if np.prod(shape) == 3 else np.broadcast_to(average, shape) + 0
    if image.size > 3:
        # The preprocessing is pointwise: only the mean over the picture can be used.
        image[:112] += 8
        average = average + 4
    checkpoint = read_checkpoint(save(matconvnet(layers(2), average=image)))
    np.testing.assert_allclose(checkpoint.preprocessing.offset, -average.astype(np.float64), rtol=1e-6)


def test_dense_layers_are_ignored(save, matconvnet, layers, assert_holds):
    model = matconvnet(layers(16))
    weights = np.empty((1, 2), object)
    weights[0, 0], weights[0, 1] = np.zeros((7, 7, 8, 5), np.float32), np.zeros((1, 5), np.float32)
    tail = np.empty((1, 2), object)
    tail[0, 0], tail[0, 1] = {"name": "fc6", "type": "conv", "weights": weights}, {"name": "prob", "type": "softmax"}
    model["layers"] = np.concatenate([model["layers"], tail], axis=1)
    assert_holds(read_checkpoint(save(model)), layers(16))


def test_vgg16(save, matconvnet, layers, refusal):
    model = matconvnet(layers(16))
    keep = [cell for cell in model["layers"][0] if not cell["name"].endswith("_4")]
    model["layers"] = np.empty((1, len(keep)), object)
    model["layers"][0, :] = keep
    assert "it has conv5_3 but no conv3_4, so it is not VGG-19" in refusal(save(model))


def test_batch_normalisation(save, matconvnet, layers, refusal):
    model = matconvnet(layers(2))
    model["layers"][0, 1] = {"name": "bn1_1", "type": "bnorm"}
    assert "it holds batch normalisation, bn1_1" in refusal(save(model))


def test_other_mat_files(save, matconvnet, layers, refusal):
    for name in ("x", "layers"):
        assert "no cell array 'layers'" in refusal(save({name: np.zeros((2, 2))}))
    model = matconvnet(layers(2))
    del model["meta"]
    assert "no normalization.averageImage" in refusal(save(model))
    for average in (np.zeros((2, 2)), np.full((1, 3), np.nan)):
        sentence = f"averageImage has shape {list(average.shape)}, expected 3"
        assert sentence in refusal(save(matconvnet(layers(2), average=average)))


def test_nan(save, matconvnet, layers, refusal):
    given = layers(3)
    given[1][0][0, 0, 0, 0] = np.nan
    assert "layer conv1_2 holds values that are NaN or infinite" in refusal(save(matconvnet(given)))


def test_matlab_7_3(tmp_path, refusal):
    path = tmp_path / "model"
    path.write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512) + b"\x89HDF\r\n\x1a\n")
    assert "it is a MATLAB 7.3 file; save it anew with save(name, '-v7')" in refusal(path)

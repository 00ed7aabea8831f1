"""Style files: what is saved comes back, and what is no style file is said."""

import dataclasses
import json
import os

import jax
import numpy as np
import pytest
import safetensors.numpy

from wct_jax import extract_style, load_style, save_model, save_style, stylize
from wct_jax.networks.digest import checksum_of
from wct_jax.networks.tensor_file import open_tensors
from wct_jax.painting.style_file import METADATA_KEY


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(1).uniform(size=(24, 20, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def style(model, image):
    return extract_style(model, image)


@pytest.fixture
def path(style, tmp_path):
    save_style(tmp_path / "s.safetensors", style)
    return tmp_path / "s.safetensors"


@pytest.mark.core
def test_a_style_comes_back_as_it_was(model, image, style, path):
    loaded = load_style(path)
    assert loaded.digest == style.digest
    assert list(loaded.moments) == list(model.layers)
    jax.tree.map(np.testing.assert_array_equal, dict(loaded.moments), dict(style.moments))
    np.testing.assert_array_equal(stylize(model, image, loaded), stylize(model, image, style))


def test_features_are_left_out(model, image, style, path, tmp_path):
    with_features = extract_style(model, image, swap_layers=["relu5_1"])
    save_style(tmp_path / "t.safetensors", with_features)
    assert (tmp_path / "t.safetensors").read_bytes() == path.read_bytes()


def rewrite(path, arrays=lambda arrays: arrays, document=lambda text, arrays: text):
    with open_tensors(path) as file:
        text, values = file.metadata[METADATA_KEY], arrays(dict(file))
    path.write_bytes(safetensors.numpy.save(values, {METADATA_KEY: document(text, values)}))


def without_checksum(change):
    """A document that fits the arrays, so that it is the arrays that are found wrong."""

    def document(text, arrays):
        return json.dumps(json.loads(text) | {"checksum": checksum_of(arrays)})

    return lambda path: rewrite(path, change, document)


def changed(**arrays):
    return without_checksum(lambda values: values | {f"relu2_1/{name}": array for name, array in arrays.items()})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:100]), "not a style file, or is cut short"),
        (lambda path: path.write_bytes(path.read_bytes()[:-50]), "not a style file, or is cut short"),
        (lambda path: path.write_bytes(b""), "not a style file"),
        (lambda path: path.write_text("Dear diary"), "not a style file"),
        (lambda path: path.unlink(), "there is no style file"),
        (lambda path: (path.unlink(), path.mkdir()), "it is a directory"),
        (lambda path: path.write_bytes(safetensors.numpy.save({"a": np.zeros(3)})), "is no style file"),
        (lambda path: rewrite(path, lambda v: v | {"relu1_1/count": np.array(7, "f4")}), "is damaged: its checksum"),
        (lambda path: rewrite(path, document=lambda *_: "{"), "does not say format, digest and checksum"),
        (lambda path: rewrite(path, document=lambda *_: '{"format": 9}'), "has format 9, and this version"),
        (without_checksum(lambda v: {n: a for n, a in v.items() if n != "relu1_1/mean"}), "does not hold count, mean"),
        (without_checksum(lambda v: {}), "does not hold count, mean"),
        (changed(mean=np.zeros(9, np.float32)), r"moments of relu2_1 of shapes \(\), \(9,\), \(6, 6\)"),
        (changed(mean=np.full(6, np.nan, np.float32)), "moments of relu2_1 that are not finite"),
    ],
)
def test_what_is_no_style_file_is_said(path, spoil, message):
    spoil(path)
    with pytest.raises(ValueError, match=message):
        load_style(path)


def test_a_model_file_is_no_style_file(model, tmp_path):
    save_model(tmp_path / "m.safetensors", model)
    with pytest.raises(ValueError, match="is a model file: expected one that --save-style or save_style made"):
        load_style(tmp_path / "m.safetensors")


def test_what_cannot_be_saved(model, image, style, tmp_path):
    with pytest.raises(ValueError, match="leading dimensions"):
        save_style(tmp_path / "s.safetensors", extract_style(model, np.stack([image, image])))
    with pytest.raises(ValueError, match="does not exist"):
        save_style(tmp_path / "none" / "s.safetensors", style)
    assert os.listdir(tmp_path) == []
    assert dataclasses.replace(style).features == {}


WIDTH = 6  # Of relu2_1.


def scatter(**changes):
    matrix = np.eye(WIDTH, dtype=np.float32) * 4
    for place, value in changes.items():
        row, column = map(int, place.removeprefix("at"))
        matrix[row, column] = value
    return matrix


BAD = {
    "count 0": ({"count": np.zeros((), np.float32)}, "over a count of 0.0, expected a positive one"),
    "count -1": ({"count": np.full((), -1, np.float32)}, "over a count of -1.0, expected a positive one"),
    "count NaN": ({"count": np.full((), np.nan, np.float32)}, "that are not finite"),
    "negative variance": ({"scatter": scatter(at00=-1)}, "whose scatter has a negative variance"),
    "all negative": ({"scatter": -scatter()}, "whose scatter has a negative variance"),
    "covariance": ({"scatter": scatter(at01=9, at10=9)}, "whose scatter has covariances larger than"),
    "one-sided": ({"scatter": scatter(at01=1)}, "whose scatter is not symmetric"),
    "huge": ({"scatter": scatter(at00=3e38)}, r"beyond 1e\+15, which no feature reaches"),
    "huge mean": ({"mean": np.full(WIDTH, 1e30, np.float32)}, r"beyond 1e\+15, which no feature reaches"),
}


@pytest.mark.parametrize("bad", BAD)
def test_moments_of_no_feature(path, style, bad, tmp_path):
    arrays, message = BAD[bad]
    changed(**arrays)(path)
    with pytest.raises(ValueError, match=f"has moments of relu2_1 {message}"):
        load_style(path)
    moments = dataclasses.replace(style.moments["relu2_1"], **arrays)
    with pytest.raises(ValueError, match=f"t.safetensors: the style has moments of relu2_1 {message}"):
        save_style(tmp_path / "t.safetensors", dataclasses.replace(style, moments={"relu2_1": moments}))
    assert not (tmp_path / "t.safetensors").exists()


@pytest.mark.parametrize("part", ["count", "mean", "scatter"])
@pytest.mark.parametrize("dtype", [np.int32, np.bool_, np.float64, np.float16])
def test_moments_of_other_types(path, part, dtype):
    without_checksum(lambda values: values | {f"relu2_1/{part}": values[f"relu2_1/{part}"].astype(dtype)})(path)
    name = np.dtype(dtype).name
    with pytest.raises(ValueError, match=f"{part} is {name}, expected float32|{part} holds {name} values, expected"):
        load_style(path)


def test_values_beyond_single_precision(path):
    changed(scatter=np.full((WIDTH, WIDTH), 1e300))(path)
    with pytest.raises(ValueError, match="scatter is float64, expected float32"):
        load_style(path)


@pytest.mark.parametrize("scale", [0, 1e-30, 1e-3, 1e10])
def test_moments_of_any_feature_are_taken(model, style, scale, tmp_path):
    scaled = jax.tree.map(lambda array: array if array.ndim < 2 else array * np.float32(scale), style)
    save_style(tmp_path / "t.safetensors", scaled)
    assert load_style(tmp_path / "t.safetensors").digest == style.digest


def test_styles_of_a_flat_picture_and_of_one_pixel(model, tmp_path):
    for image in (np.full((9, 9, 3), 0.5, np.float32), np.zeros((1, 1, 3), np.float32)):
        save_style(tmp_path / "t.safetensors", extract_style(model, image))
        load_style(tmp_path / "t.safetensors")


@pytest.mark.parametrize(
    "document",
    [
        "[]",
        "3",
        '{"format": 1, "digest": 3, "checksum": "x"}',
        '{"digest": "\\u001b[2J", "checksum": "x"}',
        json.dumps({"digest": "x" * 1_000_000, "checksum": "x"}),
        '{"digest": ["x"], "checksum": {}}',
        "[" * 100_000,
    ],
)
def test_documents_of_other_types(path, document):
    rewrite(path, document=lambda *_: document)
    with pytest.raises(ValueError, match=r"its metadata does not say format, digest and checksum$"):
        load_style(path)


@pytest.mark.skipif(os.name != "posix", reason="pipes with names are POSIX")
def test_pipes_and_devices_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "s.safetensors")
    for place in (tmp_path / "s.safetensors", "/dev/zero"):
        with pytest.raises(ValueError, match=f"^cannot read the style file {place}: it is not a file but a pipe"):
            load_style(place)

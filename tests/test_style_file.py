"""Style files: what is saved comes back, and what is no style file is said."""

import dataclasses
import json
import os

import jax
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from wct_jax import extract_style, load_style, save_model, save_style, stylize
from wct_jax.style_file import METADATA_KEY


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


def rewrite(path, arrays=lambda arrays: arrays, document=lambda document: document):
    with safetensors.safe_open(path, framework="np") as file:
        metadata, values = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    metadata[METADATA_KEY] = document(metadata[METADATA_KEY])
    path.write_bytes(safetensors.numpy.save(arrays(values), metadata))


def without_checksum(change):
    """A document that fits the arrays, so that it is the arrays that are found wrong."""
    from wct_jax.weights import checksum_of

    def spoil(path):
        with safetensors.safe_open(path, framework="np") as file:
            values = change({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        rewrite(path, lambda _: values, lambda text: json.dumps(json.loads(text) | {"checksum": checksum_of(values)}))

    return spoil


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
        (
            lambda path: rewrite(path, lambda v: v | {"relu1_1/count": np.asarray(7, np.float32)}),
            "is damaged: its checksum",
        ),
        (lambda path: rewrite(path, document=lambda _: "{"), "does not say format, digest and checksum"),
        (lambda path: rewrite(path, document=lambda _: '{"format": 9}'), "has format 9, and this version"),
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

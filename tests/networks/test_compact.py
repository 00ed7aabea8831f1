"""The model in the box: that it is whole and small, and does what docs/compact.md says."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

import wct_jax
from wct_jax.kernels.conv import algorithm
from wct_jax.measures.evaluation import evaluate
from wct_jax.measures.metrics import edge_similarity, psnr
from wct_jax.networks.model_file import model_path
from wct_jax.networks.vgg import LAYERS, block_of, decoder_shapes, encoder_shapes

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def compact():
    return wct_jax.load_model("compact")


def picture(name):
    return wct_jax.read_image(Path(__file__).parents[2] / "examples" / f"{name}.jpg")


def test_it_has_five_levels_and_says_where_it_comes_from(compact):
    assert compact.layers == tuple(reversed(LAYERS))
    document = compact.metadata
    assert document["licence"].startswith("Apache-2.0")
    teachers = [teacher for record in document["distillations"] for teacher in record["teachers"]]
    assert {layer for teacher in teachers for layer in teacher["layers"]} == set(LAYERS)
    assert set(document["decoders"]) == set(LAYERS)
    assert len(document["checksum"]) == 64
    assert not compact.auxiliary


def test_it_is_small(compact):
    assert model_path("compact").stat().st_size <= 6e6
    assert sum(leaf.size for leaf in jax.tree.leaves(compact)) <= 2.2e6
    # Multiplications for a pixel of photo and picture: the published compressed network takes 150,552 with an encoder
    # for each layer, which it also runs on the picture.
    encoders = [multiplications(encoder_shapes(compact.widths[: depth + 1])) for depth in range(5)]
    decoders = [multiplications(decoder_shapes(layer, compact.widths)) for layer in LAYERS]
    assert sum(encoders) + sum(decoders) + encoders[-1] < 150_552


def multiplications(shapes):
    return sum(9 * inputs * outputs / 4 ** (block_of(name) - 1) for name, (inputs, outputs) in shapes.items())


def test_its_painter_is_small_and_rebuilds_photos(compact):
    assert compact.painter_layers == ("relu4_1", "relu3_1", "relu2_1", "relu1_1")
    assert sum(leaf.size for leaf in jax.tree.leaves(compact.painter)) <= 1.5e6
    shapes = encoder_shapes(compact.widths[:4]), decoder_shapes("relu4_1", compact.widths)
    assert sum(map(multiplications, shapes)) <= 36_000
    assert compact.metadata["painter"]["data"].startswith("784 photos")
    as_decoder = dataclasses.replace(compact, decoders={"relu4_1": compact.painter})
    assert evaluate(as_decoder, "relu4_1", [picture("content")[128:384, 256:512]])["psnr"] > 20


def edges(image):
    y, x = np.gradient(np.asarray(image).mean(-1))
    return np.hypot(x, y).ravel()


@pytest.mark.slow
def test_structure_leads_from_painting_to_photograph(compact):
    photo, style = picture("content")[128:384, 256:512], wct_jax.extract_style(compact, picture("mosaic")[:256, :256])
    painted = [wct_jax.stylize(compact, photo, style, structure=k) for k in (0.0, 0.5, 1.0)]
    alike = [np.corrcoef(edges(image), edges(photo))[0, 1] for image in painted]
    assert alike == sorted(alike)
    assert alike[2] > 0.85
    changes = [np.abs(np.asarray(image) - photo).mean() for image in painted]
    assert changes == sorted(changes, reverse=True)


@pytest.mark.parametrize(("layer", "decibels"), [*zip(LAYERS, (40, 31, 26, 23.5, 20), strict=True)])
def test_it_rebuilds_photos(compact, layer, decibels):
    assert evaluate(compact, layer, [picture("content")[128:384, 256:512]])["psnr"] > decibels


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1, 1), (13, 7), (65, 48)])
@pytest.mark.parametrize("flat", [True, False])
def test_no_size_and_no_flat_picture_is_too_much(compact, rng, size, flat):
    photo = np.full((*size, 3), 0.25, np.float32) if flat else rng.random((*size, 3), np.float32)
    style = wct_jax.extract_style(compact, rng.random((40, 33, 3), np.float32))
    result = wct_jax.stylize(compact, photo, style)
    assert result.shape == photo.shape
    assert np.isfinite(result).all()


@pytest.mark.slow
def test_every_way_to_convolve_gives_the_same_picture(compact):
    content, style = picture("content")[100:196, 200:296], picture("waves")[:80, :112]
    results = []
    for name in ("direct", None):
        with algorithm(name):
            results.append(wct_jax.stylize(compact, content, wct_jax.extract_style(compact, style)))
    assert psnr(*results) >= 60


def test_the_result_has_the_colours_of_the_style(compact):
    photo, style = (picture(name)[128:384, 128:384] for name in ("content", "waves"))
    result = np.clip(wct_jax.stylize(compact, photo, wct_jax.extract_style(compact, style)), 0, 1)
    to_style, to_photo = (np.abs(result.mean((0, 1)) - image.mean((0, 1))).max() for image in (style, photo))
    assert to_style < min(0.05, to_photo)


@pytest.mark.slow
def test_a_photograph_keeps_its_drawing(compact):
    photo, style = picture("content")[128:320, 256:512], picture("ink")[:256, :256]
    result = wct_jax.transfer_photo(compact, photo, wct_jax.extract_photo_style(compact, style))
    assert edge_similarity(result, photo) > 0.8
    assert np.abs(result.mean((0, 1)) - style.mean((0, 1))).max() < 0.1
    assert np.abs(photo.mean((0, 1)) - style.mean((0, 1))).max() > 0.1

"""Images in tiles: repainted as they would be whole, on any number of devices, in files or in memory."""

import errno
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wct_jax import extract_style, extract_style_tiled, stylize, stylize_tiled
from wct_jax.measures.metrics import psnr
from wct_jax.painting.options import PAINTERS
from wct_jax.painting.tiles.tile import choose_tile, least_tile
from wct_jax.system import sheet

# What a float32 sum over tiles may differ in from one over the whole; where that decides whether an eigenvalue is
# kept, a random network would show it.
ALIKE = 60


@pytest.fixture(scope="module")
def pictures():
    """Smooth ones with some noise, of odd sizes."""
    rng = np.random.default_rng(4)

    def picture(height, width):
        y, x = np.mgrid[:height, :width] / 90
        waves = np.stack([np.sin(x + y), np.cos(2 * x - y), np.sin(x) * np.cos(3 * y)], axis=-1)
        return (0.5 + 0.3 * waves + 0.2 * rng.uniform(-1, 1, (height, width, 3))).clip(0, 1).astype(np.float32)

    return picture(283, 407), picture(301, 225)


@pytest.fixture(scope="module")
def style(compact, pictures):
    return extract_style(compact, pictures[1])


@pytest.fixture
def on_disk(monkeypatch):
    monkeypatch.setattr(sheet, "_SMALL", 0)


def listener():
    """A list, and a function that adds to it what it is told of progress."""
    told = []
    return told, lambda *state: told.append(state)


def assert_alike(image, expected, least=ALIKE):
    assert image.shape == expected.shape
    assert float(psnr(jnp.asarray(image), jnp.asarray(expected))) >= least
    assert np.abs(image - expected).max() <= 1 / 255


@pytest.mark.slow
@pytest.mark.usefixtures("directly")
@pytest.mark.parametrize("options", [{"method": "cascade"}, {"method": "one-pass", "structure": 0.3}], ids=PAINTERS)
def test_tiles_are_the_whole(compact, pictures, style, options, on_disk, tmp_path):
    told, tell = listener()
    result = stylize_tiled(compact, pictures[0], style, tile=224, folder=tmp_path, progress=tell, **options)
    assert_alike(result, np.asarray(stylize(compact, pictures[0], style, **options)))
    assert result.dtype == np.float32
    assert os.listdir(tmp_path) == []
    total = told[-1][2]
    assert [done for _, done, _ in told] == list(range(1, total + 1))
    assert list(dict.fromkeys(layer for layer, _, _ in told)) == list(
        compact.painter_layers if "structure" in options else compact.layers
    )


@pytest.mark.slow
@pytest.mark.usefixtures("directly")
def test_tiles_in_memory_with_weights_and_some_layers(compact, pictures, style, rng):
    content = pictures[0]
    weights = (rng.random(content.shape[:2]) < 0.5).astype(np.float32)
    weights[:, 200:] = 0
    options = {"layers": ["relu2_1", "relu3_1"], "content_weights": weights}
    expected = np.asarray(stylize(compact, content, style, [0.5, 0.8], **options))
    assert_alike(stylize_tiled(compact, content, style, [0.5, 0.8], tile=96, **options), expected)


@pytest.mark.slow
def test_regions_in_tiles_are_those_of_the_whole(model, rng):
    content = rng.random((100, 150, 3), np.float32)
    styles = [extract_style(model, content**power, ["relu2_1", "relu1_1"]) for power in (1, 3)]
    mask = np.zeros((100, 150), bool)
    mask[:, 60:] = True
    options = {"mask": [mask], "alpha_map": rng.random((100, 150)), "transform": "ot", "passes": 2}
    for style in (styles, [styles[0]], [None, styles[1]]):
        expected = stylize(model, content, style, 0.7, **options)
        assert_alike(stylize_tiled(model, content, style, 0.7, tile=64, **options), expected)


@pytest.mark.slow
@pytest.mark.usefixtures("directly", "quick")
@pytest.mark.parametrize("layers", [None, ["relu4_1", "relu1_1"], ["relu2_1", "relu1_1"], ["relu3_1"]])
def test_one_pass_in_tiles_is_that_of_the_whole(model, rng, on_disk, tmp_path, layers):
    content = rng.random((150, 119, 3), np.float32)
    style = extract_style(model, content[:90] ** 2)
    maps = {name: rng.random((150, 119)) for name in ("structure_map", "alpha_map", "strength", "content_weights")}
    for options in (
        {},
        {"structure": 0.5, "shrinkage": 0.1},
        {"structure": 0.8, "mask": [maps["alpha_map"]], "passes": 2, "margin": 5, "transform": "ot", **maps},
    ):
        options = {"method": "one-pass", "layers": layers, **options}
        told, tell = listener()
        tiled = stylize_tiled(model, content, [style], 0.9, tile=96, folder=tmp_path, progress=tell, **options)
        whole = np.asarray(stylize(model, content, [style], 0.9, **options))
        assert_alike(tiled, whole, 90)
        assert [done for _, done, _ in told] == list(range(1, told[-1][2] + 1))
        assert list(dict.fromkeys(layer for layer, _, _ in told)) == list(layers or model.painter_layers)
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
@pytest.mark.usefixtures("directly", "quick")
def test_layers_of_several_encoders_in_tiles(several, rng):
    content = rng.random((70, 90, 3), np.float32)
    layers = ["relu2_1", "relu1_1"]
    style = extract_style(several, content**2)
    tiled = extract_style_tiled(several, content**2, layers, tile=64)
    whole = np.asarray(stylize(several, content, style, layers=layers))
    assert_alike(stylize_tiled(several, content, tiled, tile=64), whole)
    widest = choose_tile((10_000, 10_000), several, several.layers, 1.9e9)
    assert choose_tile((10_000, 10_000), several, ["relu3_1"], 1.9e9) >= widest


@pytest.mark.slow
@pytest.mark.usefixtures("directly")
@pytest.mark.parametrize("weighted", [False, True])
def test_a_style_in_tiles_is_that_of_the_whole(compact, pictures, rng, weighted):
    picture = pictures[1]
    weights = rng.random(picture.shape[:2], np.float32) if weighted else None
    layers = ["relu3_1", "relu1_1"]
    expected = extract_style(compact, picture, layers, weights=weights)
    told, tell = listener()
    result = extract_style_tiled(compact, picture, layers, tile=96, weights=weights, progress=tell)
    assert result.digest == expected.digest
    assert told[-1][1] == told[-1][2] == len(told) > 1
    for layer, moments in expected.moments.items():
        np.testing.assert_allclose(result.moments[layer].count, moments.count, rtol=1e-5)
        np.testing.assert_allclose(result.moments[layer].mean, moments.mean, rtol=1e-4, atol=1e-5)
        scale = float(jnp.abs(moments.covariance).max())
        np.testing.assert_allclose(result.moments[layer].covariance, moments.covariance, atol=1e-4 * scale)


@pytest.mark.parametrize("shape", [(150, 170, 3), (40, 900, 3)])
def test_what_needs_no_tiles_has_none(model, shape, rng):
    content = rng.random(shape, np.float32)
    style = extract_style_tiled(model, content, tile=176)
    np.testing.assert_array_equal(stylize_tiled(model, content, style, tile=176), stylize(model, content, style))


@pytest.mark.parametrize(("tile", "passes"), [(200, 1), (200, 2), (48, 2)])
def test_progress_ends_with_all_that_there_is(model, rng, tile, passes):
    content, (told, tell) = rng.random((70, 90, 3), np.float32), listener()
    style = extract_style_tiled(model, content, "relu1_1", tile=tile, progress=tell)
    assert told == [("relu1_1", done, told[-1][2]) for done in range(1, len(told) + 1)]
    assert told[-1][1] == told[-1][2] >= 1
    told.clear()
    stylize_tiled(model, content, style, tile=tile, passes=passes, progress=tell)
    assert told == [("relu1_1", done, told[-1][2]) for done in range(1, len(told) + 1)]
    assert told[-1][1] == told[-1][2] >= passes


def test_every_device_has_tiles(model, rng, method, monkeypatch):
    assert jax.local_device_count() > 1
    content = rng.random((100, 150, 3), np.float32)
    style = extract_style(model, content, ["relu1_1"])
    placed = set()
    device_put = jax.device_put

    def put(tree, *device):
        placed.update(device)
        return device_put(tree, *device)

    monkeypatch.setattr(jax, "device_put", put)
    several = stylize_tiled(model, content, style, tile=48, method=method)
    assert placed == set(jax.local_devices())
    monkeypatch.setattr(jax, "local_devices", lambda: jax.devices()[:1])
    np.testing.assert_allclose(stylize_tiled(model, content, style, tile=48, method=method), several, atol=1e-5)


def test_what_cannot_be_is_said(model, rng):
    content = rng.random((200, 200, 3), np.float32)
    style = extract_style(model, content, ["relu1_1", "relu2_1"])
    assert least_tile(["relu1_1"]) < least_tile(["relu4_1"]) < least_tile(["relu5_1", "relu1_1"]) == 176
    for image, options, message in (
        (content, {"tile": 31}, "sides of 32 pixels at least with relu2_1, got 31"),
        (content[None], {}, r"content must be an image \[H, W, 3\], got shape \(1, 200, 200, 3\)"),
        (content, {"structure": 0.5, "method": "cascade"}, "`structure` needs `method` one-pass"),
        (content, {"structure_map": np.ones((3, 3))}, r"structure_map must broadcast to \(200, 200\)"),
        (content, {"content_weights": np.ones((3, 3))}, r"weights must broadcast to \(200, 200\), got shape \(3, 3\)"),
    ):
        with pytest.raises(ValueError, match=message):
            stylize_tiled(model, image, style, **({"tile": 100} | options))
    for image, message in (
        (content[..., 0], r"image must be an image \[H, W, 3\], got shape \(200, 200\)"),
        (content, "176 pixels at least with relu5_1, got 100"),
    ):
        with pytest.raises(ValueError, match=message):
            extract_style_tiled(model, image, tile=100)


def test_a_full_disk_is_said(model, rng, on_disk, monkeypatch, tmp_path):
    content = rng.random((100, 100, 3), np.float32)
    style = extract_style(model, content, ["relu1_1"])

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(ValueError, match=rf"cannot keep 0.0 GB of an unfinished image in {tmp_path}: No space left"):
        stylize_tiled(model, content, style, tile=48, folder=tmp_path)
    assert os.listdir(tmp_path) == []


def test_the_tile_is_what_the_memory_allows(compact):
    layers = compact.layers
    assert choose_tile((1000, 1000), compact, layers, 4e9) is None
    small, large = (choose_tile((10_000, 10_000), compact, layers, memory) for memory in (2.5e9, 4e9))
    assert least_tile(layers) <= small < large < 10_000
    with pytest.raises(ValueError, match=r"10000 x 5000 pixels take 1\.2 GB of memory at least .* there are 1\.0 GB"):
        choose_tile((5000, 10_000), compact, layers, 1e9)

"""Strength: none is the photo, all is the result as it was, and between them it is even."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wct_jax import extract_style, preserve_color, read_image, stylize, stylize_tiled
from wct_jax.measures.metrics import psnr
from wct_jax.system import sheet

EXAMPLES = Path(__file__).parents[2] / "examples"
pytestmark = pytest.mark.usefixtures("quick", "directly")


def bits(image):
    return np.asarray(image).view(np.uint16 if image.dtype.itemsize == 2 else np.uint32)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize(("alpha", "method"), [(1.0, "cascade"), (0.0, "cascade"), (1.0, "one-pass")])
def test_none_is_the_photo_to_the_bit(model, photo, style, dtype, alpha, method):
    image = jnp.asarray(photo, dtype)
    result = stylize(model, image, style, alpha, strength=0, layers=["relu1_1"], method=method)
    assert result.dtype == image.dtype
    np.testing.assert_array_equal(bits(result), bits(image))


@pytest.mark.slow
@pytest.mark.parametrize("strength", [1, 1.0, np.float64(1), np.ones((70, 90), bool), jnp.ones((1, 90))])
def test_all_is_the_result_without_it_to_the_bit(model, photo, style, strength, method):
    expected = stylize(model, photo, style, 0.7, passes=2, method=method)
    result = stylize(model, photo, style, 0.7, strength=strength, passes=2, method=method)
    np.testing.assert_array_equal(result, expected)
    options = {"tile": 48, "method": method}
    tiled = stylize_tiled(model, photo, style, 0.7, strength=np.asarray(strength) * np.ones((70, 90)), **options)
    np.testing.assert_array_equal(tiled, stylize_tiled(model, photo, style, 0.7, **options))


@pytest.mark.slow
@pytest.mark.parametrize("layers", [None, ["relu3_1", "relu1_1"], ["relu4_1"]])
def test_the_change_grows_evenly(compact, layers):
    content, picture = (read_image(EXAMPLES / f"{name}.jpg", 64) for name in ("content", "mosaic"))
    style = extract_style(compact, picture, layers)
    steps = np.linspace(0, 1, 5)
    results = [np.asarray(stylize(compact, content, style, strength=s)).clip(0, 1) for s in steps]
    changes = np.asarray([np.abs(result - content).mean() for result in results])
    assert changes[0] == 0
    assert (np.diff(changes) > 0).all()
    np.testing.assert_allclose(changes / changes[-1], steps, atol=0.05)


def test_a_map_is_the_strength_of_each_pixel(model, photo, style):
    strength = np.linspace(-0.5, 1.5, 90, dtype=np.float32).clip(0, 1) * np.ones((70, 1), np.float32)
    result = np.asarray(stylize(model, photo, style, strength=strength))
    np.testing.assert_array_equal(bits(result)[strength == 0], bits(photo)[strength == 0])
    change = np.abs(result - photo).mean((0, 2))
    assert change[:22].max() == 0 < change[30] < change[70]
    half = stylize(model, photo, style, strength=np.full((1, 90), 0.5))
    np.testing.assert_allclose(half, stylize(model, photo, style, strength=0.5), atol=1e-4)


@pytest.mark.slow
def test_a_pure_function_of_it(model, photo, style):
    image, strengths = photo[:20, :30], np.asarray([0.0, 0.3, 1.0], np.float32)
    expected = np.stack([stylize(model, image, style, strength=s) for s in strengths])
    one = jax.jit(lambda s: stylize(model, image, style, strength=s))
    several = jax.jit(jax.vmap(one))(jnp.asarray(strengths))
    np.testing.assert_allclose(several, expected, atol=2e-3)
    np.testing.assert_array_equal(several[0], image)
    batch = stylize(model, np.stack([image] * 3), style, strength=strengths[:, None, None])
    np.testing.assert_allclose(batch, expected, atol=2e-3)
    slope = jax.jit(jax.grad(lambda s: jnp.mean(one(s) ** 2)))
    for s in strengths:
        up, down = (jnp.mean(one(jnp.float32(s + step)) ** 2) for step in (1e-2, -1e-2))
        np.testing.assert_allclose(slope(jnp.float32(s)), (up - down) / 2e-2, rtol=0.1, atol=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("scalar", [True, False])
def test_tiles_are_the_whole(model, photo, style, scalar, method, rng, monkeypatch, tmp_path):
    monkeypatch.setattr(sheet, "_SMALL", 0)
    strength = 0.4 if scalar else (rng.random((70, 90)) * 2 - 0.5).clip(0, 1)
    options = {"strength": strength, "mask": [rng.random((70, 90), np.float32)], "passes": 2, "method": method}
    whole = stylize(model, photo, [style], **options)
    tiled = stylize_tiled(model, photo, [style], tile=48, folder=tmp_path, **options)
    assert psnr(jnp.asarray(tiled), whole) >= 60
    if not scalar:
        np.testing.assert_array_equal(bits(tiled)[strength == 0], bits(photo)[strength == 0])
    none = stylize_tiled(model, photo, style, strength=0, tile=48, method=method)
    np.testing.assert_array_equal(bits(none), bits(photo))


def test_a_region_without_style_stays_the_photo(model, photo, style, method):
    mask = np.zeros((70, 90), np.float32)
    mask[:, :40] = 1
    result = np.asarray(stylize(model, photo, [style], mask=[mask], strength=0.5, method=method))
    np.testing.assert_array_equal(result[:, 40:], photo[:, 40:])
    assert np.abs(result - photo)[:, :40].mean() > 1e-2
    np.testing.assert_array_equal(stylize(model, photo, [style], mask=[mask], strength=0, method=method), photo)


@pytest.mark.parametrize("how", ["luminance", "histogram", "coral"])
def test_with_the_photos_colours(model, photo, style, how):
    image, dim = np.asarray(stylize(model, photo, style)), photo * 0.5
    whole = preserve_color(image, dim, how)
    np.testing.assert_array_equal(preserve_color(image, dim, how, strength=1), whole)
    np.testing.assert_array_equal(preserve_color(dim.copy(), dim, how, strength=0), dim)
    # The painted part is blended in the photo's colours.
    quarter = dim + np.float32(0.25) * (image - dim)
    expected = 0.75 * dim + 0.25 * whole
    np.testing.assert_allclose(preserve_color(quarter, dim, how, strength=0.25), expected, atol=1e-4)
    strength = np.zeros((70, 90), np.float32)
    strength[:, 30:] = 0.5
    counted = (strength > 0).astype(np.float32)
    half = dim + strength[..., None] * (image - dim)
    result = preserve_color(half, dim, how, strength=strength, out=half)
    assert result is half
    np.testing.assert_array_equal(result[:, :30], dim[:, :30])
    expected = 0.5 * dim + 0.5 * preserve_color(image, dim, how, weights=counted)
    np.testing.assert_allclose(result[:, 30:], expected[:, 30:], atol=1e-4)


def test_what_is_no_strength_is_refused(model, photo, style, repaint):
    for strength in (-0.1, 1.5, float("nan"), np.full((70, 90), 255, np.uint8), np.linspace(0, 2, 90)):
        with pytest.raises(ValueError, match=r"strength must be (from 0 to 1|floating point in 0\.\.1, or bool), got "):
            repaint(model, photo, style, strength=strength)
    with pytest.raises(ValueError, match=r"strength must broadcast to \(70, 90\), got shape \(3, 3\)"):
        repaint(model, photo, style, strength=np.zeros((3, 3)))

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from wct_jax import extract_photo_style, extract_style, transfer_photo
from wct_jax.painting.style_file import load_style, save_style
from wct_jax.photo import transfer
from wct_jax.photo.cells import Photo
from wct_jax.photo.fit import fit_cells
from wct_jax.photo.protection import keep_hue, protected
from wct_jax.photo.tone import Toning, into_gamut
from wct_jax.photo.transfer import shrunk, with_colors
from wct_jax.transform.statistics import moments

pytestmark = pytest.mark.usefixtures("quick")

LUMA = np.asarray([0.299, 0.587, 0.114], np.float32)


@pytest.fixture
def style(model, rng):
    return extract_photo_style(model, (rng.random((40, 50, 3), np.float32) * (0.8, 0.5, 0.3)).astype(np.float32))


@pytest.mark.slow
def test_colours_move_to_the_style(model, photo, style):
    result = transfer_photo(model, photo, style)
    assert result.shape == photo.shape
    assert result.dtype == np.float32
    assert 0 <= result.min() <= result.max() <= 1
    target = np.asarray(style.moments["colors"].mean)
    before, after = (np.abs(image.mean((0, 1)) - target).max() for image in (photo, result))
    assert after < 0.7 * before  # Noise as a style asks for more than means.


@pytest.mark.slow
def test_strength(model, photo, style, rng):
    whole = transfer_photo(model, photo, style, strength=1)
    np.testing.assert_array_equal(transfer_photo(model, photo, style, strength=0), photo)
    half = transfer_photo(model, photo, style, strength=0.5)
    np.testing.assert_allclose(half, (photo + whole) / 2, atol=1e-5)
    share = rng.random(photo.shape[:2], np.float32)
    share[:5] = 0
    result = transfer_photo(model, photo, style, strength=share)
    np.testing.assert_array_equal(result[:5], photo[:5])
    np.testing.assert_allclose(result, photo + share[..., None] * (whole - photo), atol=1e-5)


def test_of_near_colours_little_changes_unless_told(model, photo):
    """Two halves of one photo differ by as much in light and contrast; a cast is what is restored between them."""
    darker = extract_photo_style(model, photo * np.float32(0.95))
    kept, told = (np.abs(transfer_photo(model, photo, darker, strength=share) - photo).mean() for share in (None, 1))
    assert kept < 0.1 * told
    cast = np.float32([0.03, -0.005, -0.025])
    tinted = transfer_photo(model, photo, extract_photo_style(model, (photo + cast).clip(0, 1)))
    luma = (photo @ LUMA)[..., None]
    np.testing.assert_allclose(tinted - photo, 4 * luma * (1 - luma) * cast, atol=0.02)


@pytest.mark.slow
def test_masks(model, photo, style):
    left = np.zeros(photo.shape[:2], np.float32)
    left[:, :40] = 1
    result = transfer_photo(model, photo, [style], mask=[left])
    np.testing.assert_array_equal(result[:, 40:], photo[:, 40:])
    assert np.abs(result[:, :40] - photo[:, :40]).mean() > 0.01
    whole = transfer_photo(model, photo, [style], mask=[np.ones_like(left)])
    np.testing.assert_allclose(whole, transfer_photo(model, photo, style), atol=1e-4)
    both = transfer_photo(model, photo, [style, None, style], mask=[left * 0.5, left * 0.5])
    assert np.abs(both[:, 40:] - photo[:, 40:]).mean() > 0.01


@pytest.mark.slow
def test_a_constant_photo_stays_calm(model, style):
    result = transfer_photo(model, np.full((40, 50, 3), 0.5, np.float32), style)
    assert np.isfinite(result).all()
    assert max(np.abs(np.diff(result, axis=axis)).max() for axis in (0, 1)) < 0.01


@pytest.mark.parametrize("size", [(1, 9), pytest.param((1, 1), marks=pytest.mark.slow)])
def test_tiny_photos(model, style, size):
    result = transfer_photo(model, np.full((*size, 3), 0.4, np.float32), style)
    assert np.isfinite(result).all()


@pytest.mark.slow
def test_pixels_without_weight_do_not_count(model, photo, style):
    other, weights = photo.copy(), np.ones(photo.shape[:2], np.float32)
    weights[:, 60:], other[:, 60:] = 0, 1 - photo[:, 60:]
    one, two = (transfer_photo(model, each, style, content_weights=weights) for each in (photo, other))
    # Edges and neighbouring cells matter there, but no statistics have the pixels.
    apart, without = (np.abs(x - one)[:, :20].mean() for x in (two, transfer_photo(model, other, style)))
    assert apart < without / 3


@pytest.mark.slow
def test_a_photo_on_a_canvas_is_changed_as_by_itself(model, style, rng):
    """Of 100 x 90 pixels on a canvas of 104 x 96 or so, beside the fit without one."""
    y, x = np.mgrid[:100, :90].astype(np.float32) / 100
    photo = np.stack([x, y, 0.5 + 0.4 * np.sin(9 * x * y)], -1) * 0.8 + 0.05 * rng.random((100, 90, 3), np.float32)
    features = {name: found for name, found in style.moments.items() if name != "colors"}
    toning = Toning.of(moments(photo), style.moments["colors"])
    photos = Photo(jnp.asarray(photo), toning)
    cells = fit_cells(model, photos, features)
    assert cells.shape == (7, 6, 3, 6)
    # Forty steps, each by about the sign of the gradient, make more of rounding.
    apart = np.abs(transfer_photo(model, photo, style) - into_gamut(photos.graded(cells)))
    assert (apart.mean(), apart.max()) < (2e-3, 2e-2)


@pytest.mark.slow
def test_large_photos_are_painted_small(model, style, rng):
    small = rng.random((5, 6, 3), np.float32)
    large = small.repeat(200, 0).repeat(200, 1)
    result = transfer_photo(model, large, style)
    assert result.shape == large.shape
    np.testing.assert_allclose(shrunk(large, 200), small, atol=1e-5)
    values = rng.random((10, 11), np.float32)
    np.testing.assert_allclose(shrunk(values, 4)[2, 2], values[8:, 8:].mean(), rtol=1e-5)


def test_protected_colours():
    colors = np.asarray([[0.85, 0.62, 0.52], [0.5, 0.5, 0.5], [0.1, 0.3, 0.9], [0, 0.8, 0]], np.float32)
    np.testing.assert_allclose(protected(colors, ("skin",)), [1, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(protected(colors, ("neutrals",)), [0, 1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(protected(colors, ("skin", "neutrals")), [1, 1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(protected(colors, ()), 0)
    changed = np.full_like(colors, (0.2, 0.3, 0.6))
    kept = np.asarray(keep_hue(changed, colors, np.asarray([1, 1, 0, 0], np.float32)))
    np.testing.assert_allclose(kept @ LUMA, changed @ LUMA, atol=1e-5)
    np.testing.assert_allclose(kept[1], changed[1] @ LUMA, atol=1e-5)
    np.testing.assert_allclose(kept[2:], changed[2:], atol=1e-6)
    assert kept[0, 0] > kept[0, 1] > kept[0, 2]


def test_protection_changes_only_what_is_protected(model, photo, style):
    photo = photo.copy()
    photo[:20] = 0.5
    plain, kept = (transfer_photo(model, photo, style, protect=names) for names in ((), ("neutrals",)))
    assert np.ptp(plain[10, 10]) > 0.02
    assert np.ptp(kept[10, 10]) < 1e-4


def test_style_files_keep_the_colours(model, style, tmp_path):
    save_style(tmp_path / "a.safetensors", style)
    found = load_style(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(found.moments["colors"].mean, style.moments["colors"].mean)


def test_refusals(model, photo, style):
    for broken, sentence in (
        ({"protect": "sky"}, "protect must be one of skin, neutrals, got 'sky'"),
        ({"mask": [np.ones(photo.shape[:2])] * 3}, "a style for each mask"),
    ):
        with pytest.raises(ValueError, match=sentence):
            transfer_photo(model, photo, style, **broken)
    with pytest.raises(ValueError, match="the style has no moments of colors"):
        transfer_photo(model, photo, extract_style(model, photo))
    with pytest.raises(ValueError, match="the style has no moments of relu3_1"):
        transfer_photo(model, photo, with_colors(extract_style(model, photo, ["relu1_1", "relu2_1"]), photo))
    with pytest.raises(ValueError, match="made with another encoder"):
        transfer_photo(dataclasses.replace(model, digest="f" * 64), photo, style)


def test_colours_of_a_large_picture_are_those_of_all_its_pixels(model, rng, monkeypatch):
    """Summed by blocks of rows, one narrower than the others."""
    picture, weights = rng.random((23, 17, 3), np.float32), rng.random((23, 17), np.float32)
    monkeypatch.setattr(transfer, "_AT_ONCE", 5 * 17)
    style = extract_style(model, picture, ["relu1_1"])
    for counted in (None, weights):
        found, expected = with_colors(style, picture, counted).moments["colors"], moments(picture, counted)
        for name in ("count", "mean", "scatter"):
            np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-5, atol=1e-5)

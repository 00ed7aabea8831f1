import dataclasses

import numpy as np
import pytest

from wct_jax import extract_photo_style, extract_style, transfer_photo
from wct_jax.painting.style_file import load_style, save_style
from wct_jax.photo.protection import keep_hue, protected
from wct_jax.photo.tone import into_gamut
from wct_jax.photo.transfer import shrunk

LUMA = np.asarray([0.299, 0.587, 0.114], np.float32)


@pytest.fixture
def style(painter, rng):
    return extract_photo_style(painter, (rng.random((40, 50, 3), np.float32) * (0.8, 0.5, 0.3)).astype(np.float32))


def test_colours_move_to_the_style(painter, photo, style):
    result = transfer_photo(painter, photo, style)
    assert result.shape == photo.shape
    assert result.dtype == np.float32
    assert 0 <= result.min() <= result.max() <= 1
    target = np.asarray(style.moments["colors"].mean)
    before, after = (np.abs(image.mean((0, 1)) - target).max() for image in (photo, result))
    assert after < 0.5 * before


def test_strength(painter, photo, style, rng):
    whole = transfer_photo(painter, photo, style)
    np.testing.assert_array_equal(transfer_photo(painter, photo, style, strength=0), photo)
    half = transfer_photo(painter, photo, style, strength=0.5)
    np.testing.assert_allclose(half, (photo + whole) / 2, atol=1e-5)
    share = rng.random(photo.shape[:2], np.float32)
    share[:5] = 0
    result = transfer_photo(painter, photo, style, strength=share)
    np.testing.assert_array_equal(result[:5], photo[:5])
    np.testing.assert_allclose(result, photo + share[..., None] * (whole - photo), atol=1e-5)


def test_a_map_of_structure_is_its_factor(painter, photo, style):
    for share in (0.0, 1.0):
        mapped = transfer_photo(
            painter, photo, style, structure=0.5, structure_map=np.full(photo.shape[:2], share, np.float32)
        )
        np.testing.assert_allclose(mapped, transfer_photo(painter, photo, style, structure=0.5 * share), atol=1e-5)
    with pytest.raises(ValueError, match="structure_map must broadcast to"):
        transfer_photo(painter, photo, style, structure_map=np.ones((3, 3), np.float32))


def test_masks(painter, photo, style):
    left = np.zeros(photo.shape[:2], np.float32)
    left[:, :40] = 1
    result = transfer_photo(painter, photo, [style], mask=[left])
    np.testing.assert_array_equal(result[:, 40:], photo[:, 40:])
    assert np.abs(result[:, :40] - photo[:, :40]).mean() > 0.01
    whole = transfer_photo(painter, photo, [style], mask=[np.ones_like(left)])
    np.testing.assert_allclose(whole, transfer_photo(painter, photo, style), atol=1e-4)
    both = transfer_photo(painter, photo, [style, None, style], mask=[left * 0.5, left * 0.5])
    assert np.abs(both[:, 40:] - photo[:, 40:]).mean() > 0.01


def test_constant_photo_takes_the_mean(painter, style):
    result = transfer_photo(painter, np.full((40, 50, 3), 0.5, np.float32), style)
    assert np.isfinite(result).all()
    assert result.std((0, 1)).max() < 0.02


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 3)])
def test_tiny_photos(painter, style, size):
    result = transfer_photo(painter, np.full((*size, 3), 0.4, np.float32), style)
    assert np.isfinite(result).all()


def test_a_style_without_colours_serves_too(painter, photo, rng):
    style = extract_style(painter, rng.random((40, 50, 3), np.float32))
    assert np.isfinite(transfer_photo(painter, photo, style, content_weights=photo[..., 0] > 0.3)).all()


def test_large_photos_are_painted_small(painter, style, rng):
    small = rng.random((5, 6, 3), np.float32)
    large = small.repeat(200, 0).repeat(200, 1)
    result = transfer_photo(painter, large, style)
    assert result.shape == large.shape
    np.testing.assert_allclose(shrunk(large, 200), small, atol=1e-5)
    values = rng.random((10, 11), np.float32)
    np.testing.assert_allclose(shrunk(values, 4)[2, 2], values[8:, 8:].mean(), rtol=1e-5)


def test_gamut_keeps_luma_and_hue(rng):
    colors = rng.normal(0.5, 0.4, (1000, 3)).astype(np.float32)
    result = np.asarray(into_gamut(colors))
    assert -1e-6 <= result.min() <= result.max() <= 1 + 1e-6
    before, after = colors @ LUMA, result @ LUMA
    middle = (before > 0.04) & (before < 0.96)
    np.testing.assert_allclose(after[middle], before[middle], atol=1e-5)
    order = np.argsort(before)
    assert (np.diff(after[order]) >= -1e-5).all()
    chroma, kept = colors - before[:, None], result - after[:, None]
    cosine = (chroma * kept).sum(-1) / np.maximum(np.linalg.norm(chroma, axis=-1) * np.linalg.norm(kept, axis=-1), 1e-9)
    assert cosine[np.linalg.norm(kept, axis=-1) > 1e-3].min() > 0.999
    muted = np.full((5, 3), (0.4, 0.5, 0.45), np.float32)
    np.testing.assert_allclose(into_gamut(muted), muted, atol=1e-6)


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


def test_protection_changes_only_what_is_protected(painter, photo, style):
    photo = photo.copy()
    photo[:20] = 0.5
    plain, kept = (transfer_photo(painter, photo, style, protect=names) for names in ((), ("neutrals",)))
    assert np.ptp(plain[10, 10]) > 0.02
    assert np.ptp(kept[10, 10]) < 1e-4


def test_style_files_keep_the_colours(painter, style, tmp_path):
    save_style(tmp_path / "a.safetensors", style)
    found = load_style(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(found.moments["colors"].mean, style.moments["colors"].mean)


def test_refusals(painter, model, photo, style):
    for broken, sentence in (
        ({"protect": "sky"}, "protect must be one of skin, neutrals, got 'sky'"),
        ({"local": 2}, r"local must be in 0\.\.1, got 2"),
        ({"mask": [np.ones(photo.shape[:2])] * 3}, "a style for each mask"),
        ({"transform": "wave"}, "transform must be one of"),
    ):
        with pytest.raises(ValueError, match=sentence):
            transfer_photo(painter, photo, style, **broken)
    with pytest.raises(ValueError, match="has no painter"):
        transfer_photo(dataclasses.replace(model, painter={}), photo, style)

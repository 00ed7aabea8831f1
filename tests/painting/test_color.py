"""The photo's colours: what each way keeps, on busy, flat and large pictures."""

import numpy as np
import pytest

from wct_jax.painting import color
from wct_jax.painting.color import preserve_color

LUMA = [0.299, 0.587, 0.114]
EVERY_WAY = pytest.mark.parametrize("how", ["luminance", "histogram", "coral"])


@pytest.fixture
def pictures(rng):
    """A result that goes beyond 0..1 here and there, and a photo."""
    image = rng.normal(0.5, 0.25, (30, 41, 3)).astype(np.float32)
    photo = (rng.random((30, 41, 3)) ** 2 * [0.9, 0.5, 0.3] + 0.05).astype(np.float32)
    return image, photo


def test_luminance_is_the_results_and_hue_the_photos(pictures):
    image, photo = pictures
    result = preserve_color(image, photo, "luminance")
    light = image.clip(0, 1) @ LUMA
    np.testing.assert_allclose(result @ LUMA, light, atol=1e-5)
    got, wanted = (each - (each @ LUMA)[..., None] for each in (result, photo))
    # The same direction from grey, and no longer.
    np.testing.assert_allclose(np.cross(got, wanted), 0, atol=1e-5)
    assert (np.linalg.norm(got, axis=-1) <= np.linalg.norm(wanted, axis=-1) + 1e-5).all()
    grey = np.repeat(light[..., None], 3, -1).astype(np.float32)
    np.testing.assert_allclose(preserve_color(image, np.full_like(photo, 0.3), "luminance"), grey, atol=1e-5)


def test_histograms_are_the_photos(pictures):
    image, photo = pictures
    result = preserve_color(image, photo, "histogram")
    for channel in range(3):
        got, wanted = (np.sort(each[..., channel].ravel()) for each in (result, photo))
        # Of what was clipped the order is not known.
        np.testing.assert_allclose(got[60:-60], wanted[60:-60], atol=1e-2)
        assert wanted[0] - 1e-3 <= got[0] <= got[-1] <= wanted[-1] + 1e-3
        order = np.argsort(image[..., channel].clip(0, 1).ravel())
        assert (np.diff(result[..., channel].ravel()[order]) >= -1e-6).all()


def test_coral_has_the_photos_mean_and_covariance(pictures):
    image, photo = pictures
    photo = 0.3 + 0.3 * photo  # so that nothing is clipped
    image = 0.5 + 0.1 * image
    result = preserve_color(image, photo, "coral")
    np.testing.assert_allclose(result.mean((0, 1)), photo.mean((0, 1)), atol=1e-4)
    got, wanted = (np.cov(each.reshape(-1, 3), rowvar=False) for each in (result, photo))
    np.testing.assert_allclose(got, wanted, atol=1e-5)


@EVERY_WAY
def test_a_photo_as_its_own_result_comes_back(pictures, how):
    np.testing.assert_allclose(preserve_color(pictures[1], pictures[1], how), pictures[1], atol=1e-3)


@EVERY_WAY
def test_what_has_no_weight_does_not_count(pictures, how):
    image, photo = pictures
    weights = np.ones(photo.shape[:2], np.float32)
    weights[:, 20:] = 0
    other, other_photo = image.copy(), photo.copy()
    other[:, 20:], other_photo[:, 20:] = 0.9, 0.1
    first, second = (preserve_color(*pair, how, weights=weights) for pair in ((image, photo), (other, other_photo)))
    np.testing.assert_allclose(second[:, :20], first[:, :20], atol=1e-5)


@EVERY_WAY
def test_strips_are_the_whole(pictures, how, monkeypatch):
    image, photo = pictures
    whole = preserve_color(image, photo, how)
    monkeypatch.setattr(color, "_PIXELS_AT_ONCE", 100)
    np.testing.assert_allclose(preserve_color(image, photo, how), whole, atol=1e-5)
    assert preserve_color(image, photo, how, out=image) is image
    np.testing.assert_allclose(image, whole, atol=1e-5)


@EVERY_WAY
def test_flat_pictures_and_one_pixel(how):
    flat, photo = np.full((5, 7, 3), 0.4, np.float32), np.full((5, 7, 3), 0.2, np.float32)
    photo[..., 0] = 0.6
    result = preserve_color(flat, photo, how)
    assert np.isfinite(result).all()
    if how != "luminance":
        np.testing.assert_allclose(result, photo, atol=1e-3)
    one = preserve_color(flat[:1, :1], photo[:1, :1], how)
    assert one.shape == (1, 1, 3)
    assert np.isfinite(one).all()


def test_what_does_not_fit_is_refused(pictures):
    with pytest.raises(ValueError, match="how must be one of luminance, histogram, coral, got 'hue'"):
        preserve_color(*pictures, "hue")
    with pytest.raises(ValueError, match=r"of one size, got \(30, 41, 3\) and \(29, 41, 3\)"):
        preserve_color(pictures[0], pictures[1][1:], "coral")

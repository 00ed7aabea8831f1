"""Margins: the border of an image is painted as if the image went on, and what is around it does not count."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wct_jax import extract_style, stylize, stylize_tiled, synthesize
from wct_jax.measures.metrics import psnr
from wct_jax.system import sheet

pytestmark = pytest.mark.usefixtures("quick", "directly")


@pytest.mark.parametrize("margin", [5, 16, 100])
def test_it_is_the_mirrored_image_whose_middle_counts(model, photo, style, rng, margin):
    mask, weights = rng.random((2, 70, 90), np.float32)
    result = stylize(model, photo, [style], mask=[mask], content_weights=weights, margin=margin)
    wide = np.pad(photo, ((margin, margin), (margin, margin), (0, 0)), "reflect")
    options = {"mask": [np.pad(mask, margin, "reflect")], "content_weights": np.pad(weights, margin)}
    expected = np.asarray(stylize(model, wide, [style], **options))
    np.testing.assert_allclose(result, expected[margin:-margin, margin:-margin], atol=1e-5)
    assert result.dtype == jnp.float32


def test_none_is_as_it_was(model, photo, style):
    np.testing.assert_array_equal(stylize(model, photo, style, margin=0), stylize(model, photo, style))


@pytest.mark.slow
def test_tiles_are_the_whole(model, photo, style, rng, monkeypatch, tmp_path):
    monkeypatch.setattr(sheet, "_SMALL", 0)
    options = {"margin": 16, "mask": [rng.random((70, 90), np.float32)], "alpha_map": rng.random((70, 90), np.float32)}
    options["strength"] = (rng.random((70, 90)) * 2 - 0.5).clip(0, 1)
    whole = stylize(model, photo, [style], **options)
    tiled = stylize_tiled(model, photo, [style], tile=48, folder=tmp_path, **options)
    assert psnr(jnp.asarray(tiled), whole) >= 60
    for result in (np.asarray(whole), tiled):
        assert result.shape == photo.shape
        np.testing.assert_array_equal(result[options["strength"] == 0], photo[options["strength"] == 0])


def test_under_jit_and_in_batches(model, photo, style):
    batch = np.stack([photo[:30, :40], photo[30:60, 40:80]])
    options = {"layers": ["relu1_1"], "margin": 8}
    strength = np.asarray([0.5, 1.0], np.float32)[:, None, None]
    weights = np.linspace(0, 1, 40, dtype=np.float32)[None]
    each = [
        stylize(model, x, style, strength=s, content_weights=weights, **options)
        for x, s in zip(batch, strength, strict=True)
    ]
    result = stylize(model, batch, style, strength=strength, content_weights=weights, **options)
    np.testing.assert_allclose(result, np.stack(each), atol=1e-4)
    compiled = jax.jit(lambda x, s, w: stylize(model, x, style, strength=s, content_weights=w, **options))
    np.testing.assert_allclose(compiled(batch, strength, weights), np.stack(each), atol=1e-4)


def test_a_texture_has_one_too(model, style):
    texture = synthesize(model, style, 20, 30, passes=1, margin=16)
    assert texture.shape == (20, 30, 3)
    assert np.abs(texture - synthesize(model, style, 20, 30, passes=1)).max() > 1e-3


def test_the_border_is_painted_like_the_middle(compact):
    """Along the border, where reflected features have it smooth, there is as much as inside."""
    rng = np.random.default_rng(5)
    picture = np.repeat(np.repeat(rng.random((24, 24, 3), np.float32), 4, 0), 4, 1)
    photo = np.repeat(np.repeat(rng.random((32, 32, 3), np.float32), 3, 0), 3, 1)
    style = extract_style(compact, picture, ["relu4_1"])

    def change(**options):
        image = np.asarray(stylize(compact, photo, style, layers=["relu4_1"], method="cascade", **options)).clip(0, 1)
        across = np.abs(np.diff(image, axis=0)).mean((1, 2))
        return (across[0] + across[-1]) / 2 / across[24:72].mean()

    assert change(margin=16) > 1.5 * change()


@pytest.mark.parametrize("margin", [-1, 1.5, "16"])
def test_what_is_no_margin_is_refused(model, photo, style, repaint, margin):
    with pytest.raises(ValueError, match=r"margin must be (an integer|at least 0), got"):
        repaint(model, photo, style, margin=margin)


def test_maps_fit_the_photo_without_its_margin(model, photo, style):
    with pytest.raises(ValueError, match=r"mask must broadcast to \(70, 90\), got shape \(3, 3\)"):
        stylize(model, photo, [style], mask=[np.zeros((3, 3), np.float32)], margin=4)

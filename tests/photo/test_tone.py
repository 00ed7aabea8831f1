import numpy as np
import pytest

from wct_jax.photo.tone import YCC, Toning, into_gamut, tint
from wct_jax.transform.statistics import moments

pytestmark = pytest.mark.core

LUMA = YCC[0]


def test_white_colours_are_uncorrelated_and_color_gives_the_styles(rng):
    photo, picture = rng.random((2, 30, 40, 3), np.float32) ** np.float32(1.5)
    toning = Toning.of(moments(photo), moments(picture))
    white = (photo - np.asarray(toning.mean)).reshape(-1, 3) @ np.asarray(toning.whiten).T
    np.testing.assert_allclose(np.cov(white.T), np.eye(3), atol=0.1)  # Save for the floor of the variances.
    result = white @ np.asarray(toning.color).T + np.asarray(toning.target)
    np.testing.assert_allclose(np.cov(result.T), np.cov(picture.reshape(-1, 3).T), atol=5e-3)
    # Luma is a function of luma alone.
    luma = LUMA @ np.asarray(toning.color) @ np.asarray(toning.whiten)
    np.testing.assert_allclose(luma, luma.sum() * LUMA, atol=1e-4)


def test_flat_and_grey_pictures_have_a_toning():
    flat, grey = np.full((4, 5, 3), 0.5, np.float32), np.linspace(0, 1, 60, dtype=np.float32).reshape(4, 5, 3).mean(-1)
    grey = np.repeat(grey[..., None], 3, -1)
    for photo, picture in ((flat, grey), (grey, flat), (flat, flat)):
        toning = Toning.of(moments(photo), moments(picture))
        assert all(np.isfinite(each).all() for each in (toning.whiten, toning.color))


@pytest.mark.slow
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


def test_a_cast_is_whole_in_middle_tones_and_leaves_black_and_white():
    cast = np.asarray([0.1, -0.02, -0.08], np.float32)
    greys = np.full((3, 3), [[0], [0.5], [1]], np.float32)
    np.testing.assert_allclose(tint(greys, cast), greys + cast * [[0], [1], [0]], atol=1e-6)

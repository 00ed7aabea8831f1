"""Textures: of any size, from a style alone, the same for the same seed."""

import numpy as np
import pytest

from wct_jax import extract_style, mix_styles, synthesize
from wct_jax.measures.metrics import psnr
from wct_jax.painting.texture import noise

# Compiled in half the time.
pytestmark = pytest.mark.usefixtures("quick", "directly")


@pytest.fixture(scope="module")
def styles(compact):
    y, x = np.mgrid[:64, :64] / 9
    stripes, dots = np.stack([np.sin(x)] * 3, -1), np.stack([np.sin(x) * np.sin(y), 0 * x, 0 * x], -1)
    return [extract_style(compact, (image / 2 + 0.5).astype(np.float32)) for image in (stripes, dots)]


def test_the_seed_makes_the_noise():
    np.testing.assert_array_equal(noise(3, 5, 7), noise(3, 5, 7))
    assert noise(3, 5, 7).shape == (3, 5, 3)
    assert np.abs(noise(3, 5, 7) - noise(3, 5, 8)).mean() > 0.1
    # These numbers are for good: what a person has made can be made again.
    np.testing.assert_allclose(noise(1, 1, 0), [[[0.8506242, 0.6369617, 0.5111365]]], atol=1e-6)


@pytest.mark.slow
def test_a_texture_has_the_styles_statistics(compact, styles):
    texture = synthesize(compact, styles[0], 64, 80, seed=1)
    assert texture.shape == (64, 80, 3)
    again = extract_style(compact, texture)
    for layer in ("relu1_1", "relu2_1"):
        got, wanted = (style.moments[layer] for style in (again, styles[0]))
        distance = np.linalg.norm(got.covariance - wanted.covariance) / np.linalg.norm(wanted.covariance)
        assert distance < 0.3
        np.testing.assert_allclose(got.mean, wanted.mean, atol=0.3 * float(np.abs(wanted.mean).max()))


def test_it_is_the_same_for_the_same_seed(compact, styles):
    options = {"layers": ["relu2_1", "relu1_1"], "passes": 1}
    first = synthesize(compact, styles[0], 32, 40, seed=3, **options)
    np.testing.assert_array_equal(first, synthesize(compact, styles[0], 32, 40, seed=3, **options))
    assert float(psnr(first, synthesize(compact, styles[0], 32, 40, seed=4, **options))) < 40


def test_between_two_styles(compact, styles):
    options = {"layers": ["relu2_1", "relu1_1"], "passes": 1}
    mixed, *ends = (synthesize(compact, style, 32, 40, **options) for style in (mix_styles(styles, [1, 1]), *styles))
    for end in ends:
        assert np.abs(np.asarray(mixed - end)).mean() < np.abs(np.asarray(ends[0] - ends[1])).mean()

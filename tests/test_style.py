"""A style: the moments of every layer, weighted where the picture is transparent."""

import jax
import numpy as np
import pytest

from wct_jax import extract_style, moments
from wct_jax.model import pool_weights


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(1).uniform(size=(24, 20, 3)).astype(np.float32)


def test_a_style_holds_the_moments_of_each_layer(model, image):
    style = extract_style(model, image)
    assert set(style.moments) == set(model.layers)
    assert style.digest == model.digest
    expected = moments(model.encode(image)["relu3_1"])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), style.moments["relu3_1"], expected
    )
    assert set(extract_style(model, image, ["relu2_1"]).moments) == {"relu2_1"}


def test_weights_are_brought_to_each_layer(model, image):
    weights = np.zeros((24, 20), np.float32)
    weights[:16, :9] = 0.5
    statistics = extract_style(model, image, ["relu2_1"], weights=weights).moments["relu2_1"]
    expected = moments(model.encode(image)["relu2_1"], pool_weights(weights, "relu2_1"))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), statistics, expected)
    assert statistics.count == pytest.approx(weights.sum() / 4)


def test_pictures_that_are_none_are_refused(model, image):
    with pytest.raises(ValueError, match=r"in 0..1, got uint8"):
        extract_style(model, np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ValueError, match=r"style must be an image .* got shape \(4, 4\)"):
        extract_style(model, np.zeros((4, 4), np.float32))
    with pytest.raises(ValueError, match=r"weights must broadcast to \(24, 20\)"):
        extract_style(model, image, weights=np.ones((3, 3), np.float32))
    with pytest.raises(ValueError, match="has layers"):
        extract_style(model, image, ["relu7_1"])

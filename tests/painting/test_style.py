"""A style: the moments of every layer, weighted where the picture is transparent."""

import dataclasses

import jax
import numpy as np
import pytest

from wct_jax import extract_style, mix_styles, moments, stylize, white_style, whiten
from wct_jax.networks.pooling import pool_weights


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(1).uniform(size=(24, 20, 3)).astype(np.float32)


def assert_same(a, b, tolerance, least=1e-5):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=tolerance, atol=least), a, b)


def test_a_style_holds_the_moments_of_each_layer(model, image):
    style = extract_style(model, image)
    assert set(style.moments) == set(model.layers)
    assert style.digest == model.digest
    assert_same(style.moments["relu3_1"], moments(model.encode(image)["relu3_1"]), 1e-4)
    assert set(extract_style(model, image, ["relu2_1"]).moments) == {"relu2_1"}


def test_weights_are_brought_to_each_layer(model, image):
    weights = np.zeros((24, 20), np.float32)
    weights[:16, :9] = 0.5
    statistics = extract_style(model, image, ["relu2_1"], weights=weights).moments["relu2_1"]
    expected = moments(model.encode(image)["relu2_1"], pool_weights(weights, "relu2_1"))
    assert_same(statistics, expected, 1e-4)
    assert statistics.count == pytest.approx(weights.sum() / 4)


def test_pictures_that_are_none_are_refused(model, image):
    for picture, options, message in (
        (np.zeros((4, 4, 3), np.uint8), {}, r"in 0..1, got uint8"),
        (np.zeros((4, 4), np.float32), {}, r"style must be an image .* got shape \(4, 4\)"),
        (image, {"weights": np.ones((3, 3), np.float32)}, r"weights must broadcast to \(24, 20\)"),
        (image, {"layers": ["relu7_1"]}, "has layers"),
    ):
        with pytest.raises(ValueError, match=message):
            extract_style(model, picture, **options)


def test_features_are_kept_for_swap_without_what_is_beyond_the_picture(model):
    image = np.random.default_rng(2).uniform(size=(70, 90, 3)).astype(np.float32)
    style = extract_style(model, image, ["relu3_1", "relu1_1"], swap_layers=["relu3_1"])
    feature, weights = style.features["relu3_1"]
    assert set(style.features) == {"relu3_1"}
    np.testing.assert_allclose(feature, model.encode(image)["relu3_1"], atol=1e-4)
    np.testing.assert_array_equal(weights, np.ones((18, 23), np.float32))
    with pytest.raises(ValueError, match="swap_layers must be among relu3_1, got relu2_1"):
        extract_style(model, image, ["relu3_1"], swap_layers=["relu2_1"])


def test_swap_with_the_photo_as_its_own_style_gives_the_photo_back(model, image):
    layer = "relu2_1"
    style = extract_style(model, image, [layer], swap_layers=[layer])
    result = stylize(model, image, style, layers=[layer], swap_layers=[layer], method="cascade")
    np.testing.assert_allclose(result, model.decode(layer, model.encode(image)[layer]), atol=1e-3)


def test_the_white_style_only_whitens(model, image):
    layer = "relu2_1"
    result = stylize(model, image, white_style(model, [layer]))
    np.testing.assert_allclose(result, model.decode(layer, whiten(model.encode(image)[layer])), atol=1e-3)


@pytest.fixture(scope="module")
def styles(model, image):
    return [extract_style(model, image**power) for power in (1, 2, 4)]


def test_what_alone_has_weight_comes_back(styles):
    assert mix_styles(styles, [0, 0.3, 0]) is styles[1]
    assert mix_styles([styles[2]]) is styles[2]


def test_equal_styles_are_one(styles):
    assert_same(mix_styles([styles[1]] * 3, [1, 2, 0.5]).moments, styles[1].moments, 1e-3, 1e-3)


def test_the_scale_of_weights_does_not_matter(styles):
    for weights, scaled in (([2, 1, 1], [200, 100, 100]), (None, [0.1] * 3)):
        assert_same(mix_styles(styles, weights).moments, mix_styles(styles, scaled).moments, 1e-5)


def test_the_mean_is_the_mean_of_roots(styles):
    layer = "relu2_1"

    def root(style):
        values, vectors = np.linalg.eigh(np.asarray(style.moments[layer].covariance, np.float64))
        return (vectors * values.clip(0) ** 0.5) @ vectors.T

    mixed = mix_styles(styles[:2], [1, 3]).moments[layer]
    expected = 0.25 * root(styles[0]) + 0.75 * root(styles[1])
    np.testing.assert_allclose(mixed.covariance, expected @ expected, atol=1e-3 * np.abs(expected @ expected).max())
    a, b = (style.moments[layer] for style in styles[:2])
    np.testing.assert_allclose(mixed.mean, 0.25 * a.mean + 0.75 * b.mean, rtol=1e-5)


def test_mixtures_that_cannot_be_are_refused(model, image, styles):
    for weights in ([1, -1, 1], [0, 0, 0], [1, float("nan"), 1], [1, float("inf"), 1]):
        with pytest.raises(ValueError, match="finite, at least 0 and not all 0"):
            mix_styles(styles, weights)
    for mixed, weights, message in (
        (styles, [1, 2], "a weight for each style, got 2 for 3"),
        ([], None, "got 0 for 0"),
        ([styles[0], dataclasses.replace(styles[1], digest="other")], None, "of different encoders"),
        ([extract_style(model, image, [layer]) for layer in ("relu1_1", "relu2_1")], None, "a layer in common"),
    ):
        with pytest.raises(ValueError, match=message):
            mix_styles(mixed, weights)

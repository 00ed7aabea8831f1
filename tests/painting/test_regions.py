"""Several styles in one image: shares, statistics of regions, and what stays as it was."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wct_jax import extract_style, mix_styles, moments, stylize
from wct_jax.measures.metrics import psnr
from wct_jax.networks.pooling import pool_weights
from wct_jax.painting.regions import leave, share_out
from wct_jax.transform.maps import TRANSFORMS
from wct_jax.transform.whitening import transfer

# Compiled in half the time.
pytestmark = pytest.mark.usefixtures("quick", "directly")


@pytest.fixture(scope="module")
def content():
    return np.random.default_rng(3).uniform(size=(40, 52, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def styles(model):
    rng = np.random.default_rng(5)
    return [extract_style(model, rng.uniform(size=(33, 40, 3)).astype(np.float32) ** power) for power in (1, 3)]


def alike(a, b):
    return float(psnr(jnp.asarray(a), jnp.asarray(b))) >= 60


def halves(at=26):
    left = np.zeros((40, 52), np.float32)
    left[:, :at] = 1
    return left, 1 - left


def test_shares_and_what_is_left(styles):
    a, b = styles
    masks = list(np.float32([[[0.5, 1, 0]], [[0, 1, 0]]]))
    _, regions = share_out([a, b], masks)
    np.testing.assert_allclose(regions.shares, [[[0.5, 0.5, 0]], [[0, 0.5, 0]]])
    np.testing.assert_allclose(regions.rest, [[0.5, 0, 1]])
    used, regions = share_out([a, None], masks)
    assert used == (a,)
    np.testing.assert_allclose(regions.rest, [[0.5, 0.5, 1]])
    _, regions = share_out([a, None, b], masks)
    np.testing.assert_allclose(regions.shares, [[[0.5, 0.5, 0]], [[0.5, 0, 1]]])
    np.testing.assert_allclose(regions.rest, [[0, 0.5, 0]])
    assert share_out([a, b, b], masks)[1].rest is None
    for wrong in ([a], [a, b, b, b]):
        with pytest.raises(ValueError, match=f"got {len(wrong)} for 2 masks"):
            share_out(wrong, masks)
    with pytest.raises(ValueError, match="at least one of the masks, got none"):
        share_out([None, None], masks)


@pytest.mark.slow
def test_a_full_mask_is_no_mask(model, content, styles):
    full = np.ones(content.shape[:2], np.float32)
    plain = stylize(model, content, styles[0])
    for mask, style in (([full], [styles[0]]), ([full], styles[0]), ([0 * full], [styles[1], styles[0]])):
        assert alike(stylize(model, content, style, mask=mask), plain)


@pytest.mark.slow
def test_two_halves_by_hand(model, content, styles):
    layer, (left, right) = "relu3_1", halves()
    feature = model.encode(content)[layer]
    shares = [pool_weights(mask, layer) for mask in (left, right)]
    for each in (styles, [styles[0], styles[0]]):
        parts = [
            transfer(feature, style.moments[layer], statistics=moments(feature, share))
            for style, share in zip(each, shares, strict=True)
        ]
        expected = model.decode(layer, sum(share[..., None] * part for share, part in zip(shares, parts, strict=True)))
        result = stylize(model, content, each, layers=[layer], mask=[left, right], method="cascade")
        assert alike(result, expected[:40, :52])


def test_a_region_does_not_depend_on_what_is_far_from_it(model, content, styles, method):
    other = content.copy()
    other[:, 40:] = 0.1
    options = {"layers": ["relu2_1"], "mask": halves(), "method": method}
    first, second = (stylize(model, each, styles, **options) for each in (content, other))
    np.testing.assert_allclose(first[:, :20], second[:, :20], atol=1e-4)


def test_a_region_without_style_stays_the_photo(model, content, styles):
    left, right = halves()
    soft = np.broadcast_to(np.linspace(0, 1, 52, dtype=np.float32), (40, 52))
    result = stylize(model, content, [styles[0], None], mask=[left, right])
    np.testing.assert_array_equal(result[:, 26:], content[:, 26:])
    assert np.abs(result[:, :26] - content[:, :26]).mean() > 0.05
    np.testing.assert_allclose(stylize(model, content, styles[0], mask=[left]), result, atol=1e-6)
    faded = stylize(model, content, styles[0], mask=[soft])
    np.testing.assert_allclose(faded[:, 0], content[:, 0], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("pixels", [0, 1])
def test_a_region_of_a_pixel_or_none_is_no_nan(model, content, styles, pixels, method):
    mask = np.zeros(content.shape[:2], np.float32)
    mask[7, 9] = pixels
    for style in (styles, [styles[0], None], [styles[0]]):
        result = np.asarray(stylize(model, content, style, mask=[mask, 1 - mask][: len(style)], method=method))
        assert np.isfinite(result).all()
    if not pixels:
        regions = stylize(model, content, styles, mask=[mask, 1 - mask], method=method)
        assert alike(regions, stylize(model, content, styles[1], method=method))


@pytest.mark.slow
def test_an_alpha_map_is_a_strength_per_pixel(model, content, styles):
    left, _ = halves(24)
    layer = "relu2_1"
    feature = model.encode(content)[layer]
    expected = model.decode(layer, transfer(feature, styles[0].moments[layer], 0.5 * pool_weights(left, layer)))
    result = stylize(model, content, styles[0], 0.5, layers=[layer], alpha_map=left, method="cascade")
    assert alike(result, expected[:40, :52])
    for alpha in (1.0, 0.5):
        everywhere = stylize(model, content, styles[0], alpha_map=np.full((40, 52), alpha, np.float32))
        assert alike(everywhere, stylize(model, content, styles[0], alpha))


def test_weights_count_within_regions(model, content, styles):
    weights = np.ones(content.shape[:2], np.float32)
    weights[20:] = 0
    other = content.copy()
    other[36:] = 0.7
    options = {"mask": halves(), "content_weights": weights, "layers": ["relu2_1"]}
    first, second = (stylize(model, each, styles, **options) for each in (content, other))
    np.testing.assert_allclose(first[:16], second[:16], atol=1e-4)


@pytest.mark.slow
def test_in_jit_and_batches(model, content, styles, method):
    batch = np.stack([content, content[::-1]])
    together = jax.jit(lambda images: stylize(model, images, styles, mask=halves(), method=method))(batch)
    for image, result in zip(batch, together, strict=True):
        assert alike(result, stylize(model, image, styles, mask=halves(), method=method))


def test_canvases_change_nothing(model, styles):
    rng = np.random.default_rng(1)
    content, mask, strength = rng.random((71, 83, 3), np.float32), *rng.random((2, 71, 83), np.float32)
    options = {"mask": [mask], "alpha_map": strength, "passes": 2, "layers": ["relu2_1", "relu1_1"]}
    expected = jax.jit(lambda image: stylize(model, image, styles, 0.8, **options))(content)
    assert alike(stylize(model, content, styles, 0.8, **options), expected)


def test_passes_are_rounds_of_the_cascade(model, content, styles):
    layers, told = ["relu2_1", "relu1_1"], []
    once = stylize(model, content, styles[0], layers=layers)
    result = stylize(model, content, styles[0], layers=layers, passes=2, progress=told.append)
    np.testing.assert_allclose(result, stylize(model, once, styles[0], layers=layers), atol=1e-4)
    assert told == layers * 2


@pytest.mark.parametrize("transform", ["ot", "cholesky", "adain"])
def test_transforms_by_name(model, content, styles, transform):
    layer = "relu2_1"
    feature = model.encode(content)[layer]
    colored = transfer(feature, styles[0].moments[layer], transform=TRANSFORMS[transform])
    result = stylize(model, content, styles[0], layers=[layer], transform=transform, method="cascade")
    assert alike(result, model.decode(layer, colored))
    assert psnr(result, stylize(model, content, styles[0], layers=[layer], method="cascade")) < 50


def test_mixed_styles_are_blended_results(model, content, styles):
    layer, feature = "relu2_1", model.encode(content)["relu2_1"]
    a, b = (transfer(feature, style.moments[layer]) for style in styles)
    mixed = mix_styles(styles, [1, 3])
    result = transfer(feature, mixed.moments[layer])
    np.testing.assert_allclose(result, 0.25 * a + 0.75 * b, atol=2e-3 * float(jnp.abs(b).max()))


def test_what_was_there_is_put_back_in_strips(rng):
    image, photo = rng.random((2, 150, 5, 3), np.float32)
    rest = rng.random((150, 5), np.float32)
    expected = rest[..., None] * photo + (1 - rest[..., None]) * image
    leave(image, photo, rest)
    np.testing.assert_allclose(image, expected, atol=1e-6)


def test_bad_calls_are_refused(model, content, styles):
    left, _ = halves()
    for options, message in (
        ({"style": styles}, "several styles need masks"),
        ({"style": styles, "mask": [left] * 3}, "got 2 for 3 masks"),
        ({"mask": [left[1:]]}, r"mask must broadcast to \(40, 52\), got shape \(39, 52\)"),
        ({"alpha_map": left[1:]}, r"alpha_map must broadcast to \(40, 52\)"),
        ({"transform": "pca"}, "transform must be one of zca, ot, cholesky, adain, got 'pca'"),
        ({"passes": 0}, "passes must be at least 1, got 0"),
        ({"swap_layers": ["relu5_1"]}, "style swap at relu5_1 needs the feature of the style's picture"),
        ({"swap_layers": ["relu5_1"], "layers": ["relu1_1"]}, "among the layers that are used, got relu5_1"),
        ({"stride": 4}, "`stride` must be from 1 to `patch`, 3, got 4"),
    ):
        with pytest.raises(ValueError, match=message):
            stylize(model, content, **({"style": styles[0]} | options))

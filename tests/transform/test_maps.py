"""The maps: the statistics that each takes from the style, and the property that each alone has."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wct_jax import moments, whiten_color
from wct_jax.transform.maps import TRANSFORMS, adain, cholesky, optimal_transport
from wct_jax.transform.statistics import Moments
from wct_jax.transform.whitening import transfer

FULL = [optimal_transport, cholesky, whiten_color]
# Compiled once for all examples of a size.
COMPILED = {transform: jax.jit(transform) for transform in (*FULL, adain)}


def gaussian(rng, channels, rank=None, smallest=0.1, mean=1.0):
    """Moments of many pixels, standard deviations from `smallest` to 1 in `rank` directions."""
    directions = np.linalg.qr(rng.normal(size=(channels, channels)))[0][: rank or channels]
    covariance = directions.T * np.linspace(smallest, 1, len(directions)) ** 2 @ directions
    center = mean * rng.normal(size=channels)
    parts = (1e4, center, covariance * (1e4 - 1))
    return Moments(*(jnp.asarray(part, jnp.float32) for part in parts))


def mapped(matrix, content):
    matrix, covariance = np.asarray(matrix, np.float64), np.asarray(content.covariance, np.float64)
    return matrix @ covariance @ matrix.T


def root(matrix):
    values, vectors = np.linalg.eigh(np.asarray(matrix, np.float64))
    return (vectors * values.clip(0) ** 0.5) @ vectors.T


def assert_close(got, expected, tolerance):
    assert np.linalg.norm(np.asarray(got) - expected) <= tolerance * np.linalg.norm(expected)


@given(seed=st.integers(0, 2**32 - 1), channels=st.sampled_from([1, 7, 24]), smallest=st.floats(0.02, 1))
@settings(max_examples=25)
def test_full_rank_takes_the_styles_mean_and_covariance(seed, channels, smallest):
    rng = np.random.default_rng(seed)
    content, style = gaussian(rng, channels, smallest=smallest), gaussian(rng, channels, smallest=smallest)
    for transform in FULL:
        matrix, bias = COMPILED[transform](content, style)
        assert_close(mapped(matrix, content), style.covariance, 1e-3)
        np.testing.assert_allclose(matrix @ content.mean + bias, style.mean, atol=1e-3)
    matrix, bias = COMPILED[adain](content, style)
    np.testing.assert_allclose(np.diag(mapped(matrix, content)), np.diag(style.covariance), rtol=1e-3)
    np.testing.assert_allclose(matrix @ content.mean + bias, style.mean, atol=1e-3)


def test_optimal_transport_is_the_closed_form_and_moves_least(rng):
    content, style = gaussian(rng, 16), gaussian(rng, 16)
    matrix, _ = optimal_transport(content, style)
    half = root(content.covariance)
    inverse = np.linalg.inv(half)
    assert_close(matrix, inverse @ root(half @ style.covariance @ half) @ inverse, 1e-4)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-4)
    # E |y - x|² falls as the trace of A C grows.
    kept = [np.trace(np.asarray(each(content, style)[0]) @ content.covariance) for each in FULL]
    assert kept[0] > max(kept[1:])


def test_cholesky_is_the_triangular_map(rng):
    content, style = gaussian(rng, 16), gaussian(rng, 16)
    matrix, _ = cholesky(content, style)
    of_content, of_style = (np.linalg.cholesky(np.asarray(each.covariance, np.float64)) for each in (content, style))
    assert_close(matrix, of_style @ np.linalg.inv(of_content), 1e-4)
    np.testing.assert_allclose(np.triu(matrix, 1), 0, atol=1e-5)


def test_adain_scales_channels(rng):
    content, style = gaussian(rng, 8), gaussian(rng, 8)
    matrix, _ = adain(content, style)
    scale = np.sqrt(np.diag(style.covariance) / np.diag(content.covariance))
    np.testing.assert_allclose(matrix, np.diag(scale), rtol=1e-5)


def test_a_style_of_few_directions_is_reached(rng):
    content, style = gaussian(rng, 12), gaussian(rng, 12, rank=5)
    for transform in FULL:
        assert_close(mapped(transform(content, style)[0], content), style.covariance, 2e-3)


def test_content_of_few_directions_takes_no_more_than_the_styles_covariance(rng):
    content, style = gaussian(rng, 12, rank=5), gaussian(rng, 12)
    # The mean of the optimal plan, from the cross-covariance of largest trace: C_s^½ U Vᵀ C_c^-½, of rank 5.
    u, values, v = np.linalg.svd(root(style.covariance) @ root(content.covariance))
    inverse = np.linalg.pinv(root(content.covariance), 1e-2)
    plan = root(style.covariance) @ (u * (values > 1e-2)) @ v @ inverse
    assert_close(optimal_transport(content, style)[0], plan, 1e-2)
    for transform in FULL:
        result = mapped(transform(content, style)[0], content)
        assert np.linalg.matrix_rank(result, tol=1e-3) == 5
        assert np.linalg.eigvalsh(style.covariance - result).min() > -1e-3
    dropped = np.eye(12) - inverse @ np.linalg.pinv(inverse, 1e-2)
    for transform in FULL:
        np.testing.assert_allclose(transform(content, style)[0] @ dropped, 0, atol=1e-3)


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("flat", ["content", "style", "both", "zero"])
def test_what_is_flat_takes_the_styles_mean(rng, name, flat):
    full, still = gaussian(rng, 6), gaussian(rng, 6)
    still = Moments(still.count, jnp.zeros(6) if flat == "zero" else still.mean, jnp.zeros((6, 6)))
    content, style = full if flat == "style" else still, still if flat in ("style", "both") else full
    matrix, bias = TRANSFORMS[name](content, style)
    np.testing.assert_array_equal(matrix, 0)
    np.testing.assert_allclose(bias, style.mean, rtol=1e-6)


def test_channels_below_the_cut_are_dropped_by_adain(rng):
    scale = jnp.asarray([1, 1e-2, 1e-4, 0.0])
    content = Moments(jnp.asarray(101.0), jnp.zeros(4), jnp.diag(100 * scale**2))
    matrix, _ = adain(content, content)
    np.testing.assert_allclose(np.diag(matrix), [1, 1, 0, 0], rtol=1e-6)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_feature_as_its_own_style_comes_back(rng, name):
    feature = rng.normal(size=(9, 11, 6)).astype(np.float32) @ rng.normal(size=(6, 6)).astype(np.float32)
    result = transfer(feature, moments(feature), transform=TRANSFORMS[name])
    np.testing.assert_allclose(result, feature, atol=1e-4)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_batches_are_one_by_one(rng, name):
    contents, styles = ([gaussian(rng, 5) for _ in range(3)] for _ in range(2))
    stacked = [jax.tree.map(lambda *leaves: jnp.stack(leaves), *each) for each in (contents, styles)]
    together = TRANSFORMS[name](*stacked)
    for i, pair in enumerate(zip(contents, styles, strict=True)):
        for part, expected in zip(together, TRANSFORMS[name](*pair), strict=True):
            np.testing.assert_allclose(part[i], expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRANSFORMS)
def test_gradient_agrees_with_finite_differences(rng, name):
    with jax.enable_x64(True):
        content, style, direction, target = (rng.normal(size=(6, 7, 4)) for _ in range(4))

        def loss(content, style):
            return jnp.sum(target * transfer(content, moments(style), transform=TRANSFORMS[name]))

        gradients, step = jax.grad(loss, (0, 1))(content, style), 1e-6 * direction
        by_content = loss(content + step, style) - loss(content - step, style)
        by_style = loss(content, style + step) - loss(content, style - step)
        for gradient, change in zip(gradients, (by_content, by_style), strict=True):
            np.testing.assert_allclose(jnp.vdot(gradient, direction), change / 2e-6, rtol=1e-5)

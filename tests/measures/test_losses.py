"""The losses against NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wct_jax.measures.losses import (
    covariance_distance,
    covariance_error,
    instance_normalised,
    mean_squared_error,
    relative_error,
    total_variation,
)


def variation(images):
    """Written out: each pixel against the one below and the one to its right."""
    x = np.asarray(images, np.float64)
    return sum((np.diff(x, axis=axis) ** 2).mean() for axis in (-3, -2) if x.shape[axis] > 1)


def squared(x, y):
    return ((np.asarray(x, np.float64) - np.asarray(y, np.float64)) ** 2).mean()


@pytest.mark.parametrize("shape", [(2, 5, 4, 3), (3, 1, 4, 3), (4, 1, 3), (2, 2, 1)])
def test_squared_error_and_variation_are_numpys(rng, shape):
    x, y = rng.normal(size=(2, *shape)).astype(np.float32)
    for result, expected in (
        (mean_squared_error(jnp.asarray(x), jnp.asarray(y)), squared(x, y)),
        (total_variation(jnp.asarray(x)), variation(x)),
    ):
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-7)
        assert result.shape == ()


def test_total_variation_of_a_ramp():
    rows = jnp.broadcast_to(jnp.arange(5.0)[:, None, None], (5, 4, 3))
    assert total_variation(rows) == 1
    assert total_variation(2 * rows) == 4
    assert total_variation(rows.swapaxes(0, 1)) == 1
    assert total_variation(jnp.full((2, 4, 4, 3), 0.7)) == 0


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 1, 1, 3)])
def test_a_single_pixel_has_no_variation(shape):
    value, gradient = jax.value_and_grad(total_variation)(jnp.ones(shape))
    assert value == 0
    assert value.dtype == jnp.float32
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("size", [(1, 6), (6, 1)])
def test_a_side_of_one_pixel_counts_nothing(rng, size):
    images = rng.random((2, *size, 3), dtype=np.float32)
    result = total_variation(jnp.asarray(images))
    np.testing.assert_allclose(result, (np.diff(images.reshape(2, 6, 3), axis=1) ** 2).mean(), rtol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_summed_in_float32(rng, dtype):
    # In bfloat16 the sum of this many numbers would stop growing at 256 times one of them.
    x, y = jnp.asarray(rng.random((2, 4, 64, 64, 3)), dtype)
    for result, expected in ((mean_squared_error(x, y), squared(x, y)), (total_variation(x), variation(x))):
        assert result.dtype == jnp.float32
        np.testing.assert_allclose(result, expected, rtol=1e-5)


def test_a_term_of_each_precision_is_compared_in_float32(rng):
    """As in a bfloat16 training, where the photo is float32."""
    photo = jnp.asarray(rng.random((8, 8, 3)), jnp.float32)
    rounded = photo.astype(jnp.bfloat16)
    assert squared(rounded, photo) > 0
    np.testing.assert_allclose(mean_squared_error(rounded, photo), squared(rounded, photo), rtol=1e-5)


def test_relative_error_is_numpys(rng):
    x, y = rng.normal([1, 2, 3], size=(2, 2, 5, 4, 3))
    expected = ((x - y) ** 2).mean() / y.var((0, 1, 2)).mean()
    np.testing.assert_allclose(relative_error(jnp.float32(x), jnp.float32(y)), expected, rtol=1e-5)


def test_the_mean_of_each_channel_has_a_relative_error_of_one(rng):
    y = jnp.asarray(rng.normal([1, 2, 3], size=(2, 5, 4, 3)), jnp.float32)
    mean = jnp.broadcast_to(y.mean((0, 1, 2), keepdims=True), y.shape)
    np.testing.assert_allclose(relative_error(mean, y), 1, rtol=1e-5)
    assert float(relative_error(y, y)) == 0


def covariances(x):
    return np.stack([np.cov(image.reshape(-1, image.shape[-1]).astype(np.float64), rowvar=False) for image in x])


def test_covariance_error_is_numpys(rng):
    x, y = rng.normal(size=(2, 3, 5, 4, 6)).astype(np.float32)
    got, wanted = covariances(x), covariances(y)
    expected = np.linalg.norm(got - wanted, axis=(1, 2)).mean() / np.linalg.norm(wanted, axis=(1, 2)).mean()
    np.testing.assert_allclose(covariance_error(jnp.asarray(x), jnp.asarray(y)), expected, rtol=1e-4)


def test_covariance_error_does_not_see_where_things_are(rng):
    y = rng.normal(size=(2, 5, 4, 6)).astype(np.float32)
    np.testing.assert_allclose(covariance_error(jnp.asarray(y[:, ::-1, ::-1] + 1), jnp.asarray(y)), 0, atol=1e-5)


@pytest.mark.slow
def test_a_flat_image_in_the_batch_leaves_a_gradient(rng):
    x, y = (rng.normal(size=(2, 5, 4, 3)).astype(np.float32) for _ in range(2))
    x[0], y[0] = 0.5, 0.25
    value, gradient = jax.value_and_grad(covariance_error)(jnp.asarray(x), jnp.asarray(y))
    assert 0 < float(value) < 10
    assert np.isfinite(gradient).all()
    assert np.abs(gradient[1]).max() > 0


def test_the_distance_from_a_style_is_numpys_and_finite_where_it_is_flat(rng):
    x, y = rng.normal(1, 1, size=(2, 3, 6, 5, 4))
    y[1] = 0.5
    distances = covariance_distance(jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32))
    for i, distance in enumerate(distances):
        a, b = (np.cov(z[i].reshape(-1, 4).T) for z in (x, y))
        expected = np.linalg.norm(a - b) / (np.linalg.norm(b) + 0.01)
        shift = x[i].mean((0, 1)) - y[i].mean((0, 1))
        expected += 0.3 * (shift**2).sum() / (np.trace(b) + 0.01)
        np.testing.assert_allclose(distance, expected, rtol=1e-4)


def test_instance_normalised_features_have_mean_0_and_variance_1(rng):
    x = rng.normal(3, 2, size=(2, 9, 8, 4)).astype(np.float32)
    x[0, ..., 1] = 7
    normal = instance_normalised(jnp.asarray(x))
    np.testing.assert_allclose(normal.mean((1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(normal[1].var((0, 1)), 1, atol=1e-3)
    np.testing.assert_array_equal(normal[0, ..., 1], 0)

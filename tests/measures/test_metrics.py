import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, sobel

from wct_jax.measures import metrics
from wct_jax.measures.metrics import edge_similarity, psnr, ssim
from wct_jax.pictures.images import read_image

EITHER = pytest.mark.parametrize("metric", [psnr, ssim, edge_similarity])


def reference_ssim(x, y):
    """In float64, by scipy's Gaussian and the equation as it stands."""
    x, y = (np.asarray(image, np.float64).mean(-1) for image in (x, y))

    def blur(image):
        return gaussian_filter(image, 1.5, radius=5)[5:-5, 5:-5]

    mean_x, mean_y = blur(x), blur(y)
    covariance = blur(x * y) - mean_x * mean_y
    variances = blur(x * x) - mean_x**2 + blur(y * y) - mean_y**2
    top = (2 * mean_x * mean_y + 1e-4) * (2 * covariance + 9e-4)
    return (top / ((mean_x**2 + mean_y**2 + 1e-4) * (variances + 9e-4))).mean()


def noisy(image, rng, deviation):
    return (image + rng.normal(0, deviation, image.shape)).clip(0, 1).astype(np.float32)


def smooth(rng, height=64, width=48):
    image = gaussian_filter(rng.random((height, width, 3)), (4, 4, 0))
    return ((image - image.min()) / np.ptp(image)).astype(np.float32)


def test_psnr_of_a_known_error():
    x = np.full((5, 7, 3), 0.5, np.float32)
    np.testing.assert_allclose(psnr(x + np.float32(0.1), x), 20, rtol=1e-6)
    assert psnr(x, x) == np.inf


def test_psnr_of_a_batch_is_that_of_each_image(rng):
    x, y = rng.random((2, 2, 3, 9, 5, 3), np.float32)
    expected = -10 * np.log10(((x.astype(np.float64) - y) ** 2).mean((-3, -2, -1)))
    got = psnr(x, y)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, expected, atol=1e-4)


@pytest.mark.parametrize("deviation", [0, 0.002, 0.05, 0.3])
def test_ssim_is_that_of_the_equation(rng, deviation):
    x = smooth(rng)
    y = noisy(x, rng, deviation)
    np.testing.assert_allclose(ssim(x, y), reference_ssim(x, y), atol=1e-6)


def test_edge_similarity_is_the_ssim_of_sobel_magnitudes(rng):
    x = smooth(rng)
    for y in (x, noisy(x, rng, 0.05), x**2, 1 - x):
        lumas = (image.astype(np.float64) @ [0.299, 0.587, 0.114] for image in (x, y))
        a, b = (np.hypot(sobel(luma, 0), sobel(luma, 1)) for luma in lumas)
        a, b = (np.repeat((edges / edges.mean())[..., None], 3, -1) for edges in (a, b))
        np.testing.assert_allclose(edge_similarity(x, y), reference_ssim(a, b), atol=2e-4)
    np.testing.assert_allclose(edge_similarity(x, 0.5 * x + 0.1), 1, atol=1e-3)  # Contrast is not structure.
    flat = jnp.full((16, 16, 3), 0.5, jnp.float32)
    assert jnp.isfinite(jax.grad(lambda image: edge_similarity(image, flat))(flat)).all()


@pytest.mark.slow
def test_large_values_are_not_lost_in_rounding(rng):
    """Edges in a small part of an image are large, divided by their mean; their variances could come out negative."""
    x, y = (jnp.asarray(200 + 0.01 * rng.standard_normal((1000, 11, 11)), jnp.float32) for _ in range(2))
    similarity = metrics._similarity(x, y)
    assert np.abs(similarity).max() <= 1.001
    gradient = jax.grad(lambda x: metrics._similarity(x, y).sum())(x)
    assert np.isfinite(gradient).all()


def test_ssim_of_photos_is_that_of_the_equation(shared, rng):
    for path in sorted((shared / "photos" / "val").iterdir())[:4]:
        x = read_image(path)[20:276, 20:276]
        y = noisy(gaussian_filter(x, (1, 1, 0)), rng, 0.02)
        np.testing.assert_allclose(ssim(x, y), reference_ssim(x, y), atol=1e-6)


@pytest.mark.parametrize(("level", "other"), [(0.97, 0.97), (1.0, 0.9), (0.0, 0.0), (0.0, 1.0)])
def test_ssim_of_flat_images_is_not_lost_in_rounding(rng, level, other):
    x = np.full((64, 64, 3), level, np.float32)
    y = noisy(np.full_like(x, other), rng, 1e-3)
    np.testing.assert_allclose(ssim(x, y), reference_ssim(x, y), atol=2e-5)


def test_ssim_of_equal_and_of_inverted_images(rng):
    x = rng.random((32, 32, 3), np.float32)
    np.testing.assert_allclose(ssim(x, x), 1, atol=1e-6)
    np.testing.assert_allclose(ssim(x, 1 - x), reference_ssim(x, 1 - x), atol=1e-5)
    assert ssim(x, 1 - x) < -0.9


def test_ssim_of_a_batch_is_that_of_each_image(rng):
    x, y = rng.random((2, 2, 3, 20, 16, 3), np.float32)
    expected = [[ssim(x[i, j], y[i, j]) for j in range(3)] for i in range(2)]
    np.testing.assert_allclose(ssim(x, y), expected, atol=1e-6)
    np.testing.assert_allclose(jax.jit(jax.vmap(ssim))(x, y), expected, atol=1e-6)


@pytest.mark.slow
@settings(max_examples=15)
@given(height=st.integers(1, 12), width=st.integers(1, 12), seed=st.integers(0, 99))
def test_ssim_of_images_smaller_than_the_window(height, width, seed):
    x, y = np.random.default_rng(seed).random((2, height, width, 3), np.float32)
    np.testing.assert_allclose(ssim(x, x), 1, atol=1e-5)
    assert -1 <= ssim(x, y) < 1
    np.testing.assert_allclose(ssim(x, y), ssim(x.swapaxes(0, 1), y.swapaxes(0, 1)), atol=1e-5)


def test_a_small_image_is_one_window(rng):
    x, y = rng.random((2, 10, 10, 3), np.float32)
    offsets = np.arange(10) - 4.5
    weights = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    grey = [image.astype(np.float64).mean(-1).ravel() for image in (x, y)]
    mean_x, mean_y = (np.average(image, weights=weights.ravel()) for image in grey)
    covariance = np.cov(*grey, aweights=weights.ravel(), ddof=0)
    top = (2 * mean_x * mean_y + 1e-4) * (2 * covariance[0, 1] + 9e-4)
    bottom = (mean_x**2 + mean_y**2 + 1e-4) * (np.trace(covariance) + 9e-4)
    np.testing.assert_allclose(ssim(x, y), top / bottom, atol=1e-6)


@EITHER
def test_any_floating_point_dtypes_are_compared_in_float32(metric, rng):
    x = jnp.asarray(rng.random((12, 12, 3)), jnp.bfloat16)
    y = rng.random((12, 12, 3)).astype(np.float16)
    got = metric(x, y)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, metric(x.astype(jnp.float32), y.astype(np.float32)), rtol=1e-6)
    with jax.enable_x64(True):
        double = metric(x, y.astype(np.float64))
        assert double.dtype == jnp.float64
        np.testing.assert_allclose(double, got, rtol=1e-4)


@EITHER
@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((4, 4)), np.zeros((4, 4)), r"expected images \[..., H, W, 3\], got shape \(4, 4\)"),
        (np.zeros((4, 0, 3)), np.zeros((4, 0, 3)), r"got shape \(4, 0, 3\)"),
        (np.zeros((4, 5, 3)), np.zeros((5, 4, 3)), r"of one shape, got \(4, 5, 3\) and \(5, 4, 3\)"),
        (np.zeros((4, 4, 3)), np.zeros((4, 4, 3), np.uint8), "floating point values in 0..1, got uint8"),
    ],
)
def test_what_cannot_be_compared(metric, x, y, message):
    with pytest.raises(ValueError, match=message):
        metric(np.float32(x), y if y.dtype == np.uint8 else np.float32(y))

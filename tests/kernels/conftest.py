"""The convolution and its gradients in float64 by NumPy, to compare with."""

import jax.numpy as jnp
import numpy as np
import pytest


@pytest.fixture(scope="session")
def random_kernel():
    """A random kernel and bias, for results about as large as what is convolved."""

    def random_kernel(rng, inputs, outputs):
        kernel = rng.normal(0, (9 * inputs) ** -0.5, (3, 3, inputs, outputs))
        return jnp.asarray(kernel, jnp.float32), jnp.asarray(rng.normal(size=outputs), jnp.float32)

    return random_kernel


@pytest.fixture(scope="session")
def assert_close():
    """Compare relative to the largest number, to which rounding is proportional."""

    def assert_close(actual, expected, tolerance=1e-5):
        actual, expected = (np.asarray(each, np.float64) for each in (actual, expected))
        assert actual.shape == expected.shape
        np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * max(np.abs(expected).max(), 1e-2))

    return assert_close


def _places(x, upsample):
    """The rows and the columns of an image that a reflected border, of one pixel, and upsampling show."""
    times = 2 if upsample else 1
    for side in x.shape[-3:-1]:
        yield np.pad(np.arange(side).repeat(times), 1, mode="reflect" if times * side > 1 else "edge")


def _windows(x, upsample):
    """What each of the nine taps sees."""
    rows, columns = _places(x, upsample)
    padded = np.asarray(x, np.float64)[..., rows, :, :][..., columns, :]
    height, width = len(rows) - 2, len(columns) - 2
    return {(a, b): padded[..., a : a + height, b : b + width, :] for a in range(3) for b in range(3)}


def _pooled(y):
    *_, height, width, _ = y.shape
    y = np.pad(y, [(0, 0)] * (y.ndim - 3) + [(0, height % 2), (0, width % 2), (0, 0)], mode="edge")
    return np.maximum(
        np.maximum(y[..., ::2, ::2, :], y[..., ::2, 1::2, :]), np.maximum(y[..., 1::2, ::2, :], y[..., 1::2, 1::2, :])
    )


@pytest.fixture(scope="session")
def by_numpy():
    """`conv3x3` of images alone."""

    def by_numpy(x, kernel, bias, *, then=None, upsample=False, relu=False, pool=False):
        y = sum(seen @ np.asarray(kernel[a, b], np.float64) for (a, b), seen in _windows(x, upsample).items())
        y = y + np.asarray(bias, np.float64)
        y = np.maximum(y, 0) if relu or then else y
        if then:
            return by_numpy(y, *then, relu=relu, pool=pool)
        return _pooled(y) if pool else y

    return by_numpy


@pytest.fixture(scope="session")
def gradients_by_numpy():
    """The gradients of Σ g conv3x3(x, kernel, bias) by images `[N, H, W, in]`, kernel and bias."""

    def gradients_by_numpy(x, kernel, g, upsample=False):
        g = np.asarray(g, np.float64)
        rows, columns = _places(x, upsample)
        of_padded = np.zeros((x.shape[0], len(rows), len(columns), x.shape[3]))
        of_kernel = np.zeros(kernel.shape)
        for (a, b), seen in _windows(x, upsample).items():
            of_padded[:, a : a + g.shape[1], b : b + g.shape[2]] += g @ np.asarray(kernel[a, b], np.float64).T
            of_kernel[a, b] = np.tensordot(seen, g, ((0, 1, 2), (0, 1, 2)))
        of_x = np.zeros(x.shape)
        np.add.at(of_x, (slice(None), rows[:, None], columns), of_padded)
        return of_x, of_kernel, g.sum((0, 1, 2))

    return gradients_by_numpy

"""The convolution against NumPy, from one pixel to odd sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wct_jax.conv import conv3x3


def direct(x, kernel, bias):
    """Reflect-padded convolution written out in float64, a side of one pixel repeated."""
    height, width = x.shape[:2]
    rows, columns = (np.pad(np.arange(n), 1, mode="reflect" if n > 1 else "edge") for n in (height, width))
    padded = x.astype(np.float64)[rows][:, columns]
    patches = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (0, 1))
    return np.einsum("hwiyx,yxio->hwo", patches, kernel.astype(np.float64)) + bias


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 1), (2, 2), (7, 9)])
@pytest.mark.parametrize("channels", [(1, 1), (3, 8), (16, 3)])
def test_conv3x3_is_reflect_padded_convolution(rng, size, channels):
    x = rng.normal(size=(*size, channels[0])).astype(np.float32)
    kernel = rng.normal(size=(3, 3, *channels)).astype(np.float32)
    bias = rng.normal(size=channels[1]).astype(np.float32)
    np.testing.assert_allclose(conv3x3(x, kernel, bias), direct(x, kernel, bias), rtol=1e-4, atol=1e-4)


def test_leading_dimensions(rng):
    x = rng.normal(size=(2, 3, 5, 4, 2)).astype(np.float32)
    kernel, bias = rng.normal(size=(3, 3, 2, 4)).astype(np.float32), np.zeros(4, np.float32)
    result = conv3x3(x, kernel, bias)
    assert result.shape == (2, 3, 5, 4, 4)
    np.testing.assert_allclose(result[1, 2], conv3x3(x[1, 2], kernel, bias), atol=1e-5)


def test_dtype_is_the_inputs(rng):
    kernel, bias = jnp.ones((3, 3, 2, 4)), jnp.zeros(4)
    assert conv3x3(jnp.ones((4, 4, 2), jnp.bfloat16), kernel, bias).dtype == jnp.bfloat16


def test_float32_is_not_left_to_a_faster_format():
    lowered = jax.jit(conv3x3).lower(jnp.ones((4, 4, 2)), jnp.ones((3, 3, 2, 4)), jnp.zeros(4)).as_text()
    assert "precision HIGHEST" in lowered

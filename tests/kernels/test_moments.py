"""The moments of features by native code against NumPy in float64 and `wct_jax.transform.statistics.moments`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wct_jax.kernels.conv import algorithm
from wct_jax.kernels.moments import moments_of
from wct_jax.kernels.native import library
from wct_jax.transform.statistics import moments

SHAPES = [(1, 1, 3), (1, 7, 16), (9, 1, 5), (33, 31, 24), (5, 6, 33), (128, 96, 16), (40, 40, 512), (512, 512, 3)]


def by_numpy(x, weights=None):
    """Count, mean and scatter over the pixels of `[..., H, W, C]`, in float64."""
    x = np.asarray(x, np.float64)
    weights = np.ones(x.shape[:-1]) if weights is None else np.asarray(weights, np.float64)
    count = weights.sum((-2, -1))
    mean = np.einsum("...hw,...hwc->...c", weights, x) / np.maximum(count, 1e-30)[..., None]
    centered = (x - mean[..., None, None, :]).reshape(*x.shape[:-3], -1, x.shape[-1])
    weighted = centered * weights.reshape(*x.shape[:-3], -1, 1)
    return count, mean, np.swapaxes(weighted, -1, -2) @ centered


def assert_same(found, expected, assert_close, tolerance=1e-5):
    for own, each in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert own.dtype == jnp.float32
        assert_close(own, each, tolerance)


@pytest.mark.core
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weighted", [False, True])
def test_they_are_the_sums(rng, assert_close, shape, weighted):
    x = jnp.asarray(rng.normal(0.5, size=shape), jnp.float32)
    weights = jnp.asarray(rng.uniform(size=shape[:-1]), jnp.float32) if weighted else None
    found = moments_of(x, weights)
    # XLA's sums are less exact, those of JAX 0.8 the least.
    assert_same(found, by_numpy(x, weights), assert_close, 1e-5 if library.instructions() else 5e-5)
    assert_same(found, moments(x, weights), assert_close, 5e-5)


@given(
    few=st.integers(0, 6), scale=st.sampled_from([1e-6, 1.0, 1e6]), seed=st.integers(0, 2**32 - 1), signs=st.booleans()
)
@settings(max_examples=40)
def test_a_few_weights(assert_close, few, scale, seed, signs):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, 20, 15, 18)) + (0 if signs else 3)
    weights = np.zeros((2, 300))
    weights[:, rng.choice(300, few, replace=False)] = 1
    weights = jnp.asarray(weights.reshape(2, 20, 15), jnp.float32)
    count, mean, scatter = by_numpy(x, weights)
    found = moments_of(jnp.asarray(scale * x, jnp.float32), weights)
    np.testing.assert_array_equal(found.count, count)
    assert_close(found.mean / scale, mean)
    assert_close(found.scatter / scale**2, scatter)


def test_weights_that_are_zero(rng):
    x = jnp.asarray(rng.normal(size=(2, 20, 15, 18)), jnp.float32)
    weights = jnp.zeros((2, 20, 15)).at[1].set(1).at[0, 3, 3].set(1e-13)
    found = moments_of(x, weights)
    for each in jax.tree.leaves(found):
        assert not each[0].any()
        assert each[1].any()
    gradients = jax.grad(lambda *args: moments_of(*args).covariance.sum(), argnums=(0, 1))(x, weights)
    assert all(np.isfinite(each).all() for each in gradients)


@pytest.mark.parametrize("shape", [(64, 64, 16), (300, 500, 24), (1, 5000, 3), (5000, 1, 3), (17, 900, 64)])
@pytest.mark.parametrize(("mean", "deviation"), [(1000, 1e-2), (1, 1e-5), (0.3, 0)])
def test_flat_features_lose_no_more_than_by_xla(rng, shape, mean, deviation):
    x = jnp.asarray(mean + deviation * rng.normal(size=shape), jnp.float32)
    _, middle, scatter = by_numpy(x)
    own, by_xla = moments_of(x), jax.jit(moments)(x)

    def off(found, part, expected):
        return np.abs(np.asarray(getattr(found, part), np.float64) - expected).max()

    # Half a unit in the last place of the mean cannot be avoided.
    assert off(own, "mean", middle) <= max(off(by_xla, "mean", middle), 1e-7 * mean)
    assert off(own, "scatter", scatter) <= max(2 * off(by_xla, "scatter", scatter), 1e-5 * np.abs(scatter).max())


@pytest.mark.usefixtures("quick")
@pytest.mark.slow
def test_gradients_are_those_of_the_sums(rng, assert_close):
    x = jnp.asarray(rng.normal(size=(2, 9, 7, 5)), jnp.float32)
    weights = jnp.asarray(rng.uniform(size=(2, 9, 7)), jnp.float32)

    def loss(way, x, weights):
        return sum((each**2).mean() for each in jax.tree.leaves(way(x, weights)))

    def gradients(way):
        return jax.jit(jax.grad(lambda *args: loss(way, *args), argnums=(0, 1)))(x, weights)

    for own, expected in zip(gradients(moments_of), gradients(moments), strict=True):
        assert_close(own, expected)
    alone = jax.grad(lambda x: moments_of(x).covariance.sum())(x)
    assert_close(alone, jax.grad(lambda x: moments(x).covariance.sum())(x))


def test_vmap_and_leading_dimensions(rng, assert_close):
    x = jnp.asarray(rng.normal(size=(3, 2, 9, 7, 5)), jnp.float32)
    weights = jnp.asarray(rng.uniform(size=(2, 3, 9, 7)), jnp.float32)
    swapped = jnp.swapaxes(weights, 0, 1)
    assert_same(moments_of(x, swapped), by_numpy(x, swapped), assert_close)
    assert_same(jax.vmap(moments_of, (0, 1))(x, weights), by_numpy(x, swapped), assert_close)
    assert_same(jax.vmap(moments_of)(x), by_numpy(x), assert_close)
    of_weights = jax.vmap(lambda weights: moments_of(x[:, 0], weights))(weights)
    assert_same(of_weights, by_numpy(jnp.stack([x[:, 0]] * 2), weights), assert_close)


def test_other_dtypes_and_the_way_of_xla(rng, assert_close):
    x = jnp.asarray(rng.normal(size=(9, 7, 5)), jnp.float32)
    for dtype in ("bfloat16", "float16"):
        half = x.astype(dtype)
        assert_same(moments_of(half), by_numpy(half), assert_close)
    with jax.enable_x64(True):
        double = moments_of(jnp.asarray(rng.normal(size=(9, 7, 5)), jnp.float64))
        assert {each.dtype for each in jax.tree.leaves(double)} == {jnp.dtype("float64")}
    lowered = jax.jit(lambda x: moments_of(x).scatter).lower(x).as_text()
    assert ("@wct_moments" in lowered) == bool(library.instructions())
    with algorithm("direct"):
        assert "@wct_moments" not in jax.jit(lambda x: moments_of(x).mean).lower(x).as_text()

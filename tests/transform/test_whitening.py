"""The transform against a float64 computation of the paper, and as a part of other people's JAX code."""

import functools
import itertools
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from wct_jax import merge, moments, wct, whiten, whiten_color
from wct_jax.transform import statistics, whitening
from wct_jax.transform.whitening import transfer


def paper(content, style, alpha=1.0, cut=1e-5):
    """Equations 1-3 in float64, eigenvalues under an absolute cut dropped."""
    channels = content.shape[-1]
    x, y = (f.reshape(-1, channels).astype(np.float64) for f in (content, style))
    x_mean, y_mean = x.mean(0), y.mean(0)
    x_values, x_vectors = np.linalg.eigh(np.cov(x, rowvar=False))
    y_values, y_vectors = np.linalg.eigh(np.cov(y, rowvar=False))
    x_kept, y_kept = x_values > cut, y_values > cut
    x_vectors, y_vectors = x_vectors[:, x_kept], y_vectors[:, y_kept]
    whitening = (x_vectors * x_values[x_kept] ** -0.5) @ x_vectors.T
    coloring = (y_vectors * y_values[y_kept] ** 0.5) @ y_vectors.T
    colored = (x - x_mean) @ whitening.T @ coloring.T + y_mean
    return (alpha * colored + (1 - alpha) * x).reshape(content.shape)


def feature(rng, height, width, channels, rank=None, dtype=np.float32, smallest=0.3):
    """Correlated random features of a given rank around a random mean; standard deviations from `smallest` to 1."""
    rank = rank or channels
    directions = np.linalg.qr(rng.normal(size=(channels, channels)))[0][:rank]
    sources = rng.normal(size=(height, width, rank)) * np.linspace(smallest, 1, rank)
    return (sources @ directions + rng.normal(size=channels)).astype(dtype)


def relative(got, expected):
    expected = np.asarray(expected, np.float64)
    return np.linalg.norm(np.asarray(got, np.float64) - expected) / np.linalg.norm(expected)


def covariance(f):
    return np.cov(np.asarray(f, np.float64).reshape(-1, f.shape[-1]), rowvar=False)


CASES = {
    "full rank, 4 pixels per channel": (16, 16, 64, None),
    "full rank, many pixels": (40, 50, 32, None),
    "rank 20 of 96 channels": (30, 30, 96, 20),
    "16 pixels with 128 channels": (4, 4, 128, None),
    "one channel": (5, 7, 1, None),
}


@pytest.mark.core
@pytest.mark.parametrize("case", CASES)
def test_wct_is_the_papers(rng, case):
    content, style, alpha = feature(rng, *CASES[case]), feature(rng, *CASES[case]), 0.9
    if case == "one channel":
        expected = (content - content.mean()) / content.std(ddof=1) * style.std(ddof=1) + style.mean()
        expected = alpha * expected + (1 - alpha) * content
    else:
        expected = paper(content, style, alpha)
    assert relative(wct(content, style, alpha), expected) < 1e-5


def test_covariance_becomes_the_styles(rng):
    content, style = feature(rng, 20, 30, 48, smallest=0.01), feature(rng, 25, 25, 48, smallest=0.01)
    result = wct(content, style)
    assert relative(covariance(result), covariance(style)) < 1e-3
    np.testing.assert_allclose(np.mean(result, (0, 1)), style.mean((0, 1)), atol=1e-5)


def test_whitened_covariance_is_the_identity_on_what_is_kept(rng):
    np.testing.assert_allclose(covariance(whiten(feature(rng, 20, 30, 24))), np.eye(24), atol=1e-4)
    values = np.linalg.eigvalsh(covariance(whiten(feature(rng, 20, 30, 24, rank=7))))
    np.testing.assert_allclose(values, [0] * 17 + [1] * 7, atol=1e-4)


def test_whiten_color_is_the_affine_map(rng):
    content, style = feature(rng, 12, 12, 8), feature(rng, 9, 15, 8)
    matrix, bias = whiten_color(moments(content), moments(style))
    np.testing.assert_allclose(content @ np.asarray(matrix).T + np.asarray(bias), wct(content, style), atol=1e-4)


def test_eigenvalues_are_cut_relative_to_the_largest(rng):
    scales = np.sqrt([1.0, 0.1, 0.01, 0.001]).astype(np.float32)
    content = np.asarray(whiten(rng.normal(size=(30, 30, 4)).astype(np.float32))) * scales
    for faint in (1, 1e-4):
        values = np.linalg.eigvalsh(covariance(whiten(content * np.float32(faint), eps=0.02)))
        np.testing.assert_allclose(values, [0, 0, 1, 1], atol=1e-3)


@pytest.mark.parametrize("level", [0.0, 1e-3, 1.0, 117.3])
def test_rounding_around_a_constant_is_not_whitened(rng, level):
    style = feature(rng, 10, 10, 16)
    constant = np.full((37, 41, 16), level, np.float32) * np.linspace(0.5, 1.5, 16, dtype=np.float32)
    noise = (1 + 5e-7 * rng.standard_normal(constant.shape)).astype(np.float32)
    for flat in (constant, constant * noise):
        result = wct(flat, style)
        np.testing.assert_allclose(result, np.broadcast_to(style.mean((0, 1)), flat.shape), atol=1e-5)
    if level:
        signal = constant * (1 + 1e-3 * rng.standard_normal(constant.shape).astype(np.float32))
        assert relative(covariance(wct(signal, style)), covariance(style)) < 1e-2


def test_flat_style_leaves_its_mean(rng):
    style = np.full((5, 5, 8), 3.0, np.float32)
    np.testing.assert_array_equal(wct(feature(rng, 6, 6, 8), style), np.full((6, 6, 8), 3.0))


def test_single_pixels():
    one, other = np.ones((1, 1, 4), np.float32), np.full((1, 1, 4), 2.0, np.float32)
    np.testing.assert_array_equal(wct(one, other), other)
    np.testing.assert_array_equal(whiten(one), np.zeros_like(one))


# Statistics


def test_moments_of_a_large_bright_feature_are_exact(rng):
    pixels = (1000 + rng.normal(size=(1024, 1024, 2))).astype(np.float32)
    got = moments(pixels)
    expected = pixels.reshape(-1, 2).astype(np.float64)
    np.testing.assert_allclose(got.mean, expected.mean(0), rtol=1e-7)
    np.testing.assert_allclose(got.covariance, np.cov(expected, rowvar=False), rtol=1e-4, atol=1e-5)


def test_weights_select_pixels(rng):
    f = feature(rng, 8, 6, 5)
    weights = (rng.uniform(size=(8, 6)) < 0.5).astype(np.float32)
    got, expected = moments(f, weights), f[weights == 1].astype(np.float64)
    assert got.count == weights.sum()
    np.testing.assert_allclose(got.mean, expected.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got.covariance, np.cov(expected, rowvar=False), rtol=1e-4, atol=1e-5)


def test_weights_count_fractions(rng):
    f, weights = feature(rng, 8, 6, 5), rng.uniform(size=(8, 6)).astype(np.float32)
    flat = f.reshape(-1, 5).astype(np.float64)
    expected = np.cov(flat, rowvar=False, aweights=weights.ravel(), ddof=0) * weights.sum() / (weights.sum() - 1)
    np.testing.assert_allclose(moments(f, weights).covariance, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("weight", [0.0, 1e-30, 0.3, 1.0])
def test_one_soft_pixel_or_none_is_no_nan(rng, weight):
    content, style = feature(rng, 6, 6, 8), feature(rng, 6, 6, 8)
    weights = np.zeros((6, 6), np.float32)
    weights[2, 3] = weight
    value, gradients = _of_weights(content, style, weights)
    assert all(np.isfinite(leaf).all() for leaf in (value, *gradients))
    result = wct(content, style, style_weights=weights)
    has_weight = weight > 1e-12
    np.testing.assert_allclose(result, np.broadcast_to(style[2, 3], (6, 6, 8)) if has_weight else content, atol=1e-6)


@jax.jit
def _of_weights(content, style, weights):
    def loss(content, style, weights):
        as_content = wct(content, style, content_weights=weights)
        return jnp.sum(as_content**2) + jnp.sum(wct(content, style, style_weights=weights) ** 2)

    return jax.value_and_grad(loss, (0, 1, 2))(content, style, weights)


@pytest.mark.core
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 5), min_size=1, max_size=5))
@settings(max_examples=25)
def test_merged_moments_are_those_of_the_whole(seed, heights):
    rng = np.random.default_rng(seed)
    tiles = [np.full((4, 3, 2), rng.normal(), np.float32) + feature(rng, 4, 3, 2) for _ in heights]
    weights = [(rng.uniform(size=(4, 3)) * (np.arange(4)[:, None] < h)).astype(np.float32) for h in heights]
    merged = functools.reduce(merge, map(moments, tiles, weights))
    whole = moments(np.concatenate(tiles), np.concatenate(weights))
    for part, expected in zip(jax.tree.leaves(merged), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(part, expected, rtol=2e-4, atol=2e-4)


def test_no_pixels_are_the_identity_of_merge(rng):
    some = moments(feature(rng, 4, 3, 2))
    none = moments(feature(rng, 4, 3, 2), np.zeros((4, 3), np.float32))
    for merged in (merge(some, none), merge(none, some)):
        jax.tree.map(np.testing.assert_array_equal, merged, some)
    jax.tree.map(np.testing.assert_array_equal, merge(none, none), none)


# Under JAX's transformations


@pytest.mark.parametrize("without", [slice(0, 0), slice(2, 4)])
@pytest.mark.slow
def test_parts_of_rows_are_the_whole(rng, monkeypatch, without):
    content, style = feature(rng, 8, 12, 10), moments(feature(rng, 9, 9, 10))
    weights = rng.uniform(size=(8, 12)).astype(np.float32)
    weights[without] = 0

    def value_and_gradients():
        @functools.partial(jax.value_and_grad, argnums=(0, 1, 2, 3), has_aux=True)
        def transferred(content, style, alpha, weights):
            result = transfer(content, style, alpha, statistics=moments(content, weights))
            return (result**3).sum(), result

        (_, result), gradients = jax.jit(transferred)(content, style, jnp.float32(0.7), weights)
        return jax.tree.leaves((result, gradients))

    whole = value_and_gradients()
    two_rows = functools.partial(whitening.rows_at_once, numbers=2 * 12 * 10)
    assert two_rows(content) == 2
    for module in (statistics, whitening):
        monkeypatch.setattr(module, "rows_at_once", two_rows)
    for own, expected in zip(value_and_gradients(), whole, strict=True):
        assert relative(own, expected) < 1e-3


@pytest.mark.core
def test_jit_with_alpha_and_weights_traced(rng):
    content, style = feature(rng, 6, 7, 5), feature(rng, 8, 5, 5)
    arguments = dict(content_weights=rng.uniform(size=(6, 7)), style_weights=rng.uniform(size=(8, 5)))
    arguments = {name: jnp.asarray(value, jnp.float32) for name, value in arguments.items()}
    np.testing.assert_allclose(
        jax.jit(wct)(content, style, 0.4, **arguments), wct(content, style, 0.4, **arguments), atol=1e-5
    )


@pytest.mark.slow
def test_vmap_equals_a_loop_and_leading_dimensions(rng):
    content = np.stack([feature(rng, 5, 6, 4) for _ in range(6)]).reshape(2, 3, 5, 6, 4)
    style = np.stack([feature(rng, 7, 4, 4) for _ in range(3)])
    one = jax.jit(wct)
    loop = np.array([[one(content[i, j], style[j]) for j in range(3)] for i in range(2)])
    np.testing.assert_allclose(wct(content, style), loop, atol=1e-5)
    np.testing.assert_allclose(jax.vmap(jax.vmap(wct), (0, None))(content, style), loop, atol=1e-5)
    np.testing.assert_allclose(wct(content[0, 0], style), np.stack([one(content[0, 0], s) for s in style]), atol=1e-5)


@pytest.mark.slow
def test_alpha_per_pixel_and_per_image(rng):
    content, style = feature(rng, 5, 6, 4), feature(rng, 7, 4, 4)
    full, alpha = np.asarray(wct(content, style)), rng.uniform(size=(5, 6)).astype(np.float32)
    expected = alpha[..., None] * full + (1 - alpha[..., None]) * content
    np.testing.assert_allclose(wct(content, style, alpha), expected, atol=1e-5)
    batch, alphas = np.stack([content] * 2), np.array([0.0, 1.0], np.float32)[:, None, None]
    np.testing.assert_allclose(wct(batch, style, alphas), np.stack([content, full]), atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_in_and_out_with_float32_statistics(rng, dtype):
    content, style = (jnp.asarray(feature(rng, 16, 16, 8), dtype) for _ in range(2))
    statistics = moments(content)
    assert {leaf.dtype for leaf in jax.tree.leaves(statistics)} == {jnp.dtype("float32")}
    result = wct(content, style)
    assert result.dtype == whiten(content).dtype == dtype
    exact = wct(content.astype(jnp.float32), style.astype(jnp.float32))
    # The statistics are exact, so only the result is rounded.
    np.testing.assert_array_equal(result, exact.astype(dtype))


def test_half_precision_does_not_overflow(rng):
    content = jnp.asarray(300 * feature(rng, 64, 64, 4), jnp.float16)
    assert np.isfinite(wct(content, content)).all()


def test_float64_is_computed_in_float64(rng):
    with jax.enable_x64(True):
        content, style = (jnp.asarray(feature(rng, 20, 20, 16, dtype=np.float64)) for _ in range(2))
        result = wct(content, style)
        assert result.dtype == jnp.float64
        assert relative(result, paper(np.asarray(content), np.asarray(style))) < 1e-12


@pytest.mark.core
@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize(
    "spec",
    [
        (None, "data"),
        *(
            pytest.param(spec, marks=pytest.mark.slow)
            for spec in [("data",), (None, None, "data"), (None, None, None, "data")]
        ),
    ],
)
def test_sharded_inputs(rng, kind, spec):
    assert jax.device_count() == 4
    content, style = (np.stack([feature(rng, 8, 8, 8) for _ in range(4)]) for _ in range(2))
    expected = wct(content, style)
    sharding = NamedSharding(jax.make_mesh((4,), ("data",), axis_types=(kind,)), PartitionSpec(*spec))
    for call in (wct, jax.jit(wct)):
        result = call(jax.device_put(content, sharding), jax.device_put(style, sharding))
        np.testing.assert_allclose(result, expected, atol=1e-5)
        assert result.sharding.is_equivalent_to(sharding, 4)
    np.testing.assert_allclose(whiten(jax.device_put(content, sharding)), whiten(content), atol=1e-5)


# Gradients


def numeric(function, x, step=1e-6):
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[index] += step
        down[index] -= step
        gradient[index] = (function(up) - function(down)) / (2 * step)
    return gradient


GRADIENT_CASES = {
    "full rank": lambda rng: feature(rng, 4, 4, 3, dtype=np.float64),
    "fewer pixels than channels": lambda rng: feature(rng, 2, 2, 6, dtype=np.float64),
    "repeated eigenvalues": lambda rng: np.kron(np.eye(4), np.ones((1, 1))).reshape(2, 2, 4) * 2.0,
    "weighted": lambda rng: feature(rng, 4, 4, 3, dtype=np.float64),
}


@pytest.mark.core
@pytest.mark.parametrize("case", GRADIENT_CASES)
def test_gradient_agrees_with_finite_differences(rng, case):
    with jax.enable_x64(True):
        content, style = GRADIENT_CASES[case](rng), GRADIENT_CASES[case](rng)
        direction = rng.normal(size=content.shape)
        weights = rng.uniform(0.2, 1, size=content.shape[:2]) if case == "weighted" else None

        def loss(content, style):
            y = wct(jnp.asarray(content), jnp.asarray(style), 0.9, content_weights=weights, style_weights=weights)
            return jnp.sum(y * direction)

        value = jax.jit(loss)
        by_content, by_style = jax.jit(jax.grad(loss, (0, 1)))(content, style)
        np.testing.assert_allclose(by_content, numeric(lambda x: value(x, style), content), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(by_style, numeric(lambda x: value(content, x), style), rtol=1e-5, atol=1e-6)


def test_gradient_of_weights_and_alpha(rng):
    with jax.enable_x64(True):
        content, style = feature(rng, 3, 4, 3, dtype=np.float64), feature(rng, 4, 3, 3, dtype=np.float64)
        direction, alpha = rng.normal(size=content.shape), rng.uniform(size=(3, 4))
        weights = rng.uniform(0.2, 1, size=(3, 4))

        @jax.jit
        def loss(alpha, weights):
            return jnp.sum(wct(content, style, alpha, content_weights=weights) * direction)

        by_alpha, by_weights = jax.grad(loss, (0, 1))(alpha, weights)
        np.testing.assert_allclose(by_alpha, numeric(lambda a: loss(a, weights), alpha), rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(by_weights, numeric(lambda w: loss(alpha, w), weights), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("mode", [jax.jacfwd, jax.jacrev])
def test_both_modes_of_differentiation(rng, mode):
    with jax.enable_x64(True):
        content, style = feature(rng, 2, 3, 2, dtype=np.float64), feature(rng, 3, 3, 2, dtype=np.float64)
        outputs = jax.jit(lambda c: wct(c, style).ravel())
        jacobian = jax.jit(mode(outputs))(content)
        expected = np.stack([numeric(lambda c, k=k: outputs(c)[k], content) for k in range(12)])
        np.testing.assert_allclose(jacobian, expected, rtol=1e-5, atol=1e-6)


FINITE_CASES = {
    "flat": lambda rng: np.full((5, 6, 8), 0.7, np.float32),
    "black": lambda rng: np.zeros((5, 6, 8), np.float32),
    "one pixel": lambda rng: feature(rng, 1, 1, 8),
    "fewer pixels than channels": lambda rng: feature(rng, 2, 2, 8),
    "duplicated channels": lambda rng: np.tile(feature(rng, 5, 6, 4), 2),
    "white": lambda rng: np.asarray(whiten(feature(rng, 5, 6, 8))),
}


@pytest.mark.parametrize(
    ("as_content", "as_style"),
    [
        # Each once on each side; the other pairs compile for as many shapes.
        pytest.param(*pair, marks=[] if pair[0] == pair[1] or "flat" in pair else pytest.mark.slow)
        for pair in itertools.product(FINITE_CASES, repeat=2)
    ],
)
def test_gradient_is_finite(rng, as_content, as_style):
    content, style = FINITE_CASES[as_content](rng), FINITE_CASES[as_style](rng)
    value, gradients = _value_and_gradient(content, style)
    assert np.isfinite(value)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@jax.jit
def _value_and_gradient(content, style):
    return jax.value_and_grad(lambda c, s: jnp.sum(wct(c, s, 0.8) ** 2), (0, 1))(content, style)


# Bad input


SQUARE = np.zeros((4, 4, 3), np.float32)


@pytest.mark.parametrize(
    ("content", "style", "options", "message"),
    [
        (SQUARE, np.zeros((4, 4, 5), np.float32), {}, "3 and 5"),
        (SQUARE[0], SQUARE, {}, r"content .*\(4, 3\)"),
        (SQUARE[:0], SQUARE, {}, "at least one pixel"),
        (np.uint8(SQUARE), SQUARE, {}, "floating.* uint8"),
        (np.stack([SQUARE] * 2), np.stack([SQUARE] * 3), {}, r"must broadcast, got \(2,\) and \(3,\)"),
        (SQUARE, SQUARE, {"alpha": np.zeros(3)}, r"alpha must broadcast to \(4, 4\), got shape \(3,\)"),
        (SQUARE, SQUARE, {"content_weights": np.ones((5, 4))}, r"weights must .* to \(4, 4\), got shape \(5, 4\)"),
    ],
)
def test_bad_shapes_are_refused(content, style, options, message):
    with pytest.raises(ValueError, match=message):
        wct(content, style, **options)


def test_style_of_other_channels_is_refused(rng):
    with pytest.raises(ValueError, match="moments of 4 channels, got 5"):
        transfer(feature(rng, 3, 3, 4), moments(feature(rng, 3, 3, 5)))


CONCURRENT = """
import os
import jax
import jax.numpy as jnp
from wct_jax import wct

x = jax.random.normal(jax.random.key(0), (4, 12, 12, 64))
scales = jnp.arange(1.0, 5 + os.cpu_count())
transfer = jax.jit(lambda x, scales: [{function}(x * s, x[::-1] + s) for s in scales])
for _ in range(20):
    jax.block_until_ready(transfer(x, scales))
"""


@pytest.mark.slow
@pytest.mark.parametrize("function", ["wct", "jax.vmap(wct)"])
def test_batches_at_the_same_time_do_not_wait_for_each_other(function):
    """Run more batches than there are threads."""
    code = CONCURRENT.format(function=function)
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300, env=os.environ | {"JAX_PLATFORMS": "cpu"})

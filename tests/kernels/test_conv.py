"""The convolution against NumPy in float64, from one pixel to the sizes of the networks."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wct_jax.kernels.conv import algorithm, conv3x3

SIZES = [(1, 1), (1, 5), (4, 1), (2, 2), (3, 4), (7, 9), (5, 30), (33, 17)]
# Few outputs, few inputs, whole vectors or not, and wide enough for Winograd's algorithm.
CHANNELS = pytest.mark.parametrize(
    ("inputs", "outputs"), [(1, 1), (3, 16), (16, 3), (24, 7), (7, 33), (16, 16), (32, 64), (33, 2)]
)
WAYS = [dict(zip(("upsample", "relu", "pool"), way, strict=True)) for way in itertools.product((False, True), repeat=3)]


@pytest.fixture
def convolution(rng, random_kernel):
    """A random image `[..., H, W, in]`, kernel and bias."""

    def convolution(shape, outputs):
        return jnp.asarray(rng.normal(size=shape), jnp.float32), *random_kernel(rng, shape[-1], outputs)

    return convolution


@pytest.mark.core
@CHANNELS
@pytest.mark.parametrize("size", SIZES)
def test_it_is_the_reflect_padded_convolution(convolution, assert_close, by_numpy, size, inputs, outputs):
    x, kernel, bias = convolution((*size, inputs), outputs)
    for way in WAYS:
        assert_close(conv3x3(x, kernel, bias, **way), by_numpy(x, kernel, bias, **way))


@CHANNELS
@pytest.mark.parametrize("size", SIZES)
def test_two_in_one_are_one_after_the_other(
    convolution, random_kernel, rng, assert_close, by_numpy, size, inputs, outputs
):
    x, kernel, bias = convolution((2, *size, inputs), outputs)
    for last, way in zip((3, 16, 32), WAYS[1::3], strict=False):
        then = random_kernel(rng, outputs, last)
        assert_close(conv3x3(x, kernel, bias, then=then, **way), by_numpy(x, kernel, bias, then=then, **way))


@pytest.mark.parametrize(
    ("shape", "outputs", "way"),
    [
        ((512, 512, 3), 16, {"relu": True}),
        ((256, 256, 16), 16, {"pool": True, "relu": True}),
        ((512, 512, 16), 3, {}),
        ((257, 131, 64), 64, {"pool": True}),
        ((65, 63, 128), 128, {"upsample": True}),
        ((2, 16, 16, 512), 512, {"relu": True}),
        ((31, 33, 512), 24, {}),
        ((31, 33, 24), 512, {"upsample": True}),
        ((300, 4, 32), 64, {}),
        ((40, 4, 4, 64), 32, {}),
        ((3, 1000, 7), 16, {"upsample": True}),
    ],
)
def test_the_sizes_of_the_networks(convolution, assert_close, by_numpy, shape, outputs, way):
    x, kernel, bias = convolution(shape, outputs)
    assert_close(conv3x3(x, kernel, bias, **way), by_numpy(x, kernel, bias, **way))


@pytest.mark.parametrize(("inputs", "outputs"), [(3, 64), (16, 16), (64, 64)])
@pytest.mark.parametrize("last", [3, 16, 64])
def test_the_pairs_of_the_networks(convolution, random_kernel, rng, assert_close, by_numpy, inputs, outputs, last):
    x, kernel, bias = convolution((130, 131, inputs), outputs)
    then = random_kernel(rng, outputs, last)
    for way in ({"pool": True, "relu": True}, {"upsample": True}):
        assert_close(conv3x3(x, kernel, bias, then=then, **way), by_numpy(x, kernel, bias, then=then, **way))


# JAX compiles once for each of these shapes.
SHAPES = st.sampled_from([(1, 1, 3, 16), (2, 3, 16, 3), (6, 5, 20, 18), (9, 10, 32, 32)])


@given(
    shape=SHAPES,
    way=st.sampled_from(WAYS),
    scale=st.sampled_from([1e-10, 1.0, 1e10]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60)
def test_it_is_linear_in_scale(random_kernel, assert_close, by_numpy, shape, way, scale, seed):
    rng, (height, width, inputs, outputs) = np.random.default_rng(seed), shape
    x = jnp.asarray(scale * rng.normal(size=(height, width, inputs)), jnp.float32)
    kernel, bias = random_kernel(rng, inputs, outputs)
    bias = jnp.float32(scale) * bias
    actual, expected = conv3x3(x, kernel, bias, **way), by_numpy(x, kernel, bias, **way)
    assert_close(np.asarray(actual, np.float64) / scale, expected / scale)


@pytest.mark.slow
@given(size=st.tuples(st.integers(2, 24), st.integers(2, 20)), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_an_image_on_a_canvas_is_convolved_as_if_alone(random_kernel, assert_close, by_numpy, size, seed):
    rng, (height, width) = np.random.default_rng(seed), size
    for inputs, outputs, *others, way in (
        (16, 3, {"relu": True}),
        (20, 18, {"upsample": True}),
        (32, 32, {"pool": True, "relu": True}),
        (3, 16, 16, {"pool": True, "relu": True}),
        (16, 16, 3, {"upsample": True}),
        (32, 32, 32, {"pool": True, "relu": True}),
    ):
        canvas = jnp.asarray(rng.normal(size=(2, 24, 20, inputs)), jnp.float32)
        kernels, then = random_kernel(rng, inputs, outputs), None
        if others:
            then = random_kernel(rng, outputs, others[0])
        result = conv3x3(canvas, *kernels, then=then, size=jnp.asarray(size, jnp.int32), **way)
        expected = by_numpy(canvas[:, :height, :width], *kernels, then=then, **way)
        rows, columns = expected.shape[1:3]
        assert_close(result[:, :rows, :columns], expected)
        beyond = np.array(result)
        beyond[:, :rows, :columns] = 0
        assert np.isfinite(beyond).all()


def test_leading_dimensions(convolution, assert_close, by_numpy):
    x, kernel, bias = convolution((2, 3, 5, 4, 2), 4)
    result = conv3x3(x, kernel, bias)
    assert result.shape == (2, 3, 5, 4, 4)
    assert_close(result, by_numpy(x, kernel, bias))
    for empty in ((0, 5, 4, 2), (2, 0, 5, 4, 2)):
        assert conv3x3(jnp.zeros(empty), kernel, bias).shape == (*empty[:-1], 4)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 1e-3), ("bfloat16", 8e-3)])
def test_half_precision(convolution, assert_close, by_numpy, dtype, tolerance):
    x, kernel, bias = convolution((9, 8, 32), 32)
    half = x.astype(dtype)
    result = conv3x3(half, kernel, bias, relu=True)
    assert result.dtype == dtype
    # Rounded once, at the end.
    assert_close(result, by_numpy(half, kernel, bias, relu=True), tolerance)
    gradients = jax.grad(lambda *args: conv3x3(*args).astype(jnp.float32).sum(), argnums=(0, 1, 2))(half, kernel, bias)
    assert [each.dtype for each in gradients] == [dtype, jnp.float32, jnp.float32]
    assert [each.shape for each in gradients] == [x.shape, kernel.shape, bias.shape]


def test_float64(convolution, assert_close, by_numpy):
    with jax.enable_x64(True):
        x, kernel, bias = (jnp.asarray(each, jnp.float64) for each in convolution((9, 8, 32), 32))
        result = conv3x3(x, kernel, bias, upsample=True)
        assert result.dtype == jnp.float64
        assert_close(result, by_numpy(x, kernel, bias, upsample=True), 1e-13)


def test_numbers_that_are_not_finite_stay_so(convolution):
    for inputs, outputs in ((16, 3), (3, 16), (32, 32)):
        x, kernel, bias = convolution((8, 8, inputs), outputs)
        for way in WAYS[2:4]:
            result = conv3x3(x.at[3, 3, 0].set(jnp.nan), kernel, bias, **way)
            spoilt = np.isnan(result[1, 1] if way["pool"] else result[3, 3])
            assert spoilt.all(), way


def test_the_algorithm_can_be_chosen(convolution, assert_close, by_numpy):
    x, kernel, bias = convolution((8, 8, 20), 18)
    with algorithm("direct"):
        assert "stablehlo.convolution" in jax.jit(conv3x3).lower(x, kernel, bias).as_text()
        assert_close(conv3x3(x, kernel, bias), by_numpy(x, kernel, bias))
    with algorithm("fast"), pytest.raises(ValueError, match="must be \"direct\" or None, got 'fast'"):
        conv3x3(x, kernel, bias)


@pytest.mark.parametrize("chosen", ["direct", None])
def test_forward_mode(convolution, assert_close, by_numpy, chosen):
    x, kernel, bias = convolution((8, 8, 5), 8)
    with algorithm(chosen):
        _, change = jax.jvp(lambda x: conv3x3(x, kernel, bias), (x,), (x,))
        _, of_kernel = jax.jvp(lambda *args: conv3x3(x, *args), (kernel, bias), (kernel, bias))
    assert_close(change, by_numpy(x, kernel, jnp.zeros_like(bias)))
    assert_close(of_kernel, by_numpy(x, kernel, bias))

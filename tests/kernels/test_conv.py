"""The convolution against NumPy and XLA's own, from one pixel to odd sizes, whole and in blocks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from wct_jax.kernels import conv
from wct_jax.kernels.conv import algorithm, conv3x3

pytestmark = pytest.mark.usefixtures("quick")

# One for every way on the CPU: few outputs, few inputs, narrow, wide.
CHANNELS = pytest.mark.parametrize(("inputs", "outputs"), [(5, 3), (3, 8), (5, 8), (20, 18)])


def direct(x, kernel, bias):
    """Reflect-padded convolution written out in float64, a side of one pixel repeated."""
    height, width = x.shape[:2]
    rows, columns = (np.pad(np.arange(n), 1, mode="reflect" if n > 1 else "edge") for n in (height, width))
    padded = np.asarray(x, np.float64)[rows][:, columns]
    patches = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (0, 1))
    return np.einsum("hwiyx,yxio->hwo", patches, np.asarray(kernel, np.float64)) + np.asarray(bias)


def random_inputs(rng, shape, outputs):
    x = rng.normal(size=shape).astype(np.float32)
    kernel = rng.normal(size=(3, 3, shape[-1], outputs)).astype(np.float32)
    return jnp.asarray(x), jnp.asarray(kernel), jnp.asarray(rng.normal(size=outputs), jnp.float32)


def assert_close(actual, expected, tolerance=1e-4):
    """Compare relative to the largest number, to which rounding is proportional."""
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * max(np.abs(expected).max(), 1e-3))


def shrink(patch, pixels, block, kernel):
    """Divide small images into several blocks, and the outputs of a single block into several groups."""
    for name in ("_BLOCK_PIXELS", "_BLOCK_PIXELS_UPSAMPLED"):
        patch.setattr(conv, name, pixels)
    patch.setattr(conv, "_BLOCK_NUMBERS", block)
    patch.setattr(conv, "_KERNEL_NUMBERS", kernel)
    jax.clear_caches()  # Compiled functions know nothing of the constants.


@pytest.fixture
def small_blocks(monkeypatch):
    shrink(monkeypatch, 32, 32, 100)
    yield
    jax.clear_caches()


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 1), (2, 2), (3, 4), (4, 4), (7, 9), (5, 30)])
@pytest.mark.parametrize("channels", [(1, 1), (3, 8), (16, 3), (20, 18)])
def test_conv3x3_is_reflect_padded_convolution(rng, size, channels):
    x, kernel, bias = random_inputs(rng, (*size, channels[0]), channels[1])
    assert_close(conv3x3(x, kernel, bias), direct(x, kernel, bias))


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (2, 2), (4, 7), (9, 5)])
@CHANNELS
def test_upsampling_and_relu_are_what_they_say(rng, size, inputs, outputs):
    x, kernel, bias = random_inputs(rng, (*size, inputs), outputs)
    large = np.repeat(np.repeat(x, 2, axis=0), 2, axis=1)
    assert_close(conv3x3(x, kernel, bias, upsample=True), direct(large, kernel, bias))
    assert_close(conv3x3(x, kernel, bias, relu=True), np.maximum(direct(x, kernel, bias), 0))
    assert_close(conv3x3(x, kernel, bias, upsample=True, relu=True), np.maximum(direct(large, kernel, bias), 0))


def test_leading_dimensions(rng):
    x, kernel, bias = random_inputs(rng, (2, 3, 5, 4, 2), 4)
    result = conv3x3(x, kernel, bias)
    assert result.shape == (2, 3, 5, 4, 4)
    assert_close(result[1, 2], conv3x3(x[1, 2], kernel, bias))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("size", [3, 6])
def test_dtype_is_the_inputs(rng, dtype, size):
    x, kernel, bias = random_inputs(rng, (size, size, 20), 18)
    result = conv3x3(x.astype(dtype), kernel, bias)
    assert result.dtype == dtype
    assert_close(result.astype(jnp.float32), direct(x, kernel, bias), tolerance=0.03)


@pytest.mark.parametrize("way", ["direct", "blocks"])
@CHANNELS
def test_float32_is_not_left_to_a_faster_format(way, inputs, outputs):
    arguments = jnp.ones((4, 4, inputs)), jnp.ones((3, 3, inputs, outputs)), jnp.zeros(outputs)
    with algorithm(way):
        for upsample in (False, True):
            lowered = jax.jit(functools.partial(conv3x3, upsample=upsample)).lower(*arguments).as_text()
            assert "HIGHEST" in lowered
            assert "DEFAULT" not in lowered


# The blocks of the CPU.


@pytest.mark.slow
@settings(max_examples=20)
@given(data=st.data())
def test_blocks_are_the_whole(data):
    shape = [data.draw(st.integers(*limits)) for limits in ((1, 5), (4, 40), (4, 40), (1, 40))]
    outputs, seed = data.draw(st.integers(1, 40)), data.draw(st.integers(0, 1000))
    flags = {"upsample": data.draw(st.booleans()), "relu": data.draw(st.booleans())}
    x, kernel, bias = random_inputs(np.random.default_rng(seed), shape, outputs)
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch, data.draw(st.sampled_from([1, 50, 200, 10_000])), 1, data.draw(st.integers(1, 1600)))
        blocks = jax.jit(functools.partial(conv3x3, **flags))(x, kernel, bias)
    with algorithm("direct"):
        assert_close(blocks, conv3x3(x, kernel, bias, **flags))


@pytest.mark.parametrize(
    ("shape", "outputs"),
    [
        ((1, 512, 512, 3), 16),
        ((1, 512, 512, 16), 3),
        ((1, 257, 131, 64), 64),
        ((4, 65, 63, 128), 128),
        ((2, 16, 16, 512), 512),
        ((1, 300, 4, 32), 64),
        ((40, 4, 4, 64), 32),
    ],
)
@pytest.mark.parametrize("upsample", [False, True])
def test_the_sizes_of_the_networks(rng, shape, outputs, upsample):
    x, kernel, bias = random_inputs(rng, shape, outputs)
    with algorithm("direct"):
        expected = conv3x3(x, kernel, bias, upsample=upsample)
    assert_close(conv3x3(x, kernel, bias, upsample=upsample), expected)


@CHANNELS
@pytest.mark.parametrize("shape", [(1, 4, 4), (5, 4, 5), (2, 23, 10), (1, 50, 7)])
@pytest.mark.parametrize("upsample", [False, True])
def test_gradients_are_those_of_the_whole(rng, small_blocks, shape, inputs, outputs, upsample):
    arguments = random_inputs(rng, (*shape, inputs), outputs)
    weight = rng.normal(size=(1, 1, 1, outputs)).astype(np.float32)

    def loss(x, kernel, bias):
        y = conv3x3(x, kernel, bias, upsample=upsample, relu=True)
        return (weight * y**2).mean()

    gradients = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))
    blocks = gradients(*arguments)
    with algorithm("direct"):
        whole = gradients(*arguments)
    for own, expected in zip(blocks, whole, strict=True):
        assert float(jnp.abs(expected).max()) > 1e-3
        assert_close(own, expected)


def test_the_reflection_is_at_the_border_of_what_counts(rng, small_blocks):
    canvas, kernel, bias = random_inputs(rng, (2, 24, 20, 20), 18)
    for way in ("direct", "blocks"):
        for height, width in ((24, 20), (23, 19), (16, 4), (5, 17), (2, 2)):
            for upsample in (False, True):
                with algorithm(way):
                    size = jnp.asarray([height, width])
                    result = conv3x3(canvas, kernel, bias, size=size, upsample=upsample)
                with algorithm("direct"):
                    expected = conv3x3(canvas[:, :height, :width], kernel, bias, upsample=upsample)
                times = 2 if upsample else 1
                assert_close(result[:, : times * height, : times * width], expected)


def test_the_algorithm_can_be_chosen(rng):
    x, kernel, bias = random_inputs(rng, (8, 8, 20), 18)
    with algorithm("direct"):
        assert "convolution" in jax.jit(conv3x3).lower(x, kernel, bias).as_text()
    with algorithm("blocks"):
        assert "convolution" not in jax.jit(conv3x3).lower(x, kernel, bias).as_text()
    with algorithm("fast"), pytest.raises(ValueError, match='must be "direct", "blocks" or None, got \'fast\''):
        conv3x3(x, kernel, bias)


def test_forward_mode_is_there_directly(rng):
    x, kernel, bias = random_inputs(rng, (8, 8, 5), 8)
    with algorithm("direct"):
        _, change = jax.jvp(lambda x: conv3x3(x, kernel, bias), (x,), (x,))
    assert_close(change, conv3x3(x, kernel, jnp.zeros_like(bias)))


@CHANNELS
def test_vmap_is_a_loop(rng, small_blocks, inputs, outputs):
    xs, kernel, bias = random_inputs(rng, (3, 2, 7, 5, inputs), outputs)
    kernels = jnp.stack([kernel, -kernel, 2 * kernel])
    over_images = jax.jit(jax.vmap(conv3x3, in_axes=(0, None, None)))(xs, kernel, bias)
    over_both = jax.jit(jax.vmap(conv3x3, in_axes=(0, 0, None)))(xs, kernels, bias)
    for i in range(3):
        assert_close(over_images[i], conv3x3(xs[i], kernel, bias))
        assert_close(over_both[i], conv3x3(xs[i], kernels[i], bias))


@CHANNELS
def test_a_batch_on_several_devices(rng, small_blocks, inputs, outputs):
    x, kernel, bias = random_inputs(rng, (4, 7, 5, inputs), outputs)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))

    @functools.partial(jax.value_and_grad, argnums=(0, 1), has_aux=True)
    def loss(x, kernel):
        result = conv3x3(x, kernel, bias)
        return jnp.square(result).mean(), result

    shared = jax.jit(loss)(jax.device_put(x, NamedSharding(mesh, PartitionSpec("data"))), kernel)
    for own, expected in zip(jax.tree.leaves(shared), jax.tree.leaves(jax.jit(loss)(x, kernel)), strict=True):
        np.testing.assert_allclose(own, expected, rtol=1e-4, atol=1e-4)


@CHANNELS
def test_an_axis_sharded_explicitly(rng, small_blocks, inputs, outputs):
    x, kernel, bias = random_inputs(rng, (4, 7, 5, inputs), outputs)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        sharded = jax.device_put(x, NamedSharding(mesh, PartitionSpec("data")))
        result = jax.jit(conv3x3)(sharded, kernel, bias)
    assert jax.typeof(result).sharding.spec[0] == "data"
    assert_close(np.asarray(result), conv3x3(x, kernel, bias))

"""The convolution against NumPy, from one pixel to odd sizes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from wct_jax import conv
from wct_jax.conv import conv3x3

pytestmark = pytest.mark.usefixtures("quick")


def direct(x, kernel, bias):
    """Reflect-padded convolution written out in float64, a side of one pixel repeated."""
    height, width = x.shape[:2]
    rows, columns = (np.pad(np.arange(n), 1, mode="reflect" if n > 1 else "edge") for n in (height, width))
    padded = np.asarray(x, np.float64)[rows][:, columns]
    patches = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (0, 1))
    return np.einsum("hwiyx,yxio->hwo", patches, np.asarray(kernel, np.float64)) + np.asarray(bias)


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


@pytest.mark.parametrize("outputs", [3, 8])
def test_float32_is_not_left_to_a_faster_format(outputs):
    lowered = jax.jit(conv3x3).lower(jnp.ones((4, 4, 2)), jnp.ones((3, 3, 2, outputs)), jnp.zeros(outputs)).as_text()
    assert "HIGHEST" in lowered
    assert "DEFAULT" not in lowered


# The ways to compute it on the CPU.


def count(x, kernel, bias):
    """How many of XLA's convolutions it is made of."""
    return str(jax.make_jaxpr(conv3x3)(x, kernel, bias)).count("conv_general_dilated[")


@pytest.fixture
def by_block(monkeypatch):
    """Set how many pixels of eight channels a block has."""

    def by_block(pixels):
        monkeypatch.setattr(conv, "_BLOCK", 8 * pixels)
        monkeypatch.setattr(conv, "_MOST_BLOCKS", 1000)

    return by_block


@pytest.fixture
def whole(monkeypatch):
    """The convolution by one call of XLA's."""

    def whole(*arguments):
        with monkeypatch.context() as patch:
            patch.setattr(conv, "_strategy", lambda inputs, outputs: conv._whole)
            return conv3x3(*arguments)

    return whole


def random_inputs(rng, shape, outputs):
    x = rng.normal(size=shape).astype(np.float32)
    kernel = rng.normal(size=(3, 3, shape[-1], outputs)).astype(np.float32)
    return jnp.asarray(x), jnp.asarray(kernel), jnp.asarray(rng.normal(size=outputs), jnp.float32)


# Images and their size, pixels in a block, the blocks it takes.
BLOCKS = [
    ((5, 3, 4), 24, 3),  # two images at a time, then one
    ((4, 3, 5), 15, 4),  # one at a time
    ((1, 7, 9), 20, 4),  # two rows at a time, then one
    ((3, 6, 5), 16, 6),  # three rows of one image at a time
    ((2, 5, 11), 3, 6),  # a row has more pixels than a block, which takes two of them
    ((2, 1, 13), 4, 2),  # and there is but one
    ((2, 9, 1), 4, 6),  # a column of one pixel
    ((2, 3, 4), 24, 1),  # all in one
]


@pytest.mark.parametrize(("shape", "pixels", "blocks"), BLOCKS)
def test_blocks_are_the_whole(rng, by_block, shape, pixels, blocks):
    x, kernel, bias = random_inputs(rng, (*shape, 5), 8)
    by_block(pixels)
    assert count(x, kernel, bias) == blocks
    result = jax.jit(lambda *inputs: conv3x3(*inputs))(x, kernel, bias)  # New, for JAX keeps what it traced before.
    for image, expected in zip(result, x, strict=True):
        np.testing.assert_allclose(image, direct(expected, kernel, bias), rtol=1e-4, atol=1e-4)


def test_there_are_never_many_blocks(rng, monkeypatch):
    """They would be slow to compile."""
    x, kernel, bias = random_inputs(rng, (1, 40, 8, 5), 8)
    monkeypatch.setattr(conv, "_BLOCK", 64)
    monkeypatch.setattr(conv, "_MOST_BLOCKS", 10)
    assert count(x, kernel, bias) == 10
    np.testing.assert_allclose(conv3x3(x, kernel, bias)[0], direct(x[0], kernel, bias), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("inputs", "outputs"), [(6, 3), (3, 6), (3, 3)])
def test_few_channels_take_products(rng, inputs, outputs):
    x, kernel, bias = random_inputs(rng, (2, 7, 5, inputs), outputs)
    assert count(x, kernel, bias) == 0
    for image, expected in zip(conv3x3(x, kernel, bias), x, strict=True):
        np.testing.assert_allclose(image, direct(expected, kernel, bias), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("inputs", "outputs"), [(5, 8), (5, 3), (3, 8)])
@pytest.mark.parametrize(
    ("shape", "pixels"), [((5, 3, 4), 24), ((2, 7, 5), 12), ((2, 5, 3), 1), ((3, 1, 1), 1), ((1, 2, 4), 1)]
)
def test_gradients_are_those_of_the_whole(rng, by_block, whole, shape, pixels, inputs, outputs):
    arguments = random_inputs(rng, (*shape, inputs), outputs)
    by_block(pixels)

    def gradients(convolve):
        return jax.jit(jax.grad(lambda arguments: jnp.sin(convolve(*arguments)).sum()))(arguments)

    for own, expected in zip(gradients(conv3x3), gradients(whole), strict=True):
        assert float(jnp.abs(expected).max()) > 0.1
        np.testing.assert_allclose(own, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("inputs", "outputs"), [(5, 8), (5, 3), (3, 8)])
def test_vmap_is_a_loop(rng, by_block, inputs, outputs):
    by_block(12)
    xs, kernel, bias = random_inputs(rng, (3, 2, 7, 5, inputs), outputs)
    kernels = jnp.stack([kernel, -kernel, 2 * kernel])
    over_images = jax.jit(jax.vmap(lambda *inputs: conv3x3(*inputs), in_axes=(0, None, None)))(xs, kernel, bias)
    over_both = jax.jit(jax.vmap(lambda *inputs: conv3x3(*inputs), in_axes=(0, 0, None)))(xs, kernels, bias)
    for i in range(3):
        np.testing.assert_allclose(over_images[i], conv3x3(xs[i], kernel, bias), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(over_both[i], conv3x3(xs[i], kernels[i], bias), rtol=1e-4, atol=1e-4)


WAYS = pytest.mark.parametrize(
    ("pixels", "inputs", "outputs"),
    [(70, 5, 8), (20, 5, 8), (20, 5, 3), (20, 2, 8)],
    ids=["images", "rows", "products", "patches"],
)


@WAYS
def test_a_batch_on_several_devices(rng, by_block, pixels, inputs, outputs):
    by_block(pixels)
    x, kernel, bias = random_inputs(rng, (4, 7, 5, inputs), outputs)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))

    @functools.partial(jax.value_and_grad, argnums=(0, 1), has_aux=True)
    def loss(x, kernel):
        result = conv3x3(x, kernel, bias)
        return jnp.square(result).mean(), result

    shared = jax.jit(loss)(jax.device_put(x, NamedSharding(mesh, PartitionSpec("data"))), kernel)
    for own, expected in zip(jax.tree.leaves(shared), jax.tree.leaves(jax.jit(loss)(x, kernel)), strict=True):
        np.testing.assert_allclose(own, expected, rtol=1e-4, atol=1e-4)


@WAYS
def test_an_axis_sharded_explicitly(rng, by_block, pixels, inputs, outputs):
    by_block(pixels)
    x, kernel, bias = random_inputs(rng, (4, 7, 5, inputs), outputs)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        sharded = jax.device_put(x, NamedSharding(mesh, PartitionSpec("data")))
        result = jax.jit(lambda *inputs: conv3x3(*inputs))(sharded, kernel, bias)
    assert jax.typeof(result).sharding.spec[0] == "data"
    np.testing.assert_allclose(result, conv3x3(x, kernel, bias), rtol=1e-4, atol=1e-4)

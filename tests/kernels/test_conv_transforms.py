"""The convolution under JAX's transformations: gradients, vmap, several devices, export; and in other processes."""

import functools
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from wct_jax.kernels.conv import algorithm, conv3x3
from wct_jax.kernels.native import library

CHANNELS = pytest.mark.parametrize(("inputs", "outputs"), [(16, 3), (3, 16), (7, 33), (20, 18), (32, 64), (64, 32)])


@pytest.fixture
def convolution(rng, random_kernel):
    """A random image `[..., H, W, in]`, kernel and bias."""

    def convolution(shape, outputs):
        return jnp.asarray(rng.normal(size=shape), jnp.float32), *random_kernel(rng, shape[-1], outputs)

    return convolution


def pulled_back(*args, g, **way):
    """The gradients of Σ g conv3x3(...)."""
    return jax.vjp(functools.partial(conv3x3, **way), *args)[1](g)


@pytest.mark.core
@CHANNELS
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 6), (1, 2, 2), (3, 5, 4), (1, 50, 7), (2, 33, 34)])
@pytest.mark.parametrize("upsample", [False, True])
def test_gradients(convolution, rng, assert_close, gradients_by_numpy, shape, inputs, outputs, upsample):
    x, kernel, bias = convolution((*shape, inputs), outputs)
    times = 2 if upsample else 1
    g = jnp.asarray(rng.normal(size=(shape[0], times * shape[1], times * shape[2], outputs)), jnp.float32)
    own = jax.jit(functools.partial(pulled_back, upsample=upsample))(x, kernel, bias, g=g)
    for each, expected in zip(own, gradients_by_numpy(x, kernel, g, upsample), strict=True):
        assert_close(each, expected)


@pytest.mark.parametrize("side", [96, 97])
@pytest.mark.parametrize(("inputs", "outputs"), [(3, 64), (64, 64), (16, 16), (128, 256)])
def test_gradients_of_larger_images(convolution, rng, assert_close, gradients_by_numpy, side, inputs, outputs):
    x, kernel, bias = convolution((2, side, 61, inputs), outputs)
    g = jnp.asarray(rng.normal(size=(2, side, 61, outputs)), jnp.float32)
    own = jax.jit(pulled_back)(x, kernel, bias, g=g)
    for each, expected in zip(own, gradients_by_numpy(x, kernel, g), strict=True):
        assert_close(each, expected)


@pytest.mark.parametrize(("inputs", "outputs"), [(20, 18), (32, 64)])
@pytest.mark.parametrize("size", [(2, 2), (5, 11), (12, 4), (12, 11)])
def test_gradients_on_a_canvas(convolution, rng, assert_close, gradients_by_numpy, inputs, outputs, size):
    rows, columns = size
    x, kernel, bias = convolution((2, 12, 11, inputs), outputs)
    for upsample in (False, True):
        times = 2 if upsample else 1
        g = jnp.asarray(rng.normal(size=(2, times * 12, times * 11, outputs)), jnp.float32)
        way = dict(upsample=upsample, size=jnp.asarray(size, jnp.int32))
        of_x, *others = pulled_back(x, kernel, bias, g=g, **way)
        within = g[:, : times * rows, : times * columns]
        expected = gradients_by_numpy(x[:, :rows, :columns], kernel, within, upsample)
        for own, each in zip((of_x[:, :rows, :columns], *others), expected, strict=True):
            assert_close(own, each)
        assert not of_x[:, rows:].any()
        assert not of_x[:, :, columns:].any()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("way", [{"relu": True, "pool": True}, {"upsample": True}, {"size": (3, 4), "relu": True}])
def test_higher_and_single_gradients_are_those_of_xla(convolution, random_kernel, rng, assert_close, way):
    args = *convolution((2, 5, 6, 6), 7), random_kernel(rng, 7, 5)
    if "size" in way:
        way = way | {"size": jnp.asarray(way["size"], jnp.int32)}

    def loss(x, kernel, bias, then):
        return (jnp.sin(conv3x3(x, kernel, bias, then=then, **way)[:, :2, :3]) ** 2).sum()

    def all_gradients(*args):
        def norm(*args):
            return sum((each**2).sum() for each in jax.tree.leaves(jax.grad(loss, argnums=(0, 1, 2, 3))(*args)))

        singly = [jax.grad(loss, argnums=i)(*args) for i in range(4)]
        return singly, jax.grad(norm, argnums=(0, 1, 2, 3))(*args)

    own = jax.jit(lambda *args: all_gradients(*args))(*args)
    with algorithm("direct"):
        expected = jax.jit(lambda *args: all_gradients(*args))(*args)
    for each, of_xla in zip(jax.tree.leaves(own), jax.tree.leaves(expected), strict=True):
        assert float(jnp.abs(of_xla).max()) > 1e-3
        assert_close(each, of_xla)


@pytest.mark.parametrize(("inputs", "outputs"), [(5, 8), (32, 32)])
def test_vmap(convolution, rng, assert_close, by_numpy, inputs, outputs):
    xs, kernel, bias = convolution((3, 4, 2, 7, 5, inputs), outputs)
    kernels = jnp.stack([kernel, -kernel, 2 * kernel])
    assert_close(jax.vmap(conv3x3, (0, None, None))(xs, kernel, bias), by_numpy(xs, kernel, bias))
    last = jax.vmap(conv3x3, (2, None, None), 1)(jnp.moveaxis(xs, 0, 2), kernel, bias)
    assert_close(last, np.moveaxis(by_numpy(xs, kernel, bias), 0, 1))
    of_kernels = np.stack([by_numpy(xs[0], each, bias) for each in kernels])
    assert_close(jax.vmap(conv3x3, (None, 0, None))(xs[0], kernels, bias), of_kernels)
    both = jax.vmap(jax.vmap(conv3x3, (0, None, None)), (0, 0, None))(xs, kernels, bias)
    for i in range(3):
        assert_close(both[i], by_numpy(xs[i], kernels[i], bias))
    sizes = jnp.asarray([(2, 3), (7, 5), (6, 2)], jnp.int32)
    of_sizes = jax.vmap(lambda size: conv3x3(xs[0], kernel, bias, size=size))(sizes)
    for i, (rows, columns) in enumerate(np.asarray(sizes)):
        assert_close(of_sizes[i, :, :, :rows, :columns], by_numpy(xs[0, :, :, :rows, :columns], kernel, bias))
    assert jax.vmap(lambda x: conv3x3(x, kernel, bias))(xs[:0]).shape == (0, 4, 2, 7, 5, outputs)


def test_vmap_of_gradients(convolution, rng, assert_close, gradients_by_numpy):
    xs, kernel, _ = convolution((3, 2, 7, 5, 20), 18)
    kernels = jnp.stack([kernel, -kernel, 2 * kernel])
    gs = jnp.asarray(rng.normal(size=(3, 2, 7, 5, 18)), jnp.float32)
    own = jax.jit(jax.vmap(lambda x, kernel, g: pulled_back(x, kernel, jnp.zeros(18), g=g)))(xs, kernels, gs)
    for i in range(3):
        for each, expected in zip(own, gradients_by_numpy(xs[i], kernels[i], gs[i]), strict=True):
            assert_close(each[i], expected)


def loss_and_result(x, kernel, bias):
    result = conv3x3(x, kernel, bias, relu=True)
    return jnp.square(result).mean(), result


@pytest.mark.usefixtures("quick")
def test_a_batch_on_several_devices(convolution, assert_close):
    x, kernel, bias = convolution((4, 7, 5, 20), 18)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    both = jax.jit(jax.value_and_grad(loss_and_result, argnums=(0, 1, 2), has_aux=True))
    shared = both(jax.device_put(x, NamedSharding(mesh, PartitionSpec("data"))), kernel, bias)
    assert shared[0][1].sharding.spec[0] == "data"
    for own, expected in zip(jax.tree.leaves(shared), jax.tree.leaves(both(x, kernel, bias)), strict=True):
        assert_close(own, expected)


def test_an_axis_sharded_explicitly(convolution, assert_close, by_numpy):
    x, kernel, bias = convolution((4, 7, 5, 20), 18)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        result = jax.jit(conv3x3)(jax.device_put(x, NamedSharding(mesh, PartitionSpec("data"))), kernel, bias)
        whole = jax.jit(conv3x3)(x, kernel, bias)
    assert jax.typeof(result).sharding.spec[0] == "data"
    for each in (result, whole):
        assert_close(each, by_numpy(x, kernel, bias))


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("check", [False, True])
def test_within_shard_map(convolution, assert_close, by_numpy, gradients_by_numpy, check):
    x, kernel, bias = convolution((4, 7, 5, 20), 18)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    data, whole = PartitionSpec("data"), PartitionSpec()
    shared = jax.jit(jax.shard_map(conv3x3, mesh=mesh, in_specs=(data, whole, whole), out_specs=data, check_vma=check))
    assert_close(shared(x, kernel, bias), by_numpy(x, kernel, bias))
    gradients = jax.jit(jax.grad(lambda *args: shared(*args).sum(), argnums=(0, 1, 2)))(x, kernel, bias)
    for own, expected in zip(gradients, gradients_by_numpy(x, kernel, np.ones((4, 7, 5, 18))), strict=True):
        assert_close(own, expected)


def test_an_exported_program_needs_no_library(convolution, assert_close, by_numpy):
    args = convolution((2, 7, 5, 32), 32)
    assert (library.instructions() is None) == ("@wct_convolve" not in jax.jit(conv3x3).lower(*args).as_text())
    jitted = jax.jit(jax.value_and_grad(lambda *args: conv3x3(*args).sum()))
    program = export.export(jitted, platforms=("cpu", "tpu"))(*args)
    assert "@wct_" not in program.mlir_module()
    both = jax.jit(export.deserialize(program.serialize()).call)(*args)
    assert_close(both[0], by_numpy(*args).sum(), 1e-4)


def test_without_jit(convolution, assert_close, by_numpy, gradients_by_numpy):
    x, kernel, bias = convolution((1, 5, 6, 7), 4)
    with jax.disable_jit():
        assert_close(conv3x3(x, kernel, bias), by_numpy(x, kernel, bias))
        own = pulled_back(x, kernel, bias, g=jnp.ones((1, 5, 6, 4)))
    for each, expected in zip(own, gradients_by_numpy(x, kernel, np.ones((1, 5, 6, 4))), strict=True):
        assert_close(each, expected)


def test_several_threads_call_at_once(convolution, assert_close, by_numpy):
    given = [convolution((40 + 3 * i, 41, inputs), outputs) for i, (inputs, outputs) in enumerate([(16, 16), (32, 32)])]
    expected = [by_numpy(*args) for args in given]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: np.asarray(conv3x3(*given[i % 2])), range(64)))
    for i, each in enumerate(found):
        assert_close(each, expected[i % 2])


def test_a_call_from_a_callback_of_another_program(convolution, assert_close, by_numpy):
    x, kernel, bias = convolution((64, 64, 16), 16)
    host = [np.asarray(each) for each in (kernel, bias)]

    def outside(x):
        return np.asarray(conv3x3(jnp.asarray(x), *host))

    @jax.jit
    def inside(x):
        y = conv3x3(x, kernel, bias)
        return conv3x3(jax.pure_callback(outside, y, y), kernel, bias)

    once = by_numpy(x, kernel, bias)
    assert_close(inside(x), by_numpy(by_numpy(once, kernel, bias), kernel, bias))


NUMBERS = """
import sys
import jax, jax.numpy as jnp, numpy as np
from wct_jax.kernels.conv import conv3x3
from wct_jax.kernels.moments import moments_of
from wct_jax.kernels.native import library
rng = np.random.default_rng(0)
random = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
found = {}
for inputs, outputs in ((3, 16), (16, 3), (7, 33), (32, 64)):
    x, kernel, bias = random(2, 19, 23, inputs), random(3, 3, inputs, outputs), random(outputs)
    for way in ({}, {"upsample": True}, {"pool": True, "relu": True}, {"then": (random(3, 3, outputs, 5), random(5))}):
        found[f"{inputs} {outputs} {way.keys()}"] = conv3x3(x, kernel, bias, **way)
    for i, each in enumerate(jax.grad(lambda *args: conv3x3(*args).sum(), argnums=(0, 1, 2))(x, kernel, bias)):
        found[f"{inputs} {outputs} {i}"] = each
    found[f"{inputs} moments"] = moments_of(x).scatter
np.savez(sys.argv[1], **{name: np.asarray(each) for name, each in found.items()})
print(library.instructions())
"""


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    """What a process computes with a value of WCT_JAX_NATIVE, and the instructions that it used."""

    @functools.cache
    def numbers(native):
        path = tmp_path_factory.mktemp("numbers") / "found.npz"
        environment = os.environ | {"WCT_JAX_NATIVE": native}
        command = [sys.executable, "-c", NUMBERS, str(path)]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        with np.load(path) as found:
            return run.stdout.strip(), dict(found)

    return numbers


@pytest.mark.slow
@pytest.mark.parametrize("native", ["x86-64-v2", "x86-64-v3", "x86-64-v4"])
def test_all_instructions_give_the_numbers_of_xla(numbers, assert_close, native):
    try:
        instructions, found = numbers(native)
    except subprocess.CalledProcessError as error:
        if "instructions that this processor has" not in error.stderr:
            raise
        pytest.skip(f"this processor has no {native}")
    by_xla, expected = numbers("0")
    assert (instructions, by_xla) == (native, "None")
    assert found.keys() == expected.keys()
    for name, each in expected.items():
        assert_close(found[name], each)

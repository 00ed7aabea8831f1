"""Functions compiled whole, within a traced function, and forgotten when there are too many."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wct_jax.kernels import compilation
from wct_jax.kernels.compilation import compiled, compiler_options
from wct_jax.system.recent import Recent


@pytest.fixture
def scaled():
    """A compiled function with a static argument, and the arguments that it was traced with."""
    traced = []

    @compiled(static=("times",))
    def scale(x, times=1, *, shift=None):
        traced.append(x)
        y = times * x
        return {"y": y if shift is None else y + shift}

    return scale, traced


@pytest.mark.core
def test_a_function_is_compiled_once_for_a_shape(scaled):
    scale, traced = scaled
    for value in (1.0, 2.0):
        np.testing.assert_array_equal(scale(jnp.full(3, value), 2)["y"], np.full(3, 2 * value))
    assert len(traced) == 1
    np.testing.assert_array_equal(scale(jnp.ones(3), 3, shift=jnp.ones(3))["y"], np.full(3, 4))
    assert len(traced) == 2


def test_a_part_of_what_is_traced(scaled):
    scale, _ = scaled
    x = jnp.arange(3.0)
    for change in (jax.jit, lambda function: function, jax.checkpoint):
        gradient = change(jax.grad(lambda x: (scale(x, 3)["y"] * x).sum()))(x)
        np.testing.assert_allclose(gradient, 6 * x)
        # Only the outermost function may have compiler options, and a constant is no tracer.
        sum_of = change(lambda y: y + scale(np.ones(3, np.float32), 2)["y"])
        np.testing.assert_array_equal(sum_of(x), x + 2)
        np.testing.assert_array_equal(change(jax.vmap(lambda x: scale(x, 2)["y"]))(x), 2 * x)


def test_options_that_xla_does_not_know_are_left_out(monkeypatch):
    assert compiler_options() == compilation._FAST
    assert compiler_options(quick=True).items() > compilation._FAST.items()
    compiler_options.cache_clear()
    monkeypatch.setattr(compilation, "_FAST", compilation._FAST | {"xla_gone_with_the_next_version": "1"})
    assert compiler_options().keys() == compilation._FAST.keys() - {"xla_gone_with_the_next_version"}
    compiler_options.cache_clear()


@pytest.mark.core
def test_programs_depend_on_where_arrays_lie_and_on_dtypes(scaled):
    scale, _ = scaled
    devices = jax.devices()[:2]
    for device in devices:
        y = scale(jax.device_put(np.ones(3, np.float32), device), 2)["y"]
        assert y.devices() == {device}
    with jax.default_device(devices[-1]):
        assert scale(np.ones(3, np.float32), 2)["y"].devices() == {devices[-1]}
    assert scale(np.ones(3, np.float32), 2)["y"].devices() == {devices[0]}
    assert scale(np.ones(3, jnp.bfloat16), 2)["y"].dtype == jnp.bfloat16
    assert scale(np.ones(3), 2)["y"].dtype == jnp.float32
    with jax.enable_x64(True):
        assert scale(np.ones(3), 2)["y"].dtype == jnp.float64


def test_programs_depend_on_contexts_of_the_caller():
    way = jax.make_user_context("a")

    @compiled()
    def add(x):
        return x + {"a": 1, "b": 2}[way.value]

    x = np.zeros(2, np.float32)
    assert add(x)[0] == 1
    with way("b"):
        assert add(x)[0] == 2
    assert add(x)[0] == 1


@pytest.fixture
def few(monkeypatch):
    """Three programs are kept."""
    monkeypatch.setattr(compilation, "_programs", Recent(3))


@pytest.mark.core
@pytest.mark.usefixtures("few")
def test_the_least_recently_used_programs_are_forgotten(scaled):
    scale, traced = scaled
    for n, times in [(1, 1), (2, 2), (3, 3), (1, 3), (4, 4), (1, 4), (3, 4), (2, 5), (4, 6), (3, 6), (1, 7)]:
        np.testing.assert_array_equal(scale(np.ones(n, np.float32), 2)["y"], np.full(n, 2))
        assert len(traced) == times


@pytest.mark.usefixtures("few")
def test_what_the_caller_compiled_is_not_forgotten(scaled):
    scale, _ = scaled
    own = jax.jit(lambda x: x + 1)
    own(np.zeros(2))
    for n in range(1, 9):
        scale(np.ones(n, np.float32))
    assert own._cache_size() == 1


@pytest.mark.usefixtures("few")
def test_a_static_argument_may_have_its_name_or_not(scaled):
    scale, traced = scaled
    for times in (2, 3):
        np.testing.assert_array_equal(scale(np.ones(3, np.float32), times)["y"], np.full(3, times))
        np.testing.assert_array_equal(scale(np.ones(3, np.float32), times=times)["y"], np.full(3, times))
    assert len(traced) == 4


def test_numbers_share_a_program(scaled):
    scale, traced = scaled
    for shift in (0.5, 1.5):
        np.testing.assert_array_equal(scale(np.ones(3, np.float32), shift=shift)["y"], np.full(3, 1 + shift))
    assert len(traced) == 1


@pytest.mark.usefixtures("few")
def test_programs_may_be_forgotten_while_they_run(scaled):
    scale, _ = scaled

    def work(seed):
        for i in range(40):
            n = 1 + i * seed % 7
            np.testing.assert_array_equal(scale(np.full(n, seed, np.float32), 2)["y"], np.full(n, 2 * seed))

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(work, (1, 2, 3))) == [None] * 3


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts the mappings that Linux shows")
def test_a_process_stays_as_it_is_whatever_the_sizes():
    code = """
import numpy as np, sys
sys.path.insert(0, "tests")
from conftest import random_model
from wct_jax import extract_style, mix_styles, preserve_color, stylize
from wct_jax.kernels import compilation
from wct_jax.system.recent import Recent
compilation._programs = Recent(20)
model, rng = random_model((4,), ("relu1_1",)), np.random.default_rng(0)
def picture(): return rng.random((*rng.integers(5, 20, 2), 3), np.float32)
for number in range(12):
    photo = picture()
    style = extract_style(model, picture(), swap_layers=["relu1_1"])
    mask, count = rng.random(photo.shape[:2]), 1 + number % 3
    options = {"mask": [mask] * count, "alpha_map": mask[:1], "swap_layers": ["relu1_1"] * (number % 2)}
    image = stylize(model, photo, [style] * count, **options)
    preserve_color(np.asarray(image), photo, "coral")
    mix_styles([style] * (2 + number))
    print(sum(1 for _ in open("/proc/self/maps")))
"""
    root = Path(__file__).parents[2]
    process = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    mappings = list(map(int, process.stdout.split()))
    assert len(mappings) == 12
    assert max(mappings[6:]) < max(mappings[:6]) + 100


def test_nothing_is_compiled_where_jit_is_disabled(model, rng):
    image = jnp.asarray(rng.random((16, 16, 3)), jnp.float32)
    expected = model.encode(image, "relu1_1")["relu1_1"]
    with jax.disable_jit():
        np.testing.assert_allclose(model.encode(image, "relu1_1")["relu1_1"], expected, atol=1e-5)

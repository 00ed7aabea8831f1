"""Parts: compiled by themselves, within what is traced, and ahead."""

import gc
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wct_jax import compilation
from wct_jax.compilation import ahead, by_parts, compiler_options, part, programs_dropped
from wct_jax.recent import Recent


@pytest.fixture
def scaled():
    """A part with a static argument, and the names of the threads and kinds of arguments that it was traced with."""
    traced = []

    @part(static=("times",))
    def scale(x, times=1, *, shift=None):
        traced.append(x)
        y = times * x
        return {"y": y if shift is None else y + shift}

    return scale, traced


def test_a_part_is_compiled_once_for_a_shape(scaled):
    scale, traced = scaled
    for value in (1.0, 2.0):
        np.testing.assert_array_equal(scale(jnp.full(3, value), 2)["y"], np.full(3, 2 * value))
    assert len(traced) == 1
    np.testing.assert_array_equal(scale(jnp.ones(3), 3, shift=jnp.ones(3))["y"], np.full(3, 4))
    assert len(traced) == 2


def test_a_part_of_what_is_traced(scaled):
    scale, _ = scaled
    x = jnp.arange(3.0)
    gradient = jax.jit(jax.grad(lambda x: (scale(x, 3)["y"] * x).sum()))(x)
    np.testing.assert_allclose(gradient, 6 * x)
    # A constant, which is no tracer, with options that only the outermost may have.
    np.testing.assert_array_equal(jax.jit(lambda y: y + scale(np.ones(3, np.float32), 2)["y"])(x), x + 2)
    np.testing.assert_array_equal(jax.vmap(lambda x: scale(x, 2)["y"])(x), 2 * x)


def test_shapes_are_compiled_ahead_and_give_shapes(scaled):
    scale, traced = scaled
    threads = []

    @part()
    def first(x):
        threads.append(threading.current_thread())
        return x + 1

    with ahead():
        assert not gc.isenabled()
        once = first(jax.ShapeDtypeStruct((5,), jnp.float32))
        result = scale(once, 4)["y"]
        scale(once, 4)
    assert gc.isenabled()
    assert isinstance(result, jax.ShapeDtypeStruct)
    assert (result.shape, result.dtype) == ((5,), jnp.float32)
    assert len(traced) == 1
    np.testing.assert_array_equal(scale(first(jnp.zeros(5)), 4)["y"], np.full(5, 4))
    assert len(traced) == 1


def test_what_fails_to_compile_ahead_is_told():
    @part()
    def wrong(x):
        return x @ jnp.ones((2, 2))

    with pytest.raises(TypeError, match="dot_general"), ahead():
        wrong(jax.ShapeDtypeStruct((3, 3), jnp.float32))
    assert gc.isenabled()


def test_by_parts_is_the_function(scaled):
    scale, _ = scaled

    @by_parts(static=("times",))
    def twice(x, times):
        return scale(scale(x, times)["y"], times)["y"]

    np.testing.assert_array_equal(twice(jnp.ones(2), times=3), np.full(2, 9))
    np.testing.assert_array_equal(jax.jit(twice, static_argnames="times")(jnp.ones(2), times=3), np.full(2, 9))


def test_options_that_xla_does_not_know_are_left_out(monkeypatch):
    from wct_jax import compilation

    assert compiler_options() == compilation._FAST
    assert compiler_options(quick=True).items() > compilation._FAST.items()
    compiler_options.cache_clear()
    monkeypatch.setattr(compilation, "_FAST", {"xla_gone_with_the_next_version": "1"})
    assert compiler_options() == {}
    compiler_options.cache_clear()


@pytest.fixture
def few(monkeypatch):
    """Three programs are kept."""
    monkeypatch.setattr(compilation, "_programs", Recent(3))
    return compilation._programs


def test_the_programs_used_last_are_kept(scaled, few):
    scale, traced = scaled
    for n in (1, 2, 3, 1, 4, 1, 3, 4):  # Of which 2 is dropped.
        np.testing.assert_array_equal(scale(np.ones(n, np.float32), 2)["y"], np.full(n, 2))
    assert (len(few), programs_dropped(), len(traced)) == (3, 1, 4)
    np.testing.assert_array_equal(scale(np.ones(2, np.float32), 2)["y"], np.full(2, 2))
    assert (len(few), programs_dropped(), len(traced)) == (3, 2, 5)


def test_nothing_holds_a_program_that_was_dropped(scaled, few):
    scale, _ = scaled
    gc.disable()
    try:
        scale(np.ones(1, np.float32), 2)
        with ahead():
            scale(jax.ShapeDtypeStruct((2,), jnp.float32), 2)
        programs = list(map(weakref.ref, few._values.values()))
        executables = [weakref.ref(program()._executable) for program in programs]
        assert len(programs) == 2
        for n in (5, 6, 7):
            scale(np.ones(n, np.float32), 2)
        assert not [each() for each in (*programs, *executables) if each() is not None]
    finally:
        gc.enable()


def test_more_is_compiled_ahead_than_is_kept(scaled, few):
    scale, _ = scaled
    with ahead():
        for n in range(1, 9):
            assert scale(jax.ShapeDtypeStruct((n,), jnp.float32), 2)["y"].shape == (n,)
    assert len(few) == 3
    for n in range(1, 9):
        np.testing.assert_array_equal(scale(np.ones(n, np.float32), 2)["y"], np.full(n, 2))


def test_a_program_may_be_dropped_while_it_runs(scaled, few):
    scale, _ = scaled
    wrong = []

    def work(seed):
        for i in range(40):
            n = 1 + i * seed % 7
            if not np.array_equal(scale(np.full(n, seed, np.float32), 2)["y"], np.full(n, 2 * seed)):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(few) == 3


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


def test_programs_depend_on_their_context():
    way = jax.make_user_context("a")

    @part(context=lambda: way.value)
    def add(x):
        return x + {"a": 1, "b": 2}[way.value]

    x = np.zeros(2, np.float32)
    assert add(x)[0] == 1
    with way("b"):
        assert add(x)[0] == 2
    assert add(x)[0] == 1


def test_what_jax_keeps_of_programs_is_cleared(scaled, few, monkeypatch):
    monkeypatch.setattr(compilation, "_DROPPED_BEFORE_CLEARING", 2)
    traced = []

    @jax.jit
    def other(x):
        traced.append(x)
        return x

    scale, own = scaled
    for n, times in [(1, 1), (2, 1), (3, 1), (4, 1), (5, 2), (6, 2), (7, 3)]:
        other(np.ones(3))
        scale(np.ones(n, np.float32), 2)
        other(np.ones(3))
        assert len(traced) == times
    # Those that are kept still run.
    np.testing.assert_array_equal(scale(np.ones(7, np.float32), 2)["y"], np.full(7, 2))
    assert len(own) == 7


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts the mappings that Linux shows")
def test_a_process_stays_as_it_is_whatever_the_sizes():
    code = """
import numpy as np, sys
sys.path.insert(0, "tests")
from conftest import random_model
from wct_jax import compilation, extract_style, mix_styles, preserve_color, stylize
from wct_jax.recent import Recent
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
    root = Path(__file__).parents[1]
    process = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    mappings = list(map(int, process.stdout.split()))
    assert len(mappings) == 12
    assert max(mappings[6:]) < max(mappings[:6]) + 100


def test_nothing_is_compiled_where_jit_is_disabled(model, rng):
    image = jnp.asarray(rng.random((16, 16, 3)), jnp.float32)
    expected = model.encode(image, "relu1_1")["relu1_1"]
    with jax.disable_jit():
        np.testing.assert_allclose(model.encode(image, "relu1_1")["relu1_1"], expected, atol=1e-5)

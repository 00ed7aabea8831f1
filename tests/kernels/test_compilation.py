"""Parts: compiled by themselves, within a traced function, and ahead."""

import contextvars
import gc
import subprocess
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wct_jax.kernels import compilation, programs
from wct_jax.kernels import compiler as compilers
from wct_jax.kernels.compilation import by_parts, part
from wct_jax.kernels.compiler import Compiler, compiler, here
from wct_jax.kernels.programs import compiler_options


@pytest.fixture
def scaled():
    """A part with a static argument, and the arguments that it was traced with."""
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
    # A constant is no tracer; and only the outermost function may have compiler options.
    np.testing.assert_array_equal(jax.jit(lambda y: y + scale(np.ones(3, np.float32), 2)["y"])(x), x + 2)
    np.testing.assert_array_equal(jax.vmap(lambda x: scale(x, 2)["y"])(x), 2 * x)


def shape(*sides):
    return jax.ShapeDtypeStruct(sides, jnp.float32)


def test_a_part_is_compiled_for_shapes(scaled):
    scale, traced = scaled
    result = scale.compile(shape(6), 2, shift=np.ones(6, np.float32))["y"]
    assert isinstance(result, jax.ShapeDtypeStruct)
    assert (result.shape, result.dtype) == ((6,), jnp.float32)
    np.testing.assert_array_equal(scale(np.ones(6, np.float32), 2, shift=jnp.ones(6))["y"], np.full(6, 3))
    assert len(traced) == 1


@pytest.mark.core
def test_what_a_function_calls_is_compiled_ahead(scaled):
    scale, traced = scaled

    @part()
    def twice(x):
        return scale(scale(x, 2)["y"], 2)["y"]  # These are parts of this one, which needs their values.

    def function(x, y):
        assert not gc.isenabled()
        assert here().submit
        for _ in range(2):
            result = scale(twice(x) + y, 4)["y"]
        assert (result.shape, result.dtype) == ((5,), jnp.float32)

    compiler().ahead(function, shape(5), jnp.ones(5))
    assert gc.isenabled()
    assert not here().submit
    times = len(traced)
    assert scale.compile(shape(5), 4)["y"].shape == (5,)
    np.testing.assert_array_equal(scale(twice(jnp.ones(5)) + jnp.ones(5), 4)["y"], np.full(5, 20))
    assert len(traced) == times


@pytest.mark.parametrize("collects", [True, False])
@pytest.mark.parametrize("where", ["traced", "compiled"])
def test_what_fails_to_compile_ahead_is_told(scaled, monkeypatch, where, collects):
    @part()
    def wrong(x):
        return x @ jnp.ones((2, 2))

    def fail(program):
        raise TypeError("dot_general")

    if where == "compiled":
        monkeypatch.setattr(programs.Program, "make_ready", fail)
    (gc.enable if collects else gc.disable)()
    try:
        with pytest.raises(TypeError, match="dot_general"):
            compiler().ahead(wrong, shape(3, 3 if where == "traced" else 2))
        assert gc.isenabled() is collects
    finally:
        gc.enable()
    assert not here().submit
    monkeypatch.undo()
    np.testing.assert_array_equal(scaled[0](np.ones(3, np.float32), 7)["y"], np.full(3, 7))


def test_two_threads_compile_ahead_at_once(scaled):
    scale, traced = scaled
    started = threading.Barrier(2)

    def function(x):
        for times in range(3, 9):
            x = scale(x, times)["y"]
            assert not gc.isenabled()

    def work(_):
        started.wait(60)
        compiler().ahead(function, shape(9))

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(work, range(2))) == [None, None]
    assert gc.isenabled()
    # All threads find what one has compiled.
    np.testing.assert_array_equal(scale(scale(jnp.ones(9), 3)["y"], 8)["y"], np.full(9, 24))
    assert len(traced) == 6


def test_another_compiler_is_used_for_a_while(scaled):
    scale, traced = scaled
    process, other = compiler(), Compiler()
    for each in (process, other, process, other):
        with each.used():
            assert compiler() is each
            scale(np.ones(3, np.float32), 2)
    assert len(traced) == 2
    with other.used(), ThreadPoolExecutor(1) as pool:
        assert pool.submit(compiler).result() is process
    assert compiler() is process


def test_by_parts_is_the_function(scaled):
    scale, _ = scaled

    @by_parts(static=("times",))
    def twice(x, times):
        return scale(scale(x, times)["y"], times)["y"]

    np.testing.assert_array_equal(twice(jnp.ones(2), times=3), np.full(2, 9))
    np.testing.assert_array_equal(jax.jit(twice, static_argnames="times")(jnp.ones(2), times=3), np.full(2, 9))


def test_elsewhere_it_is_compiled_whole_and_the_last_are_kept(monkeypatch):
    monkeypatch.setattr(compilation, "platform_of", lambda arrays: "gpu")
    traced = []

    @by_parts(static=("times",))
    def scale(x, times):
        traced.append(x)
        return times * x

    with (few := Compiler(8)).used():
        for n in (1, 2, 2, 1, 3, 2):  # It keeps two.
            np.testing.assert_array_equal(scale(np.ones(n, np.float32), times=2), np.full(n, 2))
    assert (len(few._programs), few.dropped, len(traced)) == (2, 2, 4)


def test_options_that_xla_does_not_know_are_left_out(monkeypatch):
    assert compiler_options() == programs._FAST
    assert compiler_options(quick=True).items() > programs._FAST.items()
    compiler_options.cache_clear()
    monkeypatch.setattr(programs, "_FAST", programs._FAST | {"xla_gone_with_the_next_version": "1"})
    assert compiler_options().keys() == programs._FAST.keys() - {"xla_gone_with_the_next_version"}
    compiler_options.cache_clear()


@pytest.fixture
def few():
    """A compiler that keeps three programs."""
    with (few := Compiler(3)).used():
        yield few


def test_the_programs_used_last_are_kept(scaled, few):
    scale, traced = scaled
    for n in (1, 2, 3, 1, 4, 1, 3, 4):  # It drops 2.
        np.testing.assert_array_equal(scale(np.ones(n, np.float32), 2)["y"], np.full(n, 2))
    assert (len(few._programs), few.dropped, len(traced)) == (3, 1, 4)
    np.testing.assert_array_equal(scale(np.ones(2, np.float32), 2)["y"], np.full(2, 2))
    assert (len(few._programs), few.dropped, len(traced)) == (3, 2, 5)


def test_nothing_holds_a_program_that_was_dropped(scaled, few):
    scale, _ = scaled
    gc.disable()
    try:
        scale(np.ones(1, np.float32), 2)
        few.ahead(lambda x: scale(x, 2), shape(2))
        programs = list(map(weakref.ref, few._programs._values.values()))
        executables = [weakref.ref(program()._executable) for program in programs]
        assert len(programs) == 2
        for n in (5, 6, 7):
            scale(np.ones(n, np.float32), 2)
        assert not [each() for each in (*programs, *executables) if each() is not None]
    finally:
        gc.enable()


def test_more_is_compiled_ahead_than_is_kept(scaled, few):
    scale, _ = scaled
    few.ahead(lambda *xs: [scale(x, 2) for x in xs], *map(shape, range(1, 9)))
    assert len(few._programs) == 3
    for n in range(1, 9):
        np.testing.assert_array_equal(scale(np.ones(n, np.float32), 2)["y"], np.full(n, 2))


def test_a_program_may_be_dropped_while_it_runs(scaled, few):
    scale, _ = scaled

    def work(seed):
        for i in range(40):
            n = 1 + i * seed % 7
            np.testing.assert_array_equal(scale(np.full(n, seed, np.float32), 2)["y"], np.full(n, 2 * seed))

    with ThreadPoolExecutor(3) as pool:  # New threads begin with the process's compiler.
        done = [pool.submit(contextvars.copy_context().run, work, seed) for seed in (1, 2, 3)]
    assert [each.result() for each in done] == [None] * 3
    assert len(few._programs) == 3


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


@pytest.mark.core
def test_what_jax_keeps_of_programs_is_cleared(scaled, few, monkeypatch):
    monkeypatch.setattr(compilers, "_DROPPED_BEFORE_CLEARING", 2)
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
    # Clearing does not lose what is being traced meanwhile.
    few.ahead(lambda *xs: [scale(x + jnp.ones_like(x), 3) for x in xs], *map(shape, range(1, 9)))
    assert few.dropped == 12
    np.testing.assert_array_equal(scale(np.ones(8, np.float32), 3)["y"], np.full(8, 3))
    assert len(own) == 15


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts the mappings that Linux shows")
def test_a_process_stays_as_it_is_whatever_the_sizes():
    code = """
import numpy as np, sys
sys.path.insert(0, "tests")
from conftest import random_model
from wct_jax import extract_style, mix_styles, preserve_color, stylize
from wct_jax.kernels.compiler import Compiler
used = Compiler(20).used()
used.__enter__()
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

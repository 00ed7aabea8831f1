"""Parts: compiled by themselves, within what is traced, and ahead."""

import gc
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wct_jax.compilation import ahead, by_parts, compiler_options, part


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

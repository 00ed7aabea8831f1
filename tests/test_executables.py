"""Executables on disk: found again, of no use when damaged or made elsewhere, and bounded."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wct_jax import compilation
from wct_jax.compilation import ahead, part
from wct_jax.executables import Executables
from wct_jax.recent import Recent

SHAPE = jax.ShapeDtypeStruct((3, 3), jnp.float32)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of executables that parts use until the test is over."""
    # What JAX's own cache has cannot be written again by every version of it.
    monkeypatch.setattr(compilation, "_programs", Recent(compilation.MOST_PROGRAMS))
    compilation.keep(Executables(tmp_path, 10**9))
    yield tmp_path
    compilation.keep(None)


def kept(folder, name="doubled", most=10**9):
    executables = Executables(folder, most)
    # What JAX's own cache has, of another worker, perhaps, cannot be written again: so it is another one each time.
    unlikely = np.random.default_rng().uniform(1000, 2000)
    compiled = jax.jit(lambda x: {"y": jnp.where(x == unlikely, x, 2 * x)}).lower(SHAPE).compile()
    executables.keep(name, compiled, {"y": SHAPE})
    return executables


def test_what_is_kept_is_found(tmp_path):
    kept(tmp_path)
    result, load = Executables(tmp_path, 10**9).find("doubled")
    assert result == {"y": SHAPE}
    np.testing.assert_array_equal(load()(jnp.ones((3, 3)))["y"], np.full((3, 3), 2))
    assert Executables(tmp_path, 10**9).find("tripled") is None


@pytest.mark.parametrize("variable", ["JAX_ENABLE_X64", "XLA_FLAGS"])
def test_other_settings_have_their_own(tmp_path, monkeypatch, variable):
    kept(tmp_path)
    monkeypatch.setenv(variable, "other")
    assert Executables(tmp_path, 10**9).find("doubled") is None


@pytest.mark.parametrize("length", [0, 100, -100])
def test_a_damaged_file_is_none(tmp_path, length):
    executables = kept(tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:length])
    assert executables.find("doubled") is None


def test_what_cannot_be_loaded_is_none(tmp_path):
    import pickle

    executables = kept(tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(pickle.dumps((b"of another version", 1, SHAPE)))
    _, load = executables.find("doubled")
    assert load() is None


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path):
    executables = kept(tmp_path / "missing")
    assert executables.find("doubled") is None
    executables.prune()


def test_what_was_not_used_for_the_longest_time_goes_first(tmp_path):
    for age, name in enumerate(("old", "older", "oldest")):
        executables = kept(tmp_path, name)
        (new,) = (path for path in tmp_path.iterdir() if path.stat().st_mtime > 1e8)
        os.utime(new, (1e7 - age, 1e7 - age))
    assert executables.find("oldest") is not None  # It is used.
    size = max(path.stat().st_size for path in tmp_path.iterdir())
    Executables(tmp_path, 2 * size).prune()
    assert executables.find("older") is None
    assert executables.find("old") is not None
    assert executables.find("oldest") is not None


def test_a_part_that_was_kept_is_not_traced(folder):
    traced = []

    @part(static=("times",))
    def spread(x, times=1, *, shift=None):
        traced.append(x)
        values, vectors = jnp.linalg.eigh(x)
        return {"values": times * values, "vectors": vectors if shift is None else vectors + shift}

    def run(times, shift):
        with ahead():
            result = spread(SHAPE, times, shift=shift)
        assert {name: x.shape for name, x in result.items()} == {"values": (3,), "vectors": (3, 3)}
        return spread(jnp.diag(jnp.arange(3.0)), times, shift=shift)

    first = run(2, None)
    np.testing.assert_allclose(first["values"], [0, 2, 4])
    np.testing.assert_allclose(run(3, None)["values"], [0, 3, 6])
    np.testing.assert_allclose(run(2, jnp.ones(()))["vectors"], first["vectors"] + 1)
    assert len(traced) == 3
    compilation.keep(Executables(folder, 10**9))  # As another process would.
    jax.tree.map(np.testing.assert_array_equal, run(2, None), first)
    np.testing.assert_allclose(run(3, None)["values"], [0, 3, 6])
    assert len(traced) == 3


def test_a_part_that_cannot_be_loaded_is_compiled(folder):
    @part()
    def doubled(x):
        return 2 * x

    with ahead():
        doubled(SHAPE)
    for path in folder.iterdir():
        path.write_bytes(b"")
    compilation.keep(Executables(folder, 10**9))
    with ahead():
        doubled(SHAPE)
    np.testing.assert_array_equal(doubled(jnp.ones((3, 3))), np.full((3, 3), 2))
    np.testing.assert_array_equal(doubled(jnp.ones(5)), np.full(5, 2))

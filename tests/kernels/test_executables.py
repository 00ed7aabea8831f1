"""Executables on disk: found again, ignored when damaged or made elsewhere, and bounded."""

import dataclasses
import os
import pickle
import platform
import socket
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import wct_jax
from wct_jax.kernels import executables
from wct_jax.kernels.compilation import part
from wct_jax.kernels.compiler import Compiler, compiler
from wct_jax.kernels.executables import Executables
from wct_jax.system.private_folder import PrivateFolder
from wct_jax.transform.statistics import Moments, moments

SHAPE = jax.ShapeDtypeStruct((3, 3), jnp.float32)


@pytest.fixture
def folder(tmp_path):
    """A folder of executables that parts use until the test is over."""
    with (own := Compiler()).used():
        own.keep(Executables(tmp_path, 10**9))
        yield tmp_path


def compiled(function, *shapes):
    # Different each time, because what JAX's own cache has (from another worker, perhaps) cannot be serialized again.
    unlikely = np.random.default_rng().uniform(1000, 2000)

    def unique(*arrays):
        return jax.tree.map(lambda y: jnp.where(y == unlikely, unlikely, y), function(*arrays))

    return jax.jit(unique, keep_unused=True).lower(*shapes).compile()


def kept(folder, name="doubled", most=10**9):
    executables = Executables(folder, most)
    executables.keep(name, compiled(lambda x: {"y": 2 * x}, SHAPE), {"y": SHAPE})
    return executables


@pytest.mark.core
def test_what_is_kept_is_found(tmp_path):
    kept(tmp_path)
    result, load = Executables(tmp_path, 10**9).find("doubled")
    assert result == {"y": SHAPE}
    np.testing.assert_array_equal(load()(jnp.ones((3, 3)))["y"], np.full((3, 3), 2))
    np.testing.assert_array_equal(load()(np.ones((3, 3), np.float32))["y"], np.full((3, 3), 2))
    assert Executables(tmp_path, 10**9).find("tripled") is None


def test_results_of_all_kinds_are_described(tmp_path):
    def everything(x, unused):
        half = x.astype(jnp.bfloat16)
        return {"b": [x, (half, None)], "a": moments(x[None]), "c": (), "d": [jnp.float32(3)]}

    shapes = SHAPE, jax.ShapeDtypeStruct((), jnp.int32)
    executables = Executables(tmp_path, 10**9)
    executables.keep("everything", compiled(everything, *shapes), jax.eval_shape(everything, *shapes))
    result, load = Executables(tmp_path, 10**9).find("everything")
    expected = jax.eval_shape(everything, *shapes)
    assert jax.tree.structure(result) == jax.tree.structure(expected)
    assert jax.tree.leaves(result) == jax.tree.leaves(expected)
    assert isinstance(result["a"], Moments)
    arrays = jnp.arange(9.0).reshape(3, 3), jnp.int32(1)
    found, expected = load()(*arrays), jax.jit(everything)(*arrays)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    assert not any(array.committed for array in jax.tree.leaves(found))


@dataclasses.dataclass(frozen=True)
class Impostor(Moments):
    """Another class with the name of a known one."""


Impostor.__name__ = Moments.__name__
jax.tree_util.register_dataclass(Impostor)


class Pair(NamedTuple):
    """A tuple that would not be restored as such."""

    first: Any
    second: Any


@pytest.mark.parametrize("result", [Pair(SHAPE, SHAPE), Impostor(SHAPE, SHAPE, SHAPE), {1: SHAPE}, SHAPE, [SHAPE] * 2])
def test_what_cannot_be_described_or_does_not_fit_is_not_kept(tmp_path, result):
    executables = Executables(tmp_path, 10**9)
    executables.keep("it", compiled(lambda x: jax.tree.map(lambda _: x, Pair(0, 0))[:1] * 3, SHAPE), result)
    assert executables.find("it") is None
    assert list(tmp_path.iterdir()) == []


def test_a_function_without_some_of_its_arguments_is_not_kept(tmp_path):
    executables = Executables(tmp_path, 10**9)
    executables.keep("it", jax.jit(lambda x, unused: x * 2).lower(SHAPE, SHAPE).compile(), SHAPE)
    assert executables.find("it") is None


@pytest.mark.parametrize("variable", ["JAX_ENABLE_X64", "XLA_FLAGS"])
def test_other_settings_have_their_own(tmp_path, monkeypatch, variable):
    kept(tmp_path)
    monkeypatch.setenv(variable, "other")
    assert Executables(tmp_path, 10**9).find("doubled") is None


def test_the_key_has_the_processor_and_not_the_host(tmp_path, monkeypatch):
    kept(tmp_path)
    monkeypatch.setattr(platform, "node", lambda: "another")
    monkeypatch.setattr(socket, "gethostname", lambda: "another")
    assert Executables(tmp_path, 10**9).find("doubled") is not None
    for name, value in (("cores", 1000), ("processor", "another")):
        with monkeypatch.context() as patch:
            patch.setattr(executables, name, lambda value=value: value)
            assert Executables(tmp_path, 10**9).find("doubled") is None


def test_other_native_code_has_its_own(tmp_path, monkeypatch):
    kept(tmp_path)
    monkeypatch.setattr(executables.library, "identity", lambda: "another")
    assert Executables(tmp_path, 10**9).find("doubled") is None


def test_xla_is_given_nothing_that_is_damaged(tmp_path):
    executables = kept(tmp_path)
    (path,) = tmp_path.iterdir()
    sealed = path.read_bytes()
    for place in np.linspace(0, len(sealed) - 1, 50).astype(int):
        damaged = bytearray(sealed)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        assert executables.find("doubled") is None
    for length in (0, 100, -100, -1):
        path.write_bytes(sealed[:length])
        assert executables.find("doubled") is None


def test_nothing_is_pickled(tmp_path, monkeypatch):
    class Planted:
        def __reduce__(self):
            return exec, ("raise SystemExit('the pickle was loaded')",)

    def refused(*arguments, **options):
        raise AssertionError("something was pickled")

    executables = kept(tmp_path)
    (path,) = tmp_path.iterdir()
    planted = pickle.dumps((Planted(), 1, SHAPE))
    for name in ("dumps", "dump", "loads", "load", "Pickler", "Unpickler"):
        monkeypatch.setattr(pickle, name, refused)
    path.write_bytes(planted)
    assert executables.find("doubled") is None
    kept(tmp_path)
    _, load = executables.find("doubled")
    assert load() is not None


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\n", b"of another version\n", b"null\n", b"[" * 10**5 + b"\n", b'{"result": 1}\n'),
        *(b'{"result": ["exec", "1"]}\n', b'{"result": ["array", "float31", 3]}\n'),
        *(b'{"result": ["array", "float32", 3, 3]}\n' + rest for rest in (b"", b"no executable")),
    ],
)
def test_what_cannot_be_loaded_is_none(tmp_path, content):
    executables = Executables(tmp_path, 10**9)
    PrivateFolder(tmp_path, 10**9).write(executables._key("doubled"), content)
    found = executables.find("doubled")
    assert found is None or found[1]() is None


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
    Executables(tmp_path, int(2.5 * size)).prune()
    assert executables.find("older") is None
    assert executables.find("old") is not None
    assert executables.find("oldest") is not None


@pytest.mark.core
def test_a_part_that_was_kept_is_not_traced(folder):
    traced = []

    @part(static=("times",))
    def spread(x, times=1, *, shift=None):
        traced.append(x)
        values, vectors = jnp.linalg.eigh(x)
        return {"values": times * values, "vectors": vectors if shift is None else vectors + shift}

    def run(times, shift):
        compiler().ahead(lambda x: spread(x, times, shift=shift), SHAPE)
        result = spread.compile(SHAPE, times, shift=shift)
        assert {name: x.shape for name, x in result.items()} == {"values": (3,), "vectors": (3, 3)}
        return spread(jnp.diag(jnp.arange(3.0)), times, shift=shift)

    first = run(2, None)
    np.testing.assert_allclose(first["values"], [0, 2, 4])
    np.testing.assert_allclose(run(3, None)["values"], [0, 3, 6])
    np.testing.assert_allclose(run(2, jnp.ones(()))["vectors"], first["vectors"] + 1)
    assert len(traced) == 3
    compiler().keep(Executables(folder, 10**9))  # As another process would.
    jax.tree.map(np.testing.assert_array_equal, run(2, None), first)
    np.testing.assert_allclose(run(3, None)["values"], [0, 3, 6])
    assert len(traced) == 3


@pytest.mark.core
def test_a_part_that_cannot_be_loaded_is_compiled(folder):
    @part()
    def doubled(x):
        return 2 * x

    compiler().ahead(doubled, SHAPE)
    for path in folder.iterdir():
        path.write_bytes(b"")
    compiler().keep(Executables(folder, 10**9))
    compiler().ahead(doubled, SHAPE)
    np.testing.assert_array_equal(doubled(jnp.ones((3, 3))), np.full((3, 3), 2))
    np.testing.assert_array_equal(doubled(jnp.ones(5)), np.full(5, 2))


def test_every_source_of_the_package_counts(monkeypatch):
    """An executable of other code must not be found."""
    read, whole = set(), Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.add(path) or whole(path))
    executables._circumstances()
    assert read >= set(Path(wct_jax.__file__).parent.rglob("*.py"))

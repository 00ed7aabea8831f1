"""JAX's compilation cache in a private folder: found again, and compiled again when damaged."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src import compilation_cache as jax_cache

from wct_jax.kernels import compilation_cache
from wct_jax.kernels.compilation_cache import CompilationCache


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder that JAX uses until the test is over, whatever else it was told."""
    monkeypatch.setattr(jax_cache, "_cache", None)
    monkeypatch.setattr(jax_cache, "_cache_checked", False)
    monkeypatch.setattr(jax_cache, "_cache_used", False)
    before = jax.config.values["jax_persistent_cache_min_compile_time_secs"]
    compilation_cache.use(CompilationCache(tmp_path, 10**9))
    yield tmp_path
    jax.config.update("jax_persistent_cache_min_compile_time_secs", before)


def hits(run):
    """Run, and count how often JAX finds what it would compile."""
    found = []
    jax.monitoring.register_event_listener(listener := lambda event, **_: found.append(event))
    try:
        np.testing.assert_array_equal(run(jnp.ones(3)), np.full(3, 2.5))
    finally:
        jax.monitoring.unregister_event_listener(listener)
    return found.count("/jax/compilation_cache/cache_hits")


def function():
    jax.clear_caches()
    return jax.jit(lambda x: x * 2 + 0.5)


@pytest.mark.slow
@pytest.mark.core
def test_what_was_compiled_is_found(folder):
    run = function()
    assert hits(run) == 0
    files = {path: path.read_bytes() for path in folder.iterdir()}
    assert files
    assert hits(function()) > 0
    for damage in (b"", b"nonsense", bytes(100)):
        for path in files:
            path.write_bytes(damage)
        assert hits(function()) == 0
        assert all(path.stat().st_size > 100 for path in files)  # They are written again.
    assert hits(function()) > 0


def test_a_folder_that_others_can_write_to_is_left_alone(folder):
    folder.chmod(0o777)
    assert hits(function()) == 0
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["processor", "cores", "library.identity"])
def test_other_machines_and_native_code_have_their_own(tmp_path, monkeypatch, name):
    CompilationCache(tmp_path, 10**6).put("key", b"executable")
    assert CompilationCache(tmp_path, 10**6).get("key") == b"executable"
    monkeypatch.setattr(f"{compilation_cache.__name__}.{name}", lambda: "another")
    assert CompilationCache(tmp_path, 10**6).get("key") is None


def test_it_is_bounded(tmp_path):
    cache = CompilationCache(tmp_path, 5000)
    for n in range(10):
        cache.put(str(n), bytes(1000))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 5000
    assert cache.get("9") is not None

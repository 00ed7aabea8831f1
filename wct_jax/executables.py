"""Executables on disk, so that a process need not trace and lower again what an earlier one has compiled.

JAX's compilation cache is asked after both, which for the many small parts of a painting take a second, and to fill it
takes another.
"""

import contextlib
import functools
import hashlib
import os
import pickle
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jaxlib.version
from jax.experimental.serialize_executable import deserialize_and_load, serialize

from wct_jax.atomic import atomic_write

Loader = Callable[[], Callable[..., Any] | None]


class Executables:
    """A folder of executables that run on the first device, by a name for what they were compiled from.

    It holds code that is run: nobody else should be able to write to it.
    """

    def __init__(self, folder: Path, most: int) -> None:
        """Open a folder, which exists.

        Args:
            folder: Where the files are.
            most: How many bytes they may take, about.
        """
        self._folder, self._most = folder, most
        self._circumstances = _circumstances()

    def find(self, name: str) -> tuple[Any, Loader] | None:
        """Look for an executable.

        Args:
            name: What was kept.

        Returns:
            What its result looks like, as `jax.ShapeDtypeStruct`, and a function that loads it: to be called with
            arrays alone, or None if it turns out to be of no use. None if there is nothing of that name.
        """
        path = self._path(name)
        try:
            payload, arguments, result = pickle.loads(path.read_bytes())
            os.utime(path)
        except Exception:  # A damaged file can raise anything, and is as good as none.
            return None

        def load() -> Callable[..., Any] | None:
            _know_lapack()
            trees = jax.tree.structure(((0,) * arguments, {})), jax.tree.structure(result)
            try:
                return deserialize_and_load(payload, *trees, execution_devices=jax.devices()[:1])
            except Exception:
                return None

        return result, load

    def keep(self, name: str, compiled: jax.stages.Compiled, result: Any) -> None:
        """Write an executable, if it can be written.

        Args:
            name: For `find`.
            compiled: Of a function of arrays, by position.
            result: What it returns, as `jax.ShapeDtypeStruct`.
        """
        # Not every backend can, and a full disk is no reason to fail.
        with contextlib.suppress(ValueError, NotImplementedError, jax.errors.JaxRuntimeError):
            payload, _, _ = serialize(compiled)
            with atomic_write(self._path(name)) as path:
                path.write_bytes(pickle.dumps((payload, len(compiled.args_info[0]), result)))

    def prune(self) -> None:
        """Remove the files that were not used for the longest time, if there are too many."""
        with contextlib.suppress(OSError):  # Another process may prune, too.
            files = sorted(((path, path.stat()) for path in self._folder.iterdir()), key=lambda file: file[1].st_mtime)
            excess = sum(status.st_size for _, status in files) - self._most
            for path, status in files:
                if excess <= 0:
                    break
                path.unlink()
                excess -= status.st_size

    def _path(self, name: str) -> Path:
        return self._folder / hashlib.sha256(f"{self._circumstances} {name}".encode()).hexdigest()


def _circumstances() -> str:
    """All that the code of an executable depends on beside its name."""
    sources = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        sources.update(path.read_bytes())
    settings = sorted((name, value) for name, value in os.environ.items() if name.startswith(("JAX_", "XLA_")))
    # One home can serve machines whose processors differ.
    machine = platform.node(), platform.machine(), jax.default_backend()
    return repr((sources.hexdigest(), jax.__version__, jaxlib.version.__version__, settings, machine))


@functools.cache
def _know_lapack() -> None:
    # What an executable calls of LAPACK is registered when something that needs it is lowered.
    jax.jit(jnp.linalg.eigh).lower(jax.ShapeDtypeStruct((1, 1), jnp.float32))

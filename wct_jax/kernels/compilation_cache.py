"""JAX's compilation cache in a `PrivateFolder`, with a checksum.

JAX does not verify its own files: depending on the compression, a flipped bit can end the process. JAX also blocks on
named pipes, and cannot read from a folder that it cannot write to.
"""

import warnings
from pathlib import Path

import jax
from jax._src import compilation_cache

from wct_jax.kernels.native import library
from wct_jax.system.private_folder import PrivateFolder
from wct_jax.system.processor import cores, processor


class CompilationCache:
    """Executables by JAX's own keys, with the interface that JAX expects of a cache."""

    def __init__(self, folder: Path, most: int) -> None:
        """Use a `PrivateFolder` of about `most` bytes."""
        self._path, self._folder = folder, PrivateFolder(folder, most)
        self._machine = f"{processor()} {cores()} {library.identity()}"

    def get(self, key: str) -> bytes | None:
        """Read an executable as JAX compressed it; None if there is none."""
        return self._folder.read(f"{self._machine} {key}")

    def put(self, key: str, value: bytes) -> None:
        """Write an executable, if possible."""
        self._folder.write(f"{self._machine} {key}", value)
        self._folder.prune()


def use(cache: CompilationCache) -> None:
    """Make JAX use a cache until the process ends."""
    # By default JAX does not keep what takes less than a second to compile.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    # JAX has a public option for the folder, but none for the way of reading and writing files.
    compilation_cache._cache = cache  # type: ignore[assignment]
    # Users need not know of a cache that fails.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")

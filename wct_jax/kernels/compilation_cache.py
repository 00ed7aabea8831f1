"""JAX's compilation cache, with a checksum and in a `PrivateFolder`.

JAX's own files have no checksum that has to match: depending on how they are compressed, a flipped bit can end the
process. JAX also waits for named pipes, and cannot read from a folder that it cannot write to.
"""

import warnings
from pathlib import Path

import jax
from jax._src import compilation_cache

from wct_jax.system.private_folder import PrivateFolder
from wct_jax.system.processor import cores, processor


class CompilationCache:
    """What JAX asks for executables, by keys of its own."""

    def __init__(self, folder: Path, most: int) -> None:
        """Open a folder.

        Args:
            folder: Where the files are. Unless it exists and is this user's own, nothing is kept.
            most: About how many bytes they may take.
        """
        self._path, self._folder = folder, PrivateFolder(folder, most)
        self._machine = f"{processor()} {cores()}"

    def get(self, key: str) -> bytes | None:
        """Read an executable, as JAX compressed it, or None."""
        return self._folder.read(f"{self._machine} {key}")

    def put(self, key: str, value: bytes) -> None:
        """Keep an executable, if it can be written."""
        self._folder.write(f"{self._machine} {key}", value)
        self._folder.prune()


def use(cache: CompilationCache) -> None:
    """Make JAX look for what it compiles in a cache.

    Args:
        cache: The cache, until the process ends.
    """
    # By default what takes less than a second to compile is not kept.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    # JAX has no public way to replace the files, only to say where they are.
    compilation_cache._cache = cache  # type: ignore[assignment]
    # A cache that fails is no reason to tell of what would have been a convenience.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")

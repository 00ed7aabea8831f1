"""Compiled code that one process leaves on disk for the next."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import jax

from wct_jax.kernels import compilation_cache
from wct_jax.system.folders import user_folder
from wct_jax.system.private_folder import is_private

# Measured: 2 to 3 MB for a size of canvas with the packaged model. The least recently used go first.
_MOST_KEPT = 2**28


def keep_compilations() -> None:
    """Make JAX keep what it compiles on disk, unless it was told where to keep it or there is no place for it."""
    if jax.config.values["jax_compilation_cache_dir"]:
        return
    folder = _folder("compiled")
    if folder is not None:
        compilation_cache.use(compilation_cache.CompilationCache(folder, _MOST_KEPT))


def _folder(name: str) -> Path | None:
    """Find or make a folder for one kind of code that only this user can write to."""
    for home in _homes():
        # An existing folder may be readable where nothing can be made.
        with contextlib.suppress(OSError):
            home.mkdir(mode=0o755, parents=True, exist_ok=True)
        with contextlib.suppress(OSError):
            (home / name).mkdir(mode=0o700)
        with contextlib.suppress(OSError):
            if is_private(home / name):
                return home / name
    return None


def _homes() -> Iterator[Path]:
    """Folders that may hold a user's code, the preferred one first; one that several users share holds only models."""
    if named := os.environ.get("WCT_JAX_HOME"):
        with contextlib.suppress(OSError):
            if not os.path.lexists(named) or is_private(named):
                yield Path(named)
    with contextlib.suppress(OSError, ValueError):
        user = user_folder()
        # With sudo it may belong to another user, who could not use files that root makes there.
        there = next(folder for folder in (user, *user.parents) if folder.exists())
        if not hasattr(os, "geteuid") or there.stat().st_uid == os.geteuid():
            yield user

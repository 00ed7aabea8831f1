"""This user's folders."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """The folder for this user's models: `$WCT_JAX_HOME`, by default `user_folder()`.

    Raises:
        ValueError: The user has no home folder, and no variable names another.
    """
    home = os.environ.get("WCT_JAX_HOME")
    return Path(home) if home else user_folder()


def user_folder() -> Path:
    """The folder for files that can be made again: `wct_jax` in `$XDG_CACHE_HOME`, by default in `~/.cache`.

    Raises:
        ValueError: The user has no home folder.
    """
    cache = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(cache):  # The XDG specification says to ignore relative paths.
        cache = os.path.join(os.path.expanduser("~"), ".cache") if os.environ.get("HOME", "~") else ""
    if not os.path.isabs(cache):
        raise ValueError("this user has no home folder: set WCT_JAX_HOME to the folder of the models")
    return Path(cache, "wct_jax")

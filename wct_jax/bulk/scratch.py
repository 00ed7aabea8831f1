"""Folders for the files of one process, which do not outlive it for long."""

import contextlib
import shutil
import tempfile
import time
import weakref
from pathlib import Path
from typing import Any

import filelock

_PREFIX = "wct_jax-bulk-"
# A folder that has just been made may not be locked yet.
_NEW = 60.0


def scratch_folder(owner: Any) -> Path:
    """Make a folder that is removed with its owner, and remove those of processes that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        # Others may remove it, too, or it may be another user's.
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > _NEW:
                with filelock.FileLock(folder / ".lock", blocking=False):
                    shutil.rmtree(folder, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=_PREFIX))
    lock = filelock.FileLock(made / ".lock")
    lock.acquire()

    def remove() -> None:
        shutil.rmtree(made, ignore_errors=True)
        lock.release()

    weakref.finalize(owner, remove)
    return made

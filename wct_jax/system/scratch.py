"""Folders for the files of one process, which do not outlive it for long."""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import filelock

_PREFIX = "wct_jax-scratch-"
# A folder that has just been made may not be locked yet.
_NEW = 60.0


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a folder among the system's temporary ones, and remove it at the end; also those of killed processes.

    Yields:
        Its path.
    """
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        # Others may remove it, too, or it may be another user's.
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > _NEW:
                with filelock.FileLock(folder / ".lock", blocking=False):
                    shutil.rmtree(folder, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=_PREFIX))
    # Another thread may be the one that ends it.
    lock = filelock.FileLock(made / ".lock", thread_local=False)
    lock.acquire()
    try:
        yield made
    finally:
        lock.release()
        shutil.rmtree(made, ignore_errors=True)

"""A folder for files whose contents are executed: only this user can write to it, and damaged files are ignored."""

import contextlib
import hashlib
import os
import re
import stat
import tempfile
from pathlib import Path

_FORMAT = b"wct_jax 1\n"
_DIGEST = hashlib.sha256().digest_size
# Names of files, and of files that are still being written.
_NAME = re.compile(r"[0-9a-f]{64}(\.\w+)?")


class PrivateFolder:
    """Bytes by key, in files with a checksum over key and content.

    Nothing is read or written unless this user owns the folder and the file and nobody else can write to them. No
    method raises an error, because a cache that fails is only slow.
    """

    def __init__(self, path: Path, most: int) -> None:
        """Use a folder, which need not exist, for about `most` bytes."""
        self._path, self._most = path, most

    def read(self, key: str) -> bytes | None:
        """Read the content written last for a key; None if it is missing, damaged or not this user's regular file."""
        path = self._file(key)
        # A link may lead anywhere, and opening a named pipe would wait for its writer.
        flags = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
        try:
            if not is_private(self._path):
                return None
            with open(os.open(path, flags), "rb") as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode) or not _is_private(status) or status.st_size > self._most:
                    return None
                sealed = file.read()
        except OSError:
            return None
        content = sealed[len(_FORMAT) + _DIGEST :]
        if sealed[: len(_FORMAT) + _DIGEST] != _FORMAT + _checksum(key, content):
            return None
        with contextlib.suppress(OSError):  # A folder that is only read keeps its times.
            os.utime(path)
        return content

    def write(self, key: str, content: bytes) -> None:
        """Write the content of a key, whole or not at all, if that is possible."""
        path = self._file(key)
        with contextlib.suppress(OSError):  # A full disk is no reason to fail.
            if not is_private(self._path):
                return
            descriptor, scratch = tempfile.mkstemp(dir=self._path, prefix=f"{path.name}.")
            try:
                with open(descriptor, "wb") as file:
                    file.write(_FORMAT + _checksum(key, content) + content)
                os.replace(scratch, path)
            except BaseException:
                os.unlink(scratch)
                raise

    def prune(self) -> None:
        """Remove the files unused for the longest time until the rest fits."""
        files = []
        with contextlib.suppress(OSError):
            for entry in os.scandir(self._path) if is_private(self._path) else ():
                with contextlib.suppress(OSError):  # Another process may prune, too.
                    if _NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                        files.append((entry.stat().st_mtime, entry.stat().st_size, entry.path))
        excess = sum(size for _, size, _ in files) - self._most
        for _, size, path in sorted(files):
            if excess <= 0:
                break
            with contextlib.suppress(OSError):
                os.unlink(path)
            excess -= size

    def _file(self, key: str) -> Path:
        return self._path / hashlib.sha256(key.encode()).hexdigest()


def is_private(path: str | os.PathLike[str]) -> bool:
    """Whether a path is, or links to, a folder that belongs to this user and that nobody else can write to.

    Raises:
        OSError: There is nothing at the path, or it cannot be reached.
    """
    status = os.stat(path)
    return stat.S_ISDIR(status.st_mode) and _is_private(status)


def _is_private(status: os.stat_result) -> bool:
    # Windows keeps the folders of users apart by other means.
    return not hasattr(os, "geteuid") or (
        status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )


def _checksum(key: str, content: bytes) -> bytes:
    # Over the key too, so that a file under another key's name does not count either.
    return hashlib.sha256(key.encode() + b"\0" + content).digest()

"""A folder for files whose contents are run: only this user can write to it, and damaged files do not count."""

import contextlib
import hashlib
import os
import re
import stat
import tempfile
from pathlib import Path

_FORMAT = b"wct_jax 1\n"
_DIGEST = hashlib.sha256().digest_size
# Of files, and of those that are still being written.
_NAME = re.compile(r"[0-9a-f]{64}(\.\w+)?")


class PrivateFolder:
    """Bytes by key, in files that carry a checksum over their key and content.

    The folder and each file must belong to this user, and nobody else may be able to write to them; otherwise, nothing
    is read or written. Nothing here raises an error, because a cache that fails is only slow.
    """

    def __init__(self, path: Path, most: int) -> None:
        """Name the folder.

        Args:
            path: The folder, which need not exist.
            most: About how many bytes its files may take.
        """
        self._path, self._most = path, most

    def read(self, key: str) -> bytes | None:
        """Read what was written last for a key.

        Args:
            key: Any text.

        Returns:
            The content; None if there is none, or if the file is damaged or not a regular file of this user's.
        """
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
        """Write a file, whole or not at all, if it can be written.

        Args:
            key: For `read`.
            content: What to keep.
        """
        path = self._file(key)
        # A full disk is no reason to fail.
        with contextlib.suppress(OSError):
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
        """Remove the files that have gone unused the longest, if there are too many."""
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
    """Whether a path is a folder that belongs to this user and that nobody else can write to.

    Args:
        path: The folder, or a link to it.

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
    # With the key, so that a file under another's name does not count either.
    return hashlib.sha256(key.encode() + b"\0" + content).digest()

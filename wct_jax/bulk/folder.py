"""A folder as a place."""

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import filelock

from wct_jax.bulk.place import Entry
from wct_jax.pictures.scan import scan
from wct_jax.pictures.source import open_regular
from wct_jax.system.atomic import atomic_write, discard_leftovers


class Folder:
    """A folder of this machine, or one that all machines share."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.uri = os.path.abspath(path)
        self._path = Path(path)

    def address(self, name: str) -> str:
        return str(self._path / name)

    def entries(self, suffixes: Sequence[str]) -> tuple[list[Entry], list[str]]:
        if self._path.is_file():
            raise ValueError(f"cannot read the pictures in {self._path}: expected a folder, got a file")
        found = scan(self._path, suffixes)
        return [self._entry(path) for path in found.files], found.skipped

    def _entry(self, path: Path) -> Entry:
        with contextlib.suppress(OSError):  # It may be gone by now, which its reader will say.
            status = os.stat(path)
            return Entry(path.relative_to(self._path).as_posix(), status.st_size, status.st_mtime_ns)
        return Entry(path.relative_to(self._path).as_posix(), 0, 0)

    def names(self) -> set[str]:
        found = (Path(folder, file) for folder, _, files in os.walk(self._path) for file in files)
        return {path.relative_to(self._path).as_posix() for path in found}

    def read(self, name: str, most: int | None = None) -> bytes:
        try:
            with self.open(name) as file:
                return bytes(file.read(-1 if most is None else most))
        except OSError as error:
            raise ValueError(f"cannot read {self.address(name)}: {error.strerror or error}") from None

    def open(self, name: str) -> Any:
        try:
            return open_regular(self._path / name)
        except OSError as error:
            raise ValueError(f"cannot read {self.address(name)}: {error.strerror or error}") from None

    def has(self, name: str) -> bool:
        return os.path.lexists(self._path / name)

    def write(self, name: str, content: bytes) -> None:
        with self._writing(name) as scratch:
            scratch.write_bytes(content)

    def fetch(self, name: str, path: Path) -> None:
        try:
            with open_regular(self._path / name) as file, open(path, "wb") as copy:
                shutil.copyfileobj(file, copy, 2**20)
        except OSError as error:
            raise ValueError(f"cannot copy {self.address(name)} to {path}: {error.strerror or error}") from None

    def send(self, path: Path, name: str) -> None:
        with self._writing(name) as scratch:
            shutil.copyfile(path, scratch)

    @contextlib.contextmanager
    def _writing(self, name: str) -> Iterator[Path]:
        path = self._path / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"cannot write {path}: {error.strerror}") from None
        with atomic_write(path) as scratch:
            yield scratch

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        lock = filelock.FileLock(self._path / ".wct_jax.lock", blocking=False)
        try:
            self._path.mkdir(exist_ok=True)
            lock.acquire()
        except filelock.Timeout:
            raise ValueError(f"another run is writing to {self._path}: expected to wait for its end") from None
        except OSError as error:
            reason = "it is not a folder" if self._path.is_file() else error.strerror
            raise ValueError(f"cannot write to {self._path}: {reason}") from None
        with lock:
            discard_leftovers(self._path)
            try:
                yield
            finally:
                # The workers of a run that stopped were ended in the middle of their work.
                discard_leftovers(self._path)

"""Records: the figures of an evaluation, a line for each result, kept as they are made."""

import json
import os
from pathlib import Path
from typing import Any

from wct_jax.system.atomic import atomic_write

_HEAD = '{"wct_jax evaluation": 1}\n'


class Records:
    """`figures.jsonl` in the folder of a report: what an interrupted evaluation has made, by key.

    Each line is written at once, so that a process killed at any moment leaves whole lines and perhaps a torn last one.
    """

    def __init__(self, folder: Path) -> None:
        """Open the file, or make it.

        Args:
            folder: Folder of the report, made if it does not exist.

        Raises:
            ValueError: The folder has other files and no report, or the file is damaged or cannot be written.
        """
        self._path = folder / "figures.jsonl"
        self._known: dict[str, dict[str, Any]] = {}
        try:
            folder.mkdir(exist_ok=True)
            if self._path.exists():
                self._read(self._path.read_bytes())
            elif any(folder.iterdir()):
                raise ValueError(f"{folder} has files and no report: expected a new folder, or that of a report")
            else:
                with atomic_write(self._path) as scratch:
                    scratch.write_text(_HEAD)
            self._file = open(self._path, "ab", buffering=0)  # noqa: SIM115 - as long as this lives
        except OSError as error:
            raise ValueError(f"cannot write {self._path}: {error.strerror}") from None

    def _read(self, data: bytes) -> None:
        whole = data[: data.rfind(b"\n") + 1]
        head, *lines = whole.decode("utf-8", "replace").splitlines() or [""]
        if head + "\n" != _HEAD:
            raise ValueError(f"{self._path} is not the figures of a report: expected it to begin with {_HEAD.strip()}")
        for number, line in enumerate(lines, 2):
            try:
                record = json.loads(line)
                self._known[record["key"]] = record
            except (ValueError, LookupError, TypeError, RecursionError):
                raise ValueError(f"{self._path} is damaged in line {number}: expected JSON with a key") from None
        if len(whole) < len(data):  # A line torn by the end of the process.
            os.truncate(self._path, len(whole))

    def get(self, key: str) -> dict[str, Any] | None:
        """The record of a key, if there is one."""
        return self._known.get(key)

    def add(self, record: dict[str, Any]) -> None:
        """Write a record, which has a `key`.

        Raises:
            ValueError: The disk is full, or the like.
        """
        try:
            self._file.write(json.dumps(record).encode() + b"\n")
        except OSError as error:
            raise ValueError(f"cannot write {self._path}: {error.strerror}") from None
        self._known[record["key"]] = record

    def close(self) -> None:
        """Close the file."""
        self._file.close()

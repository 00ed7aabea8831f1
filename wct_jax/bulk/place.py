"""A place: a folder, or the part of an object store below a prefix. Files have names relative to it."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, Protocol


class Entry(NamedTuple):
    """A file: its name in the place, its size in bytes, and when it was last written, in nanoseconds since 1970."""

    name: str
    size: int
    modified: int


class Place(Protocol):
    """Where files are read and written. All methods raise `ValueError` of one sentence."""

    uri: str

    def address(self, name: str) -> str:
        """A file's name in messages."""

    def entries(self, suffixes: Sequence[str]) -> tuple[list[Entry], list[str]]:
        """The files with these suffixes, sorted by name, and sentences on what was passed over."""

    def names(self) -> set[str]:
        """The names of all files; none where the place does not exist yet."""

    def read(self, name: str, most: int | None = None) -> bytes:
        """The content of a file, or its first bytes."""

    def open(self, name: str) -> Any:
        """A file of which parts can be read."""

    def has(self, name: str) -> bool:
        """Whether a file exists."""

    def write(self, name: str, content: bytes) -> None:
        """Write a file whole or not at all; folders are made as needed."""

    def fetch(self, name: str, path: Path) -> None:
        """Copy a file, which may be larger than memory, to a path of this machine."""

    def send(self, path: Path, name: str) -> None:
        """Copy a file of this machine here, whole or not at all."""

    def alone(self) -> AbstractContextManager[object]:
        """Make a missing folder, and keep other runs from writing here, as far as that is possible."""

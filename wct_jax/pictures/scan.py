"""Finding the pictures in a folder or by a pattern, by one set of rules for photos and styles."""

import errno
import fnmatch
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from wct_jax.pictures.formats import PICTURE_SUFFIXES

# Previews, forks and bins that systems leave among a person's files without hiding them; in lower case.
_OF_SYSTEMS = {
    *("@eadir", "__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "temporary items"),
    *("$recycle.bin", "system volume information", "lost+found", "network trash folder"),
    *("#recycle", "#snapshot", "@recycle", "@recently-snapshot"),
}
_SIGNS = re.compile("[*?[]")


class Found(NamedTuple):
    """The result of a scan.

    Attributes:
        files: Readable regular files, each once, sorted by the parts of their paths.
        skipped: Sentences for a person on what was passed over: one for each picture that cannot be read and each
            folder that cannot be searched, and one for each kind of the rest.
    """

    files: list[Path]
    skipped: list[str]


def is_many(path: Path) -> bool:
    """Whether a path is a folder, or a pattern such as `art/*.jpg`."""
    return os.path.isdir(path) or (_SIGNS.search(str(path)) is not None and not os.path.lexists(path))


def scan(path: str | os.PathLike[str], suffixes: Sequence[str] = PICTURE_SUFFIXES) -> Found:
    """Find the pictures in a folder, or those that match a pattern.

    A folder is searched with all its subfolders for files with the suffix of a picture, in upper or lower case. Hidden
    files and folders are passed over, and so are those that systems make: thumbnails, forks, bins (`._a.jpg`,
    `.thumbnails`, `@eaDir`, `__MACOSX`). Links to files are followed, links to folders are not. A file with several
    names is taken once, by its own name rather than by a link. Nothing is opened, so that a named pipe cannot block;
    devices, pipes and sockets are left out.

    In a pattern, `*`, `?` and `[...]` match parts of one name, but no hidden ones; `**` matches any number of
    folders. A part that names an existing file or folder matches just that. Folders that match are searched.
    Files that match are taken by the same rules, and by the pattern's own suffix if it has one, as `*.dat` does.

    Args:
        path: The folder or pattern.
        suffixes: The suffixes of the files to find, in lower case.

    Returns:
        At least one file, and sentences on what was passed over.

    Raises:
        ValueError: The folder does not exist or cannot be read, or no file is found.
    """
    path = Path(path)
    search = _Search(suffixes)
    if not is_many(path):
        try:
            os.stat(path)
            wrong = "it is not a folder"
        except OSError as error:
            wrong = "there is no such folder" if error.errno == errno.ENOENT else str(error.strerror)
        raise ValueError(f"cannot read the pictures in {path}: {wrong}")
    if os.path.isdir(path):
        search.folder(path)
    else:
        search.pattern(path)
    return search.found(path)


class _Search:
    """Collects files, and what is passed over on the way."""

    def __init__(self, suffixes: Sequence[str]) -> None:
        self._suffixes = set(suffixes)
        self._files: dict[str, Path] = {}  # By real path.
        self._seen: set[Path] = set()
        self._real_folders: dict[Path, str] = {}
        self._unreadable: list[str] = []
        self._others: Counter[str] = Counter()
        self._links: list[Path] = []
        self._again = 0

    def folder(self, root: Path) -> None:
        """Search a folder and its subfolders."""
        if root in self._seen:
            return
        for folder, files in self._walk(root):
            self._seen.add(folder)
            for file in files:
                self._file(file)

    def pattern(self, pattern: Path) -> None:
        """Search the folders and take the files that match a pattern."""
        suffix = os.path.splitext(pattern.name)[1].lower()
        if suffix and not _SIGNS.search(suffix):
            self._suffixes.add(suffix)
        start = Path(pattern.anchor)
        for path in self._fitting(start, pattern.relative_to(start).parts):
            if not os.path.isdir(path):
                self._file(path)
            elif not self._is_link(path):
                self.folder(path)

    def found(self, path: Path) -> Found:
        """Sum up what was found in a folder or by a pattern."""
        skipped = sorted(set(self._unreadable))
        if not self._files and skipped:
            more = f" (and {len(skipped) - 1} more)" if len(skipped) > 1 else ""
            raise ValueError(f"there is no picture in {path} that can be read: {skipped[0]}{more}")
        if not self._files and not self._seen:
            raise ValueError(f"no file is named like {path}")
        if not self._files:
            raise ValueError(
                f"there is no picture in {path}: of {self._others.total()} files in it, hidden ones not counted, "
                f"none is named as one ({', '.join(sorted(self._suffixes))})"
            )
        if self._others:
            kinds = sorted(self._others.items(), key=lambda kind: (-kind[1], kind[0]))[:8]
            counts = ", ".join(f"{number} {suffix}" for suffix, number in kinds)
            more = ", and others" if len(self._others) > 8 else ""
            skipped.append(f"not named as pictures, and passed over in {path}: {counts}{more}")
        if self._links:
            skipped.append(f"links to folders, not followed in {path}: {len(self._links)}, such as {min(self._links)}")
        if self._again:
            skipped.append(f"further names of pictures that are found once, in {path}: {self._again}")
        return Found(sorted(self._files.values(), key=lambda file: file.parts), skipped)

    def _fitting(self, folder: Path, parts: Sequence[str]) -> Iterator[Path]:
        """Find the paths in a folder that match the last parts of a pattern."""
        if not parts:
            yield folder
        elif self._exists(folder / parts[0]):
            yield from self._fitting(folder / parts[0], parts[1:])
        elif parts[0] == "**" and os.path.isdir(folder):
            for subfolder, _ in self._walk(folder):
                yield from self._fitting(subfolder, parts[1:])
        elif _SIGNS.search(parts[0]) and os.path.isdir(folder):
            for name in fnmatch.filter(self._names(folder), parts[0]):
                if not is_passed_over(name) or (name.startswith(".") and parts[0].startswith(".")):
                    yield from self._fitting(folder / name, parts[1:])

    def _walk(self, root: Path) -> Iterator[tuple[Path, list[Path]]]:
        """Yield a folder and its subfolders with their files; `os.walk` is limited in depth."""
        waiting = [root]
        while waiting:
            folder, files = waiting.pop(), []
            for name in self._names(folder):
                path = folder / name
                if is_passed_over(name):
                    continue
                if not os.path.isdir(path):
                    files.append(path)
                elif not self._is_link(path):
                    waiting.append(path)
            yield folder, files

    def _names(self, folder: Path) -> list[str]:
        try:
            os.stat(os.path.join(folder, "."))  # Without this permission only the names could be read.
            return os.listdir(folder)
        except OSError as error:
            self._unreadable.append(f"cannot read {folder}: {error.strerror}")
            return []

    def _exists(self, path: Path) -> bool:
        try:
            os.lstat(path)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                self._unreadable.append(f"cannot read {path}: {error.strerror}")
            return False
        return True

    def _file(self, path: Path) -> None:
        if path in self._seen:
            return
        self._seen.add(path)
        suffix = os.path.splitext(path.name)[1].lower()
        if suffix not in self._suffixes:
            self._others[_kind(suffix)] += 1
            return
        try:
            regular = stat.S_ISREG(os.stat(path).st_mode)
            problem = "" if os.access(path, os.R_OK) else os.strerror(errno.EACCES)
        except OSError as error:
            regular, problem = True, error.strerror or str(error)
        if problem or not regular:
            self._unreadable.append(f"cannot read {path}: {problem or 'it is not a regular file'}")
            return
        real = self._real(path)
        before = self._files.setdefault(real, path)
        if before is path:
            return
        self._again += 1
        self._files[real] = min(before, path, key=lambda name: (os.path.islink(name), name.parts))

    def _real(self, path: Path) -> str:
        if os.path.islink(path):
            return os.path.realpath(path)
        # Ask the system once per folder, since most hold many files.
        if path.parent not in self._real_folders:
            self._real_folders[path.parent] = os.path.realpath(path.parent)
        return os.path.join(self._real_folders[path.parent], path.name)

    def _is_link(self, folder: Path) -> bool:
        if not os.path.islink(folder):
            return False
        if folder not in self._seen:
            self._links.append(folder)
            self._seen.add(folder)
        return True


def is_passed_over(name: str) -> bool:
    """Whether a file or folder is hidden, or one that systems leave among a person's files, by its name."""
    return name.startswith(".") or name.lower() in _OF_SYSTEMS


def _kind(suffix: str) -> str:
    if not suffix:
        return "without a suffix"
    return suffix if re.fullmatch(r"\.[a-z0-9_+-]{1,12}", suffix) else "of other names"

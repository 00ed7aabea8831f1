"""Jobs: which photos and styles go together, and what their results are called."""

import base64
import hashlib
import os
import tempfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from wct_jax.pictures.images import PICTURE_SUFFIXES
from wct_jax.studio.request import Look


class Job(NamedTuple):
    """One result.

    Attributes:
        content: The photo, or None for a texture.
        look: The styles.
        output: The file of the result.
    """

    content: Path | None
    look: Look
    output: Path


def grid(contents: Sequence[Path | None], looks: Sequence[Look]) -> list[tuple[Path | None, Look]]:
    """Every photo in every style."""
    return [(content, look) for content in contents for look in looks]


def by_name(contents: Sequence[Path], looks: Sequence[Look]) -> list[tuple[Path | None, Look]]:
    """Every photo in the style whose file has the photo's name, up to the suffix.

    Raises:
        ValueError: A photo has no such style, or several.
    """
    pairs: list[tuple[Path | None, Look]] = []
    for content in contents:
        named = [look for look in looks if [file.stem for file in look.files if file] == [content.stem]]
        if len(named) != 1:
            raise ValueError(f"there must be one style named {content.stem} for {content}, got {len(named)}")
        pairs.append((content, named[0]))
    return pairs


def draw(
    contents: Sequence[Path | None], looks: Sequence[Look], count: int, seed: int
) -> list[tuple[Path | None, Look]]:
    """Every photo in `count` of the styles, drawn at random without repetition.

    The styles of a photo depend on its name and the seed, 0 to 2**32 - 1, and not on the other photos.

    Raises:
        ValueError: There are fewer styles.
    """
    if count > len(looks):
        raise ValueError(f"{count} styles cannot be drawn from {len(looks)}")
    pairs = []
    for content in contents:
        rng = np.random.default_rng([seed, zlib.crc32((content.name if content else "").encode())])
        pairs += [(content, looks[i]) for i in sorted(rng.choice(len(looks), count, replace=False))]
    return pairs


def named(pairs: Iterable[tuple[Path | None, Look]], folder: Path) -> list[Job]:
    """Give each result a name in a folder: `PHOTO__STYLE__MARK.png`.

    The mark is a hash of the files' places relative to the folder. So a result keeps its name from run to run, whatever
    else is in the batch, and no two results share one, however their photos and styles are called.
    """
    home = os.path.realpath(folder)
    return [
        Job(content, look, folder / f"{plain_name(content, look)}__{_mark(content, look, home)}.png")
        for content, look in pairs
    ]


def plain_name(content: Path | None, look: Look) -> str:
    """`PHOTO__STYLE`, after the names of the files, shortened to what a file system takes."""
    style = "+".join(file.stem if file else "none" for file in look.files) or "white"
    return f"{_shortened(content.stem if content else 'texture')}__{_shortened(style)}"


def _shortened(name: str) -> str:
    # The longest name that file systems take has 255 bytes.
    while len(os.fsencode(name)) > 100:
        name = name[:-1]
    return name


def _mark(content: Path | None, look: Look, home: str) -> str:
    places = "\0".join(_place(file, home) if file else "" for file in (content, *look.files))
    # 60 bits, in letters that differ on every file system.
    return base64.b32encode(hashlib.sha256(os.fsencode(places)).digest()[:10]).decode("ascii").lower()[:12]


def _place(file: Path, home: str) -> str:
    """A file's place relative to a folder, which stays the same when both are moved together."""
    place = os.path.realpath(file)
    try:
        return os.path.relpath(place, home)
    except ValueError:  # Windows has no way from one drive to another.
        return place


def each_once(paths: Iterable[Path]) -> list[Path]:
    """The paths, without those that lead to the same file as an earlier one."""
    found: dict[str, Path] = {}
    for path in paths:
        found.setdefault(os.path.realpath(path), path)
    return list(found.values())


def check_folder(folder: Path, sources: Iterable[Path]) -> None:
    """Find out before long work whether results can be written to a folder, which may not exist yet.

    Args:
        folder: The folder for results.
        sources: Folders of photos and styles; the next run would read results in one of them as such.

    Raises:
        ValueError: The folder is within one of the sources, is a file, cannot be made, or cannot be written to.
    """
    target = Path(os.path.realpath(folder))
    for source in sources:
        inside = Path(os.path.realpath(source))
        if target == inside or inside in target.parents:
            raise ValueError(f"the output {folder} is inside {source}, whose files are read: expected another folder")
    if os.path.isfile(target) or (not os.path.lexists(target) and target.suffix.lower() in PICTURE_SUFFIXES):
        raise ValueError(f"cannot write to {folder}: expected a folder for several results, got a file")
    there = target if os.path.lexists(target) else target.parent
    if not os.path.isdir(there):
        state = "is not a folder" if os.path.lexists(there) else "does not exist"
        raise ValueError(f"cannot write to {folder}: the directory {there} {state}")
    try:
        # Permissions and the kind of file system are no proof.
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        raise ValueError(f"cannot write to {folder}: {error.strerror}") from None

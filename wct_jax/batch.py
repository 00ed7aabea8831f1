"""Many photos and styles: which are there, which go together, and what the results are called."""

import os
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from wct_jax.images import PICTURE_SUFFIXES


class Look(NamedTuple):
    """Styles that one result is to have together: mixed, or each in a region.

    Attributes:
        files: Pictures or style files; None for a region that is to stay as it is.
    """

    files: tuple[Path | None, ...]


class Job(NamedTuple):
    """One result.

    Attributes:
        content: The photo, or None for a texture.
        look: Its styles.
        output: Where it goes.
    """

    content: Path | None
    look: Look
    output: Path


def grid(contents: Sequence[Path | None], looks: Sequence[Look]) -> list[tuple[Path | None, Look]]:
    """Every photo in every style."""
    return [(content, look) for content in contents for look in looks]


def by_name(contents: Sequence[Path], looks: Sequence[Look]) -> list[tuple[Path | None, Look]]:
    """Every photo in the style whose file has its name, up to the suffix.

    Raises:
        ValueError: A photo has no such style, or more than one.
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
    """Every photo in some styles, drawn at random.

    What a photo gets depends on its name and the seed, and not on the other photos.

    Args:
        contents: The photos.
        looks: What is drawn from, without repetition.
        count: How many styles each photo gets.
        seed: From 0 to 2**32 - 1.

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
    """Give each result a name in a folder: `PHOTO__STYLE.png`, without suffixes where these are not needed.

    Args:
        pairs: Photos and their styles.
        folder: Where the results go.
    """
    pairs = list(pairs)
    contents = Counter(file.stem for file in {content for content, _ in pairs if content})
    styles = Counter(file.stem for file in {file for _, look in pairs for file in look.files if file})

    def name(file: Path | None, all_names: Counter[str], nothing: str) -> str:
        if file is None:
            return nothing
        return file.stem if all_names[file.stem] == 1 else f"{file.stem}_{file.suffix[1:]}"

    jobs = []
    for content, look in pairs:
        style = "+".join(name(file, styles, "none") for file in look.files) or "white"
        jobs.append(Job(content, look, folder / f"{name(content, contents, 'texture')}__{style}.png"))
    return jobs


def check_folder(folder: Path, sources: Iterable[Path]) -> None:
    """Make sure of a folder for results, or that it can be made.

    Args:
        folder: For results.
        sources: Folders with photos and styles: results in one of them would be taken for these the next time.

    Raises:
        ValueError: It is within one of the sources, or is a file, or the folder above it is missing.
    """
    target = Path(os.path.realpath(folder))
    for source in sources:
        inside = Path(os.path.realpath(source))
        if target == inside or inside in target.parents:
            raise ValueError(f"the output {folder} is inside {source}, whose files are read: expected another folder")
    if target.is_file() or (not target.exists() and target.suffix.lower() in PICTURE_SUFFIXES):
        raise ValueError(f"cannot write to {folder}: expected a folder for several results, got a file")
    if not target.parent.is_dir():
        raise ValueError(f"cannot write to {folder}: the directory {target.parent} does not exist")

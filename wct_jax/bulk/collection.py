"""A collection: the photos of a source, and which results are still to be made of them."""

import importlib.util
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from wct_jax.bulk.kit import Kit
from wct_jax.bulk.manifest import NAME, Manifest
from wct_jax.bulk.parquet import SUFFIX, row_groups
from wct_jax.bulk.photos import FILM_SUFFIXES
from wct_jax.bulk.place import Entry, Place
from wct_jax.pictures.formats import PICTURE_SUFFIXES

# A block is what a worker is given at a time. Larger ones have more photos of one canvas after another.
_LARGEST = 64
# Of the results still to be handed out, each worker gets half of its share at once, so that all end together.
_PARTS = 2


class Item(NamedTuple):
    """One result: its photo's name, look and row group, its own name, its look's key, and how far it is.

    `modified` is when the photo's file was written; `there` says that the result exists, of another photo of that name
    if `stale`.
    """

    source: str
    look: int
    target: str
    key: str
    modified: int
    group: int
    there: bool
    stale: bool


@dataclass(frozen=True)
class Collection:
    """What is to be done.

    Attributes:
        photos: Number of photos.
        items: All results, sorted by photo.
        notes: Sentences that a person should know about the files.
    """

    photos: int
    items: list[Item]
    notes: list[str]

    @property
    def missing(self) -> list[int]:
        """The numbers of the results that are still to be made."""
        return [number for number, item in enumerate(self.items) if item.stale or not item.there]

    def blocks(self, numbers: list[int], workers: int) -> list[list[int]]:
        """Divide results among workers: large blocks first, small ones at the end; of a row group, all in one block."""
        blocks: list[list[int]] = []
        start = 0
        while start < len(numbers):
            left = len(numbers) - start
            end = start + max(1, min(_LARGEST, left // (workers * _PARTS)))
            group = self.items[numbers[start]].group
            if group:  # Reading a row group twice costs more than waiting for its last picture.
                end = start
                while end < len(numbers) and self.items[numbers[end]].group == group:
                    end += 1
            else:
                between = (n for n in range(start, min(end, len(numbers))) if self.items[numbers[n]].group)
                end = next(between, end)
            blocks.append(numbers[start:end])
            start = end
        return blocks


def collect(source: Place, target: Place, kit: Kit, image_column: str | None, manifest: Manifest) -> Collection:
    """Find the photos of a source, and the results that a target has already.

    Args:
        source: Where the photos are.
        target: Where the results go.
        kit: How they are painted.
        image_column: The column of encoded pictures in Parquet files; None to leave out such files.
        manifest: The target's manifest, which knows of which photo a result was made.

    Raises:
        ValueError: A place cannot be read, or has no photos.
    """
    films = importlib.util.find_spec("av") is not None
    entries, notes = source.entries((*PICTURE_SUFFIXES, *FILM_SUFFIXES, SUFFIX))
    kinds = Counter(_kind(entry.name) for entry in entries)
    if kinds["films"] and not films:
        notes.append(f"films, passed over without the extra video: {kinds['films']}; pip install 'wct_jax[video]'")
    if kinds["tables"] and not image_column:
        notes.append(f"Parquet files, passed over without `image_column`: {kinds['tables']}")
    there = target.names() - {NAME}
    keys, items, photos, groups = kit.keys(), [], 0, 0
    for entry in entries:
        kind = _kind(entry.name)
        names: list[tuple[str, int]] = [(entry.name, 0)]
        if kind == "films" and not films:
            names = []
        elif kind == "tables":
            names = []
            for rows in row_groups(source, entry.name, image_column) if image_column else ():
                groups += 1
                names += [(f"{entry.name}#{row}", groups) for row in rows]
        photos += len(names)
        suffix = ".mp4" if kind == "films" else kit.suffix
        items += [
            _item(kit, name, look, key, suffix, entry, group, there, manifest)
            for name, group in names
            for look, key in enumerate(keys)
        ]
    if not items:
        raise ValueError(f"there is no photo in {source.address('')}: {'; '.join(notes)}")
    return Collection(photos, items, notes)


def _item(
    kit: Kit, name: str, look: int, key: str, suffix: str, entry: Entry, group: int, there: set[str], manifest: Manifest
) -> Item:
    result = kit.target(name, look, key) + suffix
    known = manifest.rows.get(result)
    # Only a photo that the manifest knows can have changed; a killed run may not have told it of all.
    stale = bool(known and known["status"] == "done" and known["modified"] != entry.modified)
    return Item(name, look, result, key, entry.modified, group, result in there, stale and result in there)


def _kind(name: str) -> str:
    suffix = os.path.splitext(name)[1].lower()
    return "films" if suffix in FILM_SUFFIXES else "tables" if suffix == SUFFIX else "pictures"


Note = Callable[[str], None]
"""Told sentences that a person should know."""

"""Photos of a batch: ordered by the size of their canvas, and read from files, Parquet files or memory."""

import io
import os
import threading
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from PIL.ExifTags import Base as Tag

from wct_jax.bulk.address import parted, place_of
from wct_jax.bulk.parquet import RowGroup, split
from wct_jax.bulk.place import Place
from wct_jax.kernels.canvas import canvas_sides
from wct_jax.pictures.decoding import open_image
from wct_jax.pictures.pixels import SIDEWAYS, resized

FILM_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm")
# Of a picture's file, to learn its size before all of it is read.
_HEAD = 2**16


@dataclass(frozen=True)
class Photo:
    """A photo, a picture in a Parquet file, or a film, and where its result goes.

    Attributes:
        source: Its name in the source; in a Parquet file `FILE#ROW`.
        target: The name of the result; None to return it.
        look: The number of the look.
        image: The encoded picture, bytes or a mapping with `bytes`; None to read `source`.
        row: The number of the row in the whole collection.
        once: Whether a result that is there is left as it is.
    """

    source: str = ""
    target: str | None = None
    look: int = 0
    image: Any = None
    row: int = 0
    once: bool = False

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Photo":
        """The photo that a row of a batch describes."""
        target = row.get("target")
        return cls(
            str(row.get("source") or ""),
            None if target is None else str(target),
            int(row.get("look", 0)),
            row.get("image"),
            int(row.get("row", 0)),
            bool(row.get("once")),
        )

    @property
    def is_film(self) -> bool:
        """Whether it is a film by its name."""
        return self.image is None and os.path.splitext(self.source)[1].lower() in FILM_SUFFIXES


class Photos:
    """Reads photos of a place. Several threads may use it."""

    def __init__(self, source: str | os.PathLike[str] | None, image_column: str) -> None:
        """Read from a place, or whole paths and addresses without one; pictures in Parquet files from a column."""
        self.place = None if source is None else place_of(source)
        self._column = image_column
        self._group: RowGroup | None = None
        self._lock = threading.Lock()

    def address(self, photo: Photo) -> str:
        """The name of a photo in messages."""
        return self.place.address(photo.source) if self.place else photo.source or "the image"

    def parted(self, photo: Photo) -> tuple[Place, str]:
        """The place of a photo, and its name there."""
        return (self.place, photo.source) if self.place else parted(photo.source)

    def read(self, photo: Photo) -> io.BytesIO:
        """Read the file of a photo.

        Raises:
            ValueError: It cannot be read.
        """
        file = io.BytesIO(self._content(photo, None))
        file.name = self.address(photo)
        return file

    def ordered(self, photos: Sequence[Photo], short_side: int | None) -> list[int]:
        """The numbers of photos, those of one canvas after another, so that few sizes are compiled for at a time."""
        if len(photos) < 3:
            return list(range(len(photos)))
        with ThreadPoolExecutor(8) as pool:  # An object store takes a while for each, however little is read.
            canvases = list(pool.map(lambda photo: self._canvas(photo, short_side), photos))
        return sorted(range(len(photos)), key=lambda index: canvases[index])

    def _canvas(self, photo: Photo, short_side: int | None) -> tuple[int, ...]:
        if photo.is_film:
            return ()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                image = open_image(io.BytesIO(self._content(photo, _HEAD)), photo.source)
                sides = resized(image.size, short_side) if short_side else image.size
                sideways = image.getexif().get(Tag.Orientation) in SIDEWAYS
        except Exception:  # Whatever is wrong with it, its turn will tell.
            return ()
        return canvas_sides(sides if sideways else sides[::-1])

    def _content(self, photo: Photo, most: int | None) -> bytes:
        if photo.image is not None:
            return _encoded(photo.image)
        place, name = self.parted(photo)
        file, row = split(name)
        if row is None:
            return place.read(name, most)
        with self._lock:
            if self._group is None or not self._group.has(place, file, row):
                self._group = None  # One in memory at a time.
                self._group = RowGroup(place, file, row, self._column)
            return _encoded(self._group.value(row))


def _encoded(image: Any) -> bytes:
    """The bytes of an image column's value, which may be a mapping with `bytes` as in data sets of Hugging Face."""
    if isinstance(image, Mapping):
        image = image.get("bytes")
    if not isinstance(image, bytes | bytearray | memoryview):
        raise ValueError(f"expected the bytes of an encoded picture, got {type(image).__name__}")
    return bytes(image)

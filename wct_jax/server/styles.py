"""Styles: the examples of the package, and those that clients keep here for a while."""

import io
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from PIL import Image

from wct_jax.pictures.images import read_picture
from wct_jax.server.bounds import Bounds
from wct_jax.server.refusal import Refused
from wct_jax.server.uploads import Upload

PACKAGED = ("waves", "mosaic", "ink")
_THUMBNAIL = 256


@dataclass(frozen=True)
class Kept:
    """A style that is kept.

    Attributes:
        id: Its id, which nobody can guess unless it is in `PACKAGED`.
        name: What a person calls it.
        picture: Its picture.
        width: Columns.
        height: Rows.
        thumbnail: A small JPEG of it.
    """

    id: str
    name: str
    picture: Upload
    width: int
    height: int
    thumbnail: bytes


class Styles:
    """Styles by id; the least recently used ones go when the bytes are too many."""

    def __init__(self, bounds: Bounds) -> None:
        """Start with the styles of the package."""
        self._bounds = bounds
        self._packaged: dict[str, Kept] = {}
        for name in PACKAGED:
            data = (files(__package__) / "styles" / f"{name}.jpg").read_bytes()
            self._packaged[name] = make(name, Upload.of(data, f"{name}.jpg"), bounds, id=name)
        self._kept: OrderedDict[str, Kept] = OrderedDict()

    def packaged(self) -> list[Kept]:
        """The styles of the package."""
        return list(self._packaged.values())

    def add(self, kept: Kept) -> None:
        """Keep a style."""
        self._kept[kept.id] = kept
        while self.size > self._bounds.styles and len(self._kept) > 1:
            self._kept.popitem(last=False)

    def get(self, id: str) -> Kept:
        """The style of an id.

        Raises:
            Refused: There is none, or there is none any more.
        """
        if id in self._packaged:
            return self._packaged[id]
        if id not in self._kept:
            raise Refused(404, "there is no such style: it may have made room for others")
        self._kept.move_to_end(id)
        return self._kept[id]

    def forget(self, id: str) -> None:
        """Forget a style.

        Raises:
            Refused: There is none, or it is one of the package's.
        """
        if self.get(id) and id in self._packaged:
            raise Refused(403, f"the style {id} comes with the package and stays")
        del self._kept[id]

    @property
    def size(self) -> int:
        """Bytes that clients' styles take."""
        return sum(len(kept.picture.data) + len(kept.thumbnail) for kept in self._kept.values())


def make(name: str, picture: Upload, bounds: Bounds, id: str | None = None) -> Kept:
    """Decode a picture and make a style of it.

    Args:
        name: What a person calls it.
        picture: The picture, whose header was looked at.
        bounds: The most pixels.
        id: Its id; None for a new one.

    Raises:
        ValueError: It is damaged.
    """
    found = read_picture(picture.open(), max_pixels=bounds.pixels)
    height, width = found.pixels.shape[:2]
    image = Image.fromarray(np.rint(found.pixels * 255).astype(np.uint8))
    image.thumbnail((_THUMBNAIL, _THUMBNAIL), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    return Kept(id or secrets.token_urlsafe(16), name, picture, width, height, file.getvalue())

"""Uploads: a request's form, held in memory, and pictures whose headers have been checked."""

import asyncio
import hashlib
import io
import json
import logging
import re
import warnings
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, TypeVar

from python_multipart.exceptions import FormParserError
from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from wct_jax.pictures.decoding import PixelLimitError, open_image
from wct_jax.server.bounds import Bounds
from wct_jax.server.refusal import Refused
from wct_jax.studio.sources import Held
from wct_jax.system.recent import Recent

# It also logs what it raises.
logging.getLogger("python_multipart").addHandler(logging.NullHandler())

_T = TypeVar("_T")
_LONGEST_TEXT = 2**16
# Bytes that take so long to hash that others should not wait for it.
_LARGE = 2**22
_LONGEST_NAME = 80
# The formats that people have. Pillow would read more, with code that few have looked at.
_FORMATS = {"JPEG", "MPO", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF"}
_SIGNATURE = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF....WEBP|GIF8[79]a|II\*\0|MM\0\*|BM"
    rb"|....ftyp(avi[fs]|hei[cfmsx]|hev[cmsx]|mif1|msf1)",
    re.DOTALL,
)
_EXPECTED = "expected a JPEG, PNG, WebP, GIF, TIFF, BMP, AVIF or HEIC picture"


@dataclass(frozen=True)
class Upload:
    """A file that a client sent.

    Attributes:
        data: Its content.
        name: What it is called in messages and results: never used as a path.
        digest: SHA-256 of the content in hexadecimal.
    """

    data: bytes = field(repr=False)
    name: str
    digest: str

    def open(self) -> io.BytesIO:
        """Open it for reading, at its start."""
        return Held(self.data, self.name)

    @classmethod
    def of(cls, data: bytes, name: str) -> "Upload":
        """A file of some content."""
        return cls(data, name, hashlib.sha256(data).hexdigest())

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return self.name.rpartition(".")[0] or self.name


def plain(name: str) -> str:
    """A client's name of a file, without folders and without signs that mean something to a system or a terminal."""
    stem, dot, suffix = re.split(r"[/\\]", name)[-1].rpartition(".")
    short = stem[:_LONGEST_NAME] + dot + suffix[:10] if dot else suffix[:_LONGEST_NAME]
    return "".join(sign if sign.isalnum() or sign in " ._-+()" else "_" for sign in short).strip(" .")


@dataclass(frozen=True)
class Form:
    """The fields of a form.

    Attributes:
        files: The files by the name of their field, in order.
        texts: The texts by the name of their field, in order.
    """

    files: dict[str, list[Upload]]
    texts: dict[str, list[str]]

    def whole(self, name: str, least: int, most: int) -> int | None:
        """The whole number of a field, or None without one."""
        text = self.text(name)
        if not text:
            return None
        if not (text.isascii() and text.isdecimal() and len(text) < 20 and least <= int(text) <= most):
            raise Refused(422, f"`{name}` must be a whole number from {least} to {most}, got {text[:40]!r}")
        return int(text)

    def number(self, name: str) -> float | None:
        """The number of a field, at least 0, or None without one."""
        text = self.text(name)
        if not text:
            return None
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{0,9})?", text, re.ASCII):
            raise Refused(422, f"`{name}` must be a number such as 1.5, got {text[:40]!r}")
        return float(text)

    def switch(self, name: str, default: bool) -> bool:
        """Whether a field is true."""
        text = self.text(name) or str(default).lower()
        if text not in ("true", "false"):
            raise Refused(422, f"`{name}` must be true or false, got {text[:40]!r}")
        return text == "true"

    def json(self, name: str) -> Any:
        """The value of a field in JSON, or None without one."""
        try:
            return json.loads(self.text(name) or "null")
        except (ValueError, RecursionError):
            raise Refused(422, f"`{name}` must be JSON") from None

    def file(self, name: str) -> Upload | None:
        """The file of a field that may be there once."""
        return _only(name, self.files.get(name))

    def text(self, name: str) -> str | None:
        """The text of a field that may be there once."""
        return _only(name, self.texts.get(name))


def _only(name: str, values: list[_T] | None) -> _T | None:
    if values and len(values) > 1:
        raise Refused(422, f"expected `{name}` once, got it {len(values)} times")
    return values[0] if values else None


class _InMemory(MultiPartParser):
    # Pictures of strangers do not get onto the disk. The guard bounds the bytes.
    spool_max_size = 2**62


async def read_form(request: Request, files: Collection[str], texts: Collection[str], bounds: Bounds) -> Form:
    """Read a form into memory.

    Args:
        request: The request.
        files: The fields that are files.
        texts: The fields that are text.
        bounds: The most files and fields.

    Raises:
        Refused: It is no form, is damaged, or has other fields.
    """
    kind = request.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != "multipart/form-data":
        raise Refused(415, "expected a form of the type multipart/form-data")
    most = {"max_files": bounds.files, "max_fields": bounds.files, "max_part_size": _LONGEST_TEXT}
    try:
        parsed = await _InMemory(request.headers, request.stream(), **most).parse()
    except (MultiPartException, FormParserError) as error:
        reason = error.message if isinstance(error, MultiPartException) else str(error)
        raise Refused(400, f"the form cannot be read: {reason.rstrip('.')}") from None
    try:
        if sum(file.size or 0 for _, file in parsed.multi_items() if not isinstance(file, str)) < _LARGE:
            return _form_of(parsed, files, texts)
        return await asyncio.to_thread(_form_of, parsed, files, texts)
    finally:
        await parsed.close()


def _form_of(parsed: FormData, files: Collection[str], texts: Collection[str]) -> Form:
    form = Form({}, {})
    for name, value in parsed.multi_items():
        if name not in files and name not in texts:
            raise Refused(422, f"expected fields of {', '.join([*files, *texts])}, got {name[:40]!r}")
        if isinstance(value, str):
            if name in files:
                raise Refused(422, f"expected `{name}` to be a file with a name, got text")
            form.texts.setdefault(name, []).append(value)
        elif name in texts:
            raise Refused(422, f"expected `{name}` to be text, got a file")
        else:
            upload = Upload.of(value.file.read(), plain(value.filename or "") or name)
            form.files.setdefault(name, []).append(upload)
    return form


class Headers:
    """Looks at the headers of pictures before anything is decoded, and remembers what it saw."""

    def __init__(self, bounds: Bounds) -> None:
        """Start with the most pixels that a picture may have."""
        self._bounds, self._sizes = bounds, Recent[str, tuple[int, int]](1000)

    def known(self, upload: Upload) -> tuple[int, int] | None:
        """The width and height of a picture that was looked at before."""
        return self._sizes.get(upload.digest)

    def size(self, upload: Upload) -> tuple[int, int]:
        """The width and height of a picture.

        Raises:
            Refused: It is no picture of a format that we read, is damaged at its start, or has too many pixels.
        """
        if known := self.known(upload):
            return known
        if not _SIGNATURE.match(upload.data):
            raise Refused(415, f"{upload.name} is no picture that can be read: {_EXPECTED}")
        most = self._bounds.pixels
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", module=r"PIL\.")
                image = open_image(upload.open(), upload.name, most)
        except PixelLimitError as error:
            claimed = f"{error.pixels / 1e6:.0f} megapixels" if error.pixels else "too many pixels"
            raise Refused(413, f"{upload.name} has {claimed}: expected at most {most / 1e6:g} megapixels") from None
        except (ValueError, OSError) as error:
            raise Refused(415, str(error)) from None
        if image.format not in _FORMATS:
            raise Refused(415, f"{upload.name} is a picture of the format {image.format}: {_EXPECTED}")
        size = self._sizes.add(upload.digest, image.size)
        self._sizes.trim()
        return size

"""Decoding with Pillow, within limits on pixels and memory that are checked before anything is decoded."""

import contextlib
import logging
import math
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

from PIL import Image
from PIL.ExifTags import Base as Tag

from wct_jax.pictures.formats import identify
from wct_jax.pictures.libtiff import silence_libtiff
from wct_jax.pictures.pixels import is_srgb, resized
from wct_jax.pictures.profiles import declared_profile, hdr_note
from wct_jax.pictures.sixteen import low_tiles
from wct_jax.pictures.source import PathLike

# Pillow also logs what it raises about damaged files; keep that off standard error.
logging.getLogger("PIL").addHandler(logging.NullHandler())


class PixelLimitError(ValueError):
    """A picture has more pixels than allowed.

    Attributes:
        pixels: The number of pixels it has or would have; 0 where Pillow does not say.
    """

    def __init__(self, sentence: str, pixels: int) -> None:
        super().__init__(sentence)
        self.pixels = pixels


class MemoryLimitError(ValueError):
    """Reading a picture would take more memory than allowed."""


def open_image(file: BinaryIO, name: PathLike, max_pixels: int | None = None) -> Image.Image:
    """Read the header of a picture without decoding its pixels.

    Callers silence Pillow's warnings: filters hold for the whole process, and this function runs in many threads.

    Args:
        file: The encoded picture, at its start; keep it open until the image is loaded.
        name: The file's name in messages.
        max_pixels: The largest number of pixels allowed, or None for twice Pillow's `Image.MAX_IMAGE_PIXELS`.

    Returns:
        The image, ready for `load_image`.

    Raises:
        PixelLimitError: The picture has more than `max_pixels`.
        ValueError: The file is empty, damaged or not a picture.
        OSError: The system cannot read the file.
    """
    name = str(name)
    with _decoding(name):
        image: Any = identify(file, name, beyond=_most(max_pixels) > _most(None))
        # Pillow scales 2- and 4-bit grey to 0..255, but not the level that is transparent.
        if image.format == "PNG" and "transparency" in image.info:
            image.info["transparency"] *= {"L;2": 85, "L;4": 17}.get(str(image.tile[0].args), 1)
        if image.format == "PNG":
            image.info["icc_profile"] = declared_profile(image, file)
    check_pixels(name, image.size, max_pixels)
    tags = getattr(image, "tag_v2", {})
    if {Tag.TileWidth, Tag.TileLength} <= set(tags):
        tile = int(tags[Tag.TileWidth]), int(tags[Tag.TileLength])
        if math.prod(tile) > max(2**24, 4 * math.prod(image.size)):
            raise ValueError(f"cannot read {name}: its tiles of {tile[0]} x {tile[1]} pixels are larger than it is")
    if image.format == "TIFF":
        silence_libtiff()
    elif image.info.get("progressive") and _count(file, b"\xff\xda") > _MOST_SCANS:
        raise ValueError(f"cannot read {name}: it is a JPEG of more than {_MOST_SCANS} scans, expected about 10")
    return image


# Each scan is a pass over all pixels, and costs a file only a few bytes.
_MOST_SCANS = 200


def _count(file: BinaryIO, mark: bytes) -> int:
    position, found, last = file.tell(), 0, b""
    file.seek(0)
    while chunk := file.read(2**20):
        found += (last + chunk).count(mark)
        last = chunk[-1:]
    file.seek(position)
    return found


def load_image(image: Any, name: PathLike) -> int:
    """Decode the pixels of an opened picture, in place.

    Args:
        image: An image from `open_image`; a JPEG is decoded at the size given to its `draft`, if any.
        name: The file's name in messages.

    Returns:
        The EXIF orientation, 1 to 8, that `upright` still has to undo.

    Raises:
        ValueError: The picture is cut short or damaged.
    """
    with _decoding(str(name)):
        if image.format == "TIFF" and math.prod(image.size) > _most(None):
            # Pillow checks a TIFF against its own limit once more, unless the memory has been allocated.
            image.im = Image.core.new(  # type: ignore[attr-defined]
                image.mode, getattr(image, "_tile_size", image.size)
            )
        image.load()
    # EXIF can be broken in countless ways, none of which is a reason to refuse a picture.
    with contextlib.suppress(Exception):
        return image.getexif().get(Tag.Orientation, 1)
    return 1


def load_low_bytes(image: Any, file: BinaryIO, name: PathLike, max_pixels: int | None) -> Image.Image | None:
    """Decode the low bytes of 16-bit sRGB colours, of which an image that is not loaded yet will have the high ones.

    Colours of another profile are converted with 8 bits, which is all that Pillow can.

    Args:
        image: An image from `open_image`, not loaded yet; its file's position is kept.
        file: Its file.
        name: The file's name in messages.
        max_pixels: As for `open_image`.

    Returns:
        An image of the low bytes, or None where there are none.
    """
    if not low_tiles(image) or not is_srgb(image):
        return None
    position = file.tell()
    file.seek(0)
    low: Any = open_image(file, name, max_pixels)
    low.tile = low_tiles(low)
    load_image(low, name)
    file.seek(position)
    return low


@contextlib.contextmanager
def _decoding(name: str) -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise
    except Image.DecompressionBombError:
        raise PixelLimitError(f"cannot read {name}: it has more pixels than Pillow opens, {_most(None)}", 0) from None
    except Exception as error:  # Decoders raise exceptions of every kind for damaged files.
        if isinstance(error, ValueError) and name in str(error):
            raise
        # Decoders may quote bytes of the file.
        reason = " ".join("".join(sign if sign.isprintable() else " " for sign in str(error)[:200]).split())
        raise ValueError(f"cannot read {name}: it is cut short or damaged ({reason})") from None


def _most(max_pixels: int | None) -> int:
    # Beyond MAX_IMAGE_PIXELS Pillow warns of a decompression bomb; beyond twice that it refuses.
    return 2 * (Image.MAX_IMAGE_PIXELS or sys.maxsize) if max_pixels is None else max_pixels


def check_pixels(
    name: str, size: tuple[int, int], max_pixels: int | None, target: tuple[int, int] | None = None
) -> None:
    """Raise `PixelLimitError` for a picture whose `target` size, or `size` without one, exceeds `max_pixels`."""
    pixels = math.prod(target or size)
    if pixels <= _most(max_pixels):
        return
    width, height = size
    limit = f"more than {_most(max_pixels)} pixels, the most we open without a larger max_pixels"
    if target is None:
        raise PixelLimitError(f"cannot read {name}, {width} x {height} pixels: it claims {limit}", pixels)
    raise PixelLimitError(
        f"cannot resize {name}, {width} x {height} pixels, to a short side of {min(target)}: that is {limit}", pixels
    )


# Measured: bytes per pixel that Pillow and its libraries take while they decode, besides the decoded pixels.
_DECODER = {"JPEG": 6, "MPO": 6, "WEBP": 27, "AVIF": 16, "HEIF": 12, "JPEG2000": 16, "GIF": 5, "PSD": 4, "ICO": 8}
# Bytes per pixel to find the nearest visible pixel.
_NEAREST = 12
# Bytes of the strip being converted, with all copies.
_STRIP = 60 * 10**6


def memory_to_read(image: Image.Image, short_side: int | None = None) -> int:
    """Bound the bytes that reading an opened picture takes, the result included.

    Args:
        image: An image from `open_image`, not loaded yet.
        short_side: The length to resize the shorter side to, or None to keep the size.
    """
    pixels, size = math.prod(image.size), image.size
    stored = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}.get(image.mode, 4) * pixels
    stored *= 2 if low_tiles(image) else 1
    each = 16 if image.has_transparency_data else 12
    rows = 0
    if short_side is not None:
        size = resized(image.size, short_side)
        # The rows resampled one way, then their results twice while they are resampled the other way.
        rows = each * (max(size[0] * image.size[1], image.size[0] * size[1]) + 2 * math.prod(size))
    result = each * math.prod(size)
    decoded = stored + max(pixels * _DECODER.get(image.format or "", 2), rows + result) + min(_STRIP, 60 * pixels)
    return max(decoded, result + _NEAREST * math.prod(size) if each == 16 else 0)


def check_memory(name: str, image: Image.Image, short_side: int | None, budget: int | None) -> None:
    """Raise `MemoryLimitError` for an opened picture that takes more than `budget` bytes to read, if one is given."""
    needed = memory_to_read(image, short_side)
    if budget is not None and needed > budget:
        width, height = image.size
        raise MemoryLimitError(
            f"cannot read {name}: its {width} x {height} pixels take {_amount(needed)} of memory to read, "
            f"and {_amount(budget)} may be taken"
        )


def _amount(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 10**9 else f"{size / 1e6:.0f} MB"


def notes_on(image: Any, file: BinaryIO, name: str) -> tuple[str, ...]:
    """Say, in sentences for a person, what reading an opened picture leaves out; the file's position is kept."""
    notes = [hdr_note(image, name)]
    frames = 1
    position = file.tell()
    # Damage in the other frames does not matter.
    with contextlib.suppress(Exception):
        if image.format == "GIF":
            # Pillow drops the first frame when it looks for the second.
            file.seek(0)
            frames = 1 + bool(type(image)(file, "").is_animated)
        elif image.format in ("TIFF", "PNG", "WEBP", "AVIF", "HEIF"):
            frames = 1 + bool(image.is_animated)
    file.seek(position)
    if frames > 1:
        which = "main" if image.format == "HEIF" else "first"
        what = {"TIFF": "pages", "HEIF": "pictures"}.get(image.format or "", "frames")
        notes.append(f"{name} has several {what}: the {which} one is used")
    if image.format == "ICO" and len(image.info.get("sizes", ())) > 1:
        notes.append(f"{name} has icons of several sizes: the largest is used")
    return tuple(note for note in notes if note)

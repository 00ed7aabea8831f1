"""Pictures in and out: whatever a person has becomes float32 sRGB, and a result becomes a file."""

import contextlib
import importlib
import io
import math
import os
import stat
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import IFD
from PIL.ExifTags import Base as Tag

from wct_jax.arguments import as_integer, as_path
from wct_jax.arrays import is_floating, on_host
from wct_jax.atomic import atomic_write
from wct_jax.pixels import SIDEWAYS, resize, show_hidden, to_srgb, upright

PathLike = str | os.PathLike[str]

# What a file is named that is taken for a picture in a folder.
PICTURE_SUFFIXES = (
    *(".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".mpo"),
    *(".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"),
)


@dataclass(frozen=True)
class Metadata:
    """What a picture says about itself, as far as it stays true of a picture made from it.

    Attributes:
        exif: An EXIF block: the camera, the exposure, the place, the author, the resolution. Not the
            orientation, the thumbnail, the maker's private note and whatever else speaks of the old pixels.
        dpi: Horizontal and vertical resolution in pixels per inch, or None where the file gives none.
    """

    exif: bytes = b""
    dpi: tuple[float, float] | None = None


@dataclass(frozen=True)
class Picture:
    """A picture as the networks take it.

    Attributes:
        pixels: sRGB colours, float32 `[H, W, 3]` in 0..1.
        alpha: Opacity, float32 `[H, W]` in 0..1, or None when the picture is wholly opaque.
        metadata: What is to be carried into a result.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    metadata: Metadata = Metadata()


def read_picture(path: PathLike, short_side: int | None = None) -> Picture:
    """Read any picture that Pillow reads: upright, in sRGB, its first frame.

    Grey, palette, CMYK, LAB, 16-bit and float pictures, embedded colour profiles and transparency are
    understood; HEIC is where `pillow-heif` is installed. A wholly transparent pixel gets the colour of the
    nearest pixel that can be seen, since its own is an accident of the program that wrote it; a picture
    without any such pixel keeps its colours.

    Args:
        path: The file.
        short_side: The length to resize the shorter side to, or None to keep the size.

    Returns:
        The picture.

    Raises:
        ValueError: The file is missing, unreadable, no picture, damaged or too large, or `short_side` is below 1
            or makes it too large.
    """
    path = as_path("path", path)
    if short_side is not None and as_integer("short_side", short_side, -math.inf, math.inf) < 1:
        raise ValueError(f"the short side of {path} can be resized to 1 pixel or more, not to {short_side}")
    try:
        pixels, alpha, metadata = _decode(path)
        if short_side is not None:
            height, width = pixels.shape[:2]
            if height * width * (short_side / min(height, width)) ** 2 > _most_pixels():
                raise ValueError(
                    f"cannot resize {path}, {width} x {height} pixels, to a short side of {short_side}: "
                    f"that is more than {_most_pixels()} pixels, the most we open"
                )
            pixels, alpha = resize(pixels, alpha, short_side)
        if alpha is not None:
            show_hidden(pixels, alpha)
    except (MemoryError, OverflowError):
        raise ValueError(f"cannot read {path}: there is not enough memory for its pixels") from None
    return Picture(pixels, alpha, metadata)


def read_image(path: PathLike, short_side: int | None = None) -> np.ndarray:
    """Read the colours of a picture, as `read_picture` does.

    Args:
        path: The file.
        short_side: The length to resize the shorter side to, or None to keep the size.

    Returns:
        sRGB colours, float32 `[H, W, 3]` in 0..1.

    Raises:
        ValueError: As `read_picture`.
    """
    return read_picture(path, short_side).pixels


_HEIF_BRANDS = (b"heic", b"heim", b"heis", b"heix", b"hevc", b"hevm", b"hevs", b"hevx", b"mif1", b"msf1")


def _decode(path: PathLike) -> tuple[np.ndarray, np.ndarray | None, Metadata]:
    try:
        # Pillow warns of large pictures and of sloppy EXIF; phones make both.
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")
            image, metadata, orientation = _load(file, path)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}") from None
    pixels, alpha = to_srgb(image)
    if alpha is not None and alpha.min() == 1:
        alpha = None
    return upright(pixels, orientation), None if alpha is None else upright(alpha, orientation), metadata


def _load(file: BinaryIO, path: PathLike) -> tuple[Image.Image, Metadata, int]:
    """The image with its pixels in memory, its metadata, and the orientation it still has to be turned by."""
    image = open_image(file, path)
    # Pillow turns a TIFF upright as it loads it, and then forgets that it lay on its side.
    stored = getattr(image, "tag_v2", {}).get(Tag.Orientation)
    orientation, metadata = load_image(image, path), Metadata()
    with contextlib.suppress(Exception):
        exif = image.getexif()
        dpi = _dpi(image, exif, sideways=(stored or orientation) in SIDEWAYS)
        metadata = Metadata(_lasting_exif(exif, dpi), dpi)
    return image, metadata, orientation


def open_image(file: BinaryIO, name: PathLike) -> Image.Image:
    """Read the header of a picture: its size is known, its pixels are not decoded yet.

    Pillow's warnings are not silenced here: that is done for a whole process, and this may run in many threads.

    Args:
        file: The encoded picture, from its start; it has to stay open until the image is loaded.
        name: What to call it in messages.

    Returns:
        The image, for `load_image`.

    Raises:
        ValueError: It is empty, no picture, damaged or too large.
        OSError: The system cannot read the file.
    """
    head = file.read(12)
    if not head:
        raise ValueError(f"cannot read {name}: the file is empty")
    unknown = f"{name} is not a picture Pillow can read"
    if head[4:8] == b"ftyp" and head[8:] in _HEIF_BRANDS:
        try:
            importlib.import_module("pillow_heif").register_heif_opener()
        except ImportError:
            unknown = f"{name} is a HEIC picture; to read those, pip install pillow-heif"
    with _decoding(name, unknown):
        image = Image.open(file)
        # Pillow spreads 2- and 4-bit grey over 0..255, but leaves the level that is transparent as it was.
        if image.format == "PNG" and "transparency" in image.info:
            image.info["transparency"] *= {"L;2": 85, "L;4": 17}.get(str(image.tile[0].args), 1)
    return image


def load_image(image: Image.Image, name: PathLike) -> int:
    """Decode the pixels of an opened picture, in place.

    Args:
        image: From `open_image`; a JPEG on which `draft` was called is decoded at that size.
        name: What to call it in messages.

    Returns:
        The EXIF orientation that the pixels still have to be turned by, for `upright`.

    Raises:
        ValueError: The picture is cut short or damaged.
    """
    with _decoding(name):
        image.load()
    # EXIF is broken in more ways than can be listed, and no reason to refuse a picture.
    with contextlib.suppress(Exception):
        return image.getexif().get(Tag.Orientation, 1)
    return 1


@contextlib.contextmanager
def _decoding(name: PathLike, unknown: str = "") -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise
    except Image.DecompressionBombError:
        raise ValueError(f"cannot read {name}: it claims more than {_most_pixels()} pixels, the most we open") from None
    except Exception as error:  # Decoders meet damaged files with exceptions of every kind.
        if unknown and isinstance(error, UnidentifiedImageError):
            raise ValueError(unknown) from None
        raise ValueError(f"cannot read {name}: it is cut short or damaged ({error})") from None


def _most_pixels() -> int:
    # Where Pillow stops warning of a decompression bomb and refuses it.
    return 2 * (Image.MAX_IMAGE_PIXELS or sys.maxsize)


_LASTING_TAGS = (
    *(Tag.DocumentName, Tag.ImageDescription, Tag.Make, Tag.Model, Tag.Software, Tag.DateTime, Tag.Artist),
    *(Tag.HostComputer, Tag.Rating, Tag.RatingPercent, Tag.Copyright),
    *(Tag.XPTitle, Tag.XPComment, Tag.XPAuthor, Tag.XPKeywords, Tag.XPSubject),
)
# The shape, the coding and the colour space of the old pixels, and places in them. The maker's note holds
# offsets into the old file and often a preview.
_SUBJECT_AREA = 0x9214
_STALE_EXIF_TAGS = (
    *(Tag.ExifImageWidth, Tag.ExifImageHeight, Tag.SubjectLocation, _SUBJECT_AREA, Tag.ComponentsConfiguration),
    *(Tag.CompressedBitsPerPixel, Tag.FocalPlaneXResolution, Tag.FocalPlaneYResolution),
    *(Tag.FocalPlaneResolutionUnit, Tag.ExifInteroperabilityOffset, Tag.Gamma, Tag.MakerNote),
)


def _lasting_exif(exif: Image.Exif, dpi: tuple[float, float] | None) -> bytes:
    """The part of an EXIF block that stays true of another sRGB picture, upright and of any size."""
    lasting = Image.Exif()
    lasting.update({tag: _as_stored(exif[tag]) for tag in _LASTING_TAGS if tag in exif})
    if shot := {tag: value for tag, value in exif.get_ifd(IFD.Exif).items() if tag not in _STALE_EXIF_TAGS}:
        lasting[IFD.Exif] = shot | {Tag.ColorSpace: 1}
    if place := exif.get_ifd(IFD.GPSInfo):
        lasting[IFD.GPSInfo] = place
    if dpi:
        lasting.update({Tag.XResolution: dpi[0], Tag.YResolution: dpi[1], Tag.ResolutionUnit: 2})
    block = lasting.tobytes() if len(lasting) else b""
    return block if len(block) <= 65533 else b""  # The most that a JPEG can hold.


def _as_stored(value: Any) -> Any:
    # Names are UTF-8 in most files; Pillow reads them as Latin-1, and would write them as ASCII.
    return value.encode("latin-1") if isinstance(value, str) else value


def _dpi(image: Image.Image, exif: Image.Exif, sideways: bool) -> tuple[float, float] | None:
    # Pillow passes on one axis alone of what the EXIF of a JPEG says, and 1 for a TIFF that says nothing.
    unit = {2: 1, 3: 2.54}.get(exif.get(Tag.ResolutionUnit, 2), 0)
    x, y = (float(exif.get(tag, 0)) * unit for tag in (Tag.XResolution, Tag.YResolution))
    if not (x > 0 and y > 0):
        x, y = (float(value) for value in image.info.get("dpi", (0, 0)))
    if not (1 < x <= 65535 and 1 < y <= 65535):
        return None
    return (y, x) if sideways else (x, y)


_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}
_OPTIONS: dict[str, dict[str, Any]] = {"JPEG": {"quality": 95, "subsampling": "4:4:4"}, "WEBP": {"quality": 95}}
# A large picture does not need several copies in memory.
_PIXELS_AT_ONCE = 2**22
_LONGEST_SIDE = {"JPEG": 65500, "WEBP": 16383}


def write_picture(path: PathLike, picture: Picture) -> None:
    """Write a picture whole or not at all, in the format of the path's suffix, 8 bits per value.

    PNG, WebP and TIFF keep the alpha; JPEG, which has none, shows the picture on white. JPEG and WebP are
    written at quality 95.

    Args:
        path: Where the file is to be; an existing one is replaced.
        picture: Colours and alpha of any float dtype; values outside 0..1 are clipped.

    Raises:
        ValueError: The suffix is unknown, an array has the wrong shape or dtype or a value that is not finite,
            the picture is too large for the format, or the file cannot be written.
    """
    path = as_path("path", path)
    format = _FORMATS[_check_suffix(path, tuple(_FORMATS))]
    try:
        data = _encode(path, picture, format)
    except MemoryError:
        raise ValueError(f"cannot write {path}: there is not enough memory to encode it") from None
    with atomic_write(path) as scratch:
        scratch.write_bytes(data)


def write_image(path: PathLike, pixels: np.ndarray) -> None:
    """Write sRGB colours to a file, as `write_picture` does.

    Args:
        path: Where the file is to be; an existing one is replaced.
        pixels: sRGB colours, float `[H, W, 3]` in 0..1; values outside are clipped.

    Raises:
        ValueError: As `write_picture`.
    """
    write_picture(path, Picture(pixels))


def check_output(path: PathLike, overwrite: bool, suffixes: Sequence[str] = tuple(_FORMATS)) -> None:
    """Find out before long work whether its result can be written.

    Args:
        path: Where a picture is to be written.
        overwrite: Whether an existing file may be replaced.
        suffixes: What its suffix may be.

    Raises:
        ValueError: The path is a directory or has an unknown suffix, its directory is missing or not writable,
            or the file exists and must not be replaced.
    """
    target = os.path.realpath(path)
    directory = os.path.dirname(target)
    try:
        kind = os.stat(target).st_mode
    except FileNotFoundError:
        kind = None
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror}") from None
    if kind is not None and stat.S_ISDIR(kind):
        raise ValueError(f"cannot write {path}: it is a directory")
    _check_suffix(path, suffixes)
    if kind is not None and not stat.S_ISREG(kind):
        raise ValueError(f"cannot write {path}: it is not a regular file")
    if kind is not None and not overwrite:
        raise ValueError(f"cannot write {path}: it exists, and overwriting it was not asked for")
    if not os.path.isdir(directory):
        raise ValueError(f"cannot write {path}: the directory {directory} does not exist")
    if not os.access(directory, os.W_OK | os.X_OK):
        raise ValueError(f"cannot write {path}: the directory {directory} is not writable")


def _check_suffix(path: PathLike, suffixes: Sequence[str]) -> str:
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in suffixes:
        one_of = "one of " if len(suffixes) > 1 else ""
        raise ValueError(f"cannot write {path}: its suffix must be {one_of}{', '.join(suffixes)}")
    return suffix


def _single(values: np.ndarray) -> np.ndarray:
    # Levels of 8 bits need more than half precision; and NumPy does not know bfloat16.
    return values.astype(np.float32) if values.dtype.itemsize < 4 else values


def _encode(path: PathLike, picture: Picture, format: str) -> bytes:
    pixels = on_host("pixels", picture.pixels)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ValueError(f"cannot write {path}: expected pixels of shape [H, W, 3], got {list(pixels.shape)}")
    height, width = pixels.shape[:2]
    longest = _LONGEST_SIDE.get(format)
    if longest and max(height, width) > longest:
        raise ValueError(f"cannot write {path}: {format} holds {longest} pixels a side, not {width} x {height}")
    arrays = [pixels]
    if picture.alpha is not None:
        alpha = on_host("alpha", picture.alpha)
        if alpha.shape != (height, width):
            raise ValueError(f"cannot write {path}: expected alpha of shape {[height, width]}, got {list(alpha.shape)}")
        arrays.append(alpha[..., None])
    for array in arrays:
        if not is_floating(array):
            raise ValueError(f"cannot write {path}: expected float32 values in 0..1, got {array.dtype}")
    on_white = format == "JPEG" and len(arrays) == 2
    levels = np.empty((height, width, 3 if on_white else sum(array.shape[2] for array in arrays)), np.uint8)
    rows = max(1, _PIXELS_AT_ONCE // width)
    for top in range(0, height, rows):
        channels = [_single(array[top : top + rows]) for array in arrays]
        if not all(np.isfinite(channel).all() for channel in channels):
            raise ValueError(f"cannot write {path}: expected finite values, got NaN or infinity")
        channels = [channel.clip(0, 1) for channel in channels]
        if on_white:
            channels = [channels[0] * channels[1] + (1 - channels[1])]
        levels[top : top + rows] = np.rint(np.concatenate(channels, axis=-1) * 255)
    image = Image.fromarray(levels)

    options = dict(_OPTIONS.get(format, {}), exif=picture.metadata.exif)
    if format == "TIFF":  # Its tags are written one by one.
        options["exif"] = Image.Exif()
        options["exif"].load(picture.metadata.exif)
        options["exif"].update({tag: _as_stored(value) for tag, value in options["exif"].items()})
    if picture.metadata.dpi:
        options["dpi"] = picture.metadata.dpi
    # By way of memory: Pillow's encoders do not say what the system's complaint was when a disk is full.
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()

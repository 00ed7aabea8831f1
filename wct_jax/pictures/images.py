"""Reading any picture as float32 sRGB."""

import math
import warnings
from typing import BinaryIO

import numpy as np
from PIL.ExifTags import Base as Tag

from wct_jax.checks.arguments import as_integer, as_path
from wct_jax.pictures.decoding import MemoryLimitError as MemoryLimitError
from wct_jax.pictures.decoding import PixelLimitError as PixelLimitError
from wct_jax.pictures.decoding import check_memory, check_pixels, load_low_bytes, notes_on
from wct_jax.pictures.decoding import load_image as load_image
from wct_jax.pictures.decoding import open_image as open_image
from wct_jax.pictures.exif import lasting_metadata
from wct_jax.pictures.formats import PICTURE_SUFFIXES as PICTURE_SUFFIXES
from wct_jax.pictures.picture import Picture as Picture
from wct_jax.pictures.pixels import SIDEWAYS, resized, show_hidden, to_srgb
from wct_jax.pictures.source import PathLike as PathLike
from wct_jax.pictures.source import open_source, source_name


def read_picture(
    path: PathLike | BinaryIO,
    short_side: int | None = None,
    *,
    max_pixels: int | None = None,
    budget: int | None = None,
) -> Picture:
    """Read the first frame of any raster picture, upright and in sRGB.

    Reads JPEG, PNG, WebP, TIFF, GIF, BMP, AVIF, JPEG 2000, PPM, PSD, ICO, PCX, SGI, Sun and TGA, and HEIC where
    `pillow-heif` is installed; grey, palette, CMYK, LAB, 16-bit and float pictures, embedded colour profiles, the
    colour chunks of PNG, and transparency. A wholly transparent pixel gets the colour of the nearest visible pixel,
    since its own is an accident of the program that wrote it; if no pixel is visible, all keep their colours.

    Args:
        path: The file, or an open binary file or pipe, which is read from start to end.
        short_side: The length to resize the shorter side to, or None to keep the size.
        max_pixels: The largest number of pixels allowed, before and after resizing; None for twice Pillow's
            `Image.MAX_IMAGE_PIXELS`, 178,956,970.
        budget: The largest number of bytes that reading may take, result included; None for no limit.

    Returns:
        The picture.

    Raises:
        PixelLimitError: The picture has, or would get, more than `max_pixels`.
        MemoryLimitError: Reading would take more than `budget`; raised before anything is decoded.
        ValueError: The file cannot be read, is not a picture or is damaged, or `short_side` is below 1.
    """
    path = path if hasattr(path, "read") else as_path("path", path)
    name = source_name(path)
    if short_side is not None and as_integer("short_side", short_side, -math.inf, math.inf) < 1:
        raise ValueError(f"the short side of {name} can be resized to 1 pixel or more, not to {short_side}")
    for limit, value in (("max_pixels", max_pixels), ("budget", budget)):
        if value is not None:
            as_integer(limit, value, 1, math.inf)
    try:
        # Pillow warns of sloppy EXIF, which phones write.
        with open_source(path, budget) as file, warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")
            image = open_image(file, name, max_pixels)
            if short_side is not None:
                check_pixels(name, image.size, max_pixels, resized(image.size, short_side))
            check_memory(name, image, short_side, budget)
            notes = notes_on(image, file, name)
            # Pillow turns a TIFF upright when it loads it, and forgets that it lay on its side.
            stored = getattr(image, "tag_v2", {}).get(Tag.Orientation)
            low = load_low_bytes(image, file, name, max_pixels)
            orientation = load_image(image, name)
            metadata = lasting_metadata(image, sideways=(stored or orientation) in SIDEWAYS)
            pixels, alpha = to_srgb(image, orientation, short_side, low)
            bits = 16 if low is not None or image.mode.startswith(("I", "F")) else 8
        del image, low
        if alpha is not None:
            show_hidden(pixels, alpha)
    except OSError as error:
        raise ValueError(f"cannot read {name}: {error.strerror or error}") from None
    except (MemoryError, OverflowError):
        raise ValueError(f"cannot read {name}: there is not enough memory for its pixels") from None
    return Picture(pixels, alpha, metadata, notes, bits)


def read_image(
    path: PathLike | BinaryIO,
    short_side: int | None = None,
    *,
    max_pixels: int | None = None,
    budget: int | None = None,
) -> np.ndarray:
    """Read the colours of a picture: its first frame, upright and in sRGB; see `read_picture` for the formats.

    Args:
        path: The file, or an open binary file or pipe, which is read from start to end.
        short_side: The length to resize the shorter side to, or None to keep the size.
        max_pixels: The largest number of pixels allowed, before and after resizing; None for 178,956,970.
        budget: The largest number of bytes that reading may take, result included; None for no limit.

    Returns:
        sRGB colours, float32 `[H, W, 3]` in 0..1.

    Raises:
        ValueError: The file cannot be read, is not a picture, is damaged, or exceeds a limit.

    Example:
        >>> import io
        >>> file = io.BytesIO()
        >>> write_image(file, np.full((4, 6, 3), 0.2, np.float32))
        >>> read_image(file, short_side=2).shape
        (2, 3, 3)
    """
    return read_picture(path, short_side, max_pixels=max_pixels, budget=budget).pixels

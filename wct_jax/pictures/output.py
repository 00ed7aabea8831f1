"""Writing a result to a file, and reading how a file was made."""

import io
import os
import stat
import warnings
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from wct_jax.checks.arguments import as_path
from wct_jax.checks.arrays import is_floating, on_host
from wct_jax.pictures.decoding import load_image, open_image
from wct_jax.pictures.exif import as_stored
from wct_jax.pictures.picture import Picture
from wct_jax.pictures.sixteen import encode_png, encode_tiff
from wct_jax.pictures.source import PathLike, open_source, source_name
from wct_jax.system.atomic import atomic_write

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}
OUTPUT_SUFFIXES = tuple(_FORMATS)
_OPTIONS: dict[str, dict[str, Any]] = {"JPEG": {"subsampling": "4:4:4"}}
# A large picture is converted in strips, to avoid copies of the whole.
_PIXELS_AT_ONCE = 2**22
# The keyword of the text chunk in a PNG file.
_SETTINGS_KEY = "wct_jax"
_LONGEST_SIDE = {"JPEG": 65500, "WEBP": 16383}


def write_picture(path: PathLike | BinaryIO, picture: Picture, suffix: str | None = None, quality: int = 95) -> None:
    """Write a picture at 8 bits per value, completely or not at all; at 16 in PNG and TIFF if it has as many.

    PNG, WebP and TIFF keep the alpha; JPEG, which has none, shows the picture on white.

    Args:
        path: The file to write, replaced if it exists, or an open binary file.
        picture: Colours and alpha of any float dtype; values outside 0..1 are clipped.
        suffix: The suffix of the format, such as `.png`; None for the path's suffix, or `.png` for an open file.
        quality: The quality of JPEG and WebP, 1 to 100.

    Raises:
        ValueError: The suffix is unknown, an array has the wrong shape or dtype or a value that is not finite,
            the picture is too large for the format, or the file cannot be written.
    """
    path = path if hasattr(path, "write") else as_path("path", path)
    name = source_name(path)
    suffix = suffix or (os.path.splitext(name)[1] if isinstance(path, str | os.PathLike) else ".png")
    format = _FORMATS[_check_suffix(name, suffix, OUTPUT_SUFFIXES)]
    try:
        data = _encode(name, picture, format, quality)
    except MemoryError:
        raise ValueError(f"cannot write {name}: there is not enough memory to encode it") from None
    if isinstance(path, str | os.PathLike):
        with atomic_write(path) as scratch:
            scratch.write_bytes(data)
        return
    try:
        path.write(data)
        path.flush()
    except OSError as error:
        raise ValueError(f"cannot write {name}: {error.strerror or error}") from None


def write_image(path: PathLike | BinaryIO, pixels: np.ndarray | Picture, suffix: str | None = None) -> None:
    """Write sRGB colours to a PNG, JPEG, WebP or TIFF file at 8 bits per value, completely or not at all.

    Args:
        path: The file to write, replaced if it exists, or an open binary file.
        pixels: sRGB colours, float `[H, W, 3]` in 0..1, values outside are clipped; or a picture, such as
            `Session.paint` returns, whose alpha and metadata are written too.
        suffix: The suffix of the format, such as `.png`; None for the path's suffix, or `.png` for an open file.

    Raises:
        ValueError: The suffix is unknown, the array has the wrong shape or dtype or a value that is not finite,
            the picture is too large for the format, or the file cannot be written.

    Example:
        >>> import io
        >>> file = io.BytesIO()
        >>> write_image(file, np.zeros((4, 5, 3), np.float32), ".png")
        >>> file.getvalue()[1:4]
        b'PNG'
    """
    write_picture(path, pixels if isinstance(pixels, Picture) else Picture(pixels), suffix)


def read_settings(path: PathLike | BinaryIO) -> str:
    """Read how a result was made from the text chunk that `write_picture` put into its PNG file.

    Args:
        path: The PNG file, or an open binary file.

    Returns:
        JSON with `options`, the names of the `styles` and of the `model`, and the version of `wct_jax`.

    Raises:
        ValueError: The file cannot be read, is not a PNG, or has no such chunk.
    """
    name = source_name(path)
    try:
        with open_source(path) as file, warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")
            image = open_image(file, name)
            if image.format == "PNG":
                load_image(image, name)  # The chunk may follow the pixels.
            settings = getattr(image, "text", {}).get(_SETTINGS_KEY)
    except OSError as error:
        raise ValueError(f"cannot read {name}: {error.strerror or error}") from None
    if settings is None:
        raise ValueError(f"{name} does not say how it was made: expected a PNG file that stylize.py wrote")
    return str(settings)


def check_output(path: PathLike, overwrite: bool, suffixes: Sequence[str] = OUTPUT_SUFFIXES) -> None:
    """Check before long work that its result can be written.

    Args:
        path: The picture file to be written.
        overwrite: Whether an existing file may be replaced.
        suffixes: The suffixes allowed, in lower case.

    Raises:
        ValueError: The path is a directory or has an unknown suffix, its directory is missing or not writable,
            or the file, or a link of that name, exists and must not be replaced.
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
    _check_suffix(path, os.path.splitext(path)[1], suffixes)
    if kind is not None and not stat.S_ISREG(kind):
        raise ValueError(f"cannot write {path}: it is not a regular file")
    if os.path.lexists(path) and not overwrite:  # Even a dangling link: somebody made it.
        raise ValueError(f"cannot write {path}: it exists, and overwriting it was not asked for")
    if not os.path.isdir(directory):
        raise ValueError(f"cannot write {path}: the directory {directory} does not exist")
    if not os.access(directory, os.W_OK | os.X_OK):
        raise ValueError(f"cannot write {path}: the directory {directory} is not writable")


def _check_suffix(path: PathLike, suffix: str, suffixes: Sequence[str]) -> str:
    suffix = suffix.lower()
    if suffix not in suffixes:
        one_of = "one of " if len(suffixes) > 1 else ""
        raise ValueError(f"cannot write {path}: its suffix must be {one_of}{', '.join(suffixes)}")
    return suffix


def _single(values: np.ndarray) -> np.ndarray:
    # Half precision is too coarse for 8-bit levels, and NumPy cannot compute in bfloat16.
    return values.astype(np.float32) if values.dtype.itemsize < 4 else values


def _encode(path: PathLike, picture: Picture, format: str, quality: int) -> bytes:
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
    encode = {"PNG": encode_png, "TIFF": encode_tiff}.get(format) if picture.bits == 16 else None
    channels_written = 3 if on_white else sum(array.shape[2] for array in arrays)
    levels = np.empty((height, width, channels_written), np.uint16 if encode else np.uint8)
    rows = max(1, _PIXELS_AT_ONCE // width)
    for top in range(0, height, rows):
        channels = [_single(array[top : top + rows]) for array in arrays]
        if not all(np.isfinite(channel).all() for channel in channels):
            raise ValueError(f"cannot write {path}: expected finite values, got NaN or infinity")
        channels = [channel.clip(0, 1) for channel in channels]
        if on_white:
            channels = [channels[0] * channels[1] + (1 - channels[1])]
        levels[top : top + rows] = np.rint(np.concatenate(channels, axis=-1) * (65535 if encode else 255))

    options = dict(_OPTIONS.get(format, {}), exif=picture.metadata.exif)
    if format in ("JPEG", "WEBP"):
        options["quality"] = quality
    if format == "TIFF":  # Pillow writes TIFF tags one by one.
        options["exif"] = Image.Exif()
        options["exif"].load(picture.metadata.exif)
        options["exif"].update({tag: as_stored(value) for tag, value in options["exif"].items()})
    if format == "PNG" and picture.metadata.settings:
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt(_SETTINGS_KEY, picture.metadata.settings)
    if picture.metadata.dpi:
        options["dpi"] = picture.metadata.dpi
    if encode:
        return encode(levels, options)
    # Encode in memory: when a disk is full, Pillow's encoders hide the system's reason.
    file = io.BytesIO()
    Image.fromarray(levels).save(file, format, **options)
    return file.getvalue()

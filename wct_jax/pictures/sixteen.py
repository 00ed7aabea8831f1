"""Colours of 16 bits per value, which Pillow has no mode for."""

import io
import struct
import sys
import zlib
from typing import Any

import numpy as np
from PIL import Image
from PIL.ExifTags import Base as Tag

_ROWS = 256
# Little is gained by trying harder, since the low bytes are noise.
_EFFORT = 3


def low_tiles(image: Any) -> list[Any]:
    """The tiles of a picture of 16-bit colours, described so that Pillow decodes the low bytes; otherwise none.

    Pillow's unpackers of such colours keep the high bytes. In the other byte order the low ones are the high ones.
    """
    other = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
    tiles = []
    for tile in getattr(image, "tile", ()):
        raw, *rest = (tile.args,) if isinstance(tile.args, str) else tile.args or ("",)
        kind, _, depth = str(raw).partition(";16")
        if kind not in ("RGB", "RGBA", "RGBX", *"RGBA") or depth not in other:
            return []
        swapped = f"{kind};16{other[depth]}"
        tiles.append(tile._replace(args=swapped if isinstance(tile.args, str) else (swapped, *rest)))
    return tiles


def joined(high: Image.Image, low: Image.Image) -> np.ndarray:
    """Colours, float32 `[h, w, 3]` in 0..1, from their high and low bytes."""
    levels = np.asarray(high)[..., :3].astype(np.uint16) << 8
    levels |= np.asarray(low)[..., :3]
    unit: np.ndarray = np.divide(levels, 65535, dtype=np.float32)
    return unit


def encode_png(levels: np.ndarray, options: dict[str, Any]) -> bytes:
    """Encode levels, uint16 `[H, W, 3 or 4]`, with the metadata that Pillow makes of `options`."""
    height, width, channels = levels.shape
    small = _saved(np.zeros((1, 1, channels), np.uint8), "PNG", options)
    out, start = io.BytesIO(), 8
    out.write(small[:start])
    while start < len(small):
        length, kind = struct.unpack_from(">I4s", small, start)
        if kind == b"IHDR":
            rest = small[start + 17 : start + 8 + length]
            _write_chunk(out, kind, struct.pack(">IIB", width, height, 16) + rest)
        elif kind == b"IDAT":
            _write_pixels(out, levels)
        else:
            out.write(small[start : start + 12 + length])
        start += 12 + length
    return out.getvalue()


def _write_pixels(out: io.BytesIO, levels: np.ndarray) -> None:
    packer = zlib.compressobj(_EFFORT)
    for top in range(0, len(levels), _ROWS):
        part = levels[top : top + _ROWS].astype(">u2").view(np.uint8).reshape(-1, levels.shape[1], 2 * levels.shape[2])
        filtered = part.copy()
        filtered[:, 1:] -= part[:, :-1]  # Filter 1: the difference from the pixel on the left.
        rows = filtered.reshape(len(part), -1)
        packed = packer.compress(np.pad(rows, [(0, 0), (1, 0)], constant_values=1).tobytes())
        if packed:
            _write_chunk(out, b"IDAT", packed)
    _write_chunk(out, b"IDAT", packer.flush())


def _write_chunk(out: io.BytesIO, kind: bytes, data: bytes) -> None:
    out.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))


def encode_tiff(levels: np.ndarray, options: dict[str, Any]) -> bytes:
    """Encode levels, uint16 `[H, W, 3 or 4]`, with the metadata that Pillow makes of `options`.

    Pillow writes the bytes as pictures of 8 bits that are twice as wide, and we correct what the file says of them.
    """
    height, width, channels = levels.shape
    data = bytearray(_saved(levels.astype("<u2").view(np.uint8).reshape(height, 2 * width, channels), "TIFF", options))
    start = struct.unpack_from("<4xI", data)[0]
    for entry in range(start + 2, start + 2 + 12 * struct.unpack_from("<H", data, start)[0], 12):
        tag, kind, count, value = struct.unpack_from("<HHII", data, entry)
        if tag == Tag.ImageWidth:
            struct.pack_into("<H" if kind == 3 else "<I", data, entry + 8, width)
        elif tag == Tag.BitsPerSample:
            struct.pack_into(f"<{count}H", data, value, *[16] * count)
    return bytes(data)


def _saved(levels: np.ndarray, format: str, options: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(levels).save(file, format, **options)
    return file.getvalue()

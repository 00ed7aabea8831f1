"""Colour profiles (ICC.1:2010), and the colour chunks of a PNG turned into profiles."""

import functools
import struct
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

# Red, green, blue and white in CIE x and y (ITU-T H.273, table 2), by their number in a cICP chunk.
_D65 = (0.3127, 0.329)
_SRGB = ((0.64, 0.33), (0.3, 0.6), (0.15, 0.06), _D65)
_PRIMARIES = {
    1: _SRGB,
    5: ((0.64, 0.33), (0.29, 0.6), (0.15, 0.06), _D65),
    6: ((0.63, 0.34), (0.31, 0.595), (0.155, 0.07), _D65),
    7: ((0.63, 0.34), (0.31, 0.595), (0.155, 0.07), _D65),
    9: ((0.708, 0.292), (0.17, 0.797), (0.131, 0.046), _D65),
    11: ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06), (0.314, 0.351)),
    12: ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06), _D65),
}
# The white of paper, in cd/m^2 and as an HLG value (ITU-R BT.2408, table 1).
_PAPER, _PAPER_HLG = 203, 0.75
_HDR = {16: "PQ", 18: "HLG"}


def _from_srgb(value: np.ndarray) -> np.ndarray:
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def _from_pq(value: np.ndarray) -> np.ndarray:
    """SMPTE ST 2084, equation 4.1."""
    root = value ** (32 / 2523)
    light = (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (8192 / 1305)
    return np.minimum(light * 10000 / _PAPER, 1)


def _from_hlg(value: np.ndarray) -> np.ndarray:
    """ITU-R BT.2100, table 5: the inverse curve, then the display's gamma of 1.2."""

    def light(v: np.ndarray) -> np.ndarray:
        return np.where(v <= 0.5, v**2 / 3, (np.exp((v - 0.55991073) / 0.17883277) + 0.28466892) / 12) ** 1.2

    return np.minimum(light(value) / light(np.array(_PAPER_HLG)), 1)


# Value to light, by the number of the transfer in a cICP chunk. The curves of television describe cameras; displays
# undo sRGB's curve or one like it.
_TRANSFERS: dict[int, Callable[[np.ndarray], np.ndarray]] = dict.fromkeys((1, 6, 13, 14, 15), _from_srgb)
_TRANSFERS |= {4: lambda value: value**2.2, 5: lambda value: value**2.8, 8: lambda value: value}
_TRANSFERS |= {16: _from_pq, 18: _from_hlg}


def declared_profile(image: Image.Image, file: BinaryIO) -> bytes | None:
    """Return the profile of an opened PNG: embedded, or made from cICP, sRGB, gAMA and cHRM (PNG 3, section 4.3).

    Args:
        image: The PNG, opened and not loaded yet.
        file: The file that it was opened from; its position is kept.

    Returns:
        A profile for the image's kind of colours, or None where they are sRGB.
    """
    position = file.tell()
    chunk = _chunk(file, b"cICP")
    file.seek(position)
    grey = image.mode in ("1", "L", "LA", "I;16")
    if chunk and len(chunk) == 4 and chunk[0] in _PRIMARIES and chunk[1] in _TRANSFERS and chunk[2] == 0:
        image.info["cicp"] = tuple(chunk)
        curve, primaries = _TRANSFERS[chunk[1]], _PRIMARIES[chunk[0]]
        if curve is _from_srgb and primaries is _SRGB and chunk[3] == 1:
            return None
        steps = np.linspace(0, 1, 4096)
        if chunk[3] == 0:  # Narrow range: black is 16 of 255, white 235.
            steps = ((steps * 255 - 16) / 219).clip(0, 1)
        return _profile(grey, curve(steps), primaries)
    embedded: bytes | None = image.info.get("icc_profile")
    if embedded or "srgb" in image.info:
        return embedded
    gamma, corners = image.info.get("gamma", 0), _corners(image.info.get("chromaticity", ()))
    # Nearly every program writes sRGB's curve as a gamma of 1/2.2; like libpng, we ignore differences of 5 percent.
    plain = not 0.01 < gamma < 10 or abs(gamma * 2.2 - 1) < 0.05
    if plain and (grey or np.allclose(corners, _SRGB, atol=0.005)):
        return None
    steps = np.linspace(0, 1, 4096)
    return _profile(grey, _from_srgb(steps) if plain else steps ** (1 / gamma), corners)


def hdr_note(image: Image.Image, name: str) -> str | None:
    """Return a sentence on an image that is brighter than sRGB can show, or None."""
    kind = _HDR.get(image.info.get("cicp", (0, 0))[1])
    return kind and f"{name} is HDR ({kind}): highlights brighter than white are read as white"


def _chunk(file: BinaryIO, wanted: bytes) -> bytes | None:
    """Return the data of a PNG chunk that precedes the pixels."""
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        if name == wanted:
            return file.read(min(length, 64))
        if name == b"IDAT":
            break
        file.seek(length + 4, 1)
    return None


def _corners(chromaticity: Sequence[float]) -> Any:
    """Return the primaries and white of a cHRM chunk, or those of sRGB where it makes no sense."""
    if len(chromaticity) == 8:
        white, *rest = zip(chromaticity[::2], chromaticity[1::2], strict=True)
        corners = (*rest, white)
        sides = np.subtract(corners[1:3], corners[0])
        if all(0 <= x <= 1 and 0.001 < y <= 1 for x, y in corners) and abs(np.linalg.det(sides)) > 0.01:
            return corners
    return _SRGB


def _profile(grey: bool, light: np.ndarray, primaries: Any) -> bytes:
    samples = np.rint(light * 65535).astype(">u2")
    curve = b"curv" + struct.pack(">2I", 0, len(samples)) + samples.tobytes()
    if grey:
        return make_profile(b"GRAY", {b"kTRC": curve})
    columns = _columns(primaries)
    colors = {name: b"XYZ " + bytes(4) + fixed(*columns[:, i]) for i, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    return make_profile(b"RGB ", colors | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve))


def _columns(primaries: Any) -> np.ndarray:
    """Return the XYZ of red, green and blue, adapted to D50 by Bradford's transform (ICC.1:2010, annex E)."""
    red, green, blue, white = ((x / y, 1, (1 - x - y) / y) for x, y in primaries)
    colors = np.array([red, green, blue]).T
    colors = colors * np.linalg.solve(colors, white)
    cones = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    scale = (cones @ _D50) / (cones @ white)
    return np.linalg.solve(cones, scale[:, None] * (cones @ colors))


_D50 = (0.9642, 1, 0.8249)


def fixed(*values: float) -> bytes:
    """Encode numbers as s15Fixed16."""
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def make_profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """Build a display profile (ICC.1:2010, 7) of a colour space such as `b"RGB "` from its encoded tags."""
    tags = {b"wtpt": b"XYZ " + bytes(4) + fixed(*_D50), **tags}
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">2I", 128 + 4 + 12 * len(tags) + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = 128 + len(table) + len(body)
    header = struct.pack(">3I", size, 0, 0x04200000) + b"mntr" + space + b"XYZ " + bytes(12) + b"acsp"
    return header.ljust(68, b"\0") + fixed(*_D50).ljust(60, b"\0") + table + body


@functools.cache
def srgb_grey() -> bytes:
    """Build the profile of grey with sRGB's tone curve, which Pillow cannot make (ICC.1:2010, 10.16)."""
    curve = b"para" + bytes(4) + struct.pack(">2H", 3, 0) + fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    return make_profile(b"GRAY", {b"kTRC": curve})

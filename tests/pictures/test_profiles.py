"""Colours that a PNG declares in its chunks, against the standards' formulas in double precision."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import ImageCms

from wct_jax.pictures.images import read_image, read_picture

LEVEL = 1 / 255
COLORS = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
SRGB = b"sRGB", b"\0"
ADOBE = b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)
# To linear sRGB (CSS Color 4, section 18).
FROM_P3 = np.array([[1.2249402, -0.2249402, 0], [-0.0420570, 1.0420570, 0], [-0.0196376, -0.0786360, 1.0982736]])
FROM_2020 = np.array(
    [[1.6604910, -0.5876411, -0.07285], [-0.1245505, 1.1328999, -0.0083494], [-0.0181508, -0.1005789, 1.1187297]]
)
FROM_ADOBE = np.array([[1.3983557, -0.3983557, 0], [0, 1, 0], [0, -0.0429290, 1.0429290]])


def png(pixels: np.ndarray, *chunks: tuple[bytes, bytes]) -> io.BytesIO:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">2I5B", pixels.shape[1], pixels.shape[0], 8, 2 if pixels.ndim == 3 else 0, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    body = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in body))


def gamma(value: int) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", value)


def cicp(*codes: int) -> tuple[bytes, bytes]:
    return b"cICP", bytes(codes)


def icc() -> tuple[bytes, bytes]:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return b"iCCP", b"a\0\0" + zlib.compress(profile)


def encoded(linear: np.ndarray) -> np.ndarray:
    linear = linear.clip(0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def decoded(value: np.ndarray) -> np.ndarray:
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize(
    "chunks",
    [
        (),
        *((gamma(value),) for value in (45455, 46000, 0, 2**32 - 1)),
        (SRGB, gamma(100000)),
        (icc(), gamma(100000)),
        (cicp(1, 13, 0, 1), gamma(100000)),
        (cicp(1, 1, 0, 1),),
        *(((b"cHRM", byte * 32),) for byte in (b"\0", b"\xff")),
        *((cicp(*codes),) for codes in ((9,), (99, 99, 0, 1), (9, 16, 5, 1))),
    ],
)
def test_what_is_srgb_or_makes_no_sense_changes_nothing(chunks: tuple[tuple[bytes, bytes], ...]) -> None:
    np.testing.assert_allclose(read_image(png(COLORS, *chunks)), COLORS / 255, atol=1e-6)


@pytest.mark.parametrize("value", [100000, 55556, 22222])
def test_gamma(value: int) -> None:
    expected = encoded((COLORS / 255) ** (100000 / value))
    np.testing.assert_allclose(read_image(png(COLORS, gamma(value))), expected, atol=LEVEL)
    grey = COLORS[..., 0]
    np.testing.assert_allclose(read_image(png(grey, gamma(value)))[..., 0], expected[..., 0], atol=0.1 * LEVEL)


@pytest.mark.parametrize(
    ("chunks", "matrix"),
    [
        ((cicp(12, 13, 0, 1),), FROM_P3),
        ((cicp(12, 13, 0, 1), SRGB, gamma(100000)), FROM_P3),
        ((cicp(12, 13, 0, 1), icc()), FROM_P3),
        ((cicp(9, 1, 0, 1),), FROM_2020),
        ((ADOBE, gamma(45455)), FROM_ADOBE),
        ((ADOBE,), FROM_ADOBE),
    ],
)
def test_primaries(chunks: tuple[tuple[bytes, bytes], ...], matrix: np.ndarray) -> None:
    expected = encoded(decoded(COLORS / 255) @ matrix.T)
    np.testing.assert_allclose(read_image(png(COLORS, *chunks)), expected, atol=1.5 * LEVEL)


def test_values_of_a_narrow_range() -> None:
    ends = np.array([[[16, 16, 16], [235, 235, 235], [0, 255, 16]]], np.uint8)
    pixels = read_image(png(ends, cicp(1, 13, 0, 0)))
    np.testing.assert_allclose(pixels, [[[0, 0, 0], [1, 1, 1], [0, 1, 0]]], atol=LEVEL)


@pytest.mark.parametrize(("transfer", "name", "white"), [(16, "PQ", 0.5806), (18, "HLG", 0.75)])
def test_hdr_is_mentioned_and_its_paper_white_is_white(transfer: int, name: str, white: float) -> None:
    levels = np.rint(255 * white * np.array([0, 0.5, 1, 1 / white])).astype(np.uint8)
    picture = read_picture(png(levels[None, :, None].repeat(3, -1), cicp(9, transfer, 0, 1)))
    assert len(picture.notes) == 1
    assert f"HDR ({name})" in picture.notes[0]
    np.testing.assert_allclose(picture.pixels[0, [0, 2, 3], 1], [0, 1, 1], atol=1.5 * LEVEL)
    assert 0.1 < picture.pixels[0, 1, 1] < 0.6

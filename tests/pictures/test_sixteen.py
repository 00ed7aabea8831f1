"""Pictures of 16 bits per value, read with all of them and written with as many."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from wct_jax.pictures.images import read_picture
from wct_jax.pictures.output import read_settings, write_picture
from wct_jax.pictures.picture import Metadata, Picture
from wct_jax.pictures.sixteen import encode_png

pytestmark = pytest.mark.core


def levels(*shape):
    return np.random.default_rng(0).integers(0, 65536, shape).astype(np.uint16)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("transparent", [False, True])
def test_round_trip(suffix, transparent):
    colors = levels(300, 21, 3)
    # Pillow reads 8 bits of the alpha, and colours of wholly transparent pixels are not kept.
    alpha = (levels(300, 21) | 256) / np.float32(65535) if transparent else None
    exif = Image.Exif()
    exif[0x010F] = "camera"
    metadata = Metadata(exif.tobytes(), (72, 96), "{}" if suffix == ".png" else "")
    file = io.BytesIO()
    write_picture(file, Picture((colors / 65535).astype(np.float32), alpha, metadata, bits=16), suffix)
    picture = read_picture(io.BytesIO(file.getvalue()))
    assert picture.bits == 16
    np.testing.assert_array_equal(np.rint(picture.pixels * 65535), colors)
    if transparent:
        np.testing.assert_allclose(picture.alpha, alpha, atol=1 / 255)
    assert picture.metadata.dpi == pytest.approx((72, 96), abs=0.1)
    assert b"camera" in picture.metadata.exif
    if suffix == ".png":
        assert read_settings(io.BytesIO(file.getvalue())) == "{}"


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_other_formats_have_8_bits(suffix):
    file = io.BytesIO()
    write_picture(file, Picture(np.full((8, 8, 3), 0.5, np.float32), bits=16), suffix)
    assert read_picture(io.BytesIO(file.getvalue())).bits == 8


def test_resized():
    colors = np.full((40, 60, 3), (1000, 1001, 65000), np.uint16)
    picture = read_picture(io.BytesIO(encode_png(colors, {})), 10)
    np.testing.assert_allclose(picture.pixels * 65535, colors[:10, :15], atol=0.6)


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_turned_upright(orientation):
    colors, exif = levels(20, 30, 3), Image.Exif()
    exif[0x0112] = orientation
    picture = read_picture(io.BytesIO(encode_png(colors, {"exif": exif.tobytes()})))
    expected = np.rot90(colors, {1: 0, 3: 2, 6: 3}[orientation])
    np.testing.assert_array_equal(np.rint(picture.pixels * 65535), expected)


def test_interlaced_and_filtered_files_are_decoded():
    colors = levels(1, 1, 3)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixels = zlib.compress(b"\4" + colors.astype(">u2").tobytes())
    header = struct.pack(">2I5B", 1, 1, 16, 2, 0, 0, 1)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    np.testing.assert_array_equal(np.rint(read_picture(io.BytesIO(data)).pixels * 65535), colors)


def test_colours_of_another_profile_have_8_bits():
    colors = levels(8, 9, 3)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert read_picture(io.BytesIO(encode_png(colors, {"icc_profile": srgb}))).bits == 16
    assert read_picture(io.BytesIO(encode_png(colors, {"icc_profile": lab}))).bits == 16  # It is no profile of RGB.
    wide = bytearray(srgb)
    red = wide.index(b"rXYZ", 128)
    offset = struct.unpack_from(">I", wide, red + 4)[0]
    struct.pack_into(">3i", wide, offset + 8, 40000, 20400, 1300)
    assert read_picture(io.BytesIO(encode_png(colors, {"icc_profile": bytes(wide)}))).bits == 8


def test_what_is_cut_short_is_refused():
    data = encode_png(levels(50, 50, 3), {})
    with pytest.raises(ValueError, match="cut short or damaged"):
        read_picture(io.BytesIO(data[: len(data) // 2]))

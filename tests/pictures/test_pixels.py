"""Real files of every mode, depth and colour profile, read as sRGB and alpha."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms, ImageOps, features

from wct_jax.pictures.images import read_image, read_picture

LEVEL = 1 / 255


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def patches() -> np.ndarray:
    """Large flat patches, which lossy formats keep: uint8 `[32, 96, 3]`."""
    colors = np.array([[[200, 40, 30], [250, 250, 250], [20, 120, 60]], [[0, 0, 0], [30, 60, 190], [128, 128, 128]]])
    return colors.repeat(16, axis=0).repeat(32, axis=1).astype(np.uint8)


def saved(path: Path, array: np.ndarray, mode: str = "RGB", **options: object) -> Path:
    Image.fromarray(array).convert(mode).save(path, **options)
    return path


def png(depth: int, color_type: int, rows: list[bytes], width: int, transparent: bytes = b"") -> bytes:
    """A PNG of depths that Pillow reads but does not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">2I5B", width, len(rows), depth, color_type, 0, 0, 0))
    key = chunk(b"tRNS", transparent) if transparent else b""
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + head + key + pixels + chunk(b"IEND", b"")


def grey_tiff(data: bytes, width: int, bits: int, white_is_zero: bool = False, sample_format: int = 1) -> bytes:
    """A little-endian TIFF of one row, of kinds that Pillow reads but does not write (TIFF 6.0, section 2)."""
    start = 8 + 2 + 10 * 12 + 4
    tags = [(256, width), (257, 1), (258, bits), (259, 1), (262, 0 if white_is_zero else 1), (273, start), (277, 1)]
    tags += [(278, 1), (279, len(data)), (339, sample_format)]
    entries = b"".join(struct.pack("<2H2I", tag, 4 if tag in (273, 279) else 3, 1, value) for tag, value in tags)
    return b"II" + struct.pack("<HIH", 42, 8, len(tags)) + entries + bytes(4) + data


# Colour profiles (ICC.1:2010). Pillow makes sRGB, XYZ and Lab profiles only.


def fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def icc(space: bytes, tags: dict[bytes, bytes], kind: bytes = b"mntr", pcs: bytes = b"XYZ ") -> bytes:
    d50 = fixed(0.9642, 1, 0.8249)
    tags = {b"wtpt": b"XYZ " + bytes(4) + d50, **tags}
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">2I", 128 + 4 + 12 * len(tags) + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(">3I", 128 + len(table) + len(body), 0, 0x02400000) + kind + space + pcs + bytes(12) + b"acsp"
    return header.ljust(68, b"\0") + d50.ljust(60, b"\0") + table + body


def gamma_curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))


WIDE = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])
SRGB_D50 = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
WIDE_GAMMA = 563 / 256


def wide_profile() -> bytes:
    columns = {name: b"XYZ " + bytes(4) + fixed(*WIDE[:, i]) for i, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    return icc(b"RGB ", columns | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), gamma_curve(WIDE_GAMMA)))


def grey_profile(gamma: float) -> bytes:
    return icc(b"GRAY", {b"kTRC": gamma_curve(gamma)})


def cmyk_profile(ink: dict[tuple[int, ...], tuple[int, int, int]], black: int = 0, kind: bytes = b"prtr") -> bytes:
    """A press on which the given inks (0 or 1 each) have the given Lab colours, and any black this lightness."""
    corners = [tuple(int(bit) for bit in f"{i:04b}") for i in range(16)]
    lab = [ink.get(corner, (black if corner[3] else 50, 0, 0)) for corner in corners]
    table = bytes(value for light, a, b in lab for value in (round(light * 2.55), a + 128, b + 128))
    straight = bytes(range(256))
    head = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    table = head + straight * 4 + table + straight * 3
    return icc(b"CMYK", {b"A2B0": table, b"A2B1": table}, kind=kind, pcs=b"Lab ")


def encoded(linear: np.ndarray) -> np.ndarray:
    linear = linear.clip(0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def lab_to_srgb(light: float, a: float, b: float) -> np.ndarray:
    y = (light + 16) / 116
    f = np.array([y + a / 500, y, y - b / 200])
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * (0.9642, 1, 0.8249)
    return encoded(np.linalg.solve(SRGB_D50, xyz))


# Formats and modes.


@pytest.mark.core
@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "ppm", "tga", "gif", "jpg", "webp", "avif", "jp2", "ico"])
def test_rgb_in_every_common_format(tmp_path: Path, suffix: str) -> None:
    if suffix == "avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    options = {"quality": 95} if suffix in ("jpg", "webp", "avif") else {"sizes": [(96, 32)]} if suffix == "ico" else {}
    picture = read_picture(saved(tmp_path / f"a.{suffix}", patches(), **options))
    assert picture.pixels.dtype == np.float32
    assert picture.alpha is None
    exact = suffix not in ("jpg", "webp", "avif")
    inner = (slice(4, 12), slice(4, 28))  # Lossy formats smear the borders of the patches.
    for row in (0, 16):
        for column in (0, 32, 64):
            here = picture.pixels[row:, column:][inner]
            np.testing.assert_allclose(here, patches()[row:, column:][inner] / 255, atol=1e-7 if exact else 6 * LEVEL)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
@pytest.mark.parametrize(("grey", "white"), [(noise(5, 7) > 127, 1), (noise(5, 7), 255)], ids=["1 bit", "8 bits"])
def test_grey(tmp_path: Path, grey: np.ndarray, white: int, suffix: str) -> None:
    Image.fromarray(grey).save(tmp_path / f"a.{suffix}")
    np.testing.assert_allclose(read_image(tmp_path / f"a.{suffix}"), grey[..., None].repeat(3, -1) / white, atol=1e-7)


@pytest.mark.parametrize(("mode", "suffix"), [("LA", "png"), ("LA", "tiff"), ("RGBA", "png"), ("RGBA", "tiff")])
def test_alpha_channel(tmp_path: Path, mode: str, suffix: str) -> None:
    channels = noise(5, 7, len(mode)) | 1
    Image.fromarray(channels).save(tmp_path / f"a.{suffix}")
    picture = read_picture(tmp_path / f"a.{suffix}")
    colors = np.broadcast_to(channels[..., :-1], (5, 7, 3))
    np.testing.assert_allclose(picture.pixels, colors / 255, atol=1e-7)
    assert picture.alpha is not None
    assert picture.alpha.dtype == np.float32
    np.testing.assert_allclose(picture.alpha, channels[..., -1] / 255, atol=1e-7)


def test_palette(tmp_path: Path) -> None:
    paletted = Image.fromarray(patches()).quantize(8)
    paletted.save(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png")
    np.testing.assert_allclose(picture.pixels, np.asarray(paletted.convert("RGB")) / 255, atol=1e-7)
    assert picture.alpha is None


def paletted() -> Image.Image:
    """Three columns: index 0 is red, 1 green, 2 blue."""
    image = Image.fromarray(np.array([[0, 1, 2]] * 2, np.uint8), "P")
    image.putpalette((255, 0, 0, 0, 255, 0, 0, 0, 255))
    return image


@pytest.mark.parametrize(
    ("suffix", "transparency", "alpha", "colors"),
    [
        ("png", 2, [1, 1, 0], [[1, 0, 0], [0, 1, 0], [0, 1, 0]]),
        ("gif", 2, [1, 1, 0], [[1, 0, 0], [0, 1, 0], [0, 1, 0]]),
        ("png", bytes((255, 51, 102)), [1, 0.2, 0.4], np.eye(3)),
    ],
)
def test_palette_with_transparent_colors(tmp_path: Path, suffix, transparency, alpha, colors) -> None:
    paletted().save(tmp_path / f"a.{suffix}", transparency=transparency)
    picture = read_picture(tmp_path / f"a.{suffix}")
    np.testing.assert_allclose(picture.alpha, [alpha] * 2, atol=1e-7)
    np.testing.assert_array_equal(picture.pixels, [colors] * 2)


def test_palette_with_an_alpha_channel(tmp_path: Path) -> None:
    image = paletted().convert("PA")
    image.putalpha(Image.fromarray(np.array([[51, 102, 153]] * 2, np.uint8)))
    assert image.mode == "PA"
    image.save(tmp_path / "a.tiff")
    picture = read_picture(tmp_path / "a.tiff")
    np.testing.assert_allclose(picture.alpha, [[0.2, 0.4, 0.6]] * 2, atol=1e-7)
    np.testing.assert_array_equal(picture.pixels, [np.eye(3)] * 2)


def test_cmyk_jpeg_of_adobe_is_not_a_negative(tmp_path: Path) -> None:
    saved(tmp_path / "a.jpg", patches(), "CMYK", quality=95)
    assert b"Adobe" in (tmp_path / "a.jpg").read_bytes()
    np.testing.assert_allclose(read_image(tmp_path / "a.jpg")[8::16, 16::32], patches()[8::16, 16::32] / 255, atol=0.05)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB"])
def test_other_color_spaces(tmp_path: Path, mode: str) -> None:
    saved(tmp_path / "a.tiff", patches(), mode)
    np.testing.assert_allclose(read_image(tmp_path / "a.tiff"), patches() / 255, atol=8 * LEVEL)  # LAB has 8 bits too.


# Depths.


def ramp() -> np.ndarray:
    return np.arange(65536, dtype=np.uint16).reshape(4, -1)


@pytest.mark.parametrize(("suffix", "mode"), [("png", "I;16"), ("tiff", "I;16"), ("tiff", "I;16B"), ("pgm", "I")])
@pytest.mark.parametrize("resized", [False, True])
def test_sixteen_bits_survive(tmp_path: Path, suffix: str, mode: str, resized: bool) -> None:
    path = tmp_path / f"a.{suffix}"
    if suffix == "pgm":
        path.write_bytes(b"P5 %d %d 65535\n" % ramp().shape[::-1] + ramp().astype(">u2").tobytes())
    else:
        Image.fromarray(ramp().astype(">u2") if mode == "I;16B" else ramp()).save(path)
    with Image.open(path) as image:
        assert image.mode == mode
    pixels = read_image(path)
    np.testing.assert_allclose(pixels, ramp()[..., None].repeat(3, -1) / 65535, atol=1e-7)
    assert (np.diff(pixels.reshape(-1, 3), axis=0) > 0).all()
    if resized:
        assert (np.diff(read_image(path, 1)[0, :, 1]) > 0).all()


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=20, unique=True).map(sorted))
@settings(max_examples=30)
def test_sixteen_bits_keep_their_order(tmp_path_factory: pytest.TempPathFactory, levels: list[int]) -> None:
    path = tmp_path_factory.getbasetemp() / "levels.png"
    Image.fromarray(np.array([levels], np.uint16)).save(path)
    pixels = read_image(path)
    assert (np.diff(pixels[0], axis=0) > 0).all()
    np.testing.assert_allclose(pixels[0, :, 0], np.array(levels) / 65535, atol=1e-7)


@pytest.mark.parametrize(
    ("data", "bits", "options", "expected"),
    [
        (bytes.fromhex("fff800000000"), 12, {}, [1, 2048 / 4095, 0, 0]),
        (struct.pack("<3H", 0, 13107, 65535), 16, {"white_is_zero": True}, [1, 0.8, 0]),
        (struct.pack("<3H", 0, 13107, 65535), 16, {}, [0, 0.2, 1]),
        (struct.pack("<3I", 0, 2**31, 2**32 - 1), 32, {}, [0, 0.5, 1]),
        (struct.pack("<3I", 0, 13107, 65535), 32, {}, [0, 0.2, 1]),
        (struct.pack("<3i", -100, 0, 300), 32, {"sample_format": 2}, [0, 0.25, 1]),
        (struct.pack("<3f", 0.25, 0.5, 1), 32, {"sample_format": 3}, [0.25, 0.5, 1]),
        (struct.pack("<3f", -10, 0, 30), 32, {"sample_format": 3}, [0, 0.25, 1]),
        (struct.pack("<3f", 0.25, np.nan, np.inf), 32, {"sample_format": 3}, [0.25, 0.25, 0.25]),
        (bytes.fromhex("0100807f0000803e0000803f"), 32, {"sample_format": 3}, [0.25, 0.25, 1]),  # A signalling NaN.
        (struct.pack("<3f", np.nan, -np.inf, np.inf), 32, {"sample_format": 3}, [0, 0, 1]),
        (struct.pack("<3f", -3e38, 0, 3e38), 32, {"sample_format": 3}, [0, 0.5, 1]),
        (struct.pack("<3f", 7, 7, 7), 32, {"sample_format": 3}, [0, 0, 0]),
    ],
)
def test_deep_grey_tiff(tmp_path: Path, data: bytes, bits: int, options: dict[str, int], expected: list[float]) -> None:
    path = tmp_path / "a.tiff"
    path.write_bytes(grey_tiff(data, len(expected), bits, **options))
    np.testing.assert_allclose(read_image(path)[0, :, 0], expected, atol=1e-7)


def test_sixteen_bit_rgb_is_read_in_eight(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(16, 2, [struct.pack(">6H", 0, 65535, 257 * 100, 257 * 7, 257 * 8, 257 * 9)], 2))
    np.testing.assert_allclose(read_image(path)[0] * 255, [[0, 255, 100], [7, 8, 9]], atol=1e-4)


# Colour profiles.


def test_a_wide_gamut_profile_is_converted(tmp_path: Path) -> None:
    colors = noise(64, 64, 3)
    pixels = read_image(saved(tmp_path / "a.png", colors, icc_profile=wide_profile()))
    linear = (colors / 255) ** WIDE_GAMMA @ np.linalg.solve(SRGB_D50, WIDE).T
    np.testing.assert_allclose(pixels, encoded(linear), atol=1.2 * LEVEL)
    assert np.abs(pixels - colors / 255).max() > 20 * LEVEL
    # A colour that sRGB has: stored muted, shown vivid.
    muted = np.full((1, 1, 3), (200, 100, 100), np.uint8)
    assert read_image(saved(tmp_path / "b.png", muted, icc_profile=wide_profile()))[0, 0, 0] > 220 * LEVEL


def test_an_srgb_profile_changes_nothing(tmp_path: Path) -> None:
    colors = noise(64, 64, 3)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels = read_image(saved(tmp_path / "a.png", colors, icc_profile=profile))
    np.testing.assert_array_equal(pixels, colors / np.float32(255))


def test_alpha_survives_a_profile(tmp_path: Path) -> None:
    channels = noise(16, 16, 4) | 1
    plain = saved(tmp_path / "plain.png", channels[..., :3], icc_profile=wide_profile())
    picture = read_picture(saved(tmp_path / "a.png", channels, "RGBA", icc_profile=wide_profile()))
    np.testing.assert_allclose(picture.alpha, channels[..., 3] / 255, atol=1e-7)
    np.testing.assert_array_equal(picture.pixels, read_image(plain))


def test_a_palette_with_a_profile(tmp_path: Path) -> None:
    image = Image.fromarray(patches()).quantize(8)
    image.save(tmp_path / "a.png", icc_profile=wide_profile())
    plain = saved(tmp_path / "b.png", np.asarray(image.convert("RGB")), icc_profile=wide_profile())
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), read_image(plain))


@pytest.mark.parametrize("bits", [8, 16])
def test_a_grey_profile_is_converted(tmp_path: Path, bits: int) -> None:
    levels = np.arange(256, dtype=np.uint8)[None] if bits == 8 else ramp()
    Image.fromarray(levels).save(tmp_path / "a.png", icc_profile=grey_profile(1.0))
    pixels = read_image(tmp_path / "a.png")
    np.testing.assert_allclose(pixels[..., 0], encoded(levels / (2**bits - 1)), atol=0.01 * LEVEL)
    assert len(np.unique(pixels)) > (255 if bits == 8 else 25000)  # Linear levels crowd together near white.


def test_a_press_profile_is_converted(tmp_path: Path) -> None:
    lab = {(0, 0, 0, 0): (100, 0, 0), (1, 0, 0, 0): (60, -20, -35)}
    lab |= {(0, 1, 0, 0): (50, 50, 5), (0, 0, 1, 0): (85, -5, 60)}
    inks = np.array([[[255 * ink for ink in corner] for corner in lab]], np.uint8)
    image = Image.fromarray(inks.repeat(8, axis=0).repeat(8, axis=1), "CMYK")
    image.save(tmp_path / "a.tiff", icc_profile=cmyk_profile(lab))
    image.save(tmp_path / "a.jpg", icc_profile=cmyk_profile(lab), quality=100)
    expected = [lab_to_srgb(*color) for color in lab.values()]
    np.testing.assert_allclose(read_image(tmp_path / "a.tiff")[4, 4::8], expected, atol=2 * LEVEL)
    np.testing.assert_allclose(read_image(tmp_path / "a.jpg")[4, 4::8], expected, atol=4 * LEVEL)
    assert np.abs(np.asarray(image.convert("RGB"))[4, 4::8] / 255 - expected).max() > 0.1


def test_the_black_of_a_press_is_black(tmp_path: Path) -> None:
    # Ink on paper is no blacker than a dark grey. A profile for input, since only there is black found by one table.
    profile = cmyk_profile({(0, 0, 0, 0): (95, 0, 0)}, black=15, kind=b"scnr")
    inks = np.array([[[0, 0, 0, 0], [0, 0, 0, 255], [255, 255, 255, 255]]], np.uint8)
    Image.fromarray(inks, "CMYK").save(tmp_path / "a.tiff", icc_profile=profile)
    np.testing.assert_allclose(read_image(tmp_path / "a.tiff")[0, :, 0], [1, 0, 0], atol=LEVEL)


def test_a_lab_profile_is_converted(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    pixels = read_image(saved(tmp_path / "a.tiff", patches(), "LAB", icc_profile=profile))
    np.testing.assert_allclose(pixels, patches() / 255, atol=8 * LEVEL)


@pytest.mark.parametrize(
    ("mode", "profile"),
    [
        ("RGB", b"no profile at all"),
        ("RGB", wide_profile()[:200]),
        ("RGB", icc(b"RGB ", {})),
        ("L", b""),
        ("L", wide_profile()),
        ("RGB", grey_profile(1.0)),
        ("CMYK", wide_profile()),
        ("LAB", wide_profile()),
    ],
)
def test_a_profile_that_does_not_fit_is_ignored(tmp_path: Path, mode: str, profile: bytes) -> None:
    plain = read_image(saved(tmp_path / "plain.tiff", patches(), mode))
    np.testing.assert_array_equal(read_image(saved(tmp_path / "a.tiff", patches(), mode, icc_profile=profile)), plain)


# Transparency.


def test_opaque_alpha_is_none(tmp_path: Path) -> None:
    opaque = np.dstack([noise(5, 7, 3), np.full((5, 7), 255, np.uint8)])
    assert read_picture(saved(tmp_path / "a.png", opaque, "RGBA")).alpha is None
    assert read_picture(tmp_path / "a.png", 3).alpha is None


def test_hidden_colors_are_those_of_the_nearest_visible_pixel(tmp_path: Path) -> None:
    channels = np.zeros((4, 9, 4), np.uint8)
    channels[..., 1] = 255  # Hidden green.
    channels[:, 0] = (255, 0, 0, 255)
    channels[:, 8] = (0, 0, 255, 1)
    picture = read_picture(saved(tmp_path / "a.png", channels, "RGBA"))
    np.testing.assert_array_equal(picture.pixels[:, :4], np.broadcast_to([1, 0, 0], (4, 4, 3)))
    np.testing.assert_array_equal(picture.pixels[:, 5:], np.broadcast_to([0, 0, 1], (4, 4, 3)))
    np.testing.assert_allclose(picture.alpha[:, [0, 4, 8]], [[1, 0, LEVEL]] * 4, atol=1e-7)


@pytest.mark.parametrize("short_side", [None, 3])
def test_a_picture_that_is_all_transparent_keeps_its_colors(tmp_path: Path, short_side: int | None) -> None:
    channels = np.dstack([noise(6, 8, 3), np.zeros((6, 8), np.uint8)])
    picture = read_picture(saved(tmp_path / "a.png", channels, "RGBA"), short_side)
    assert picture.alpha is not None
    assert not picture.alpha.any()
    opaque = read_image(saved(tmp_path / "b.png", channels[..., :3]), short_side)
    np.testing.assert_array_equal(picture.pixels, opaque)


@pytest.mark.parametrize(
    ("depth", "row", "key", "alpha"),
    [
        (1, b"\x55", 1, [1, 0] * 4),
        (2, b"\x1b", 2, [1, 1, 0, 1]),
        (4, b"\x5a", 10, [1, 0]),
        (8, b"\x05\x55", 5, [0, 1]),
        (16, struct.pack(">2H", 300, 301), 300, [0, 1]),
    ],
)
def test_a_transparent_grey_level(tmp_path: Path, depth: int, row: bytes, key: int, alpha: list[int]) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(depth, 0, [row], len(alpha), struct.pack(">H", key)))
    np.testing.assert_array_equal(read_picture(path).alpha, [alpha])


def test_a_transparent_color(tmp_path: Path) -> None:
    colors = np.array([[[1, 2, 3], [1, 2, 4]]], np.uint8)
    picture = read_picture(saved(tmp_path / "a.png", colors, transparency=(1, 2, 4)))
    np.testing.assert_array_equal(picture.alpha, [[1, 0]])


# Orientation.


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("mode", "suffix"), [("RGB", "png"), ("RGB", "jpg"), ("RGB", "tiff"), ("RGBA", "webp"), ("LA", "png")]
)
def test_every_orientation(tmp_path: Path, orientation: int, mode: str, suffix: str) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stored = Image.fromarray(noise(5, 8, 4) | 1).convert(mode)
    path = tmp_path / f"a.{suffix}"
    stored.save(path, exif=exif, **({"lossless": True, "exact": True} if suffix == "webp" else {}))
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGBA"))
    picture = read_picture(path)
    assert picture.pixels.shape == ((8, 5, 3) if orientation > 4 else (5, 8, 3))
    np.testing.assert_allclose(picture.pixels, expected[..., :3] / 255, atol=1e-7)
    if "A" in mode:
        np.testing.assert_allclose(picture.alpha, expected[..., 3] / 255, atol=1e-7)


def test_a_phone_held_upright(tmp_path: Path) -> None:
    # Orientation 6: the first row that is stored is the right-hand side of the scene.
    stored = np.zeros((4, 6, 3), np.uint8)
    stored[0] = 255
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    pixels = read_image(saved(tmp_path / "a.png", stored, exif=exif))
    np.testing.assert_array_equal(pixels[:, -1], np.ones((6, 3)))
    assert not pixels[:, :-1].any()


# Sizes.


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 30))
@settings(max_examples=60)
def test_the_short_side_and_the_other(tmp_path_factory, height: int, width: int, short_side: int) -> None:
    path = saved(tmp_path_factory.getbasetemp() / "a.bmp", noise(height, width, 3))
    pixels = read_image(path, short_side)
    ratio = short_side / min(height, width)
    assert min(pixels.shape[:2]) == short_side
    assert abs(pixels.shape[0] - height * ratio) <= 0.5
    assert abs(pixels.shape[1] - width * ratio) <= 0.5
    assert pixels.dtype == np.float32
    assert 0 <= pixels.min() <= pixels.max() <= 1
    if ratio == 1:
        np.testing.assert_array_equal(pixels, read_image(path))


def test_resampling_is_lanczos(tmp_path: Path) -> None:
    smooth = Image.fromarray(noise(6, 9, 3)).resize((90, 60), Image.Resampling.BICUBIC)
    smooth.save(tmp_path / "a.png")
    expected = np.asarray(smooth.resize((30, 20), Image.Resampling.LANCZOS))
    np.testing.assert_allclose(read_image(tmp_path / "a.png", 20), expected / 255, atol=1.1 * LEVEL)


@pytest.mark.parametrize("short_side", [7, 90])
def test_resizing_leaves_no_fringe_of_hidden_colors(tmp_path: Path, short_side: int) -> None:
    y, x = np.mgrid[-16:16, -16:16]
    channels = np.zeros((32, 32, 4), np.uint8)
    channels[..., 1] = 255  # Hidden green around a red disc.
    channels[x**2 + y**2 < 100] = (255, 0, 0, 255)
    picture = read_picture(saved(tmp_path / "a.png", channels, "RGBA"), short_side)
    np.testing.assert_allclose(picture.pixels, np.broadcast_to([1, 0, 0], picture.pixels.shape), atol=1e-4)
    assert picture.alpha is not None
    assert picture.alpha.min() == 0
    assert picture.alpha.max() == 1
    partly = picture.alpha[(picture.alpha > 0) & (picture.alpha < 1)]
    assert partly.size
    assert partly.min() > 0.49 * LEVEL  # Nothing is left that eight bits would round to nothing.

"""Files in and out: what is refused and how, what is carried along, what is written."""

import errno
import io
import os
import struct
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, JpegImagePlugin

from wct_jax.pictures.images import read_image, read_picture
from wct_jax.pictures.output import check_output, write_image, write_picture
from wct_jax.pictures.picture import Metadata, Picture

Tag, IFD = ExifTags.Base, ExifTags.IFD


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def saved(path: Path, array: np.ndarray, **options: object) -> Path:
    Image.fromarray(array).save(path, **options)
    return path


def refusal(call: Callable[..., object], *arguments: object) -> str:
    """The one sentence a call is refused with."""
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        call(*arguments)
    return str(caught.value)


def ifd(offset: int, entries: dict[int, tuple[int, int, bytes]], following: int = 0) -> bytes:
    """A directory of tags with its values behind it, as it stands at `offset` (TIFF 6.0, section 2)."""
    table, values = struct.pack("<H", len(entries)), b""
    start = offset + 2 + 12 * len(entries) + 4
    for tag, (kind, count, data) in sorted(entries.items()):
        place = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack("<I", start + len(values))
        table += struct.pack("<2HI", tag, kind, count) + place
        values += data if len(data) > 4 else b""
    return table + struct.pack("<I", following) + values


def text(value: str) -> tuple[int, int, bytes]:
    return 2, len(value.encode()) + 1, value.encode() + b"\0"


def numbers(kind: int, *values: int) -> tuple[int, int, bytes]:
    """Short (3), long (4), rational (5) or signed rational (10) values; two integers make a rational."""
    data = struct.pack("<" + {3: "H", 4: "I", 5: "I", 10: "i"}[kind] * len(values), *values)
    return kind, len(values) // (2 if kind in (5, 10) else 1), data


def thumbnail() -> bytes:
    file = io.BytesIO()
    Image.fromarray(noise(8, 8, 3)).save(file, "JPEG")
    return file.getvalue()


def camera_exif(orientation: int = 1) -> bytes:
    """The EXIF block of a camera, with a thumbnail (Exif 2.32, section 4)."""
    first = {
        Tag.Make: text("Example"),
        Tag.Orientation: numbers(3, orientation),
        Tag.XResolution: numbers(5, 300, 1),
        Tag.YResolution: numbers(5, 150, 1),
        Tag.ResolutionUnit: numbers(3, 2),
        Tag.Copyright: text("Jörg"),
        Tag.ExifOffset: numbers(4, 400),
        Tag.GPSInfo: numbers(4, 800),
    }
    shot = {
        Tag.ExposureTime: numbers(5, 1, 125),
        Tag.DateTimeOriginal: text("2020:02:03 04:05:06"),
        Tag.ExposureBiasValue: numbers(10, -1, 3),
        Tag.MakerNote: (7, 20, b"private maker's note"),
        Tag.UserComment: (7, 13, b"ASCII\0\0\0hello"),
        Tag.ColorSpace: numbers(3, 65535),
        Tag.ExifImageWidth: numbers(4, 4000),
        Tag.ExifImageHeight: numbers(4, 3000),
    }
    place = {1: text("N"), 2: numbers(5, 47, 1, 22, 1, 7, 1)}
    small = {259: numbers(3, 6), 513: numbers(4, 1100), 514: numbers(4, len(thumbnail()))}
    block = b"II" + struct.pack("<HI", 42, 8) + ifd(8, first, following=1000)
    block = block.ljust(400, b"\0") + ifd(400, shot)
    block = block.ljust(800, b"\0") + ifd(800, place)
    block = block.ljust(1000, b"\0") + ifd(1000, small)
    return b"Exif\0\0" + block.ljust(1100, b"\0") + thumbnail()


# Reading.


@pytest.mark.core
@given(st.integers(1, 33), st.integers(1, 33), st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_eight_bits_come_back_exactly(height: int, width: int, seed: int) -> None:
    file = io.BytesIO()
    colors = noise(height, width, 3, seed=seed)
    write_image(file, colors / np.float32(255))
    with Image.open(file) as image:
        np.testing.assert_array_equal(np.asarray(image), colors)
    pixels = read_image(file)
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels, colors / np.float32(255))


def test_reading_loads_neither_jax_nor_flax() -> None:
    code = "import sys, wct_jax.pictures.images; print(sorted({'jax', 'flax', 'scipy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tiff"])
def test_the_first_frame_of_many(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (6, 4), color) for color in ("red", "lime", "blue")]
    options = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], **options)
    np.testing.assert_array_equal(read_image(tmp_path / f"a.{suffix}"), np.broadcast_to([1, 0, 0], (4, 6, 3)))


def test_the_first_picture_of_a_phone_pair(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[Tag.Orientation] = 6
    red, blue = (Image.new("RGB", (16, 8), color) for color in ("red", "blue"))
    red.save(tmp_path / "a.mpo", save_all=True, append_images=[blue], exif=exif)
    (tmp_path / "a.mpo").rename(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.format == "MPO"
    pixels = read_image(tmp_path / "a.jpg")
    np.testing.assert_allclose(pixels, np.broadcast_to([1, 0, 0], (16, 8, 3)), atol=0.02)


def test_the_content_counts_and_not_the_suffix(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", noise(4, 5, 3))
    pixels = read_image(path)
    np.testing.assert_array_equal(read_image(path.rename(tmp_path / "a.jpg")), pixels)
    np.testing.assert_array_equal(read_image(str(path.with_suffix(".jpg"))), pixels)


def test_a_large_picture_is_no_reason_to_warn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "a.png", noise(10, 15, 3))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert read_image(path).shape == (10, 15, 3)


HEIC = struct.pack(">I", 24) + b"ftypheic" + bytes(4) + b"mif1heic"


@pytest.fixture
def without_heif(monkeypatch: pytest.MonkeyPatch) -> None:
    Image.init()
    monkeypatch.setattr(Image, "ID", [name for name in Image.ID if name != "HEIF"])
    monkeypatch.setattr(Image, "OPEN", {name: opener for name, opener in Image.OPEN.items() if name != "HEIF"})


@pytest.mark.usefixtures("without_heif")
@pytest.mark.parametrize("brand", [b"heic", b"mif1"])
def test_heic_without_its_package_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, brand: bytes
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    path = tmp_path / "a.jpg"
    path.write_bytes(HEIC.replace(b"ftypheic", b"ftyp" + brand))
    assert "pip install pillow-heif" in refusal(read_image, path)
    assert str(path) in refusal(read_image, path)


@pytest.mark.usefixtures("without_heif")
def test_heic_is_read_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def register() -> None:
        def opener(file: io.BufferedIOBase, _: str) -> Image.Image:
            return Image.fromarray(np.full((2, 3, 3), 51, np.uint8))

        Image.register_open("HEIF", opener, lambda prefix: prefix[4:12] == b"ftypheic")

    package = types.ModuleType("pillow_heif")
    package.register_heif_opener = register  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pillow_heif", package)
    (tmp_path / "a.heic").write_bytes(HEIC)
    np.testing.assert_allclose(read_image(tmp_path / "a.heic"), np.full((2, 3, 3), 0.2), atol=1e-7)
    (tmp_path / "b.heic").write_bytes(HEIC.replace(b"ftypheic", b"ftypheix"))
    assert "not a picture" in refusal(read_image, tmp_path / "b.heic")


@pytest.mark.core
def test_a_real_heic(tmp_path: Path) -> None:
    pillow_heif.register_heif_opener()
    path = saved(tmp_path / "a.heic", np.full((32, 48, 3), (200, 100, 50), np.uint8))
    np.testing.assert_allclose(read_image(path), np.broadcast_to([200, 100, 50], (32, 48, 3)) / 255, atol=0.03)


# Files that cannot be read.


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("missing.png", None, "No such file"),
        ("empty.png", b"", "the file is empty"),
        ("text.jpg", b"Dear all,\nthis is a letter.\n", "is not a picture Pillow can read"),
        ("short.png", b"\x89PNG", "is not a picture Pillow can read"),
        ("", None, "Is a directory"),
    ],
)
def test_what_is_no_picture(tmp_path: Path, name: str, content: bytes | None, expected: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    text = refusal(read_picture, path)
    assert expected in text
    assert str(path) in text


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "bmp"])
@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_a_truncated_picture_is_refused(tmp_path: Path, suffix: str, kept: float) -> None:
    path = saved(tmp_path / f"a.{suffix}", noise(60, 60, 3))
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    text = refusal(read_picture, path)
    assert "cut short or damaged" in text
    assert str(path) in text


def test_a_truncated_picture_with_exif_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", noise(60, 60, 3), exif=camera_exif())
    path.write_bytes(path.read_bytes()[:-3000])
    assert "cut short or damaged" in refusal(read_picture, path)


@pytest.mark.skipif(os.name != "posix", reason="modes and users are POSIX")
def test_a_file_without_permission(tmp_path: Path, refused_by_the_system) -> None:
    path = saved(tmp_path / "a.png", noise(2, 2, 3))
    path.chmod(0)
    with refused_by_the_system():
        assert refusal(read_picture, path) == f"cannot read {path}: Permission denied"


@pytest.mark.parametrize("short_side", [20_000, 10**8, 10**20])
def test_too_large_a_size(tmp_path: Path, short_side: int) -> None:
    path = saved(tmp_path / "a.png", noise(4, 4, 3))
    assert refusal(read_picture, path, short_side) == (
        f"cannot resize {path}, 4 x 4 pixels, to a short side of {short_side}: "
        "that is more than 178956970 pixels, the most we open without a larger max_pixels"
    )


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ("PIL.PngImagePlugin.PngImageFile.load", MemoryError),
        ("wct_jax.pictures.images.to_srgb", MemoryError),
        ("wct_jax.pictures.images.to_srgb", OverflowError),
    ],
)
def test_not_enough_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: type[Exception]) -> None:
    def fails(*arguments: object) -> None:
        raise error

    path = saved(tmp_path / "a.png", noise(4, 4, 3))
    monkeypatch.setattr(step, fails)
    assert refusal(read_picture, path, 8) == f"cannot read {path}: there is not enough memory for its pixels"


@pytest.mark.parametrize("short_side", [0, -3])
def test_a_short_side_below_one(tmp_path: Path, short_side: int) -> None:
    path = saved(tmp_path / "a.png", noise(4, 4, 3))
    assert str(short_side) in refusal(read_picture, path, short_side)


# Metadata.


def exif_of(path: Path) -> Image.Exif:
    with Image.open(path) as image:
        image.load()
        exif = image.getexif()
        for directory in (IFD.Exif, IFD.GPSInfo, IFD.IFD1):
            exif.get_ifd(directory)
        return exif


@pytest.mark.core
@pytest.mark.parametrize("source", ["jpg", "png", "webp", "tiff"])
@pytest.mark.parametrize("result", ["jpg", "png", "webp", "tiff"])
def test_metadata_is_carried(tmp_path: Path, source: str, result: str) -> None:
    path = saved(tmp_path / f"in.{source}", noise(30, 20, 3), exif=camera_exif(orientation=6))
    if source != "tiff":  # There Pillow writes no thumbnail, and ASCII alone.
        assert exif_of(path)[Tag.Copyright].encode("latin-1").decode() == "Jörg"
        assert exif_of(path).get_ifd(IFD.IFD1)
        assert thumbnail() in path.read_bytes()
    picture = read_picture(path, short_side=10)
    assert picture.pixels.shape == (10, 15, 3)
    assert picture.metadata.dpi == (150, 300)  # It lay on its side.
    write_picture(tmp_path / f"out.{result}", picture)

    exif = exif_of(tmp_path / f"out.{result}")
    assert exif[Tag.Make] == "Example"
    assert exif[Tag.Copyright] == exif_of(path)[Tag.Copyright]
    assert (exif[Tag.XResolution], exif[Tag.YResolution], exif[Tag.ResolutionUnit]) == (150, 300, 2)
    assert Tag.Orientation not in exif
    shot = exif.get_ifd(IFD.Exif)
    assert shot[Tag.ExposureTime] == pytest.approx(1 / 125)
    assert shot[Tag.ExposureBiasValue] == pytest.approx(-1 / 3)
    assert shot[Tag.DateTimeOriginal] == "2020:02:03 04:05:06"
    assert shot[Tag.UserComment] == b"ASCII\0\0\0hello"
    assert shot[Tag.ColorSpace] == 1
    assert not {Tag.MakerNote, Tag.ExifImageWidth, Tag.ExifImageHeight} & set(shot)
    assert exif.get_ifd(IFD.GPSInfo) == {1: "N", 2: (47, 22, 7)}
    assert not exif.get_ifd(IFD.IFD1)
    assert thumbnail() not in (tmp_path / f"out.{result}").read_bytes()
    assert read_picture(tmp_path / f"out.{result}").metadata.dpi == (150, 300)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff"])
def test_resolution_is_carried_without_exif(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path / f"a.{suffix}", noise(4, 5, 3), dpi=(300, 150))
    for result in ("b.jpg", "b.png", "b.tif", "b.webp"):
        write_picture(tmp_path / result, read_picture(path))
        assert read_picture(tmp_path / result).metadata.dpi == pytest.approx((300, 150), rel=1e-4)
        with Image.open(tmp_path / result) as image:
            assert result == "b.webp" or image.info["dpi"] == pytest.approx((300, 150), rel=1e-4)


def test_resolution_in_centimetres(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.update({Tag.XResolution: 100.0, Tag.YResolution: 50.0, Tag.ResolutionUnit: 3})
    path = saved(tmp_path / "a.webp", noise(4, 5, 3), exif=exif)
    assert read_picture(path).metadata.dpi == pytest.approx((254, 127))


@pytest.mark.parametrize("suffix", ["png", "gif", "tiff", "bmp", "webp"])
def test_nothing_is_made_up(tmp_path: Path, suffix: str) -> None:
    options = {"dpi": (0, 0)} if suffix == "bmp" else {}
    assert read_picture(saved(tmp_path / f"a.{suffix}", noise(4, 5, 3), **options)).metadata == Metadata()


def test_the_structure_of_a_tiff_is_not_carried(tmp_path: Path) -> None:
    Image.fromarray(noise(4, 5, 3)).quantize(8).save(tmp_path / "a.tiff", compression="tiff_lzw", dpi=(72, 72))
    write_picture(tmp_path / "b.jpg", read_picture(tmp_path / "a.tiff"))
    assert set(exif_of(tmp_path / "b.jpg")) == {Tag.XResolution, Tag.YResolution, Tag.ResolutionUnit}


@pytest.mark.parametrize("exif", [b"Exif\0\0no such thing", camera_exif()[:60], b"Exif\0\0II*\0\xff\xff\xff\xff"])
def test_broken_exif_is_no_reason_to_refuse(tmp_path: Path, exif: bytes) -> None:
    path = saved(tmp_path / "a.png", noise(4, 5, 3))
    pixels = read_image(path)
    np.testing.assert_array_equal(read_image(saved(tmp_path / "b.png", noise(4, 5, 3), exif=exif)), pixels)


def test_exif_too_long_for_a_jpeg_is_dropped(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[Tag.ImageDescription] = "x" * 70_000
    path = saved(tmp_path / "a.png", noise(4, 5, 3), exif=exif)
    write_picture(tmp_path / "b.jpg", read_picture(path))
    assert not exif_of(tmp_path / "b.jpg")


# Writing.


def test_values_are_clipped_and_rounded(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.array([[[-1, 0.4, 2], [100.4 / 255, 100.6 / 255, 1]]], np.float64))
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(np.asarray(image), [[[0, 102, 255], [100, 101, 255]]])


@pytest.mark.parametrize("suffix", ["png", "tif", "tiff", "webp"])
def test_alpha_is_kept(tmp_path: Path, suffix: str) -> None:
    alpha = (noise(16, 16) | 1) / np.float32(255)
    write_picture(tmp_path / f"a.{suffix}", Picture(np.full((16, 16, 3), 0.5, np.float32), alpha))
    picture = read_picture(tmp_path / f"a.{suffix}")
    assert picture.alpha is not None
    np.testing.assert_allclose(picture.alpha, alpha, atol=1e-6)
    if suffix != "webp":
        np.testing.assert_allclose(picture.pixels, 128 / 255, atol=1e-6)


def test_a_jpeg_shows_transparency_on_white(tmp_path: Path) -> None:
    alpha = np.zeros((16, 16), np.float32)
    alpha[:, 8:] = 0.5
    write_picture(tmp_path / "a.jpg", Picture(np.zeros((16, 16, 3), np.float32), alpha))
    pixels = read_image(tmp_path / "a.jpg")
    np.testing.assert_allclose(pixels[:, :8], 1, atol=0.02)
    np.testing.assert_allclose(pixels[:, 8:], 0.5, atol=0.02)


@pytest.mark.parametrize("suffix", ["jpg", "JPEG"])
def test_a_jpeg_keeps_every_pixels_color(tmp_path: Path, suffix: str) -> None:
    stripes = np.zeros((16, 16, 3), np.float32)
    stripes[:, ::2, 0] = stripes[:, 1::2, 2] = 1
    write_image(tmp_path / f"a.{suffix}", stripes)
    with Image.open(tmp_path / f"a.{suffix}") as image:
        assert isinstance(image, JpegImagePlugin.JpegImageFile)
        assert JpegImagePlugin.get_sampling(image) == 0
    np.testing.assert_allclose(read_image(tmp_path / f"a.{suffix}"), stripes, atol=0.1)


def test_a_webp_is_near(tmp_path: Path) -> None:
    smooth = np.asarray(Image.fromarray(noise(4, 4, 3)).resize((64, 64))) / np.float32(255)
    write_image(tmp_path / "a.webp", smooth)
    assert np.sqrt(np.mean((read_image(tmp_path / "a.webp") - smooth) ** 2)) < 0.02


GOOD = np.full((4, 5, 3), 0.5, np.float32)


@pytest.mark.parametrize(
    ("pixels", "alpha", "expected"),
    [
        (np.full((4, 5), 0.5), None, "[4, 5]"),
        (np.full((4, 5, 4), 0.5), None, "[4, 5, 4]"),
        (np.full((1, 4, 5, 3), 0.5), None, "[1, 4, 5, 3]"),
        (np.empty((0, 5, 3)), None, "[0, 5, 3]"),
        (np.full((4, 5, 3), 128, np.uint8), None, "uint8"),
        (np.full((4, 5, 3), 1), None, "int64"),
        (np.full((4, 5, 3), np.nan), None, "NaN"),
        (np.where(np.arange(5)[:, None] == 2, np.inf, GOOD), None, "infinity"),
        (GOOD, np.ones((5, 4), np.float32), "[5, 4]"),
        (GOOD, np.ones((4, 5), bool), "bool"),
        (GOOD, np.full((4, 5), np.nan), "NaN"),
    ],
)
def test_what_is_not_written(tmp_path: Path, pixels: np.ndarray, alpha: np.ndarray | None, expected: str) -> None:
    path = tmp_path / "a.png"
    text = refusal(write_picture, path, Picture(pixels, alpha))
    assert expected in text
    assert str(path) in text
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("suffix", "side"), [("jpg", 65501), ("webp", 16384)])
def test_a_side_too_long_for_the_format(tmp_path: Path, suffix: str, side: int) -> None:
    long = np.zeros((1, side, 3), np.float32)
    assert str(side) in refusal(write_image, tmp_path / f"a.{suffix}", long)
    write_image(tmp_path / f"a.{suffix}", long[:, 1:])
    assert read_image(tmp_path / f"a.{suffix}").shape == (1, side - 1, 3)
    write_image(tmp_path / "a.png", long)


@pytest.mark.parametrize("name", ["a.gif", "a", "a.heic", ".png"])
def test_an_unknown_suffix_lists_those_we_write(tmp_path: Path, name: str) -> None:
    for text in (refusal(write_image, tmp_path / name, GOOD), refusal(check_output, tmp_path / name, False)):
        assert ".png, .jpg, .jpeg, .webp, .tif, .tiff" in text
        assert str(tmp_path / name) in text


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff"])
@pytest.mark.parametrize("existing", [False, True])
def test_a_full_disk_leaves_everything_as_it_was(tmp_path: Path, suffix: str, existing: bool) -> None:
    resource = pytest.importorskip("resource", reason="file size limits are POSIX")
    path = tmp_path / f"a.{suffix}"
    if existing:
        path.write_bytes(b"precious")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    pixels = noise(200, 200, 3) / np.float32(255)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
        text = refusal(write_image, path, pixels)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert text == f"cannot write {path}: {os.strerror(errno.EFBIG)}"
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [(path.name, b"precious")] * existing


def test_not_enough_memory_to_encode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def save(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image.Image, "save", save)
    assert "not enough memory" in refusal(write_image, tmp_path / "a.png", GOOD)


# Before long work.


@pytest.mark.parametrize("name", ["a.png", "a.PNG", "a.jpg", "a.jpeg", "a.webp", "a.tif", "a.tiff"])
def test_outputs_that_can_be_written(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_output(tmp_path / name, overwrite=False)
    assert not list(tmp_path.iterdir())
    monkeypatch.chdir(tmp_path)
    check_output(name, overwrite=False)
    write_image(name, GOOD)
    check_output(name, overwrite=True)
    assert refusal(check_output, name, False) == f"cannot write {name}: it exists, and overwriting it was not asked for"


def test_outputs_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").write_bytes(b"")
    cases = {
        "": "it is a directory",
        "folder.png": "it is a directory",
        "missing/a.png": f"the directory {tmp_path / 'missing'} does not exist",
        "file/a.png": os.strerror(errno.ENOTDIR),
        "x" * 300 + ".png": os.strerror(errno.ENAMETOOLONG),
    }
    if os.name == "posix":
        os.mkfifo(tmp_path / "pipe.png")
        (tmp_path / "link.png").symlink_to(tmp_path / "missing" / "a.png")
        cases |= {"pipe.png": "it is not a regular file", "link.png": cases["missing/a.png"]}
    for name, expected in cases.items():
        assert refusal(check_output, tmp_path / name, True) == f"cannot write {tmp_path / name}: {expected}"


@pytest.mark.skipif(os.name != "posix", reason="modes and users are POSIX")
def test_a_directory_that_is_not_writable(public: Path, refused_by_the_system) -> None:
    public.chmod(0o555)
    with refused_by_the_system():
        text = refusal(check_output, public / "a.png", False)
    public.chmod(0o755)
    assert text == f"cannot write {public}/a.png: the directory {public} is not writable"

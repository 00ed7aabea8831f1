"""Limits on pictures, known before they are decoded, and what is said of them."""

import io
import struct
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, features

from wct_jax import read_mask
from wct_jax.pictures.decoding import MemoryLimitError, PixelLimitError, load_image, memory_to_read, open_image
from wct_jax.pictures.images import read_image, read_picture


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encoded(array: np.ndarray, format: str = "PNG", **options: object) -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(array).save(file, format, **options)
    file.seek(0)
    return file


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, pixels: bytes = b"", chunks: bytes = b"") -> bytes:
    header = chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunks + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


@pytest.fixture
def undecoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_: object) -> None:
        pytest.fail("it was decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)


# Pixels.


@pytest.mark.usefixtures("undecoded")
def test_the_limit_is_on_what_the_header_says() -> None:
    sentence = r"50000 x 40000 pixels: it claims more than 178956970 pixels.* max_pixels"
    with pytest.raises(PixelLimitError, match=sentence) as caught:
        read_picture(io.BytesIO(png(50000, 40000)))
    assert caught.value.pixels == 2 * 10**9
    with pytest.raises(PixelLimitError, match="more than 11 pixels"):
        read_picture(io.BytesIO(png(4, 3)), max_pixels=11)
    with pytest.raises(PixelLimitError, match="more than 40 pixels"):
        read_picture(io.BytesIO(png(4, 3)), 10, max_pixels=40)


FORMATS = ["PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP", "PPM", "TGA", "JPEG2000", "AVIF", "MPO"]


@pytest.mark.parametrize("format", [*FORMATS, "TIFF of LZW"])
def test_the_limit_can_be_lifted(monkeypatch: pytest.MonkeyPatch, format: str) -> None:
    if format == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    options = {"compression": "tiff_lzw"} if " " in format else {}
    file = encoded(noise(40, 50, 3), format.partition(" ")[0], **options)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(PixelLimitError):
        read_picture(file)
    assert read_image(file, max_pixels=2000).shape == (40, 50, 3)
    assert read_mask(file, max_pixels=2000).shape == (40, 50)
    with pytest.raises(PixelLimitError):
        read_mask(file, max_pixels=1999)
    assert Image.MAX_IMAGE_PIXELS == 500


def test_the_limit_of_one_call_is_not_that_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    files = [encoded(noise(40, 50, 3), format).getvalue() for format in ("PNG", "TIFF", "WEBP")]

    def is_read(data: bytes, lifted: bool) -> bool:
        try:
            load_image(open_image(io.BytesIO(data), "a", 2000 if lifted else None), "a")
        except PixelLimitError:
            return False
        return True

    tasks = [(data, lifted) for data in files for lifted in (False, True)] * 20
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(is_read, *zip(*tasks, strict=True))) == [lifted for _, lifted in tasks]


# Memory.


@pytest.mark.usefixtures("undecoded")
@pytest.mark.parametrize("short_side", [None, 4000])
def test_a_budget_is_compared_before_anything_is_decoded(short_side: int | None) -> None:
    data = png(13000, 13000)
    with pytest.raises(MemoryLimitError, match=r"13000 x 13000 pixels take [0-9.]+ GB .* and 100 MB may be taken"):
        read_picture(io.BytesIO(data), short_side, budget=10**8)
    with pytest.raises(MemoryLimitError):
        read_mask(io.BytesIO(data), budget=10**8)


def test_a_budget_that_suffices() -> None:
    file = encoded(noise(40, 50, 3))
    needed = memory_to_read(open_image(file, "a"))
    assert 16 * 2000 <= needed < 100 * 2000
    assert read_image(file, budget=needed).shape == (40, 50, 3)
    with pytest.raises(MemoryLimitError):
        read_image(file, budget=needed - 1)


def test_resizing_takes_less_memory_than_reading_whole() -> None:
    image = open_image(io.BytesIO(png(10000, 10000)), "a")
    assert memory_to_read(image, 500) < 0.7 * memory_to_read(image)
    assert memory_to_read(image) < 17 * 10**8


def test_a_large_picture_is_read_in_strips_as_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for number, mode in enumerate(("RGB", "RGBA", "L", "LA", "P", "CMYK", "F", "I;16")):
        values = noise(40, 61, {"RGB": 3, "RGBA": 4, "LA": 2, "CMYK": 4}.get(mode, 1), seed=number)
        if mode in ("F", "I;16"):
            image = Image.fromarray(values[..., 0].astype(np.float32 if mode == "F" else np.uint16) * 200)
        else:
            image = Image.fromarray(values[..., 0] if values.shape[2] == 1 else values, mode if mode != "P" else "L")
        for orientation in range(1, 9):
            exif = Image.Exif()
            exif[274] = orientation
            path = tmp_path / f"{number}{orientation}.tiff"
            (image.convert("P") if mode == "P" else image).save(path, exif=exif)
            for side in (None, 13, 70):
                monkeypatch.setattr("wct_jax.pictures.pixels._AT_ONCE", 2**20)
                whole = read_picture(path, side)
                monkeypatch.setattr("wct_jax.pictures.pixels._AT_ONCE", 300)
                strips = read_picture(path, side)
                np.testing.assert_array_equal(strips.pixels, whole.pixels)
                np.testing.assert_array_equal(strips.alpha, whole.alpha)  # None is equal to None alone.


# Small files that would take long, or much.


def progressive(scans: int) -> bytes:
    """A progressive JPEG in which one scan is repeated."""
    data = encoded(noise(16, 16, 3), "JPEG", progressive=True).getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + data[-2:]


def test_a_jpeg_of_very_many_scans_is_refused() -> None:
    assert read_image(io.BytesIO(progressive(1))).shape == (16, 16, 3)
    with pytest.raises(ValueError, match="more than 200 scans"):
        read_picture(io.BytesIO(progressive(300)))


def bombs() -> dict[str, bytes]:
    megabytes = zlib.compress(bytes(2 * 10**6))
    icon = png(3000, 3000)
    entry = struct.pack("<3H4B2H2I", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(icon), 22)
    tags = {256: 10, 257: 10, 258: 8, 259: 1, 262: 1, 277: 1, 322: 60000, 323: 60000, 324: 8, 325: 100}
    table = b"".join(struct.pack("<2H2I", tag, 4, 1, value) for tag, value in tags.items())
    return {
        "text": png(4, 4, bytes(52), chunk(b"zTXt", b"a\0\0" + megabytes)),
        "texts": png(4, 4, bytes(52), chunk(b"iTXt", b"a\0\1\0\0\0" + zlib.compress(bytes(10**6))) * 70),
        "profile": png(4, 4, bytes(52), chunk(b"iCCP", b"a\0\0" + megabytes)),
        "icon": entry + icon,
        "tile": b"II" + struct.pack("<HIH", 42, 8, len(tags)) + table + bytes(4),
    }


@pytest.mark.parametrize("kind", list(bombs()))
def test_small_files_with_much_in_them_are_refused(kind: str) -> None:
    with pytest.raises(ValueError, match=r"^cannot read the stream: "):
        read_picture(io.BytesIO(bombs()[kind]))


# Notes.


def animated(format: str) -> bytes:
    others = [Image.fromarray(noise(6, 5, 3, seed=i)) for i in (1, 2)]
    options = {"lossless": True} if format == "WEBP" else {}
    return encoded(noise(6, 5, 3), format, save_all=True, append_images=others, **options).getvalue()


@pytest.mark.parametrize(
    ("format", "word"), [("GIF", "frames"), ("PNG", "frames"), ("WEBP", "frames"), ("TIFF", "pages")]
)
def test_further_frames_are_mentioned(tmp_path: Path, format: str, word: str) -> None:
    (tmp_path / "a.png").write_bytes(animated(format))
    picture = read_picture(tmp_path / "a.png")
    assert picture.notes == (f"{tmp_path / 'a.png'} has several {word}: the first one is used",)
    if format != "GIF":
        np.testing.assert_allclose(picture.pixels, noise(6, 5, 3) / 255, atol=1e-6)
    assert read_picture(encoded(noise(6, 5, 3), format)).notes == ()


def test_damage_behind_the_first_frame_does_no_harm() -> None:
    data = animated("GIF")
    whole = read_image(io.BytesIO(data))
    for cut in (len(data) // 2, len(data) - 30):
        np.testing.assert_array_equal(read_image(io.BytesIO(data[:cut])), whole)


def test_the_preview_of_a_phone_is_not_mentioned() -> None:
    assert read_picture(io.BytesIO(animated("MPO"))).notes == ()


def test_the_sizes_of_an_icon_are_mentioned() -> None:
    picture = read_picture(encoded(noise(32, 32, 3), "ICO", sizes=[(16, 16), (32, 32)]))
    assert picture.pixels.shape == (32, 32, 3)
    assert "the largest is used" in picture.notes[0]


@pytest.mark.parametrize("read", [read_picture, read_image, read_mask])
def test_all_readers_have_the_limits(read: Callable[..., object]) -> None:
    file = encoded(noise(4, 5, 3))
    read(file, max_pixels=20, budget=10**6)
    with pytest.raises(PixelLimitError):
        read(file, max_pixels=19)
    with pytest.raises(MemoryLimitError):
        read(file, budget=100)


def test_a_decoder_s_reason_is_one_printable_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_: object) -> None:
        raise OSError("bad box: \x1b[31m\n" + "x" * 10_000)

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with pytest.raises(ValueError, match="bad box") as caught:
        read_picture(io.BytesIO(png(2, 2, bytes(14))))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300

"""Files of every format: which are read, which are refused by what they are, and what Pillow would misread."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wct_jax.pictures.formats import PICTURE_SUFFIXES
from wct_jax.pictures.images import read_image, read_picture


def noise(*shape: int, dtype: type = np.uint8, seed: int = 0) -> np.ndarray:
    info = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(info.min, info.max, shape, dtype, endpoint=True)


def tiff(samples: np.ndarray, photometric: int, order="<", planar=False, compressed=False, tile=0, **tags) -> bytes:
    """A TIFF of `[H, W, C]` samples, of kinds that Pillow reads but does not write (TIFF 6.0)."""
    height, width, channels = samples.shape
    stored = samples.astype(samples.dtype.newbyteorder(order))
    planes = [stored[..., i : i + 1] for i in range(channels)] if planar else [stored]
    if tile:
        padded = [np.pad(p, ((0, -height % tile), (0, -width % tile), (0, 0))) for p in planes]
        rows, columns = range(0, height, tile), range(0, width, tile)
        pieces = [p[y : y + tile, x : x + tile] for p in padded for y in rows for x in columns]
    else:
        pieces = planes
    blocks = [zlib.compress(p.tobytes()) if compressed else p.tobytes() for p in pieces]
    offsets = np.cumsum([8, *map(len, blocks)])
    kind = {"u": 1, "i": 2, "f": 3}[samples.dtype.kind]
    short = {258: [8 * samples.dtype.itemsize] * channels, 259: [8 if compressed else 1], 262: [photometric]}
    short |= {277: [channels], 284: [2 if planar else 1], 339: [kind] * channels}
    short |= {int(name[1:]): [value] if isinstance(value, int) else list(value) for name, value in tags.items()}
    long = {256: [width], 257: [height], 324 if tile else 273: offsets[:-1].tolist()}
    long |= {325 if tile else 279: list(map(len, blocks)), **({322: [tile], 323: [tile]} if tile else {278: [height]})}
    entries = {tag: (3, values) for tag, values in short.items()} | {tag: (4, values) for tag, values in long.items()}
    body = b"".join(blocks)
    body += bytes(len(body) % 2)
    table, extra = b"", b""
    start = 8 + len(body) + 2 + 12 * len(entries) + 4
    for tag, (kind, values) in sorted(entries.items()):
        data = struct.pack(f"{order}{len(values)}{'H' if kind == 3 else 'I'}", *values)
        place = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack(f"{order}I", start + len(extra))
        extra += data if len(data) > 4 else b""
        table += struct.pack(f"{order}2HI", tag, kind, len(values)) + place
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8 + len(body))
    return head + body + struct.pack(f"{order}H", len(entries)) + table + bytes(4) + extra


def unit(samples: np.ndarray) -> np.ndarray:
    return samples / np.iinfo(samples.dtype).max


def refusal(data: bytes) -> str:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        read_picture(io.BytesIO(data))
    return str(caught.value)


# TIFF.


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("tile", [0, 16])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("planar", [False, True])
def test_tiff_of_any_layout(order: str, compressed: bool, tile: int, dtype: type, planar: bool) -> None:
    colors = noise(19, 37, 3, dtype=dtype)
    file = tiff(colors, 2, order, planar, compressed, tile)
    # Of planes that libtiff decodes only the high bytes are read.
    atol = 1 / 255 if planar and compressed else 1e-6
    np.testing.assert_allclose(read_image(io.BytesIO(file)), unit(colors), atol=atol)
    with_alpha = noise(19, 37, 4, dtype=dtype) | dtype(257 if dtype == np.uint16 else 1)
    picture = read_picture(io.BytesIO(tiff(with_alpha, 2, order, planar, compressed, tile, _338=2)))
    np.testing.assert_allclose(picture.pixels, unit(with_alpha)[..., :3], atol=atol)
    np.testing.assert_allclose(picture.alpha, unit(with_alpha)[..., 3], atol=1 / 255)  # Pillow reads 8 bits of it.


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32])
def test_deep_grey_in_either_order_of_bytes(order: str, compressed: bool, dtype: type) -> None:
    grey = np.random.default_rng(0).random((5, 7, 1)) if dtype is np.float32 else noise(5, 7, 1, dtype=dtype)
    grey = grey.astype(dtype)
    expected = grey.astype(float)
    if dtype is not np.float32:
        expected = (expected - expected.min()) / (expected.max() - expected.min())
    pixels = read_image(io.BytesIO(tiff(grey, 1, order, False, compressed)))
    np.testing.assert_allclose(pixels, expected.repeat(3, -1), atol=1e-6)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("samples", "photometric", "planar", "tags"),
    [
        (noise(5, 7, 1, dtype=np.int8), 1, False, {}),
        (noise(5, 7, 2), 1, True, {"_338": 2}),
        (noise(5, 7, 2), 1, True, {"_338": 1}),
        (noise(5, 7, 4), 2, True, {"_338": 1}),
        (noise(5, 7, 4, dtype=np.uint16), 2, True, {"_338": 1}),
        (noise(5, 7, 3), 8, True, {}),
        (noise(5, 7, 3).astype(np.float32), 2, False, {}),
        (noise(5, 7, 3, dtype=np.int16), 2, False, {}),
        (noise(5, 7, 3, dtype=np.uint16), 8, False, {}),
    ],
    ids=["int8", "LA", "La", "RGBa", "RGBa16", "LAB", "float RGB", "signed RGB", "LAB16"],
)
def test_tiff_that_would_be_misread_is_refused(
    samples: np.ndarray, photometric: int, planar: bool, tags: dict[str, int], compressed: bool
) -> None:
    assert "TIFF" in refusal(tiff(samples, photometric, "<", planar, compressed, **tags))


def test_subsampled_colors_without_compression_are_refused() -> None:
    data = tiff(noise(8, 12, 3), 6, _530=(2, 2))
    assert read_image(io.BytesIO(data)).shape == (8, 12, 3)  # Every sample is there, whatever the tag says.
    short = data.replace(struct.pack("<2H2I", 279, 4, 1, 8 * 12 * 3), struct.pack("<2H2I", 279, 4, 1, 8 * 12 * 3 // 2))
    assert short != data
    assert "fewer places" in refusal(short)


@pytest.mark.parametrize("tag", ["_50706", "_50752"])
def test_a_raw_file_of_a_camera_is_not_its_thumbnail(tag: str) -> None:
    assert "a camera's raw file" in refusal(tiff(noise(5, 7, 3), 2, **{tag: (1, 4)}))
    assert "a camera's raw file" in refusal(tiff(noise(5, 7, 3), 2, _254=1, _330=8))


@pytest.mark.parametrize("fault", ["cut", "flipped", "tags"])
def test_damaged_tiff_prints_nothing(tmp_path: Path, fault: str) -> None:
    data = bytearray(tiff(noise(40, 40, 3), 2, compressed=True))
    if fault == "cut":
        del data[1000:2000]
    elif fault == "flipped":
        data[10:40] = bytes(30)
    else:
        data = bytearray(data.replace(struct.pack("<2HI", 277, 3, 1), struct.pack("<2HI", 277, 3, 0)))
    (tmp_path / "a.tif").write_bytes(data)
    code = (
        "import sys\nfrom wct_jax.pictures.images import read_picture\n"
        "try:\n    read_picture(sys.argv[1])\nexcept ValueError:\n    pass\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "a.tif"], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


# Other files.


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (EPS, "EPS"),
        (b"\xc5\xd0\xd3\xc6" + struct.pack("<6I", 30, len(EPS), 0, 0, 0, 0) + b"\xff\xff" + EPS, "EPS"),
        (b"%PDF-1.7\n", "PDF"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- by hand -->\n<svg width="1"/>', "SVG"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"\n<HTML><body>404</body></HTML>", "web page"),
        (b"\xd7\xcd\xc6\x9a" + bytes(40), "metafile"),
        (b"SIMPLE  =                    T" + b" " * 60, "scientific"),
        (b"\x89HDF\r\n\x1a\n" + bytes(40), "scientific"),
        (b"GRIB" + bytes(40), "scientific"),
        (b"v/1\x01" + bytes(40), "OpenEXR"),
        (b"\xff\x0a" + bytes(40), "JPEG XL"),
        (b"gimp xcf v011" + bytes(40), "GIMP"),
        (b"FUJIFILMCCD-RAW " + bytes(40), "raw"),
        (struct.pack(">I", 24) + b"ftypcrx " + bytes(40), "raw"),
        (struct.pack(">I", 24) + b"ftypisom" + bytes(40), "video"),
        (b"\x1aE\xdf\xa3" + bytes(40), "video"),
        (b"RIFF" + struct.pack("<I", 100) + b"AVI LIST" + bytes(40), "video"),
        (b"PK\x03\x04" + bytes(40), "archive"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
        (b"qoif" + struct.pack(">2I2B", 4, 4, 3, 0) + bytes(40), "QOI"),
    ],
)
def test_what_is_no_raster_picture_is_named(tmp_path: Path, data: bytes, kind: str) -> None:
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(ValueError, match=kind) as caught:
        read_picture(tmp_path / "a.jpg")
    assert "expected a raster picture" in str(caught.value)


def test_no_drawing_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jpg").write_bytes(EPS)

    def run(*_: object, **__: object) -> None:
        pytest.fail("another program was started")

    monkeypatch.setattr(subprocess, "Popen", run)
    with pytest.raises(ValueError, match="EPS"):
        read_picture(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    ("format", "suffix"),
    [("TGA", ".tga"), ("PCX", ".pcx"), ("SGI", ".sgi"), ("ICO", ".ico"), ("DIB", ".dib")],
)
def test_rarer_formats_are_found_and_read(tmp_path: Path, format: str, suffix: str) -> None:
    assert suffix in PICTURE_SUFFIXES
    colors = noise(16, 16, 3)
    Image.fromarray(colors).save(tmp_path / f"a{suffix}", format)
    np.testing.assert_allclose(read_image(tmp_path / f"a{suffix}")[-16:, :16], colors / 255, atol=1e-6)


def test_a_mif1_file_may_be_avif_or_heif(tmp_path: Path) -> None:
    Image.fromarray(np.full((16, 16, 3), 51, np.uint8)).save(tmp_path / "a.avif")
    data = (tmp_path / "a.avif").read_bytes()
    (tmp_path / "b.avif").write_bytes(data[:8] + b"mif1" + data[12:])
    np.testing.assert_allclose(read_image(tmp_path / "b.avif"), np.full((16, 16, 3), 0.2), atol=0.02)

"""Hostile uploads: each is refused in bounded time, and the server serves on."""

import io
import itertools
import struct
import time
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from wct_jax.server.uploads import plain

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIXELS = zlib.compress(bytes(4 * 13))  # Of 4 x 4.


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, *chunks, bits=8, colour=2, data=_PIXELS):
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return _SIGNATURE + head + b"".join(chunks) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def jpeg(width, height):
    tables = b"\xff\xdb\x00\x43\x00" + bytes([1] * 64)
    frame = b"\xff\xc0\x00\x11\x08" + struct.pack(">HH", height, width) + b"\x03\x01\x22\x00\x02\x11\x00\x03\x11\x00"
    return (
        b"\xff\xd8"
        + tables
        + frame
        + b"\xff\xda\x00\x0c\x03\x01\x00\x02\x11\x03\x11\x00\x3f\x00"
        + b"\0" * 50
        + b"\xff\xd9"
    )


def gif(width, height):
    return (
        b"GIF89a"
        + struct.pack("<HH", width, height)
        + b"\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0"
        + struct.pack("<HH", width, height)
        + b"\0\x02\x02D\x01\0;"
    )


def bmp(width, height, bits=24):
    return (
        b"BM"
        + struct.pack("<IHHIIiiHHIIiiII", 154, 0, 0, 54, 40, width, height, 1, bits, 0, 0, 0, 0, 0, 0)
        + b"\0" * 100
    )


def tiff(width, height, order="<", bits=8):
    entries = [
        (256, 4, width),
        (257, 4, height),
        (258, 3, bits),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 8),
        (277, 3, 1),
        (278, 4, height),
        (279, 4, 100),
    ]
    fields = b"".join(
        struct.pack(f"{order}HHI", tag, kind, 1)
        + (struct.pack(f"{order}I", value) if kind == 4 else struct.pack(f"{order}HH", value, 0))
        for tag, kind, value in entries
    )
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    return head + struct.pack(f"{order}H", len(entries)) + fields + b"\0" * 104


def webp(width, height):
    canvas = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + canvas
    return b"RIFF" + struct.pack("<I", len(body)) + body


def bombs():
    """Small files that claim, or unfold to, a lot."""
    sides = [
        (20000, 20000),
        (65535, 65535),
        (2**31 - 1, 1),
        (1, 2**31 - 1),
        (2**31 - 1, 2**31 - 1),
        (200000, 1000),
        (1100, 1000),
    ]
    for width, height in sides:
        yield f"png {width}x{height}", png(width, height)
        yield f"tiff {width}x{height}", tiff(width, height)
        yield f"tiff big-endian {width}x{height}", tiff(width, height, ">", 16)
        yield f"bmp {width}x{height}", bmp(width, height)
        if max(width, height) < 2**16:
            yield f"jpeg {width}x{height}", jpeg(width, height)
            yield f"gif {width}x{height}", gif(width, height)
        if max(width, height) < 2**24:
            yield f"webp {width}x{height}", webp(min(width, 2**14), min(height, 2**14))
    for width, height in ((0, 5), (5, 0), (0, 0)):
        yield f"png {width}x{height}", png(width, height)
        yield f"jpeg {width}x{height}", jpeg(width, height)
        yield f"bmp {width}x{height}", bmp(width, height)
    yield "many texts", png(4, 4, *[chunk(b"zTXt", b"a\0\0" + zlib.compress(b"\0" * 2**20))] * 80)
    yield "bits", png(4, 4, bits=77)
    yield "colour", png(4, 4, colour=5)
    yield "jpeg of many scans", jpeg(900, 900).replace(b"\xff\xc0", b"\xff\xc2") + b"\xff\xda" * 10**4
    yield "tiff in a circle", b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHII", 256, 4, 1, 5) + struct.pack("<I", 8)
    yield (
        "tiff with entries beyond its end",
        b"II*\0\x08\0\0\0\xff\xff" + struct.pack("<HHII", 256, 4, 2**31, 2**31) * 3,
    )
    yield "bmp of negative height", bmp(5, -(2**31))
    yield "bmp of odd bits", bmp(5, 5, 13)


def others():
    """Files that are no pictures of the kinds that are read."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("../../etc/passwd", "root")
    tga = b"\0\0\2" + b"\0" * 9 + struct.pack("<HH", 4, 4) + b"\x18\0" + b"\0" * 48
    yield from {
        "empty": b"",
        "a byte": b"\xff",
        "text": b"text " * 50,
        "html": b"<!doctype html><script>alert(1)</script>",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "svg with entities": b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>',
        "pdf": b"%PDF-1.7\n" + b"0" * 200,
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run",
        "zip": archive.getvalue(),
        "elf": b"\x7fELF\2\1\1" + b"\0" * 200,
        "program": b"MZ" + b"\0" * 200,
        "script": b"#!/bin/sh\nrm -rf /\n",
        "pickle": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R.",
        "numpy": b"\x93NUMPY\1\0" + b"\0" * 100,
        "safetensors": struct.pack("<Q", 2) + b"{}",
        "json": b'{"options": {}}',
        "playlist": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        "film": b"\0\0\0\x20ftypisom" + b"\0" * 200,
        "psd": b"8BPS\0\1" + b"\0" * 6 + struct.pack(">HIIHH", 3, 4, 4, 8, 3) + b"\0" * 100,
        "ppm": b"P6\n4 4\n255\n" + b"\0" * 48,
        "pfm": b"PF\n4 4\n-1.0\n" + b"\0" * 192,
        "tga": tga,
        "ico": b"\0\0\1\0\1\0\4\4\0\0\1\0\x18\0\x30\0\0\0\x16\0\0\0" + b"\0" * 100,
        "pcx": b"\x0a\5\1\x08" + b"\0" * 200,
        "sgi": b"\x01\xda\0\1\0\3" + b"\0" * 600,
        "sun": b"\x59\xa6\x6a\x95" + b"\0" * 200,
        "jpeg 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0" * 100,
        "wmf": b"\xd7\xcd\xc6\x9a" + b"\0" * 100,
        "exr": b"v/1\x01" + b"\0" * 100,
        "hdf5": b"\x89HDF\r\n\x1a\n" + b"\0" * 100,
        "a gif and a script": b"GIF89a/*" + b"\0" * 20 + b"*/=1;alert(1)",
        "a jpeg and html": b"\xff\xd8\xff\xe0<script>alert(1)</script>",
        "a png and php": _SIGNATURE + b"<?php system($_GET[0]); ?>",
        "a bmp and a script": b"BM=1;alert(1)//",
        "a webp and nothing": b"RIFF\0\0\0\0WEBP",
        "a tiff and a zip": b"II*\0" + archive.getvalue(),
        "an avif without anything": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1" + b"\0" * 50,
        "a heic without anything": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 50,
    }.items()


def truncated():
    """Pictures that are cut short."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    for format in ("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP", "AVIF"):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, format)
        data = file.getvalue()
        for part in (0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93):
            yield f"{format} cut after {part:%}", data[: int(len(data) * part)]


def damaged():
    """Pictures with something wrong, of which some can be read nevertheless."""
    many = zlib.compress(b"\0" * 2**26, 9)
    yield "pixels that unfold", png(4, 4, data=many)
    yield "text that unfolds", png(4, 4, chunk(b"zTXt", b"a\0\0" + many))
    yield "international text that unfolds", png(4, 4, chunk(b"iTXt", b"a\0\1\0\0\0" + many))
    yield "profile that unfolds", png(4, 4, chunk(b"iCCP", b"a\0\0" + many))
    yield "many chunks", png(4, 4, *[chunk(b"tEXt", b"a\0b")] * 20000)
    yield "frames", png(4, 4, chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0)))
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (30, 30, 3), dtype=np.uint8)
    for format, number in itertools.product(("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP", "AVIF"), range(16)):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, format)
        data = bytearray(file.getvalue())
        for place in rng.integers(0, min(len(data), 60 if number % 2 else len(data)), 1 + number):
            data[place] = rng.integers(256)
        yield f"{format} damaged {number}", bytes(data)


HOSTILE = {**dict(bombs()), **dict(others()), **dict(truncated())}
DAMAGED = dict(damaged())


@pytest.fixture
def send(client):
    """Send a file in one of the places that take pictures: the answer, which took a bounded time."""

    def send(data, place, photo, style, name="x.png"):
        began = time.monotonic()
        if place in ("style", "picture"):
            answer = client.post({"style": "/v1/styles", "picture": "/v1/settings"}[place], files={place: (name, data)})
        else:
            files = {"content": ("photo.png", photo), "style": ("style.png", style)}
            field = {"another": "style"}.get(place, place)
            answer = client.post("/v1/paint", files=files | {field: (name, data)})
        assert time.monotonic() - began < 20
        return answer

    return send


PLACES = ("content", "another", "mask", "strength_map", "style", "picture")


def check(client, send, refused, photo, style, files, places):
    passed = []
    for (name, data), place in zip(files, itertools.cycle(places), strict=False):
        answer = send(data, place, photo, style)
        if answer.status_code in (400, 413, 415, 422):
            refused(answer, answer.status_code)
        else:
            passed.append((name, place, answer.status_code, answer.text[:200]))
    assert not passed
    assert client.get("/v1/health").json()["ready"]


def test_hostile_pictures_are_refused(client, send, refused, photo, style):
    check(client, send, refused, photo, style, list(HOSTILE.items())[::5], PLACES)


@pytest.mark.slow
def test_all_hostile_pictures_are_refused(client, send, refused, photo, style):
    assert len(HOSTILE) * len(PLACES) >= 300
    for place in PLACES:
        check(client, send, refused, photo, style, HOSTILE.items(), [place])
    for name, data in DAMAGED.items():  # Some of these are pictures still.
        for place in PLACES[::2]:
            answer = send(data, place, photo, style)
            assert answer.status_code in (200, 201, 413, 415, 422), (name, place, answer.text[:200])


NAMES = {
    "../../etc/passwd": "passwd",
    "/etc/passwd": "passwd",
    "C:\\Windows\\system.ini": "system.ini",
    "..": "",
    ".": "",
    "": "",
    ".htaccess": "htaccess",
    "a\0.png": "a_.png",
    "a\r\nSet-Cookie: x=1.png": "a__Set-Cookie_ x_1.png",
    'a"; filename="b.png': "a__ filename__b.png",
    "<script>.png": "_script_.png",
    "\u202egnp.exe": "_gnp.exe",
    "$(id)`id`.png": "_(id)_id_.png",
    "%2e%2e%2fx.png": "_2e_2e_2fx.png",
    "ein Foto (größer).jpg": "ein Foto (größer).jpg",
    "写真.png": "写真.png",
    "x" * 5000 + ".png": "x" * 80 + ".png",
    "x." + "y" * 5000: "x." + "y" * 10,
}


@pytest.mark.parametrize(("given", "kept"), NAMES.items(), ids=[name[:20] for name in NAMES])
def test_names_are_made_plain(given, kept):
    assert plain(given) == kept


@pytest.mark.parametrize("name", ["../../etc/passwd", "a\r\nSet-Cookie: x=1.png", "写真.png", "x" * 1000])
def test_names_lead_nowhere(client, order, photo, name):
    given = order()
    given["files"][0] = ("content", (name, photo))
    answer = client.post("/v1/paint", **given)
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    said = answer.headers["content-disposition"]
    assert said.startswith('inline; filename="')
    assert said.isascii()
    assert "/" not in said
    assert "\\" not in said


def test_what_follows_a_picture_is_not_passed_on(client, order, photo):
    answer = client.post("/v1/paint", **order(photo=photo + b"PK\x03\x04<script>"))
    assert answer.status_code == 200
    assert b"<script>" not in answer.content


def test_too_many_pictures_at_once(client, order, refused, encoded):
    large = encoded(1000, 700, "JPEG", quality=1)
    sentence = refused(client.post("/v1/paint", **order(("style", ("b.jpg", large)), photo=large, style=large)), 413)
    assert "all pictures together" in sentence


@pytest.mark.parametrize(
    "extra", [{f"f{number}": "x" for number in range(100)}, {"options": "x" * 10**5}, {"x" * 10**4: "y"}]
)
def test_forms_are_bounded(client, order, refused, extra):
    given = order()
    given["data"] = extra
    answer = client.post("/v1/paint", **given)
    refused(answer, answer.status_code)
    assert answer.status_code in (400, 422)


def test_many_files(client, refused, photo):
    answer = client.post("/v1/paint", files=[("style", ("x.png", photo))] * 100)
    assert "files" in refused(answer, 400)


def test_a_part_with_a_header_without_end(client, refused):
    body = b"--x\r\nContent-Disposition: form-data; name=" + b"a" * 900000 + b"\r\n\r\n\r\n--x--"
    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = client.post("/v1/paint", content=body, headers=headers)
    assert answer.status_code in (400, 422)
    refused(answer, answer.status_code)

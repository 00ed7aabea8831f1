import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from wct_jax.convert.checkpoint import CheckpointError
from wct_jax.convert.containers.archive import open_zip, read_entry


@pytest.fixture
def path(tmp_path):
    return tmp_path / "archive"


def write(path, method=zipfile.ZIP_STORED, **contents):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)


def read(path, name="a"):
    with open_zip(path) as archive:
        return read_entry(archive, archive.getinfo(name))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("content", [b"", b"x", b"0123456789" * 10_000])
def test_what_was_written_is_read(path, method, content):
    write(path, method, a=content, b=b"else")
    assert read(path) == content


def test_zip64_and_comments(path):
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("a", "w", force_zip64=True) as file:
            file.write(b"content")
        archive.comment = b"c" * 1000
    assert read(path) == b"content"


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_packing_without_a_bound_is_refused(path, method):
    write(path, method, a=b"x" * 100)
    with pytest.raises(CheckpointError, match=r"a is packed by method 1[24], expected it stored or deflated"):
        read(path)


def test_a_size_that_is_a_lie_is_not_exceeded(path):
    write(path, zipfile.ZIP_DEFLATED, a=np.zeros(50_000_000, np.uint8).tobytes())
    content = path.read_bytes().replace(struct.pack("<I", 50_000_000), struct.pack("<I", 100))
    path.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(zipfile.BadZipFile, match="Bad CRC"):
        read(path)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()
    path.write_bytes(content.replace(struct.pack("<I", 100), struct.pack("<I", 60_000_000)))
    with pytest.raises((CheckpointError, zipfile.BadZipFile)):
        read(path)


@pytest.mark.parametrize("is_zip64", [False, True])
def test_long_lists_of_files_are_not_read(path, is_zip64):
    entry = b"PK\1\2" + bytes(42)
    directory = entry * 30_000
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, 0xFFFFFFFF if is_zip64 else len(directory), 0, 0)
    if is_zip64:
        record = b"PK\6\6" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 30_000, 30_000, len(directory), 0)
        end = record + b"PK\6\7" + struct.pack("<IQI", 0, len(directory), 1) + end
    path.write_bytes(directory + end)
    with zipfile.ZipFile(path) as archive:
        assert len(archive.namelist()) == 30_000
    with pytest.raises(CheckpointError, match="its list of files has 1380000 bytes, expected at most 1048576"):
        read(path)


def test_a_crc_is_compared(path):
    write(path, a=b"content")
    path.write_bytes(path.read_bytes().replace(b"content", b"contend"))
    with pytest.raises(zipfile.BadZipFile):
        read(path)

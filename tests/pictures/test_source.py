"""Opening pictures by path, through pipes, and as open files."""

import io
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wct_jax import read_mask
from wct_jax.pictures.images import Picture, read_image, read_picture
from wct_jax.pictures.output import write_image, write_picture
from wct_jax.pictures.source import open_regular

posix = pytest.mark.skipif(os.name != "posix", reason="pipes and devices with names are POSIX")


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encoded(format: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(noise(9, 7, 3)).save(file, format)
    return file.getvalue()


EXPECTED = noise(9, 7, 3) / np.float32(255)


def refusal(call: Callable[..., object], *arguments: object) -> str:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        call(*arguments)
    return str(caught.value)


def piped(data: bytes) -> int:
    """The reading end of a pipe through which the data comes."""
    reading, writing = os.pipe()

    def feed() -> None:
        with open(writing, "wb") as file:
            file.write(data)

    threading.Thread(target=feed, daemon=True).start()
    return reading


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP", "PPM"])
def test_a_pipe_is_read_to_its_end(format: str) -> None:
    with open(piped(encoded(format)), "rb") as pipe:
        np.testing.assert_array_equal(read_image(pipe), EXPECTED)


@posix
def test_a_pipe_of_the_process_is_read_by_its_path() -> None:
    descriptor = piped(encoded())
    np.testing.assert_array_equal(read_image(f"/dev/fd/{descriptor}"), EXPECTED)
    assert "empty" in refusal(read_image, f"/dev/fd/{descriptor}")  # It can be read once.
    os.close(descriptor)
    assert "Bad file descriptor" in refusal(read_image, f"/dev/fd/{descriptor}")


@posix
@pytest.mark.parametrize("path", ["/dev/stdin", "/dev/fd/0", "/dev/../dev/stdin"])
@pytest.mark.parametrize("redirected", [False, True])
def test_standard_input(tmp_path: Path, path: str, redirected: bool) -> None:
    (tmp_path / "a.png").write_bytes(encoded())
    code = "import sys\nfrom wct_jax.pictures.images import read_image\nprint(read_image(sys.argv[1]).shape)"
    command = [sys.executable, "-c", code, path]
    with open(tmp_path / "a.png", "rb") as file:
        given = {"stdin": file} if redirected else {"input": encoded()}
        done = subprocess.run(command, capture_output=True, check=False, **given)  # type: ignore[call-overload]
    assert (done.stdout, done.stderr) == (b"(9, 7, 3)\n", b"")


def test_open_files_are_read_from_their_start() -> None:
    file = io.BytesIO(encoded())
    file.seek(17)
    for _ in range(2):
        np.testing.assert_array_equal(read_image(file), EXPECTED)
    assert not file.closed
    np.testing.assert_allclose(read_mask(io.BytesIO(encoded())), EXPECTED @ np.float32([0.299, 0.587, 0.114]))
    with tempfile.SpooledTemporaryFile() as spooled:
        spooled.write(encoded())
        np.testing.assert_array_equal(read_image(spooled), EXPECTED)
    assert "expected a binary file" in refusal(read_image, io.StringIO("P1"))
    assert "the stream" in refusal(read_image, io.BytesIO(b"no picture"))


@posix
@pytest.mark.parametrize("kind", ["pipe", "pipe with a writer", "link to a pipe", "socket", "device", "directory"])
def test_what_is_no_regular_file_does_not_hang(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.jpg"
    if "pipe" in kind:
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "pipe").rename(path) if kind != "link to a pipe" else path.symlink_to(tmp_path / "pipe")
    elif kind == "socket":
        listener = socket.socket(socket.AF_UNIX)
        here = Path.cwd()
        os.chdir(tmp_path)  # The path of a socket has to be short.
        listener.bind("a.jpg")
        os.chdir(here)
        listener.close()
    else:
        path = Path("/dev/zero") if kind == "device" else tmp_path
    if kind == "pipe with a writer":
        descriptor = os.open(path, os.O_RDWR)
    word = kind.split()[-1 if "link" in kind else 0]
    for read in (read_picture, read_image, read_mask, open_regular):
        with pytest.raises((ValueError, IsADirectoryError), match=f"(?i){word}"):
            read(path)
    if kind == "pipe with a writer":
        os.close(descriptor)


@posix
def test_a_file_that_becomes_a_pipe_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(encoded())
    real = os.open

    def swap(path: str, flags: int) -> int:
        os.unlink(path)
        os.mkfifo(path)
        return real(path, flags)

    monkeypatch.setattr(os, "open", swap)
    assert "got a pipe" in refusal(read_picture, tmp_path / "a.png")


def test_a_stream_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wct_jax.pictures.source._LONGEST_STREAM", 2**21)

    class Endless(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            return bytes(size)

    assert "goes on after" in refusal(read_picture, Endless())


@pytest.mark.parametrize(("suffix", "format"), [(None, "PNG"), (".jpg", "JPEG"), (".tif", "TIFF"), (".webp", "WEBP")])
def test_an_open_file_is_written_to(suffix: str | None, format: str) -> None:
    file = io.BytesIO()
    write_picture(file, Picture(EXPECTED), suffix)
    assert Image.open(file).format == format
    if format == "PNG":
        np.testing.assert_array_equal(read_image(file), EXPECTED)


def test_what_cannot_be_written_to_an_open_file() -> None:
    assert "suffix" in refusal(write_image, io.BytesIO(), EXPECTED, ".gif")
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb", buffering=0) as pipe:
        assert "Broken pipe" in refusal(write_image, pipe, EXPECTED)


@pytest.mark.parametrize("source", [None, 3, b"a.png"])
def test_what_is_neither_a_path_nor_a_file(source: object) -> None:
    assert "must be a path" in refusal(read_picture, source)

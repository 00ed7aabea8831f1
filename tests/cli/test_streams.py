"""`-`, pipes and special files in the place of files, and what is said of pictures on the way."""

import io
import os
import sys

import numpy as np
import pytest
from PIL import Image

from wct_jax.cli.stylize import main

posix = pytest.mark.skipif(os.name != "posix", reason="pipes and devices with names are POSIX")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def stream(data=b""):
    return io.TextIOWrapper(io.BytesIO(data))


@pytest.fixture
def given(monkeypatch):
    """Put bytes on standard input."""

    def given(data):
        monkeypatch.setattr(sys, "stdin", stream(data))

    return given


@pytest.fixture
def same(repaint, tmp_path):
    """Check that the command, given some flags, makes of the photo and the picture what it makes of their files."""
    repaint("--no-settings", output="expected.png")
    expected = (tmp_path / "expected.png").read_bytes()

    def same(*flags):
        repaint("--no-settings", *flags)
        return (tmp_path / "out.png").read_bytes() == expected

    same.expected = expected
    return same


def test_a_photo_through_a_pipe_and_a_result_through_another(files, few, same, given, monkeypatch):
    given((files / "photo.png").read_bytes())
    written = stream()
    monkeypatch.setattr(sys, "stdout", written)
    main([*map(str, few), "--content", "-", "--no-settings", "--output", "-"])
    assert written.buffer.getvalue() == same.expected


@pytest.mark.parametrize(("option", "name"), [("--content", "photo.png"), ("--style", "picture.png")])
def test_either_picture_through_a_pipe(files, same, given, option, name):
    given((files / name).read_bytes())
    assert same(option, "-")


@posix
def test_what_a_shell_substitutes_for_a_command(files, same):
    pipes = []
    for name in ("photo.png", "picture.png"):
        reading, writing = os.pipe()
        with open(writing, "wb") as file:
            file.write((files / name).read_bytes())  # Less than a pipe holds.
        pipes.append(reading)
    content, style = (f"/dev/fd/{reading}" for reading in pipes)
    assert same("--content", content, "--style", style)
    for reading in pipes:
        os.close(reading)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--content", "-", "--style", "-", "--output", "o.png"), "can be read once"),
        (("--content", "-", "--style", "s.png", "--mask", "/dev/stdin", "--output", "o.png"), "can be read once"),
        (("--content", "-", "--style", "s.png", "--strength", "/dev/stdin", "--output", "o.png"), "can be read once"),
        (("--content", "-", "--style", "s.png"), "expected --output FILE"),
        (("--content", "/dev/stdin", "--style", "s.png"), "expected --output FILE"),
        (("--content", "/dev/fd/7", "--style", "s.png"), "expected --output FILE"),
        (("--content", "-", "--style", "s.png", "--output", "o", "--sheet", "sheet.png"), "can be read once"),
        (("--content", "p.png", "--style", "s.png", "--save-style", "-"), "only --output can be -"),
        (("--content", "p.png", "q.png", "--style", "s.png", "--output", "-"), "--output - takes one result"),
    ],
)
def test_what_streams_cannot_do(refused, given, monkeypatch, files, tmp_path, flags, expected):
    given(b"")
    monkeypatch.chdir(tmp_path)
    for name in ("s.png", "p.png", "q.png"):
        (tmp_path / name).write_bytes((files / "photo.png").read_bytes())
    assert expected in refused(main, *flags, "--model", files / "model.safetensors")


def test_terminals_are_no_pictures(refuse, monkeypatch):
    for stdin, reason in (Terminal(), "got a terminal"), (None, "standard input"):
        monkeypatch.setattr(sys, "stdin", stdin)
        assert reason in refuse("--content", "-")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert "got a terminal" in refuse(output="-")


@posix
@pytest.mark.parametrize("option", ["--content", "--style", "--mask", "--alpha-map"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_special_files_with_the_name_of_a_picture_are_refused(refuse, tmp_path, option, kind):
    path = tmp_path / "special.jpg"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    assert f"cannot read {path}: expected a regular file" in refuse(option, path)


def test_more_megapixels_have_to_be_asked_for(refuse, run, few, monkeypatch, tmp_path):
    photo = tmp_path / "photo.tif"
    Image.fromarray(np.zeros((16, 20, 3), np.uint8)).save(photo)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    text = refuse(content=photo)
    assert "20 x 16 pixels: it claims more than 200 pixels" in text
    assert "--max-megapixels 1" in text
    flags = ["--content", photo, "--max-megapixels", 1, "--output", tmp_path / "out.png"]
    assert run(main, *few, *flags)[0] == 0


def test_a_picture_that_takes_more_than_the_memory_is_refused_by_its_header(refuse, tmp_path):
    Image.new("1", (11000, 11000)).save(tmp_path / "photo.png")
    text = refuse("--memory", "1GB", content=tmp_path / "photo.png")
    assert "11000 x 11000 pixels take 1.6 GB of memory to read, and 1.0 GB may be taken" in text
    assert "--memory" in text


def test_that_only_a_first_frame_is_used_is_said(run, few, tmp_path):
    frames = [Image.new("RGB", (24, 17), color) for color in ("red", "lime")]
    frames[0].save(tmp_path / "photo.gif", save_all=True, append_images=frames[1:])
    status, _, err = run(main, *few, "--content", tmp_path / "photo.gif", "--output", tmp_path / "o.png")
    assert status == 0
    assert err.count(f"{tmp_path / 'photo.gif'} has several frames: the first one is used") == 1


@posix
def test_a_link_to_nothing_is_not_written_through(refuse, run, few, tmp_path):
    (tmp_path / "out.png").symlink_to(tmp_path / "there.png")
    assert "it exists" in refuse()
    assert not (tmp_path / "there.png").exists()
    assert run(main, *few, "--output", tmp_path / "out.png", "--overwrite")[0] == 0
    assert (tmp_path / "out.png").is_symlink()
    assert (tmp_path / "there.png").is_file()

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
def result(files, run, tmp_path):
    """The result for the photo and the picture by their names."""
    model = files / "model.safetensors"
    names = ("--content", files / "photo.png", "--style", files / "picture.png", "--model", model, "--no-settings")
    assert run(main, *names, "--output", tmp_path / "expected.png")[0] == 0
    return (tmp_path / "expected.png").read_bytes()


def test_a_photo_through_a_pipe_and_a_result_through_another(files, result, run, given, monkeypatch, tmp_path):
    given((files / "photo.png").read_bytes())
    written = stream()
    monkeypatch.setattr(sys, "stdout", written)
    model = ("--model", str(files / "model.safetensors"), "--no-settings")
    main(["--content", "-", "--style", str(files / "picture.png"), *model, "--output", "-"])
    assert written.buffer.getvalue() == result


@pytest.mark.parametrize("option", ["--content", "--style"])
def test_either_picture_through_a_pipe(files, result, run, given, tmp_path, option):
    given((files / {"--content": "photo.png", "--style": "picture.png"}[option]).read_bytes())
    names = {"--content": files / "photo.png", "--style": files / "picture.png"} | {option: "-"}
    flags = [flag for pair in names.items() for flag in pair]
    flags += ["--no-settings", "--output", tmp_path / "out.png"]
    status, _, err = run(main, *flags, "--model", files / "model.safetensors")
    assert (status, err) == (0, "")
    assert (tmp_path / "out.png").read_bytes() == result


@posix
def test_what_a_shell_substitutes_for_a_command(files, result, run, tmp_path):
    pipes = []
    for name in ("photo.png", "picture.png"):
        reading, writing = os.pipe()
        with open(writing, "wb") as file:
            file.write((files / name).read_bytes())  # Less than a pipe holds.
        pipes.append(reading)
    content, style = (f"/dev/fd/{reading}" for reading in pipes)
    flags = ("--content", content, "--style", style, "--model", files / "model.safetensors")
    status, _, err = run(main, *flags, "--no-settings", "--output", tmp_path / "out.png")
    assert (status, err) == (0, "")
    assert (tmp_path / "out.png").read_bytes() == result
    for reading in pipes:
        os.close(reading)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--content", "-", "--style", "-", "--output", "o.png"), "can be read once"),
        (("--content", "-", "--style", "s.png", "--mask", "/dev/stdin", "--output", "o.png"), "can be read once"),
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


def test_terminals_are_no_pictures(refused, monkeypatch, files, tmp_path):
    photo, style = files / "photo.png", files / "picture.png"
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", Terminal())
        assert "got a terminal" in refused(main, "--content", "-", "--style", style, "--output", tmp_path / "o.png")
        patch.setattr(sys, "stdin", None)
        assert "standard input" in refused(main, "--content", "-", "--style", style, "--output", tmp_path / "o.png")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert "got a terminal" in refused(main, "--content", photo, "--style", style, "--output", "-")


@posix
@pytest.mark.parametrize("option", ["--content", "--style", "--mask", "--alpha-map"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_special_files_with_the_name_of_a_picture_are_refused(refused, files, tmp_path, option, kind):
    path = tmp_path / "special.jpg"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    flags = {"--content": files / "photo.png", "--style": files / "picture.png"} | {option: path}
    text = refused(main, *(flag for pair in flags.items() for flag in pair), "--output", tmp_path / "o.png")
    assert f"cannot read {path}: expected a regular file" in text


def test_more_megapixels_have_to_be_asked_for(refused, run, monkeypatch, files, tmp_path):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.fromarray(np.zeros((16, 20, 3), np.uint8)).save(tmp_path / "photo.tif")
    flags = ("--content", tmp_path / "photo.tif", "--style", tmp_path / "photo.tif", "--output", tmp_path / "o.png")
    model = ("--model", files / "model.safetensors")
    text = refused(main, *flags, *model)
    assert "20 x 16 pixels: it claims more than 200 pixels" in text
    assert "--max-megapixels 1" in text
    assert run(main, *flags, *model, "--max-megapixels", 1)[0] == 0


def test_a_picture_that_takes_more_than_the_memory_is_refused_by_its_header(refused, files, tmp_path):
    Image.new("1", (11000, 11000)).save(tmp_path / "photo.png")
    flags = ("--content", tmp_path / "photo.png", "--style", files / "picture.png", "--output", tmp_path / "o.png")
    text = refused(main, *flags, "--model", files / "model.safetensors", "--memory", "1GB")
    assert "11000 x 11000 pixels take 1.6 GB of memory to read, and 1.0 GB may be taken" in text
    assert "--memory" in text


def test_that_only_a_first_frame_is_used_is_said(run, files, tmp_path):
    frames = [Image.new("RGB", (24, 17), color) for color in ("red", "lime")]
    frames[0].save(tmp_path / "photo.gif", save_all=True, append_images=frames[1:])
    flags = ("--content", tmp_path / "photo.gif", "--style", files / "picture.png", "--output", tmp_path / "o.png")
    status, _, err = run(main, *flags, "--model", files / "model.safetensors")
    assert status == 0
    assert err.count(f"{tmp_path / 'photo.gif'} has several frames: the first one is used") == 1


@posix
def test_a_link_to_nothing_is_not_written_through(refused, run, files, tmp_path):
    (tmp_path / "o.png").symlink_to(tmp_path / "there.png")
    flags = ("--content", files / "photo.png", "--style", files / "picture.png", "--output", tmp_path / "o.png")
    assert "it exists" in refused(main, *flags, "--model", files / "model.safetensors")
    assert not (tmp_path / "there.png").exists()
    assert run(main, *flags, "--model", files / "model.safetensors", "--overwrite")[0] == 0
    assert (tmp_path / "o.png").is_symlink()
    assert (tmp_path / "there.png").is_file()

"""The command `wct-jax live`: films and streams of what a camera sees, keys, and what it refuses."""

import json
import os
import pty
import signal
import socket
import threading
import urllib.request
from fractions import Fraction

import numpy as np
import pytest

from wct_jax.cli import keys
from wct_jax.cli.live import main
from wct_jax.video.files.film import open_film
from wct_jax.video.files.form import Form
from wct_jax.video.files.frames import Frame
from wct_jax.video.files.segments import write_segment
from wct_jax.video.live import outlets


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    path, rng = tmp_path_factory.mktemp("film") / "film.mp4", np.random.default_rng(0)
    pixels = rng.random((6, 8, 3), np.float32).repeat(8, 0).repeat(8, 1)
    frames = [Frame(np.roll(pixels, n, 1), Fraction(n, 10), Fraction(1, 10)) for n in range(4)]
    write_segment(path, frames, Form(".mp4", 64, 48, Fraction(10), Fraction(1, 10)))
    return path


@pytest.fixture
def look(files):
    return ["--style", files / "picture.png", files / "photo.png", "--layers", "relu1_1", "--no-flow"]


@pytest.fixture
def paint(run, files, film, look):
    def paint(*flags):
        return run(main, "--input", film, *look, "--model", files / "model.safetensors", *flags)

    return paint


def test_a_film_plays_the_camera(paint, tmp_path):
    target, report = tmp_path / "out.mp4", tmp_path / "report.json"
    status, out, err = paint("--output", target, "--report", report, "--content-size", 32)
    assert (status, err) == (0, "")
    done = json.loads(report.read_text())
    assert out.startswith(f"{target}: {done['frames']} frames, {done['missed']} left out, ")
    assert (done["size"], done["style"], done["follow"]) == ([43, 32], 1, False)
    with open_film(target) as result:
        assert len(list(result)) == done["frames"] > 0
        assert (result.width, result.height) == (64, 48)
    status, _, err = paint("--output", target)
    assert status == 2
    assert "it exists, expected --overwrite" in err


@pytest.fixture
def _interruptible():
    """A shell has its background jobs ignore SIGINT, and so then does `live`."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_an_interrupt_leaves_a_whole_film(paint, tmp_path, monkeypatch):
    show = outlets.Recording.show

    def interrupted(self, *frame):
        show(self, *frame)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(outlets.Recording, "show", interrupted)
    before = signal.getsignal(signal.SIGINT)
    status, out, err = paint("--output", tmp_path / "out.mp4")
    assert (status, err) == (0, "")
    assert ": 1 frames, " in out
    assert signal.getsignal(signal.SIGINT) is before
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    with open_film(tmp_path / "out.mp4") as result:
        assert len(list(result)) == 1


def test_a_stream(paint, tmp_path, monkeypatch):
    """Its page names the styles, and one of them is switched to before the first frame."""
    from wct_jax.video.live.easel import Easel

    measure, pages = Easel.measure, []

    def measured(self):
        measure(self)
        page = said.pop()
        pages.append(urllib.request.urlopen(page).read().decode())
        urllib.request.urlopen(f"{page}style/2", b"")

    said = []
    monkeypatch.setattr("wct_jax.cli.live.say", lambda text: said.append(text.split(": ")[1]))
    monkeypatch.setattr(Easel, "measure", measured)
    status, _, err = paint("--serve", 0, "--report", tmp_path / "report.json")
    assert (status, err) == (0, "")
    assert "picture.png" in pages[0]
    assert json.loads((tmp_path / "report.json").read_text())["style"] == 2


def test_keys(monkeypatch):
    """A terminal is asked for single keys, and afterwards is as it was."""
    import termios

    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    monkeypatch.setattr(keys, "_terminal", lambda: theirs)
    pressed, last = [], threading.Event()
    with keys.keys(lambda key: (pressed.append(key), key == "q" and last.set()), lambda: False) as listening:
        assert listening
        os.write(ours, b"2npq")
        # Until the terminal gives single keys, it keeps them for a line.
        assert last.wait(60)
    assert pressed == ["2", "n", "p", "q"]
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)


def test_without_a_terminal_there_are_no_keys():
    with keys.keys(print, lambda: False) as listening:
        assert not listening


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ([], "expected --output, --serve or --virtual-camera, got none"),
        (["--output=out.txt"], "a film's suffix must be one of"),
        (["--output=none/out.mp4"], "does not exist"),
        (["--output=out.mp4", "--codec=theora"], "the codec of a .mp4 film must be one of h264, hevc, got 'theora'"),
        (["--serve=0", "--report=report.txt"], "--report must be a .json"),
        (["--serve=0", "--fps=0"], "--fps must be from 0.1 to 1000, got 0"),
        (["--serve=70000"], "expected a whole number from 0 to 65535"),
        (["--serve=0", "--camera=0"], "not allowed with argument"),
        (["--serve=0", "--strength=MASK"], "--strength takes a number for a live picture"),
        (["--serve=0", "--mask=MASK"], "unrecognized arguments: --mask"),
    ],
)
def test_bad_arguments(refused, film, look, files, tmp_path, monkeypatch, flags, sentence):
    monkeypatch.chdir(tmp_path)
    flags = [flag.replace("MASK", str(files / "photo.png")) for flag in flags]
    assert sentence in refused(main, "--input", film, *look, "--model", files / "model.safetensors", *flags)


def test_there_is_no_camera_no_film_and_no_style(refused, look, film, tmp_path):
    assert "there is no camera 999" in refused(main, "--camera", 999, *look, "--serve", 0)
    assert "no such file" in refused(main, "--input", tmp_path / "none.mp4", *look, "--serve", 0)
    assert "expected --style PICTURE" in refused(main, "--input", film, "--serve", 0)
    folder = refused(main, "--input", film, "--style", tmp_path, "--serve", 0)
    assert "--style takes files to switch between, got a folder" in folder


def test_a_port_in_use(refused, look, film, files):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        model = ["--model", files / "model.safetensors"]
        assert f"cannot serve at port {port}" in refused(main, "--input", film, *look, *model, "--serve", port)

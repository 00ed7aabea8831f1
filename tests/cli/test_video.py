"""The command `wct-jax video`: names, parts, reports, and what it refuses."""

import itertools
import json
import subprocess
import sys
import time
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from wct_jax.cli.video import main
from wct_jax.video import repainting
from wct_jax.video.files.film import open_film
from wct_jax.video.files.form import Form
from wct_jax.video.files.frames import Frame
from wct_jax.video.files.joining import join
from wct_jax.video.files.segments import write_segment


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("film"), np.random.default_rng(0)
    pixels = rng.random((6, 8, 3), np.float32).repeat(8, 0).repeat(8, 1)
    frames = [Frame(np.roll(pixels, n, 1), Fraction(n, 10), Fraction(1, 10)) for n in range(6)]
    form = Form(".mp4", 64, 48, Fraction(10), Fraction(1, 10))
    write_segment(folder / "one.mp4", frames, form)
    with open_film(folder / "one.mp4") as source:
        join([folder / "one.mp4"], source, folder / "film.mp4", form)
    return folder / "film.mp4"


@pytest.fixture
def paint(run, files, film, tmp_path):
    def paint(*flags):
        look = ["--style", files / "picture.png", "--model", files / "model.safetensors", "--layers", "relu1_1"]
        return run(main, film, *look, *flags)

    return paint


def test_a_film_is_repainted_beside_it(paint, film, files, tmp_path):
    target = film.with_name("film__picture.mp4")
    status, out, err = paint("--report", tmp_path / "report.json")
    assert (status, err) == (0, "")
    assert out.startswith(f"{target}: 6 frames in 1 shot, ")
    with open_film(target) as result:
        assert [frame.time for frame in result] == [Fraction(n, 10) for n in range(6)]
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["output"], report["frames"], report["painted"]) == (str(target), 6, 6)
    status, _, err = paint()
    assert status == 2
    assert "it exists, expected --overwrite" in err
    assert paint("--overwrite", "--steady", 0.5)[0] == 0
    status, _, err = paint("--overwrite", "--output", film)
    assert status == 2
    assert f"error: cannot write {film}: it is {film}, which is read, expected a file of its own" in err


def test_a_part_of_a_film_in_pictures(paint, tmp_path):
    (tmp_path / "out").mkdir()
    status, _, err = paint("--from", 0.2, "--to", 0.5, "--output", tmp_path / "out" / "%02d.png")
    assert (status, err) == (0, "")
    assert len(list((tmp_path / "out").glob("*.png"))) == 3
    status, _, err = paint("--output", tmp_path / "out" / "%02d.png")
    assert status == 2
    assert "01.png: it exists, expected --overwrite" in err


def test_grey_pictures_of_strength(paint, film, files, tmp_path):
    Image.fromarray(np.uint8([[0, 255]]).repeat(32, 1).repeat(48, 0)).save(tmp_path / "map.png")
    out = ["--no-flow", "--codec=ffv1", "--output"]
    for name, flags in (("whole", []), ("half", ["--strength", tmp_path / "map.png"])):
        assert paint(*flags, *out, tmp_path / f"{name}.mkv")[0] == 0
    films = [film, tmp_path / "whole.mkv", tmp_path / "half.mkv"]
    source, whole, half = (next(iter(open_film(path))).pixels for path in films)
    np.testing.assert_allclose(half[:, :30], source[:, :30], atol=0.01)
    np.testing.assert_allclose(half[:, 34:], whole[:, 34:], atol=0.01)


def test_a_mask_for_each_frame(paint, film, files, tmp_path):
    """Here the style leaves the film from the left to the right."""
    for n in range(6):
        Image.fromarray(np.uint8(np.arange(64) >= 8 * n).repeat(48).reshape(64, 48).T * 255).save(tmp_path / f"{n}.png")
    out = ["--no-flow", "--codec=ffv1", "--output", tmp_path / "out.mkv"]
    assert paint("--mask-video", tmp_path / "*.png", *out)[0] == 0
    with open_film(film) as source, open_film(tmp_path / "out.mkv") as result:
        for n, (before, after) in enumerate(zip(source, result, strict=True)):
            apart = np.abs(before.pixels - after.pixels).max((0, 2))
            assert (apart < 0.01).tolist() == [True] * 8 * n + [False] * (64 - 8 * n)
    status, _, err = paint("--mask-video", tmp_path / "*.png", "--mask", tmp_path / "0.png", "--output", "new.mkv")
    assert status == 2
    assert "expected one of them" in err


def test_frames_are_resized(paint, tmp_path):
    status, _, err = paint("--content-size", 24, "--output", tmp_path / "small.mp4")
    assert (status, err) == (0, "")
    with open_film(tmp_path / "small.mp4") as result:
        assert (result.width, result.height) == (32, 24)


def test_an_interrupted_run_says_how_to_go_on(paint, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(repainting.Brush, "paint", interrupted)
        status, _, err = paint("--output", tmp_path / "out.mp4")
    assert status == 130
    assert "the same command goes on from here" in err
    status, _, err = paint("--output", tmp_path / "out.mp4", "--resume", "--steady", 1)
    assert status == 2
    assert "out.mp4: the unfinished one has another steadiness" in err
    assert paint("--output", tmp_path / "out.mp4", "--resume")[0] == 0


@pytest.mark.slow
def test_a_command_killed_ten_times_ends_with_the_same_film(files, tmp_path, rng):
    """Whenever that happens: while it starts, looks through the film, paints, joins, or after it has ended."""
    shots = rng.random((12, 6, 8, 3), np.float32).repeat(8, 1).repeat(8, 2)
    frames = [Frame(np.roll(shots[n // 20], n, 1), Fraction(n, 25), Fraction(1, 25)) for n in range(240)]
    form = Form(".mp4", 64, 48, Fraction(25), Fraction(1, 25))
    write_segment(tmp_path / "one.mp4", frames, form)
    with open_film(tmp_path / "one.mp4") as source:
        join([tmp_path / "one.mp4"], source, tmp_path / "film.mp4", form)

    def start(target):
        command = [sys.executable, "-m", "wct_jax", "video", tmp_path / "film.mp4", "--output", target]
        command += ["--style", files / "picture.png", "--model", files / "model.safetensors"]
        return subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def pixels(path):
        with open_film(path) as result:
            return [(frame.time, frame.pixels) for frame in result]

    assert start(tmp_path / "whole.mp4").wait() == 0
    began = time.monotonic()
    assert start(tmp_path / "again.mp4").wait() == 0
    took = time.monotonic() - began
    whole, target, kills, left = pixels(tmp_path / "whole.mp4"), tmp_path / "out.mp4", 0, set()
    while kills < 10 or not target.exists():
        process = start(target)
        try:
            process.wait(rng.uniform(0, took) if kills < 10 else None)
        except subprocess.TimeoutExpired:
            process.kill()
            kills += 1
        process.wait()
        left.add(len(list(tmp_path.glob(".out.mp4.unfinished/*.mkv"))))
        if target.exists():
            for one, other in itertools.zip_longest(whole, pixels(target)):
                assert one[0] == other[0]
                np.testing.assert_array_equal(one[1], other[1])
            if kills < 10:
                target.unlink()
    assert len(left) > 1
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--output=out.txt"], "a film's suffix must be one of"),
        (["--codec=theora"], "the codec of a .mp4 film must be one of h264, hevc, got 'theora'"),
        (["--from=3", "--to=2"], "end must be after start"),
        (["--from=3"], "there are no frames"),
        (["--from=a"], "expected a time such as 12.5 or 1:02:03, got 'a'"),
        (["--stream=4"], "stream must be below 1"),
        (["--resume"], "out.mp4: there is no unfinished one"),
        (["--resume", "--overwrite"], "not allowed with argument"),
        (["--fps=3"], "fps is for sequences of pictures"),
        (["--report=report.txt"], "--report must be a .json"),
        (["--report=none/report.json"], "does not exist"),
        (["--structure=0.5", "--cascade"], "unrecognized arguments"),
    ],
)
def test_bad_arguments(refused, film, files, tmp_path, monkeypatch, flags, sentence):
    monkeypatch.chdir(tmp_path)
    output = [] if flags[0].startswith("--output") else ["--output", tmp_path / "out.mp4"]
    look = ["--style", files / "picture.png", "--model", files / "model.safetensors"]
    assert sentence in refused(main, film, *look, *output, *flags)


def test_what_is_no_film(refused, files, tmp_path):
    look = ["--style", files / "picture.png", "--model", files / "model.safetensors", "-o", tmp_path / "o.mp4"]
    assert "expected a film, got a picture" in refused(main, files / "photo.png", *look)
    assert "no such file" in refused(main, tmp_path / "none.mp4", *look)
    assert "expected --style PICTURE" in refused(main, tmp_path / "none.mp4")

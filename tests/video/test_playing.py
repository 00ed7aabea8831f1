"""Repainted films in programs that are not ours: Chromium plays them, and ffprobe agrees with us on what is in them."""

import itertools
import json
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright import sync_api

from wct_jax import Options, Session
from wct_jax.video.brush import Steadiness
from wct_jax.video.files.film import open_film
from wct_jax.video.files.form import Form
from wct_jax.video.files.joining import join
from wct_jax.video.files.segments import write_segment
from wct_jax.video.repainting import stylize_video

# Debian's: Playwright's own build has no H.264.
_CHROMIUM, _FFPROBE = shutil.which("chromium"), shutil.which("ffprobe")
_FLAGS = ["--disable-gpu", "--disable-quic", "--autoplay-policy=no-user-gesture-required"]
_PAGE = '<body style="margin: 0"><video muted src="{}"></video>'
_PLAY = """async rate => {
    const video = document.querySelector("video")
    const end = new Promise((resolve, reject) => {
        video.onended = resolve
        video.onerror = () => reject(video.error.message)
    })
    video.playbackRate = rate
    await video.play()
    await end
    // On a busy machine frames are left out, the last one too.
    const seek = new Promise(resolve => video.onseeked = resolve)
    video.currentTime = video.duration
    await seek
    return [video.videoWidth, video.videoHeight, video.duration, video.webkitAudioDecodedByteCount]
}"""
_CLIPS = (Path(__file__).resolve().parents[3] / "shared" / "video").glob("*")


@pytest.fixture(scope="module")
def browser():
    if not _CHROMIUM:
        pytest.skip("needs Chromium, such as apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def play(browser, tmp_path):
    """Play a film to its end: its size, duration and bytes of sound, and its last frame."""

    def play(film, rate=4):
        (tmp_path / "page.html").write_text(_PAGE.format(film.as_uri()))
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        page.goto((tmp_path / "page.html").as_uri())
        found = page.evaluate(_PLAY, rate)
        page.locator("video").screenshot(path=tmp_path / "shown.png")
        page.close()
        with Image.open(tmp_path / "shown.png") as image:
            return *found, np.asarray(image.convert("RGB")) / 255

    return play


def probe(film, *what):
    if not _FFPROBE:
        pytest.skip("needs ffprobe, such as apt-get install ffmpeg")
    command = [_FFPROBE, "-v", "error", *what, "-of", "json", str(film)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def probed(film, kind="v:0"):
    """The time of each frame, or the time and the checksum of each packet, of the first stream of a kind."""
    entries = "frame=best_effort_timestamp" if kind == "v:0" else "packet=pts,data_hash"
    found = probe(
        film, "-select_streams", kind, "-show_data_hash", "md5", "-show_entries", f"{entries}:stream=time_base"
    )
    base = Fraction(found["streams"][0]["time_base"])
    if kind == "v:0":
        return [int(frame["best_effort_timestamp"]) * base for frame in found["frames"]]
    return [(int(packet["pts"]) * base, packet["data_hash"]) for packet in found["packets"]]


@pytest.mark.parametrize("name", ["b.mp4", "b.webm"])
@pytest.mark.parametrize("rotate", [90, *(pytest.param(turn, marks=pytest.mark.slow) for turn in (0, 180))])
def test_a_result_plays_upright_with_its_sound(film_file, sound, play, model, tmp_path, name, rotate):
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[..., 0], picture[..., 1] = np.linspace(40, 200, 64), np.linspace(40, 200, 48)[:, None]
    given = {"rotate": (rotate,), "picture": picture, "options": {"crf": "1"}}
    source = film_file("a.mp4", range(30), tracks=[sound("libopus" if name == "b.webm" else "aac")], **given)
    options = Options(layers=["relu1_1"], strength=0.0)
    stylize_video(
        Session(model), source, tmp_path / name, picture / np.float32(255), options, steadiness=Steadiness(follow=False)
    )
    upright = np.rot90(picture, rotate // 90) / 255
    width, height, duration, heard, shown = play(tmp_path / name)
    assert (height, width) == shown.shape[:2] == upright.shape[:2]
    assert duration == pytest.approx(1.2, abs=0.05)
    assert heard > 0
    assert np.abs(shown - upright).mean() < 0.02
    assert probed(tmp_path / name) == [Fraction(n, 25) for n in range(30)]
    streams = probe(tmp_path / name, "-show_streams")["streams"]
    assert [each["codec_type"] for each in streams] == ["video", "audio"]
    assert not streams[0].get("side_data_list")
    assert [hash for _, hash in probed(tmp_path / name, "a:0")] == [hash for _, hash in probed(source, "a:0")]


@pytest.mark.slow
@pytest.mark.parametrize("source", sorted(_CLIPS), ids=lambda path: path.name)
def test_clips_play_and_ffprobe_agrees(source, play, tmp_path):
    target, segments = tmp_path / "b.mp4", []
    with open_film(source) as film:
        form, frames = Form.of(film, target), iter(film)
        while some := list(itertools.islice(frames, 48)):
            segments.append(tmp_path / f"{len(segments)}.segment")
            write_segment(segments[-1], some, form)
        notes = join(segments, film, target, form)
    with open_film(target) as film:
        *_, last = film
    width, height, duration, _, shown = play(target)
    wider = float(film.sample_aspect)
    assert (width, height) == pytest.approx((film.width * max(wider, 1), film.height / min(wider, 1)), abs=1)
    # Sound may last longer.
    assert duration == pytest.approx(float(last.time + last.duration), abs=0.1)
    if wider == 1:
        # By brightness, because programs interpolate colours in different ways.
        assert np.abs((shown - last.pixels) @ [0.2126, 0.7152, 0.0722]).mean() < 0.02
    assert probed(target) == probed(source)
    streams = [probe(path, "-show_streams")["streams"] for path in (source, target)]
    before, after = ([each["codec_name"] for each in some if each["codec_type"] != "video"] for some in streams)
    assert before == after
    assert set(notes) <= set(form.notes)
    if "audio" in {each["codec_type"] for each in streams[1]}:
        assert probed(target, "a:0") == probed(source, "a:0")

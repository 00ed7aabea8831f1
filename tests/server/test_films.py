"""Films over HTTP."""

import io
import time
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from wct_jax.video.files.film import open_film
from wct_jax.video.files.form import Form
from wct_jax.video.files.frames import Frame
from wct_jax.video.files.segments import write_segment


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A film of four frames, as a file's content."""
    path, rng = tmp_path_factory.mktemp("film") / "film.mp4", np.random.default_rng(0)
    pixels = rng.random((6, 8, 3), np.float32).repeat(8, 0).repeat(8, 1)
    frames = [Frame(np.roll(pixels, n, 1), Fraction(n, 10), Fraction(1, 10)) for n in range(4)]
    write_segment(path, frames, Form(".mp4", 64, 48, Fraction(10), Fraction(1, 10)))
    return path.read_bytes()


@pytest.fixture
def paint(client, style):
    """Ask for a film, and wait for its end: what is known of the job."""

    def paint(film, **data):
        files = {"film": ("../holiday.mov", film), "style": ("picture.png", style)}
        answer = client.post("/v1/films", files=files, data=data)
        assert answer.status_code == 202, answer.text
        job, end = answer.json(), time.monotonic() + 60
        while job["status"] in ("queued", "running"):
            assert time.monotonic() < end
            time.sleep(0.02)
            job = client.get(f"/v1/jobs/{job['id']}").json()
        return job

    return paint


def test_a_film_is_a_job(client, paint, film, tmp_path):
    job = paint(film, flow="false", options='{"layers": ["relu1_1"]}')
    assert (job["status"], job["name"], job["width"], job["height"]) == ("done", "holiday__picture.mp4", 64, 48), job
    answer = client.get(job["result"])
    assert answer.headers["content-type"] == "video/mp4"
    (tmp_path / "result.mp4").write_bytes(answer.content)
    with open_film(tmp_path / "result.mp4") as result:
        assert len(list(result)) == 4
    archive = client.post("/v1/archive", json={"jobs": [job["id"]]})
    assert answer.content in archive.content
    assert list(client.service.folder.glob("[!.]*"))
    client.delete(f"/v1/jobs/{job['id']}")
    assert not list(client.service.folder.glob("[!.]*"))


def test_a_damaged_film_says_why_without_our_paths(client, paint, film):
    job = paint(film[:600])
    assert job["status"] == "failed"
    assert str(client.service.folder) not in job["error"]
    assert "holiday.mov" in job["error"]
    assert not list(client.service.folder.glob("[!.]*"))


def test_large_frames_are_refused(paint):
    file = io.BytesIO()
    frames = [Image.new("RGB", (1200, 1000), color) for color in ("red", "blue")]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    job = paint(file.getvalue())
    assert "1200 x 1000 pixels" in job["error"]


@pytest.mark.parametrize(
    "content",
    [
        b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\n",
        b"<?xml version='1.0'?><MPD/>",
        b"",
        b"text",
    ],
    ids=["hls", "concat", "sdp", "dash", "empty", "text"],
)
def test_lists_of_other_files_are_no_films(client, refused, style, content):
    files = {"film": ("x.mp4", content), "style": ("picture.png", style)}
    assert "is no film" in refused(client.post("/v1/films", files=files), 415)


def test_mistakes(client, refused, film, style):
    files = {"film": ("x.mp4", film), "style": ("picture.png", style)}
    refused(client.post("/v1/films", files={"style": files["style"]}), 422)
    refused(client.post("/v1/films", files={"film": files["film"]}), 422)
    for data in (
        {"steady": "-1"},
        {"steady": "nan"},
        {"flow": "maybe"},
        {"options": '{"photo": true}'},
        {"longest": "9"},
    ):
        refused(client.post("/v1/films", files=files, data=data), 422)


def test_without_the_extra(client, refused, monkeypatch):
    monkeypatch.setattr("wct_jax.server.routes.films.readable", lambda: False)
    assert "pip install" in refused(client.post("/v1/films"), 501)
    assert client.get("/v1/health").json()["films"] is False

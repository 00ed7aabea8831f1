"""Several photos, films and a camera on the page."""

import io
import zipfile

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from wct_jax import read_image


@pytest.mark.slow
def test_a_batch_with_a_failure_is_saved_as_a_zip(visit, photo, tmp_path):
    other = tmp_path / "other" / photo.name
    other.parent.mkdir()
    with Image.open(photo) as image:
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(other)
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    page = visit()
    page.style("ink")
    page.open(photo, broken, other)
    page.click("#paint")
    expect(page.get_by_text("Save 2 as ZIP")).to_be_visible()
    expect(page.locator("#batch li.failed")).to_contain_text("broken.jpg")
    expect(page.locator("#batch li.done")).to_have_count(2)
    content, name = page.save("#batch-zip")
    assert name == "studio.zip"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        assert len(set(names)) == 2
        assert all(Image.open(io.BytesIO(archive.read(each))).size == (144, 96) for each in names)
    page.locator("#batch li").nth(2).get_by_role("button").click()
    page.badge("Full size")
    expect(page.locator("#history li")).to_have_count(1)


@pytest.mark.slow
def test_the_camera(visit):
    page = visit()
    page.click("#photograph")
    expect(page.locator("#finder")).to_be_visible()
    page.click("#finder-take")
    expect(page.locator("#finder")).to_be_hidden()
    expect(page.locator("#size")).to_contain_text("Full, 3840 × 2160")
    assert page.title().startswith("camera.jpg")


@pytest.mark.slow
def test_files_that_are_pasted_and_dropped(visit, photo):
    page = visit()
    page.style("ink")
    give = """([name, bytes]) => {
        const transfer = new DataTransfer()
        transfer.items.add(new File([new Uint8Array(bytes)], "given.png", { type: "image/png" }))
        const more = name === "paste" ? { clipboardData: transfer } : { dataTransfer: transfer }
        const Kind = name === "paste" ? ClipboardEvent : DragEvent
        document.body.dispatchEvent(new Kind(name, { bubbles: true, cancelable: true, ...more }))
    }"""
    for name in ("paste", "drop"):
        page.evaluate(give, [name, list(photo.read_bytes())])
        page.badge("Preview")
        assert page.title().startswith("given.png")
        page.reload()
        page.style("ink")


@pytest.mark.slow
def test_a_photo_that_browsers_do_not_show(visit, photo, tmp_path):
    with Image.open(photo) as image:
        image.save(tmp_path / "scan.tiff")
    page = visit()
    page.style("ink")
    page.open(tmp_path / "scan.tiff")
    page.badge("Preview")
    page.paint()
    assert page.save()[1] == "scan__ink.png"


def test_a_file_that_is_no_picture(visit, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    page = visit()
    page.open(tmp_path / "broken.png")
    expect(page.locator(".notice.error")).to_contain_text("broken.png")
    expect(page.locator("#paint")).to_be_disabled()


@pytest.mark.slow
def test_own_styles_stay_between_visits(visit, photo, examples):
    page = visit()
    page.open(photo)
    with page.expect_response("**/v1/styles") as answer:
        page.set_input_files("#style-files", examples / "content.jpg")
    page.badge("Preview")
    painted = page.shown()
    assert np.abs(painted - read_image(photo)).mean() > 0.02
    # The server forgets it, as if it had restarted.
    httpx.delete(f"{answer.value.url}/{answer.value.json()['id']}", trust_env=False).raise_for_status()
    page.paint()
    page.reload()
    page.style("content")
    page.open(photo)
    page.badge("Preview")
    assert (page.shown() == painted).all()
    page.get_by_role("button", name="Remove the style content").click()
    expect(page.get_by_role("button", name="content", exact=True)).to_have_count(0)


@pytest.mark.slow
def test_a_photograph_keeps_its_drawing(visit, photo):
    page = visit()
    page.open(photo)
    page.style("waves")
    page.locator("[name=photo][value=true]").check()
    page.locator("[name=protect][value=skin]").check()
    expect(page.locator("[name=structure]")).to_be_hidden()
    page.badge("Preview")
    expect(page.locator("#badge")).not_to_have_class("badge error")


@pytest.mark.slow
def test_a_film(visit, tmp_path):
    av = pytest.importorskip("av")
    with av.open(tmp_path / "film.mp4", "w") as film:
        stream = film.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for shade in range(0, 80, 8):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), shade + 60, np.uint8), format="rgb24")
            film.mux(stream.encode(frame))
        film.mux(stream.encode())
    page = visit()
    page.style("waves")
    page.open(tmp_path / "film.mp4")
    page.badge("Preview")
    page.paint()
    content, name = page.save()
    assert name.endswith(".mp4")
    with av.open(io.BytesIO(content)) as film:
        assert sum(1 for _ in film.decode(video=0)) == 10
    assert page.evaluate("() => document.querySelector('#film').error") is None

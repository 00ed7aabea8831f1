"""A photo on the page: repainted, mixed, saved, and its settings loaded back."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from wct_jax import read_image
from wct_jax.pictures.output import read_settings


def settings_of(content):
    return json.loads(read_settings(io.BytesIO(content)))


def test_a_photo_is_repainted_saved_and_its_settings_loaded_back(visit, photo, tmp_path):
    page = visit()
    page.open(photo)
    page.style("waves")
    page.badge("Preview")
    page.locator("[name=strength]").fill("60")
    page.locator("[name=preserve_color]").select_option("coral")
    page.paint()
    content, name = page.save()
    assert name == "harbour__waves.png"
    made = settings_of(content)
    assert made["styles"] == ["waves.jpg"] or made["styles"] == ["waves"]
    assert made["options"]["strength"] == 0.6
    assert made["options"]["preserve_color"] == "coral"
    page.click("#reset")
    page.style("waves")
    page.style("ink")
    (tmp_path / name).write_bytes(content)
    page.open(tmp_path / name)
    expect(page.get_by_text(f"The settings of {name} are loaded.")).to_be_visible()
    expect(page.locator("[name=strength]")).to_have_value("60")
    expect(page.locator("[name=preserve_color]")).to_have_value("coral")
    expect(page.get_by_role("button", name="waves", exact=True)).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("button", name="ink", exact=True)).to_have_attribute("aria-pressed", "false")
    page.paint()
    again, _ = page.save()
    assert (np.asarray(Image.open(io.BytesIO(again))) == np.asarray(Image.open(io.BytesIO(content)))).all()
    expect(page.locator("#history li")).to_have_count(2)


def test_a_jpeg_without_exif(visit, photo, tmp_path):
    exif = Image.Exif()
    exif[0x010F] = "a maker"
    with Image.open(photo) as image:
        image.save(tmp_path / "told.jpg", exif=exif)
    page = visit()
    page.open(tmp_path / "told.jpg")
    page.style("ink")
    page.paint()
    page.select_option("#format", "jpeg")
    told, name = page.save()
    assert name == "told__ink.jpg"
    assert Image.open(io.BytesIO(told)).getexif()[0x010F] == "a maker"
    page.check("#strip")
    stripped, _ = page.save()
    assert Image.open(io.BytesIO(stripped)).format == "JPEG"
    assert not Image.open(io.BytesIO(stripped)).getexif()


def test_two_styles_are_mixed(visit, photo):
    page = visit()
    page.open(photo)
    page.style("waves")
    page.style("ink")
    sliders = page.locator("#shares input")
    sliders.nth(0).fill("90")
    sliders.nth(1).fill("30")
    expect(page.locator("#shares output").nth(0)).to_have_text("75 %")
    page.paint()
    made = settings_of(page.save()[0])
    assert made["style_weights"] == pytest.approx([1.8, 0.6])
    assert len(made["styles"]) == 2
    # The history brings back the look.
    page.style("waves")
    page.badge("Preview")
    page.get_by_role("button", name="Result 1").click()
    page.badge("Full size")
    expect(sliders.nth(0)).to_have_value("90")
    sliders.nth(0).fill("30")
    expect(page.locator("#shares output").nth(0)).to_have_text("50 %")


def test_the_newest_preview_wins(visit, photo):
    page = visit()
    page.open(photo)
    page.style("mosaic")
    page.badge("Preview")
    before = page.shown()
    page.evaluate("""() => {
        const slider = document.querySelector("[name=strength]")
        for (let value = 99; value >= 0; value -= 3) {
            slider.value = value
            slider.dispatchEvent(new Event("input", { bubbles: true }))
        }
    }""")
    page.badge("Preview")
    expect(page.locator(".badge.busy")).to_have_count(0)
    after = page.shown()
    source = read_image(photo)
    assert np.abs(after - source).mean() < 0.01 < np.abs(before - source).mean()


def test_the_handle_and_the_zoom(visit, photo):
    page = visit()
    page.open(photo)
    page.style("ink")
    page.badge("Preview")
    handle, picture = page.locator(".handle"), page.locator("#compare")
    box, grip = picture.bounding_box(), handle.bounding_box()
    page.mouse.move(grip["x"] + grip["width"] / 2, grip["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, grip["y"] + 20, steps=4)
    page.mouse.up()
    expect(handle).to_have_attribute("aria-valuenow", "25")
    page.click("#pixels")
    assert picture.bounding_box()["width"] == pytest.approx(144)
    page.mouse.move(box["x"] + 70, box["y"] + 50)
    page.mouse.wheel(0, -1000)
    expect(picture).to_have_class("pixels")
    at = picture.bounding_box()
    page.mouse.down()
    page.mouse.move(box["x"] + 20, box["y"] + 20, steps=4)
    page.mouse.up()
    moved = picture.bounding_box()
    assert (moved["x"] - at["x"], moved["y"] - at["y"]) == pytest.approx((-50, -30), abs=1)
    page.click("#fit")
    assert picture.bounding_box() == pytest.approx(box)


@pytest.mark.slow
def test_cancelling_a_long_painting(visit, photo, tmp_path):
    # Fields that the page does not have travel with the settings, too.
    from PIL.PngImagePlugin import PngInfo

    notes = PngInfo()
    notes.add_itxt("wct_jax", json.dumps({"wct_jax": "0", "options": {"passes": 1000, "eps": 1e-5}, "styles": ["ink"]}))
    Image.new("RGB", (8, 8)).save(tmp_path / "long.png", pnginfo=notes)
    page = visit()
    page.open(photo)
    page.open(tmp_path / "long.png")
    expect(page.get_by_role("button", name="Leave out eps")).to_be_visible()
    expect(page.locator("[name=passes]")).to_have_value("1000")
    page.click("#paint")
    expect(page.locator("#work-left")).to_contain_text("left")
    assert page.locator("#work-stage").inner_text().startswith("Painting ")
    with page.expect_request(lambda request: request.method == "DELETE") as told:
        page.click("#cancel")
    assert told.value.response().status == 204
    expect(page.locator("#offer")).to_be_visible()
    expect(page.locator("#history li")).to_have_count(0)
    page.click("#reset")
    page.badge("Preview")

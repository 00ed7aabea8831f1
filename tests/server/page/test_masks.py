"""Masks on the page: painted with a brush by pointer and by keys."""

import io

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from wct_jax import read_image


def change(content, photo):
    """How much each pixel has changed."""
    return np.abs(np.asarray(Image.open(io.BytesIO(content)).convert("RGB")) / 255 - read_image(photo)).mean(-1)


def begin(visit, photo):
    page = visit()
    page.open(photo)
    page.style("mosaic")
    page.badge("Preview")
    page.locator("[name=places][value=true]").check()
    page.get_by_role("button", name="Paint where mosaic goes").click()
    return page


def stroke(page, *points):
    """Draw through points in shares of the picture."""
    box = page.locator(".mask").bounding_box()
    where = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*where[0])
    page.mouse.down()
    for point in where[1:]:
        page.mouse.move(*point, steps=6)
    page.mouse.up()


def covered(page):
    """How much the brush has covered on the left and on the right."""
    return page.evaluate("""() => {
        const canvas = Object.assign(document.createElement("canvas"), { width: 100, height: 50 })
        const context = canvas.getContext("2d", { willReadFrequently: true })
        context.drawImage(document.querySelector(".mask"), 0, 0, 100, 50)
        return [20, 98].map(x => context.getImageData(x, 25, 1, 1).data[3])
    }""")


def test_a_style_goes_where_it_is_painted(visit, photo):
    page = begin(visit, photo)
    page.locator("#brush-soft").fill("0")
    page.locator("#brush-size").fill("30")
    stroke(page, (0.2, 0.0), (0.2, 1.0))
    stroke(page, (0.8, 0.0), (0.8, 1.0))
    page.click("#undo")
    page.click("#brush-done")
    expect(page.locator("#shares")).to_contain_text("painted")
    page.paint()
    changed = change(page.save()[0], photo)
    assert changed[:, 20:36].mean() > 0.05
    assert (changed[:, 60:] < 1 / 255).all()


def test_erasing_and_clearing(visit, photo):
    page = begin(visit, photo)
    expect(page.locator("#undo")).to_be_disabled()
    page.locator("#brush-soft").fill("20")
    page.locator("#brush-size").fill("50")
    stroke(page, (0, 0.5), (1, 0.5))
    page.click("#erase")
    stroke(page, (0, 0.5), (0.5, 0.5))
    assert covered(page) == [0, 255]
    page.click("#wipe")
    assert covered(page) == [0, 0]
    expect(page.locator("#shares")).to_contain_text("the rest")
    page.click("#undo")
    assert covered(page) == [0, 255]


@pytest.mark.slow
def test_a_mask_for_each_style_by_keys(visit, photo):
    page = begin(visit, photo)
    page.keyboard.press("Escape")
    expect(page.locator("#brush")).to_be_hidden()
    page.style("ink")
    page.get_by_role("button", name="Paint where the photo as it is goes").press("Enter")
    page.locator("#brush-size").fill("40")
    page.locator("#brush-soft").fill("0")
    page.locator(".mask").focus()
    for _ in range(3):
        page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.down("Space")
    for _ in range(5):
        page.keyboard.press("Shift+ArrowDown")
    page.keyboard.up("Space")
    page.keyboard.press("Escape")
    expect(page.locator("#shares-hint")).to_have_text("mosaic goes where nothing is painted.")
    page.paint()
    changed = change(page.save()[0], photo)
    assert changed[80, 38] < 0.02
    assert changed[:, 100:].mean() > 0.05

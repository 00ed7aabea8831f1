"""The page for everyone: by keys alone, read aloud, light and dark, small and large, behind a token."""

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect


def faults(page):
    """The serious faults that axe finds, light and dark."""
    faults = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found = Axe().run(page.page).response["violations"]
        serious = [each for each in found if each["impact"] in ("serious", "critical")]
        faults += [(scheme, each["id"], each["nodes"][0]["html"][:200]) for each in serious]
    return faults


@pytest.mark.slow
def test_axe_finds_nothing_serious(visit, photo):
    # Without motion, colours do not change gradually.
    page = visit(reduced_motion="reduce")
    expect(page.get_by_role("button", name="ink", exact=True)).to_be_visible()
    assert faults(page) == []
    page.open(photo, photo)
    page.style("ink")
    page.style("waves")
    page.locator("summary").click()
    page.locator("[name=places][value=true]").check()
    page.get_by_role("button", name="Paint where ink goes").click()
    page.badge("Preview")
    assert faults(page) == []


@pytest.mark.slow
def test_keys_alone(visit, photo):
    page = visit()
    expect(page.get_by_role("button", name="ink", exact=True)).to_be_visible()

    def reach(selector):
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
        pytest.fail(f"Tab does not reach {selector}")

    with page.expect_file_chooser() as chooser:
        reach("#choose")
        page.keyboard.press("Enter")
    chooser.value.set_files(photo)
    reach(".style")
    page.keyboard.press("Space")
    page.badge("Preview")
    reach("[name=strength]")
    page.keyboard.press("PageDown")
    expect(page.locator("[name=strength]")).to_have_value("90")
    reach("#paint")
    page.keyboard.press("Enter")
    page.badge("Full size")
    expect(page.locator("#save")).to_be_focused()
    expect(page.locator("#spoken")).to_have_text("Done: 144 by 96 pixels")
    reach(".handle")
    page.keyboard.press("Home")
    expect(page.locator(".handle")).to_have_attribute("aria-valuenow", "0")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("1")
    expect(page.locator("#zoom")).to_have_text("100 %")


@pytest.mark.slow
def test_everything_is_within_reach_at_any_width(visit, photo):
    page = visit(has_touch=True)
    page.open(photo)
    page.style("mosaic")
    page.badge("Preview")
    for width, height in ((1440, 900), (820, 1100), (390, 844), (320, 640)):
        page.set_viewport_size({"width": width, "height": height})
        size = page.evaluate("() => [document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
        assert size == [width, height]
        for button in page.locator("button:visible").all():
            button.scroll_into_view_if_needed()
            box = button.bounding_box()
            assert 0 <= box["x"] <= box["x"] + box["width"] <= width + 0.5
            assert min(box["width"], box["height"]) >= 24


@pytest.mark.slow
def test_a_token(visit, running, ready):
    token = "a-token-of-more-than-16-signs"
    with running(environment={"WCT_JAX_TOKEN": token}) as process:
        address = process.address.partition("/#")[0].rstrip("/")
        with httpx.Client(base_url=address, trust_env=False) as client:
            ready(client)
        page = visit(at=address)
        expect(page.locator(".notice.error")).to_contain_text("token")
        page.goto("about:blank")
        page.goto(f"{address}/#token={token}")
        expect(page.get_by_role("button", name="ink", exact=True)).to_be_visible()
        assert page.url == f"{address}/"
        page.reload()
        expect(page.get_by_role("button", name="ink", exact=True)).to_be_visible()

"""The report and the page of votes in Chromium, from the disk and offline."""

import json
import shutil
from collections import Counter

import pytest
from PIL import Image
from playwright import sync_api

from wct_jax.evaluation.report import About, write_report
from wct_jax.evaluation.run import Outcome
from wct_jax.evaluation.votes import read_votes

_CHROMIUM = shutil.which("chromium")
# The names of files may hold anything.
_METHODS = ("cascade", "one-pass", "<img src=x onerror=alert(1)>")


@pytest.fixture(scope="module")
def browser():
    if not _CHROMIUM:
        pytest.skip("needs Chromium, such as apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=["--disable-gpu", "--disable-quic"])
        yield browser
        browser.close()


def outcome(folder, photos, styles):
    (folder / "pictures").mkdir(parents=True)
    records, pictures = [], {}
    for i, content in enumerate(photos):
        for style in styles:
            for j, method in enumerate(_METHODS):
                for setting in ("alpha 0.5", "") if j == 0 else ("",):
                    figures = {"style_distance": 0.2 + j / 10, "ssim": 0.5 - j / 10, "cfsd": i / 100, "calm": None}
                    made = {
                        "key": f"{content}{style}{j}",
                        "picture": f"pictures/{j}.png",
                        "seconds": 0.5,
                        "first": False,
                    }
                    named = {"method": method, "setting": setting, "kind": "pair", "content": content, "style": style}
                    records.append(named | figures | made)
    for j in range(len(_METHODS)):
        Image.new("RGB", (40, 30), (80 * j, 99, 50)).save(folder / f"pictures/{j}.png")
    for name in (*photos, *styles):
        pictures[name] = "pictures/0.png"
    return Outcome(records, pictures, [], 0)


@pytest.fixture
def open_page(browser):
    """Open a page of a report, of which nothing may fail or leave the disk."""
    wrong, contexts = [], []

    def open_page(path, **options):
        context = browser.new_context(offline=True, accept_downloads=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda asked: None if asked.url.startswith(("file:", "blob:")) else wrong.append(asked.url))
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not wrong


def is_wider_than_its_window(page):
    return page.evaluate("document.documentElement.scrollWidth > innerWidth")


def test_a_report_of_1000_pairs_stays_small(open_page, tmp_path):
    photos, styles = [f"photo {i}" for i in range(40)], [f"style {i}" for i in range(25)]
    write_report(tmp_path, outcome(tmp_path, photos, styles), About("vgg", 256, ["mind this"], vote=True))
    page = open_page(tmp_path / "index.html", viewport={"width": 1400, "height": 900})
    assert "1000 pairs, 3 methods" in page.inner_text("#about")
    assert page.inner_text("#notes") == "mind this"
    assert page.locator("#figures tbody tr").count() == len(_METHODS)
    assert page.evaluate("document.querySelectorAll('*').length") < 800
    assert page.locator("#pairs article").count() == 10
    assert all(page.evaluate("[...document.images].map(image => image.loading === 'lazy')"))
    assert page.inner_text("#page") == "1 of 100"
    page.click("#next")
    assert page.inner_text("#page") == "2 of 100"
    page.select_option("#content", "photo 7")
    page.select_option("#style", "style 3")
    assert page.locator("#pairs h3").all_inner_texts() == ["photo 7 in the style of style 3"]
    assert page.locator("#pairs figure").count() == 2 + len(_METHODS)
    page.check("#settings")
    assert page.locator("#pairs figure").count() == 2 + len(_METHODS) + 1
    page.select_option("#content", "")
    page.select_option("#sort", "cfsd")
    assert page.locator("#pairs h3").first.inner_text() == "photo 39 in the style of style 3"
    assert page.locator("#curve circle").count() == len(_METHODS) + 1
    assert page.locator("#curve path").count() == 1
    assert not is_wider_than_its_window(page)


@pytest.mark.parametrize("name", ["index.html", "vote.html"])
def test_pages_fit_a_phone(open_page, tmp_path, name):
    write_report(tmp_path, outcome(tmp_path, ["a" * 60], ["x"]), About("vgg", None, [], vote=True))
    page = open_page(tmp_path / name, viewport={"width": 360, "height": 740}, color_scheme="dark")
    assert not is_wider_than_its_window(page)


def test_people_vote(open_page, tmp_path):
    write_report(tmp_path, outcome(tmp_path, "ab", "xy"), About("vgg", 256, [], vote=True))
    page = open_page(tmp_path / "vote.html", viewport={"width": 1200, "height": 800})
    # Each two of three methods, on four pairs.
    assert page.inner_text("#count") == "0 of 12 chosen"
    assert page.is_disabled("#save")
    assert not any(name in page.inner_text("main") for name in _METHODS)
    shown = []
    for key in ("ArrowLeft", "ArrowRight", "ArrowDown"):
        shown.append([image.get_attribute("src") for image in page.locator("#two img").all()])
        page.keyboard.press(key)
    page.keyboard.press("Backspace")
    assert page.inner_text("#count") == "2 of 12 chosen"
    page.reload()
    assert page.inner_text("#count") == "2 of 12 chosen"
    again = [image.get_attribute("src") for image in page.locator("#two img").all()]
    assert again == shown[2]
    page.click("[data-choice=neither]")
    for _ in range(9):
        page.click("[data-choice=left]")
    assert page.is_visible("#end")
    assert not page.is_visible("#two")
    page.keyboard.press("ArrowLeft")
    with page.expect_download() as download:
        page.keyboard.press("s")
    download.value.save_as(tmp_path / "votes.json")
    votes = json.loads((tmp_path / "votes.json").read_text())["votes"]
    assert [vote["choice"] for vote in votes] == ["left", "right", "neither", *["left"] * 9]
    sides = [[f"pictures/{_METHODS.index(vote[side])}.png" for side in ("left", "right")] for vote in votes]
    assert sides[:3] == shown
    assert len({(vote["content"], vote["style"], *sorted((vote["left"], vote["right"]))) for vote in votes}) == 12
    assert len(read_votes([tmp_path / "votes.json"]).votes) == 12


def test_order_and_sides_differ_from_person_to_person(open_page, tmp_path):
    write_report(tmp_path, outcome(tmp_path, "abcd", "wxyz"), About("vgg", 256, [], vote=True))
    pages = [open_page(tmp_path / "vote.html") for _ in range(2)]
    named = "map(duel => [duel.content, duel.style, duel.two[0][0], duel.two[1][0]])"
    one, two = (page.evaluate(f"duels.{named}") for page in pages)
    assert one != two
    assert pages[0].evaluate(f"draw(state.seed).{named}") == one
    # From seeds that the test chooses, because a fair coin is not fair in every handful of throws.
    said = f"JSON.stringify([...Array(400).keys()].map(seed => draw(seed).{named}))"
    draws = json.loads(pages[0].evaluate(said))
    assert json.loads(pages[1].evaluate(said)) == draws
    assert len({json.dumps(draw) for draw in draws}) == 400
    first, left = Counter(), Counter()
    for draw in draws:
        assert len({(content, style, *sorted(two)) for content, style, *two in draw}) == len(draw) == 48
        content, style, *two = draw[0]
        first[content, style, *sorted(two)] += 1
        left.update((content, style, *two) for content, style, *two in draw)
    assert len(first) == 48
    assert max(first.values()) <= 25
    assert len(left) == 96
    assert all(160 <= count <= 240 for count in left.values())

"""The page in Debian's Chromium, served by `wct-jax serve` with the packaged model."""

import shutil
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright import sync_api

_CHROMIUM = shutil.which("chromium")
_EXAMPLES = Path(__file__).parents[3] / "examples"
_FLAGS = [
    "--disable-gpu",
    "--disable-quic",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    # As if the network were cut: no name leads anywhere.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
# The patience of the tests in milliseconds: the first painting of a size is compiled.
_PATIENCE = 120_000


@pytest.fixture(scope="session")
def address(running, ready):
    """The address of a server that runs in another process."""
    if not _CHROMIUM:
        pytest.skip("needs Chromium, such as apt-get install chromium")
    with running() as process, httpx.Client(base_url=process.address, trust_env=False) as client:
        ready(client)
        yield process.address.rstrip("/")


# Not of the session: while Playwright is open its event loop runs, and other tests cannot run theirs.
@pytest.fixture(scope="module")
def browser(address):
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=_FLAGS)
        yield browser
        browser.close()


class Visit:
    """A person's visit: the page, and what a person does on it."""

    def __init__(self, page):
        self.page = page

    def __getattr__(self, name):
        return getattr(self.page, name)

    def open(self, *files):
        """Open photos, or anything else."""
        self.page.set_input_files("#files", [*files])

    def style(self, name):
        """Choose a style, or not any more."""
        self.page.get_by_role("button", name=name, exact=True).click()

    def badge(self, text):
        """Wait until the badge says that the picture is a `Preview` or in `Full size`."""
        sync_api.expect(self.page.locator("#badge")).to_contain_text(f"{text} ·")

    def paint(self):
        """Paint at full size."""
        self.page.click("#paint")
        self.badge("Full size")

    def save(self, button="#save"):
        """Save: what the browser keeps."""
        with self.page.expect_download() as download:
            self.page.click(button)
        return Path(download.value.path()).read_bytes(), download.value.suggested_filename

    def shown(self):
        """The picture after, at the size that came from the server."""
        width, height, values = self.page.evaluate("""() => {
            const image = document.querySelector(".after")
            const { naturalWidth: width, naturalHeight: height } = image
            const context = Object.assign(document.createElement("canvas"), { width, height }).getContext("2d")
            context.drawImage(image, 0, 0)
            return [width, height, Array.from(context.getImageData(0, 0, width, height).data)]
        }""")
        return np.asarray(values, float).reshape(height, width, 4)[..., :3] / 255


@pytest.fixture
def visit(browser, address):
    """Visit the page. Every request must go to its server, and no script may fail."""
    visits, faults, strange = [], [], []

    def visit(path="/", at=None, **options):
        context = browser.new_context(**options)
        context.set_default_timeout(_PATIENCE)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        # The browser itself notes answers such as 422, which the page shows.
        page.on(
            "console",
            lambda said: (
                said.type in ("error", "warning") and "status of 4" not in said.text and faults.append(said.text)
            ),
        )
        ours = (f"{at or address}/", "blob:", "data:")
        page.on("request", lambda request: request.url.startswith(ours) or strange.append(request.url))
        page.goto(f"{at or address}{path}")
        visits.append(context)
        return Visit(page)

    sync_api.expect.set_options(timeout=_PATIENCE)
    yield visit
    for context in visits:
        context.close()
    assert faults == []
    assert strange == []


@pytest.fixture(scope="session")
def photo(tmp_path_factory):
    """A small photo."""
    path = tmp_path_factory.mktemp("photos") / "harbour.png"
    with Image.open(_EXAMPLES / "content.jpg") as image:
        image.resize((144, 96)).save(path)
    return path


@pytest.fixture(scope="session")
def examples():
    """The folder of the examples."""
    return _EXAMPLES

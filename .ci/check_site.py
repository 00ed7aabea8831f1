"""Check a built site: links lead somewhere, nothing comes from elsewhere, pages work in a browser, wide and narrow.

Pages of each kind are also checked for what screen readers and the keyboard need, by axe.
"""

import functools
import http.server
import re
import shutil
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, sync_playwright

# Attributes by which a page loads something; links only lead there.
LOADING = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("video", "src"), ("source", "src")}
# A phone by day, a desktop by night.
SCREENS = [(390, 844, "light"), (1440, 900, "dark")]
# One of each kind: text, tables, formulas, a notebook, functions, a command.
AXED = {
    "index.html",
    "options.html",
    "guide/how.html",
    "guide/jax.html",
    "reference/api/transform.html",
    "reference/commands/stylize.html",
}


class Document(HTMLParser):
    """The places of a page that links can lead to, and its own links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.places = {""}
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Collect from one element."""
        for name, value in attributes:
            if name == "id" or (tag, name) == ("a", "name"):
                self.places.add(value or "")
            elif (tag, name) in LOADING:
                self.loaded.append(value or "")
            elif (tag, name) == ("a", "href"):
                self.links.append(value or "")


def pages_of(site: Path) -> list[str]:
    """The pages of a site, without the theme's templates."""
    return sorted(name for path in site.rglob("*.html") if (name := path.relative_to(site).as_posix())[0] != "_")


def faults_of_links(site: Path) -> Iterator[str]:
    """Links that lead nowhere, addresses that are none, and what is loaded from elsewhere."""
    pages = {name: Document((site / name).read_text("utf-8")) for name in pages_of(site)}
    outside = set()
    for name, page in pages.items():
        for link in [*page.links, *page.loaded]:
            parts = urlsplit(link)
            if parts.scheme == "data":
                continue
            if parts.scheme or parts.netloc:
                outside.add(link)
                if link in page.loaded:
                    yield f"{name} loads {link}"
                elif parts.scheme not in ("https", "http") or not re.fullmatch(r"[\w.-]+(:\d+)?", parts.netloc):
                    yield f"{name} links to {link}"
                continue
            target = unquote(urlsplit(urljoin(f"/{name}", link)).path).lstrip("/")
            if not (site / target).is_file():
                yield f"{name} links to {link}, which does not exist"
            elif target in pages and unquote(parts.fragment) not in pages[target].places:
                yield f"{name} links to {link}, which has no such place"
    for path in site.rglob("*.css"):
        yield from (
            f"{path.relative_to(site)} loads {address}"
            for address in re.findall(r"(?:url\(|@import )\s*['\"]?((?:https?:)?//[^'\")]+)", path.read_text("utf-8"))
        )
    print(f"{len(pages)} pages, {len(outside)} addresses elsewhere")


def faults_in_browser(site: Path) -> Iterator[str]:
    """Errors of scripts, requests to elsewhere, and pages that are wider than the screen."""
    handler = functools.partial(_Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, sync_playwright() as playwright:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for width, height, scheme in SCREENS:
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            found: list[str] = []
            page.on("console", lambda message, to=found: message.type == "error" and to.append(message.text))
            page.on("pageerror", lambda error, to=found: to.append(str(error)))
            page.on("request", lambda request, to=found: _is_own(request.url, address) or to.append(request.url))
            for name in pages_of(site):
                page.goto(address + name)
                found += _faults_of_layout(page, scheme)
                if name in AXED:
                    found += _faults_of_access(page)
                yield from (f"{name}, {width} pixels wide, {scheme}: {fault}" for fault in found)
                found.clear()
        browser.close()
        server.shutdown()


def _faults_of_layout(page: Page, scheme: str) -> Iterator[str]:
    beyond = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    if beyond > 0:
        yield f"the page is {beyond} pixels wider than the screen"
    if (theme := page.evaluate("document.documentElement.dataset.theme")) != scheme:
        yield f"the theme is {theme}"


def _faults_of_access(page: Page) -> Iterator[str]:
    # What cells print has the colours of other libraries. Without a preload axe asks for no style sheets of its own.
    result = Axe().run(page, {"exclude": [[".cell_output"]]}, {"preload": False})
    for fault in result.response["violations"]:
        yield f"{fault['help']}: {fault['nodes'][0]['html']}"


def _is_own(url: str, address: str) -> bool:
    return url.startswith((address, "data:"))


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Print nothing."""


def main() -> None:
    """Check the site in a folder, and exit with 1 if anything is wrong."""
    site = Path(sys.argv[1])
    faults = [*faults_of_links(site), *faults_in_browser(site)]
    print(*faults, sep="\n")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()

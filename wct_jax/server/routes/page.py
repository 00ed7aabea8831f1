"""Routes of the page: files that browsers load."""

import mimetypes
from importlib.resources import files
from importlib.resources.abc import Traversable

from fastapi import FastAPI, Response
from fastapi.responses import RedirectResponse

from wct_jax.server.refusal import Refused


def add(app: FastAPI) -> None:
    """Add the routes."""
    page = dict(_files_in(files("wct_jax.server") / "page", ""))

    def file(name: str) -> Response:
        # Only names that were there at the start: nothing that a client sends becomes a path.
        if name not in page:
            raise Refused(404, "there is no such file")
        media = mimetypes.guess_type(name)[0] or "application/octet-stream"
        media = "text/javascript" if name.endswith((".js", ".mjs")) else media
        return Response(page[name].read_bytes(), media_type=media)

    @app.get("/", include_in_schema=False)
    def index() -> Response:
        return file("index.html") if "index.html" in page else RedirectResponse("/docs")

    @app.get("/page/{name:path}", include_in_schema=False)
    def page_file(name: str) -> Response:
        return file(name)


def _files_in(folder: Traversable, above: str) -> list[tuple[str, Traversable]]:
    if not folder.is_dir():
        return []
    found = []
    for entry in folder.iterdir():
        found += _files_in(entry, f"{above}{entry.name}/") if entry.is_dir() else [(above + entry.name, entry)]
    return found

"""The route of the API's description for people, made from the one for programs: it loads nothing from elsewhere."""

from collections.abc import Iterator
from html import escape
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse

_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>wct_jax: the HTTP API</title>
<link rel="stylesheet" href="/docs.css">
<main>
<h1>The HTTP API of wct_jax {version}</h1>
<p>Programs read <a href="/openapi.json">the same as OpenAPI</a>. An error is an object with one sentence,
<code>{{"detail": "…"}}</code>.</p>
<pre>curl -F content=@photo.jpg -F style=@painting.jpg -o result.png {address}/v1/paint
curl -F content=@photo.jpg -F style_id=waves -F 'options={{"strength": 0.8}}' -o result.png {address}/v1/paint</pre>
{routes}
</main>
</html>
"""


def add(app: FastAPI) -> None:
    """Add the routes."""

    @app.get("/docs", include_in_schema=False)
    def docs(request: Request) -> HTMLResponse:
        description = app.openapi()
        given = {"version": description["info"]["version"], "address": f"http://{request.headers['host']}"}
        safe = {name: escape(value) for name, value in given.items()}
        return HTMLResponse(_PAGE.format(**safe, routes="\n".join(_routes(description))))

    @app.get("/docs.css", include_in_schema=False)
    def style() -> Response:
        return Response((files("wct_jax.server") / "docs.css").read_bytes(), media_type="text/css")


def _routes(description: dict[str, Any]) -> Iterator[str]:
    for path, methods in description["paths"].items():
        for method, route in methods.items():
            yield f"<section><h2><code>{method.upper()} {escape(path)}</code></h2>"
            yield f"<p>{escape(route.get('summary', ''))}.</p>"
            yield from _fields(route.get("requestBody", {}).get("content", {}), description)
            yield "<table><caption>Answers</caption>"
            for status, answer in route["responses"].items():
                media = ", ".join(answer.get("content", {}))
                yield f"<tr><th>{status}<td>{escape(answer['description'])}<td>{escape(media)}"
            yield "</table></section>"


def _fields(content: dict[str, Any], description: dict[str, Any]) -> Iterator[str]:
    for media, body in content.items():
        schema = body["schema"]
        if "$ref" in schema:
            schema = description["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        yield f"<table><caption>Fields, as <code>{media}</code></caption>"
        for name, field in schema["properties"].items():
            kind = "file" if "binary" in str(field) else field.get("type", "")
            several = ", any number" if field.get("type") == "array" else ""
            about = field.get("description", "")
            choices = " or ".join(map(str, field.get("enum", [])))
            yield f"<tr><th><code>{escape(name)}</code><td>{kind}{several}<td>{escape(about or choices)}"
        yield "</table>"

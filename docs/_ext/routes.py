"""The directive `.. routes::`, which describes the HTTP API by its OpenAPI document."""

from collections.abc import Iterator, Sequence
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from wct_jax.server.app import application
from wct_jax.server.bounds import Bounds
from wct_jax.server.guard import Door
from wct_jax.server.service import Service
from wct_jax.server.workers import Workers

_Row = Sequence[str]


class Routes(SphinxDirective):
    """Every route with its fields and answers, and the objects that they hold."""

    def run(self) -> list[nodes.Node]:
        """Describe the routes."""
        bounds = Bounds()
        # Workers that are never started: no JAX, no model.
        service = Service(Workers(lambda: None, lambda session: iter(()), bounds.queue), bounds)
        text = "\n".join(_described(application(service, Door())._app.openapi()))
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def _described(api: dict[str, Any]) -> Iterator[str]:
    for path, methods in api["paths"].items():
        for method, route in methods.items():
            yield from _title(f"{method.upper()} {path}", "-")
            yield from (f"{route['summary']}.", "")
            for media, body in route.get("requestBody", {}).get("content", {}).items():
                yield from _table(f"Fields, as {media}", (2, 2, 6), _fields(body["schema"], api))
            yield from _table("Answers", (1, 5, 4), map(_answer, route["responses"].items()))
    yield from _title("Objects", "-")
    for name, schema in api["components"]["schemas"].items():
        if not name.startswith(("Body_", "HTTPValidation", "Validation")):
            yield from (f".. _http-{name.lower()}:", "", *_title(name, "~"), schema.get("description", ""), "")
            yield from _table("", (2, 8), ((f"``{key}``", _kind(field)) for key, field in schema["properties"].items()))


def _answer(answer: tuple[str, dict[str, Any]]) -> _Row:
    status, about = answer
    # Refusals are all the same object, which the page names once.
    media = (_media(*each) for each in about.get("content", {}).items() if int(status) < 400)
    return status, about["description"], ", ".join(media)


def _media(name: str, content: dict[str, Any]) -> str:
    kind = _kind(content["schema"])
    return kind if kind.startswith((":ref:", "list of")) else f"``{name}``"


def _fields(schema: dict[str, Any], api: dict[str, Any]) -> Iterator[_Row]:
    if "$ref" in schema:
        schema = api["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    for name, field in schema["properties"].items():
        about = [field.get("description", "")]
        if "minimum" in field and "maximum" in field:
            about.append(f"from {field['minimum']:.0f} to {field['maximum']:.0f}")
        if "default" in field:
            about.append(f"by default ``{str(field['default']).lower()}``")
        if name in schema.get("required", ()):
            about.append("required")
        yield f"``{name}``", _kind(field), ", ".join(filter(None, about))


def _kind(schema: dict[str, Any]) -> str:
    """The type of a value in words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f":ref:`{name} <http-{name.lower()}>`"
    if "anyOf" in schema:
        return " or ".join(map(_kind, schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        return " or ".join(f"``{value}``" for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        kind = _kind(schema["items"])
        return f"{kind}s" if kind.isalpha() else f"list of {kind}"
    if schema.get("format") == "binary":
        return "file"
    return "JSON" if "contentMediaType" in schema else schema.get("type", "object")


def _title(text: str, underline: str) -> Iterator[str]:
    yield from (text, underline * len(text), "")


def _table(caption: str, widths: Sequence[int], rows: Iterator[_Row]) -> Iterator[str]:
    yield from (f".. list-table:: {caption}".rstrip(), f"   :widths: {' '.join(map(str, widths))}", "")
    for row in rows:
        for place, cell in enumerate(row):
            yield f"   {'*' if not place else ' '} - {cell}"
    yield ""


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("routes", Routes)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""Schemas: what the API takes and gives, for its description."""

from typing import Any, Literal

from pydantic import BaseModel

from wct_jax.server.jobs import Status
from wct_jax.server.order import FILES, PICTURES, TEXTS

_TEXTS: dict[str, dict[str, Any]] = {
    "options": {"type": "string", "contentMediaType": "application/json", "description": "`Options` as a JSON object"},
    "style_id": {"type": "array", "items": {"type": "string"}, "description": "ids of kept styles, after the files"},
    "weights": {"type": "string", "contentMediaType": "application/json", "description": "JSON list of the shares"},
    "format": {"type": "string", "enum": list(PICTURES), "default": "png"},
    "quality": {"type": "integer", "minimum": 1, "maximum": 100, "default": 95, "description": "of a JPEG"},
    "strip": {"type": "boolean", "default": False, "description": "no EXIF, and no settings in the result"},
    "longest": {
        "type": "integer",
        "minimum": 16,
        "description": "a preview with a long side of at most so many pixels",
    },
    "texture": {"type": "string", "pattern": "^[0-9]+x[0-9]+$", "description": "WIDTHxHEIGHT, in place of `content`"},
    "seed": {"type": "integer", "minimum": 0, "maximum": 2**32 - 1, "description": "of a texture"},
    "name": {"type": "string", "description": "what a person calls it"},
    "steady": {"type": "number", "minimum": 0, "description": "seconds over which the statistics are an average"},
    "flow": {"type": "boolean", "default": True, "description": "whether the paint follows the motion"},
}
_SEVERAL = {"style": "styles, mixed or each in its mask", "mask": "grey, white where the style of the same place goes"}
_ABOUT = {
    "content": "the photo",
    "alpha_map": "grey, alpha at each pixel",
    "strength_map": "grey, strength at each pixel",
    "structure_map": "grey, structure at each pixel",
    "picture": "a PNG that this program painted",
    "film": "the film",
}


def form(*names: str) -> dict[str, Any]:
    """The description of a form with some fields, as `openapi_extra` takes it."""
    properties: dict[str, Any] = {}
    for name in names:
        file = {"type": "string", "format": "binary"}
        if name in _TEXTS:
            properties[name] = _TEXTS[name]
        elif name in _SEVERAL and len(names) > 2:
            properties[name] = {"type": "array", "items": file, "description": _SEVERAL[name]}
        else:
            properties[name] = file | {"description": _ABOUT.get(name, "the picture")}
    schema = {"type": "object", "properties": properties}
    if len(names) <= 2:
        schema["required"] = [names[0]]
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


PAINT = form(*FILES, *TEXTS)


class Mistake(BaseModel):
    """Why a request was refused."""

    detail: str


class Job(BaseModel):
    """A job."""

    id: str
    status: Status
    stage: str
    done: int
    total: int
    position: int
    seconds_left: float | None
    error: str | None
    name: str
    width: int | None
    height: int | None
    result: str | None
    expires: str


class Style(BaseModel):
    """A kept style."""

    id: str
    name: str
    thumbnail: str
    width: int
    height: int


class Model(BaseModel):
    """A model, and the options that it can be asked for."""

    name: str
    default: bool
    layers: list[str]
    methods: list[str]
    transforms: list[str]
    colors: list[str]
    protected: list[str]


class Health(BaseModel):
    """Whether the server is well."""

    status: Literal["ok"]
    ready: bool
    version: str
    films: bool


class Archive(BaseModel):
    """The jobs whose results are to be packed."""

    jobs: list[str]


_REFUSALS = {
    400: "The form cannot be read.",
    401: "The token is missing.",
    403: "The request comes from another site.",
    404: "There is no such thing.",
    408: "The request came too slowly.",
    409: "It is not finished.",
    410: "It has expired.",
    413: "It is too large.",
    415: "It is no picture.",
    422: "It contradicts itself, or cannot be done.",
    429: "The client asks too much.",
    501: "The server lacks a package for it.",
    503: "The queue is full; `Retry-After` says when to come again.",
    504: "It took too long.",
}


def answers(*statuses: int, media: tuple[str, ...] = (), status: int = 200) -> dict[int | str, dict[str, Any]]:
    """The description of a route's answers, as `responses` takes it.

    Args:
        statuses: Refusals beside those that every route has.
        media: MIME types of the answer, if it is no JSON.
        status: The status of that answer.
    """
    found: dict[int | str, dict[str, Any]] = {
        code: {"model": Mistake, "description": _REFUSALS[code]} for code in sorted({401, 403, 429, *statuses})
    }
    if media:
        binary = {"schema": {"type": "string", "format": "binary"}}
        found[status] = {"description": "The answer.", "content": dict.fromkeys(media, binary)}
    return found

"""The route that reads the settings of a result."""

import json
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI, Request

from wct_jax.painting.options import Options
from wct_jax.pictures.output import read_settings
from wct_jax.server import schemas
from wct_jax.server.refusal import Refused
from wct_jax.server.schemas import answers
from wct_jax.server.service import Service
from wct_jax.server.uploads import Upload, read_form

# What is passed on of the rest, if it is of these kinds; anybody could have written the file.
_OTHERS = {"styles": list, "masks": list, "style_weights": list, "model": str, "wct_jax": str, "texture": dict}


def add(app: FastAPI, service: Service) -> None:
    """Add the route."""

    @app.post(
        "/v1/settings",
        openapi_extra=schemas.form("picture"),
        responses=answers(400, 408, 413, 415, 422, 503),
        summary="The settings that a result was made with",
    )
    async def settings(request: Request) -> dict[str, Any]:
        form = await read_form(request, ["picture"], [], service.bounds)
        upload = form.file("picture")
        if not upload:
            raise Refused(422, "expected a PNG as `picture`, got none")
        await service.look_at([upload])
        return await service.reading(_settings, upload)


def _settings(upload: Upload) -> dict[str, Any]:
    try:
        found = json.loads(read_settings(upload.open()))
        # A result without a method is of a version that had the cascade alone.
        options = Options.from_json(json.dumps({"method": "cascade"} | found["options"]))
    except (LookupError, TypeError, RecursionError, json.JSONDecodeError):
        raise Refused(422, f"{upload.name} is damaged where it should say how it was made") from None
    others = {name: found[name] for name, kind in _OTHERS.items() if isinstance(found.get(name), kind)}
    return {"options": asdict(options), **others}

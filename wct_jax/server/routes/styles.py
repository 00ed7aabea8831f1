"""Routes of the styles."""

from fastapi import FastAPI, Request, Response

from wct_jax.server import schemas
from wct_jax.server.refusal import Refused
from wct_jax.server.schemas import answers
from wct_jax.server.service import Service
from wct_jax.server.styles import Kept, make
from wct_jax.server.uploads import plain, read_form


def add(app: FastAPI, service: Service) -> None:
    """Add the routes."""

    def told(kept: Kept) -> schemas.Style:
        where = f"/v1/styles/{kept.id}/thumbnail"
        return schemas.Style(id=kept.id, name=kept.name, thumbnail=where, width=kept.width, height=kept.height)

    @app.get("/v1/styles", responses=answers(), summary="The styles that come with the package")
    async def styles() -> list[schemas.Style]:
        return [told(kept) for kept in service.styles.packaged()]

    @app.post(
        "/v1/styles",
        status_code=201,
        openapi_extra=schemas.form("style", "name"),
        responses=answers(400, 408, 413, 415, 422, 503),
        summary="Keep a style for a while",
    )
    async def keep(request: Request) -> schemas.Style:
        form = await read_form(request, ["style"], ["name"], service.bounds)
        upload = form.file("style")
        if not upload:
            raise Refused(422, "expected a picture as `style`, got none")
        await service.look_at([upload])
        name = plain(form.text("name") or "") or upload.stem
        kept = await service.reading(make, name, upload, service.bounds)
        service.styles.add(kept)
        return told(kept)

    @app.get("/v1/styles/{id}", responses=answers(404, 422), summary="A style")
    async def style(id: str) -> schemas.Style:
        return told(service.styles.get(id))

    @app.get(
        "/v1/styles/{id}/thumbnail",
        responses=answers(404, 422, media=("image/jpeg",)),
        response_class=Response,
        summary="A style, small",
    )
    async def thumbnail(id: str) -> Response:
        return Response(service.styles.get(id).thumbnail, media_type="image/jpeg")

    @app.delete("/v1/styles/{id}", status_code=204, responses=answers(404, 422), summary="Forget a style")
    async def forget(id: str) -> None:
        service.styles.forget(id)

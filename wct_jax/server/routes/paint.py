"""The route that paints."""

from fastapi import FastAPI, Request, Response

from wct_jax.server import schemas
from wct_jax.server.routes.jobs import accepted
from wct_jax.server.routes.results import answer
from wct_jax.server.schemas import answers
from wct_jax.server.service import Service

_IMAGES = ("image/png", "image/jpeg")


def add(app: FastAPI, service: Service) -> None:
    """Add the route."""

    @app.post(
        "/v1/paint",
        openapi_extra=schemas.PAINT,
        responses={
            **answers(400, 404, 408, 413, 415, 422, 503, 504, media=_IMAGES),
            202: {"model": schemas.Job, "description": "With `Prefer: respond-async`: the job."},
        },
        response_class=Response,
        summary="Paint a picture",
    )
    async def paint(request: Request) -> Response:
        order = await service.order(request)
        later = "respond-async" in request.headers.get("prefer", "")
        job = service.start(order, request.state.client, urgent=not later)
        if later:
            return accepted(service, job)
        result = await service.finished(job, request)
        return answer(result, job.name) if result else Response(status_code=499)

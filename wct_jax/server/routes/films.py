"""The route that paints films."""

import functools
import importlib.util

from fastapi import FastAPI, Request, Response

from wct_jax.server import schemas
from wct_jax.server.films import paint_film, suffix_of
from wct_jax.server.order import order_of, uploads_of
from wct_jax.server.refusal import Refused
from wct_jax.server.routes.jobs import accepted
from wct_jax.server.schemas import answers
from wct_jax.server.service import Service
from wct_jax.server.uploads import read_form

_FILES = ("film", "style", "mask", "alpha_map", "strength_map", "structure_map")
_TEXTS = ("style_id", "weights", "options", "steady", "flow")


def readable() -> bool:
    """Whether the packages that films need are installed."""
    return importlib.util.find_spec("av") is not None


def add(app: FastAPI, service: Service) -> None:
    """Add the route."""

    @app.post(
        "/v1/films",
        status_code=202,
        response_model=schemas.Job,
        openapi_extra=schemas.form(*_FILES, *_TEXTS),
        responses=answers(400, 404, 408, 413, 415, 422, 501, 503),
        summary="Paint a film, as a job",
    )
    async def films(request: Request) -> Response:
        if not readable():
            raise Refused(501, 'films need PyAV on the server: pip install "wct_jax[video]"')
        form = await read_form(request, _FILES, _TEXTS, service.bounds)
        film = form.file("film")
        if not film:
            raise Refused(422, "expected a film as `film`, got none")
        suffix_of(film)
        styles = service.styles_in(form)
        await service.look_at(uploads_of(form, styles))
        order = order_of(form, styles, service.headers.size, service.bounds)
        if order.options.photo:
            raise Refused(422, "`photo` changes single photos: expected a film to be painted")
        steady, flow = form.number("steady"), form.switch("flow", True)
        work = functools.partial(paint_film, order, steady, flow, service.folder, service.bounds.pixels)
        job = service.queue(order.name, work, request.state.client, urgent=False, film=True)
        return accepted(service, job)

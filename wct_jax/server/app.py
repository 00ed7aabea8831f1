"""The application: its routes, its errors, its guard."""

import contextlib

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

import wct_jax
from wct_jax.server.guard import Door, Guard
from wct_jax.server.refusal import Refused
from wct_jax.server.routes import archive, docs, facts, films, jobs, page, paint, settings, styles
from wct_jax.server.service import Service


def application(service: Service, door: Door, model: str = "compact") -> ASGIApp:
    """The application with its guard.

    Args:
        service: What the routes share; its workers are started.
        door: Who may come in.
        model: The model's name.
    """
    living = contextlib.asynccontextmanager(lambda app: service.living())
    app = FastAPI(title="wct_jax", version=wct_jax.__version__, docs_url=None, redoc_url=None, lifespan=living)
    _say_errors(app)
    for room in (page, docs):
        room.add(app)
    for room in (paint, jobs, archive, styles, settings, films):
        room.add(app, service)
    facts.add(app, service, model)
    return Guard(app, door, service.bounds, service.metrics)


def _say_errors(app: FastAPI) -> None:
    def said(status: int, sentence: str, headers: dict[str, str] | None = None) -> JSONResponse:
        return JSONResponse({"detail": sentence}, status, headers)

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        return said(error.status, error.sentence, error.headers)

    @app.exception_handler(ValueError)
    async def mistaken(request: Request, error: ValueError) -> Response:
        return said(422, Refused(422, str(error)).sentence)

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=499)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return said(422, Refused(422, f"{where}: {first['msg']}").sentence)

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> Response:
        return said(error.status_code, str(error.detail), dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return said(500, "the server failed to do this, and has written down why")

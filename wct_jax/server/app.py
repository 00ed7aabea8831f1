"""The application: the routes of the API and of the page."""

import contextlib
import importlib.util
import mimetypes
from importlib.resources import files
from importlib.resources.abc import Traversable
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

import wct_jax
from wct_jax.painting.options import COLORS, METHODS, PROTECTED, TRANSFORMS
from wct_jax.server import schemas
from wct_jax.server.guard import Door, Guard
from wct_jax.server.jobs import Job, Result
from wct_jax.server.refusal import Refused
from wct_jax.server.schemas import answers
from wct_jax.server.service import Service
from wct_jax.server.styles import Kept, make
from wct_jax.server.uploads import plain, read_form

_IMAGES = ("image/png", "image/jpeg")


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
    _add_page(app)
    _add_paint(app, service)
    _add_jobs(app, service)
    _add_styles(app, service)
    _add_facts(app, service, model)
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


def _add_page(app: FastAPI) -> None:
    page = dict(_files_in(files(__package__) / "page", ""))

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


def described(service: Service, job: Job) -> schemas.Job:
    """What clients are told of a job."""
    result = job.result
    return schemas.Job(
        id=job.id,
        status=job.status,
        stage=job.stage,
        done=job.steps[0],
        total=job.steps[1],
        position=service.workers.position(job),
        seconds_left=job.seconds_left,
        error=job.refusal.sentence if job.refusal else None,
        name=job.name,
        width=result.width if result else None,
        height=result.height if result else None,
        result=f"/v1/jobs/{job.id}/result" if result else None,
        expires=service.jobs.expires(job),
    )


def picture(result: Result, name: str) -> Response:
    """A finished picture as an answer."""
    headers = {
        "X-WCT-Width": str(result.width),
        "X-WCT-Height": str(result.height),
        "X-WCT-Seconds": f"{result.seconds:.3f}",
        "Content-Disposition": disposition(name),
    }
    assert isinstance(result.content, bytes)
    return Response(result.content, media_type=result.media, headers=headers)


def disposition(name: str) -> str:
    """The header that says what a file is called, if it is saved."""
    ascii = "".join(sign if sign.isascii() and sign not in '"\\%' else "_" for sign in name)
    return f"inline; filename=\"{ascii}\"; filename*=UTF-8''{quote(name, safe='')}"


def _add_paint(app: FastAPI, service: Service) -> None:
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
            service.jobs.add(job)
            where = {"Location": f"/v1/jobs/{job.id}", "Preference-Applied": "respond-async"}
            return JSONResponse(described(service, job).model_dump(), 202, where)
        result = await service.finished(job, request)
        return picture(result, job.name) if result else Response(status_code=499)


def _add_jobs(app: FastAPI, service: Service) -> None:
    pass


def _add_styles(app: FastAPI, service: Service) -> None:
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


def _add_facts(app: FastAPI, service: Service, name: str) -> None:
    films = importlib.util.find_spec("av") is not None

    @app.get("/v1/health", responses=answers(), summary="Whether the server is ready")
    async def health() -> schemas.Health:
        return schemas.Health(status="ok", ready=service.workers.ready, version=wct_jax.__version__, films=films)

    @app.get("/v1/models", responses=answers(503), summary="The models, and the options that they can be asked for")
    async def models() -> list[schemas.Model]:
        session = service.workers.session
        if session is None:
            raise Refused(503, "the model is being loaded", 1)
        model = session.model
        painted = "one-pass" if model.painter_layers else ""
        one = schemas.Model(
            name=name,
            default=True,
            layers=list(model.layers),
            methods=[method for method in METHODS if method == "cascade" or painted],
            transforms=list(TRANSFORMS),
            colors=list(COLORS),
            protected=list(PROTECTED),
        )
        return [one]

    @app.get("/metrics", response_class=PlainTextResponse, responses=answers(), summary="Metrics for Prometheus")
    async def metrics() -> str:
        return service.metrics.text()

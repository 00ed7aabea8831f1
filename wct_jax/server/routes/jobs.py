"""Routes of the jobs: their progress, their results, their end."""

import asyncio
from collections.abc import AsyncIterator

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from wct_jax.server import schemas
from wct_jax.server.jobs import QUEUED, Job
from wct_jax.server.refusal import Refused
from wct_jax.server.routes.results import answer
from wct_jax.server.schemas import answers
from wct_jax.server.service import Service

# Seconds between the signs of life of a stream, without which proxies would close it.
_BEAT = 10.0
_EVENTS = "text/event-stream"


def add(app: FastAPI, service: Service) -> None:
    """Add the routes."""
    told = answers(404, 410, 422)
    told[200] = {"description": "The job, or its events.", "content": {_EVENTS: {"schema": {"type": "string"}}}}

    @app.get("/v1/jobs/{id}", response_model=schemas.Job, responses=told, summary="A job")
    async def job(id: str, request: Request) -> schemas.Job | Response:
        found = service.jobs.get(id)
        if _EVENTS in request.headers.get("accept", ""):
            return StreamingResponse(_events(service, found), media_type=_EVENTS)
        return described(service, found)

    @app.get(
        "/v1/jobs/{id}/result",
        responses=answers(404, 409, 410, 413, 422, 503, 504, media=("image/png", "image/jpeg", "video/mp4")),
        response_class=Response,
        summary="The result of a job",
    )
    async def result(id: str) -> Response:
        found = service.jobs.get(id)
        if not found.finished:
            raise Refused(409, "this job is not finished", 1)
        return answer(await found.wait(), found.name)

    @app.delete("/v1/jobs/{id}", status_code=204, responses=answers(404, 410, 422), summary="Cancel and forget a job")
    async def forget(id: str) -> None:
        service.jobs.forget(id)


def described(service: Service, job: Job) -> schemas.Job:
    """A job as clients see it."""
    result = job.result
    return schemas.Job(
        id=job.id,
        status=job.status,
        stage=job.stage,
        done=job.steps[0],
        total=job.steps[1],
        position=service.position(job),
        seconds_left=job.seconds_left,
        error=job.refusal.sentence if job.refusal else None,
        name=job.name,
        width=result.width if result else None,
        height=result.height if result else None,
        result=f"/v1/jobs/{job.id}/result" if result else None,
        expires=service.jobs.expires(job),
    )


def accepted(service: Service, job: Job) -> Response:
    """Keep a job for a client who comes back for it, and say where."""
    service.jobs.add(job)
    where = {"Location": f"/v1/jobs/{job.id}", "Preference-Applied": "respond-async"}
    return JSONResponse(described(service, job).model_dump(), 202, where)


async def _events(service: Service, job: Job) -> AsyncIterator[str]:
    """The events of a job, as server-sent events have it."""
    while True:
        change = asyncio.ensure_future(job.change())
        name = job.status if job.finished else "progress"
        yield f"event: {name}\ndata: {described(service, job).model_dump_json()}\n\n"
        if name != "progress":
            change.cancel()
            return
        # The place in the queue changes with other jobs.
        await asyncio.wait({change}, timeout=1.0 if job.status == QUEUED else _BEAT)
        change.cancel()

"""The route that packs results."""

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

from fastapi import FastAPI, Response

from wct_jax.server import schemas
from wct_jax.server.jobs import Job
from wct_jax.server.refusal import Refused
from wct_jax.server.routes.results import disposition
from wct_jax.server.schemas import answers
from wct_jax.server.service import Service

_MOST = 1000


def add(app: FastAPI, service: Service) -> None:
    """Add the route."""

    @app.post(
        "/v1/archive",
        responses=answers(400, 404, 408, 410, 413, 422, media=("application/zip",)),
        response_class=Response,
        summary="Pack finished results into a ZIP",
    )
    async def archive(wanted: schemas.Archive) -> Response:
        if len(wanted.jobs) > _MOST:
            raise Refused(422, f"expected at most {_MOST} jobs, got {len(wanted.jobs)}")
        jobs = [service.jobs.get(id) for id in dict.fromkeys(wanted.jobs)]
        done = [job for job in jobs if job.result]
        if not done:
            raise Refused(422, "none of these jobs has a result")
        headers = {"Content-Disposition": disposition("pictures.zip")}
        return Response(await service.reading(_packed, done), headers=headers, media_type="application/zip")


def _packed(jobs: Sequence[Job]) -> bytes:
    file, used = io.BytesIO(), set[str]()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as packed:  # Pictures are compressed already.
        for job in jobs:
            result = job.result
            if result is None:
                continue  # It has expired meanwhile.
            name = _unused(job.name, used)
            if isinstance(result.content, Path):
                packed.write(result.content, name)
            else:
                packed.writestr(name, result.content)
    return file.getvalue()


def _unused(name: str, used: set[str]) -> str:
    """A name that no file before has, on systems that do not tell capitals apart, too."""
    stem, _, suffix = name.rpartition(".")
    number, unused = 1, name
    while unused.casefold() in used:
        number += 1
        unused = f"{stem} ({number}).{suffix}"
    used.add(unused.casefold())
    return unused

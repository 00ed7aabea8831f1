"""Routes that tell about the server: whether it is well, its models, its metrics."""

import asyncio

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

import wct_jax
from wct_jax.painting.options import COLORS, PAINTERS, PROTECTED, TRANSFORMS
from wct_jax.server import schemas
from wct_jax.server.refusal import Refused
from wct_jax.server.routes import films
from wct_jax.server.schemas import answers
from wct_jax.server.service import Service

# Seconds for which those who ask for the models wait until one is loaded.
_LOADING = 20.0


def add(app: FastAPI, service: Service, name: str) -> None:
    """Add the routes."""

    @app.get("/v1/health", responses=answers(), summary="Whether the server is ready")
    async def health() -> schemas.Health:
        return schemas.Health(
            status="ok", ready=service.workers.ready, version=wct_jax.__version__, films=films.readable()
        )

    @app.get("/v1/models", responses=answers(503), summary="The models, and the options that they can be asked for")
    async def models() -> list[schemas.Model]:
        try:
            async with asyncio.timeout(_LOADING):
                while (session := service.workers.session) is None:
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise Refused(503, "the model is still being loaded", 5) from None
        model = session.model
        one = schemas.Model(
            name=name,
            default=True,
            layers=list(model.layers),
            methods=[method for method in PAINTERS if method == "cascade" or model.painter_layers],
            transforms=list(TRANSFORMS),
            colors=list(COLORS),
            protected=list(PROTECTED),
        )
        return [one]

    @app.get("/metrics", response_class=PlainTextResponse, responses=answers(), summary="Metrics for Prometheus")
    async def metrics() -> str:
        return service.metrics.text()

"""The route that paints films."""

from fastapi import FastAPI

from wct_jax.server.service import Service


def add(app: FastAPI, service: Service) -> None:
    """Add the route."""

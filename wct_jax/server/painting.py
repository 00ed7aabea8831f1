"""Painting: an order carried out by a session, and the pictures that warm one up."""

import io
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from wct_jax.pictures.output import write_picture
from wct_jax.pictures.picture import Metadata
from wct_jax.server.jobs import Result
from wct_jax.server.order import SUFFIXES, Order
from wct_jax.server.uploads import Upload
from wct_jax.studio.progress import Progress

if TYPE_CHECKING:
    from wct_jax.studio.session import Session

# Width to height of the photos that cameras take, upright and lying.
_SHAPES = ((1, 1), (3, 2), (2, 3), (4, 3), (3, 4), (16, 9), (9, 16))


def paint(order: Order, session: "Session", progress: Progress, cancel: Callable[[], bool]) -> Result:
    """Carry out an order.

    Args:
        order: The order.
        session: The session that paints.
        progress: Told the progress.
        cancel: Asked whether to stop.

    Raises:
        ValueError: A picture cannot be read or painted.
        Cancelled: `cancel` returned True.
    """
    start = time.perf_counter()
    picture = session.serve(order.request(), progress=progress, cancel=cancel)
    if order.strip:
        picture = replace(picture, metadata=Metadata())
    elif order.side:
        settings = json.loads(picture.metadata.settings)
        settings["options"]["content_size"] = order.options.content_size  # Whole pictures are made of it.
        picture = replace(picture, metadata=replace(picture.metadata, settings=json.dumps(settings)))
    file = io.BytesIO()
    write_picture(file, picture, SUFFIXES[order.format], order.quality)
    height, width = picture.pixels.shape[:2]
    return Result(file.getvalue(), f"image/{order.format}", width, height, time.perf_counter() - start)


def warm(session: "Session", sides: Iterable[int], styles: Iterable[Upload]) -> None:
    """Compile what photos of some sizes need, and extract styles.

    Args:
        session: The session.
        sides: Lengths of the photos' longer sides in pixels.
        styles: Pictures of styles.
    """
    noise = np.random.default_rng(0)
    given = list(styles)
    for side in sides:
        for wide, high in _SHAPES:
            shape = (side * high // max(wide, high), side * wide // max(wide, high), 3)
            session.paint(noise.random(shape, np.float32), given[0].open())
    for style in given[1:] if sides else ():
        session.paint(noise.random((64, 64, 3), np.float32), style.open())

"""Painting: an order carried out by a session, and the pictures that warm one up."""

import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
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
_SHAPES = ((4, 3), (3, 2), (3, 4), (2, 3), (16, 9), (9, 16))


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


def warm(session: "Session", sides: Sequence[int], styles: Sequence[Upload]) -> Iterator[None]:
    """Compile what photos of some sizes need, and extract styles, step by step.

    Args:
        session: The session.
        sides: Lengths of the photos' longer sides in pixels.
        styles: Pictures of styles.

    Yields:
        First when each size has been painted once, then after each of the shapes and styles that are left.
    """
    rng, file = np.random.default_rng(0), styles[0].open
    for side in sides:
        session.paint(rng.random((side, side, 3), np.float32), file())
    for side in sides:
        for wide, high in _SHAPES:
            yield
            shape = (side * high // max(wide, high), side * wide // max(wide, high), 3)
            session.paint(rng.random(shape, np.float32), file())
    for style in styles[1:] if sides else ():
        yield
        session.paint(rng.random((64, 64, 3), np.float32), style.open())

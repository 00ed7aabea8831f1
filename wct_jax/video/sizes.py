"""The frames of a film in the size in which they are painted."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence

import numpy as np

from wct_jax.video.files.film import Film, Frame
from wct_jax.video.files.frames import Glance
from wct_jax.video.flow import opencv
from wct_jax.video.masks import masked


def sized(film: Film, size: tuple[int, int]) -> Iterator[Frame]:
    """The frames of a film, resized to a width and a height."""
    for frame in film:
        alpha = None if frame.alpha is None else _resized(frame.alpha, size)
        yield dataclasses.replace(frame, pixels=_resized(frame.pixels, size), alpha=alpha)


def glances(film: Film, size: tuple[int, int], masks: Sequence[Film]) -> Iterator[Glance]:
    """Glance at a film whose frames are loaded in a size; with masks, look through all of it and of these."""
    if masks:
        for frame in masked(sized(film, size), masks):
            yield Glance(frame.time, frame.pixels, functools.partial(np.asarray, frame.pixels))
    else:
        for glance in film.glances():
            yield glance._replace(load=functools.partial(_loaded, glance, size))


def _loaded(glance: Glance, size: tuple[int, int]) -> np.ndarray:
    return _resized(glance.load(), size)


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if image.shape[1::-1] == size:
        return image
    cv2 = opencv()
    how = cv2.INTER_AREA if size[0] < image.shape[1] else cv2.INTER_CUBIC
    return np.clip(cv2.resize(image, size, interpolation=how), 0, 1)

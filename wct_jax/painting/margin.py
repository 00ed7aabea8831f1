"""A mirrored margin around an image, with which its border is painted like its middle.

Networks reflect features at the border. Kernels that look for an edge across it see the same on both sides and find
none, so the outer pixels of a result are smooth, and strokes run along them. With a mirrored margin the features at the
border are those of a picture that goes on. The margin does not count in the statistics and is cut off in the end.
"""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from wct_jax.painting.guides import Guides
from wct_jax.system.sheet import Sheet, sheet

# At a time, of a large image that need not be in memory.
_ROWS = 64


def surround(guides: Guides, sides: Sequence[int], margin: int) -> Guides:
    """Guides with `margin` more pixels on each side: maps are mirrored, weights are zero there.

    Args:
        guides: Guides of the image, not on a canvas.
        sides: Height and width of the image.
        margin: Width of the margin in pixels.
    """
    rows, columns = (mirrored(side, margin) for side in sides)
    weights = np.ones(sides, np.float32) if guides.weights is None else _at_hand(guides.weights)
    xp = np if isinstance(weights, np.ndarray) else jnp
    around = [(0, 0)] * (weights.ndim - 2) + [(margin, margin)] * 2
    rest = dataclasses.replace(guides, weights=None).each(lambda x: _at_hand(x)[..., rows[:, None], columns])
    return dataclasses.replace(rest, weights=xp.pad(weights, around))


def widen(image: Any, margin: int) -> Any:
    """An image `[..., H, W, 3]` with `margin` mirrored pixels more on each side."""
    rows, columns = (mirrored(side, margin) for side in image.shape[-3:-1])
    return _at_hand(image)[..., rows[:, None], columns, :]


def widen_in_rows(image: np.ndarray, margin: int, folder: str | os.PathLike[str] | None) -> np.ndarray:
    """`widen` an image `[H, W, 3]`; a large result is mapped from a file without a name in `folder`."""
    rows, columns = (mirrored(side, margin) for side in image.shape[:2])
    wide = sheet((len(rows), len(columns), 3), folder)
    for start in range(0, len(rows), _ROWS):
        wide[start : start + _ROWS] = image[rows[start : start + _ROWS, None], columns]
    return wide.mapped() if isinstance(wide, Sheet) else wide


def narrow(image: Any, margin: int) -> Any:
    """An image `[..., H, W, 3]` without its margins."""
    height, width = (side - 2 * margin for side in image.shape[-3:-1])
    inner = _at_hand(image)[..., margin : margin + height, margin : margin + width, :]
    return jnp.asarray(inner) if isinstance(image, Array) else inner


def mirrored(side: int, margin: int) -> np.ndarray:
    """Indices of a side's pixels along the side with its margins, int `[side + 2 margin]`."""
    return np.pad(np.arange(side), margin, mode="reflect")


def _at_hand(values: Any) -> Any:
    """As an array of NumPy where possible: indexing it is not compiled for each size."""
    if isinstance(values, jax.core.Tracer) or (isinstance(values, Array) and len(values.devices()) > 1):
        return values
    return np.asarray(values)

"""The windows through which an image is read tile by tile."""

from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from wct_jax.kernels.canvas import largest_canvas, smallest_canvas


class Span(NamedTuple):
    """The pixels of a side that are read, `start` to `stop`, and those that are taken from them, `first` to `last`."""

    start: int
    stop: int
    first: int
    last: int


class Window(NamedTuple):
    """A tile with the pixels around it, on a canvas."""

    rows: Span
    columns: Span
    canvas: tuple[int, int]

    @property
    def taken(self) -> tuple[slice, slice]:
        """The tile in the image."""
        return tuple(slice(span.first, span.last) for span in (self.rows, self.columns))  # type: ignore[return-value]

    @property
    def taken_here(self) -> tuple[slice, slice]:
        """The tile on the canvas."""
        return tuple(slice(s.first - s.start, s.last - s.start) for s in (self.rows, self.columns))  # type: ignore[return-value]

    @property
    def size(self) -> np.ndarray:
        """Rows and columns that are read, int32 `[2]`."""
        return np.asarray([span.stop - span.start for span in (self.rows, self.columns)], np.int32)

    def read(self, source: Any, cell: int = 1) -> np.ndarray:
        """The canvas with the pixels read from an image, or from a feature of such cells."""
        (top, bottom), (left, right) = ((s.start // cell, -(-s.stop // cell)) for s in (self.rows, self.columns))
        part = source[top:bottom, left:right]
        canvas = np.zeros((self.canvas[0] // cell, self.canvas[1] // cell, part.shape[2]), np.float32)
        canvas[: bottom - top, : right - left] = part
        return canvas

    def write(self, target: Any, canvas: np.ndarray, cell: int = 1) -> None:
        """Write the tile on the canvas to an image, or to a feature of such cells."""
        there, here = (
            tuple(slice(part.start // cell, -(-part.stop // cell)) for part in parts)
            for parts in (self.taken, self.taken_here)
        )
        target[there] = canvas[here]

    def counted(self, weights: np.ndarray | None) -> np.ndarray:
        """The weights of the tile on the canvas, zero around it."""
        canvas = np.zeros(self.canvas, np.float32)
        canvas[self.taken_here] = 1 if weights is None else weights[self.taken]
        return canvas


def windows(sides: Sequence[int], tile: int, reach: int, cell: int) -> list[Window]:
    """Cut an image into tiles of one size.

    Args:
        sides: Height and width of the image.
        tile: Longest side in pixels of a tile with the pixels around it.
        reach: Pixels to read around a tile, in whole cells.
        cell: Side of a cell in pixels; tiles begin at multiples of it.

    Returns:
        Windows on canvases of one size that together take each pixel of the image once.
    """
    (height, rows), (width, columns) = (_spans(side, tile, reach, cell) for side in sides)
    return [Window(*spans, (height, width)) for spans in product(rows, columns)]


def _spans(side: int, most: int, reach: int, cell: int) -> tuple[int, list[Span]]:
    """Cut a side into equal spans of whole cells: the side of the canvas that holds any of them, and the spans."""
    most = largest_canvas(most)
    if side <= most:
        return smallest_canvas(side), [Span(0, side, 0, side)]
    count = -(-side // (most - 2 * reach))
    taken = -(-side // count // cell) * cell
    canvas = smallest_canvas(taken + 2 * reach)
    # The last ones begin further in, so that their canvases are not half empty.
    last = max(0, -(-(side - canvas) // cell) * cell)
    starts = [(min(max(0, first - reach), last), first) for first in range(0, side, taken)]
    return canvas, [Span(a, min(side, a + canvas), first, min(side, first + taken)) for a, first in starts]

"""The paper that an image in tiles is painted on."""

from typing import NamedTuple

import numpy as np

from wct_jax.painting.tiles.windows import Window, windows
from wct_jax.system.sheet import Sheet, sheet


class Paper(NamedTuple):
    """The place where an image is painted.

    Attributes:
        sides: Height and width of the image.
        tile: Longest side of a tile, in pixels.
        folder: Folder of large intermediate images; None for the system's.
    """

    sides: tuple[int, ...]
    tile: int
    folder: str | None

    def windows(self, reach: int, cell: int) -> list[Window]:
        """The image cut into tiles, see `windows`."""
        return windows(self.sides, self.tile, reach, cell)

    def sheet(self, cell: int, channels: int) -> np.ndarray | Sheet:
        """An uninitialised array for a feature of such cells, or with a cell of 1 for an image."""
        return sheet((*(-(-side // cell) for side in self.sides), channels), self.folder)

"""The excerpt of an image's guides that a tile needs."""

from dataclasses import replace

from wct_jax.kernels.canvas import as_array
from wct_jax.painting.guides import Guides
from wct_jax.painting.tiles.windows import Window


def excerpt(guides: Guides, window: Window) -> Guides:
    """The maps in all that a window reads, and weights that count the pixels of its tile alone.

    Args:
        guides: Guides of the whole image, in NumPy's arrays.
        window: The tile with the pixels around it.
    """
    weights, size = as_array(window.counted(guides.weights)), as_array(window.size)
    maps = replace(guides, weights=None).each(lambda values: as_array(window.read(values[..., None])[..., 0]))
    return replace(maps, weights=weights, size=size)

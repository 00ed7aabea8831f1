"""The size of tiles: the least that the layers need, and the most that memory allows."""

import math
from collections.abc import Callable, Sequence

import jax

from wct_jax.kernels.canvas import SMALLEST, largest_canvas, smallest_canvas
from wct_jax.networks.model import Model
from wct_jax.networks.vgg import cell_of, depth_of, seen_by_decoder, seen_by_encoder


def keeps(layer: str) -> bool:
    """Whether a layer's feature is kept between passes over an image."""
    # Shallower features have so many numbers that encoding again costs less.
    return depth_of(layer) >= 3


def least_tile(layers: Sequence[str]) -> int:
    """The shortest side of a tile that these layers allow with either method, in pixels."""
    return max(smallest_canvas(2 * reach_of(layer) + cell_of(layer)) for layer in layers)


# Measured: 560 bytes a pixel of the canvas with VGG-19's 64 channels at relu1_1, 215 with 16 channels: two features in
# single precision at a time, and a few images. In one pass, 290 with 16 channels: the photo's own feature is a third.
_BYTES_PER_CHANNEL = {"cascade": 8, "one-pass": 12}
_BYTES_PER_PIXEL = 120
# Python, JAX and the programs of a size or two; those of ten sizes, the most that are kept, take 0.3 GB more.
_BASE = 5 * 10**8


def choose_tile(
    sides: Sequence[int], model: Model, layers: Sequence[str], memory: float, method: str = "cascade"
) -> int | None:
    """Choose the largest tiles with which the process takes about as much memory as it may.

    Args:
        sides: Height and width of the image.
        model: The model that will paint.
        layers: The layers that it will use.
        memory: Bytes that the process may take in all.
        method: "cascade" or "one-pass".

    Returns:
        The longest side of a tile, or None if the image can be painted whole.

    Raises:
        ValueError: Even the smallest tiles take more.
    """
    each = _BYTES_PER_CHANNEL[method] * max(model.widths_at(layer)[0] for layer in layers) + _BYTES_PER_PIXEL
    rest = _BASE + 12 * math.prod(sides) + sum(leaf.nbytes for leaf in jax.tree.leaves(model))
    if rest + each * math.prod(map(smallest_canvas, sides)) <= memory:
        return None
    least = least_tile(layers)
    tile = largest_canvas(max(least, math.isqrt(int(max(0, memory - rest)) // each)))
    if rest + each * tile**2 > memory:
        height, width = sides
        raise ValueError(
            f"{width} x {height} pixels take {_amount(rest + each * least**2, math.ceil)} of memory at least with this "
            f"model, and there are {_amount(memory, math.floor)} to take"
        )
    return None if is_one(sides, tile) else tile


def _amount(memory: float, rounded: Callable[[float], int]) -> str:
    return f"{rounded(memory / 1e8) / 10:.1f} GB" if memory >= 1e9 else f"{rounded(memory / 1e6)} MB"


def is_one(sides: Sequence[int], tile: int) -> bool:
    """Whether an image fits into one tile of that size, or is too thin to be cut."""
    # A thin image takes little memory, and tiles of it would have too few pixels for deep features.
    return min(sides) < SMALLEST or max(sides) <= largest_canvas(tile)


def reach_of(layer: str) -> int:
    """The most pixels around a tile that the cascade reads at a layer; one pass reads no more, see `sweeps`."""
    encoder, decoder = seen_by_encoder(layer), seen_by_decoder(layer)
    return max(encoder, decoder) if keeps(layer) else encoder + decoder

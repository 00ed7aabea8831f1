"""Images of any size in the memory of one tile, with the result that they would have whole.

Whitening and coloring need the mean and the covariance of a whole feature, and these add up over tiles. Each level is
two passes over the image: one encodes tiles and merges their moments, one transforms and decodes. A tile is read with
as much around it as reaches into it through the layers. At the border of the image it ends there, and is reflected as
the whole would be.
"""

import functools
import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import cycle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from wct_jax.canvas import SMALLEST, largest_canvas, smallest_canvas
from wct_jax.compilation import by_parts
from wct_jax.model import Model, size_at
from wct_jax.pipeline import levels_of, recolor, stylize
from wct_jax.sheet import Sheet, sheet
from wct_jax.style import Style, extract_from_canvas, extract_style, feature_moments
from wct_jax.transform import Moments, merge
from wct_jax.windows import Window, cell_of, seen_by_decoder, seen_by_encoder, windows

Progress = Callable[[str, int, int], None]

# Shallower features have more numbers than is gained by not encoding them again.
_KEPT_FROM = "relu3_1"


def stylize_tiled(
    model: Model,
    content: np.ndarray,
    style: Style,
    alpha: ArrayLike | Sequence[ArrayLike] = 1.0,
    *,
    tile: int,
    layers: Sequence[str] | None = None,
    eps: float = 1e-6,
    content_weights: np.ndarray | None = None,
    folder: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """`stylize` tile by tile, on all devices of this process.

    Args:
        model: Encoder and decoders.
        content: `[H, W, 3]`, RGB in 0..1, float32.
        style: What `extract_style` or `extract_style_tiled` made with the same encoder.
        alpha: As for `stylize`.
        tile: The longest side of a tile in pixels, with what is read around it: at least `least_tile(layers)`.
        layers: As for `stylize`.
        eps: As for `stylize`.
        content_weights: How much each pixel counts in the content's statistics, `[H, W]`.
        folder: Where large intermediate images and features are, in files without a name, which last no longer than
            the process; None for the system's folder for such.
        progress: Told layer, tiles done and tiles in all, after each tile.

    Returns:
        `[H, W, 3]`, float32, not clipped to 0..1. A large one is mapped from a file.

    Raises:
        ValueError: As `stylize`; too small a tile; or no space for the intermediate images.
    """
    if content.ndim != 3 or content.shape[-1] != 3 or 0 in content.shape:
        raise ValueError(f"content must be an image [H, W, 3], got shape {content.shape}")
    if content_weights is not None and content_weights.shape != content.shape[:2]:
        raise ValueError(f"content_weights must be {content.shape[:2]}, got shape {content_weights.shape}")
    levels = levels_of(model, style, layers, alpha)
    _check_tile(tile, [layer for layer, _ in levels])
    if is_one(content.shape[:2], tile):
        return np.asarray(
            stylize(model, content, style, alpha, layers=layers, eps=eps, content_weights=content_weights)
        )
    passes = [_Level(model, style, layer, content.shape[:2], tile, folder) for layer, _ in levels]
    total, done = sum(level.tiles for level in passes), 0

    def tell(layer: str) -> None:
        nonlocal done
        done += 1
        if progress:
            progress(layer, done, total)

    image = content
    for level, (layer, strength) in zip(passes, levels, strict=True):
        image = level.run(image, content_weights, strength, eps, functools.partial(tell, layer))
    return image.mapped() if isinstance(image, Sheet) else image


def extract_style_tiled(
    model: Model,
    image: np.ndarray,
    layers: Sequence[str] | None = None,
    *,
    tile: int,
    weights: np.ndarray | None = None,
    progress: Progress | None = None,
) -> Style:
    """`extract_style` tile by tile, on all devices of this process.

    Args:
        model: The model that will stylize.
        image: `[H, W, 3]`, RGB in 0..1, float32.
        layers: Layers wanted; None for all those the model can decode.
        tile: As for `stylize_tiled`.
        weights: How much each pixel counts, 0..1, `[H, W]`.
        progress: As for `stylize_tiled`, with the deepest layer.

    Returns:
        A style for those layers.

    Raises:
        ValueError: An image that is not `[H, W, 3]`, or too small a tile.
    """
    if image.ndim != 3 or image.shape[-1] != 3 or 0 in image.shape:
        raise ValueError(f"image must be an image [H, W, 3], got shape {image.shape}")
    layers = tuple(model.layers if layers is None else layers)
    deepest = max(layers)
    _check_tile(tile, layers)
    if is_one(image.shape[:2], tile):
        return extract_style(model, image, layers, weights=weights)
    tiles = windows(image.shape[:2], tile, seen_by_encoder(deepest), cell_of(deepest))
    models, style = _on_each_device(model), None

    def extract(window: Window, model: Model) -> Style:
        pixels, size = map(jnp.asarray, window.read(image))
        return extract_from_canvas(model, pixels, layers, jnp.asarray(window.counted(weights)), size)

    for done, (_, own) in enumerate(_in_turn(extract, tiles, models), 1):
        own = _at_hand(own)
        style = own if style is None else _merge(style, own)
        if progress:
            progress(deepest, done, len(tiles))
    assert style is not None
    return style


def least_tile(layers: Sequence[str]) -> int:
    """The shortest side that a tile can have, in pixels.

    Args:
        layers: That will be used.
    """
    return max(smallest_canvas(2 * _reach(layer) + cell_of(layer)) for layer in layers)


# Measured: 560 bytes for a pixel of a canvas with VGG-19's 64 channels at relu1_1, 215 with 16 of them: two features of
# single precision at a time, and a few images.
_BYTES_PER_CHANNEL = 8
_BYTES_PER_PIXEL = 120
# Python, JAX and what is compiled.
_BASE = 5 * 10**8


def choose_tile(sides: Sequence[int], model: Model, layers: Sequence[str], memory: float) -> int | None:
    """How large tiles may be for the process to take no more memory than it should, about.

    Args:
        sides: Height and width of the image.
        model: That will be used.
        layers: That will be used.
        memory: In bytes, for all that the process has.

    Returns:
        The longest side of a tile, or None if the image can be whole.

    Raises:
        ValueError: Even the smallest tiles take more.
    """
    each = _BYTES_PER_CHANNEL * model.widths[0] + _BYTES_PER_PIXEL
    rest = _BASE + 12 * math.prod(sides) + sum(leaf.nbytes for leaf in jax.tree.leaves(model))
    if rest + each * math.prod(map(smallest_canvas, sides)) <= memory:
        return None
    least = least_tile(layers)
    tile = largest_canvas(max(least, math.isqrt(int(max(0, memory - rest)) // each)))
    if rest + each * tile**2 > memory:
        height, width = sides
        raise ValueError(
            f"{width} x {height} pixels take {(rest + each * least**2) / 1e9:.1f} GB of memory at least with this "
            f"model, and there are {memory / 1e9:.1f} GB to take"
        )
    return None if is_one(sides, tile) else tile


def is_one(sides: Sequence[int], tile: int) -> bool:
    """Whether an image has no need of tiles of that size."""
    # What is thin takes little memory, and has too few pixels for deep features.
    return min(sides) < SMALLEST or max(sides) <= largest_canvas(tile)


def _reach(layer: str) -> int:
    encoder, decoder = seen_by_encoder(layer), seen_by_decoder(layer)
    return max(encoder, decoder) if layer >= _KEPT_FROM else encoder + decoder


def _check_tile(tile: int, layers: Sequence[str]) -> None:
    least = least_tile(layers)
    if tile < least:
        raise ValueError(f"a tile must have sides of {least} pixels at least with {max(layers)}, got {tile}")


class _Level:
    """One level of the cascade over an image of some size."""

    def __init__(
        self,
        model: Model,
        style: Style,
        layer: str,
        sides: Sequence[int],
        tile: int,
        folder: str | os.PathLike[str] | None,
    ) -> None:
        self._model, self._style, self._layer, self._folder = model, style.moments[layer], layer, folder
        self._sides, self._cell, self._keeps = tuple(sides), cell_of(layer), layer >= _KEPT_FROM
        self._encoded = windows(sides, tile, seen_by_encoder(layer), self._cell)
        reach = seen_by_decoder(layer) if self._keeps else _reach(layer)
        self._decoded = windows(sides, tile, reach, self._cell)

    @property
    def tiles(self) -> int:
        """How many tiles there are in both passes."""
        return len(self._encoded) + len(self._decoded)

    def run(
        self, image: Any, weights: np.ndarray | None, alpha: ArrayLike, eps: float, tell: Callable[[], None]
    ) -> Any:
        """The image after this level."""
        models, cell, layer = _on_each_device(self._model), self._cell, self._layer
        statistics: Any = None
        feature: Any = None
        if self._keeps:
            channels = self._model.widths[int(layer[4]) - 1]
            feature = sheet((*(-(-side // cell) for side in self._sides), channels), self._folder)

        def measure(window: Window, model: Model) -> tuple[Moments, Array]:
            pixels, size = map(jnp.asarray, window.read(image))
            return _measure(model, pixels, jnp.asarray(window.counted(weights)), size, layer)

        for window, (own, encoded) in _in_turn(measure, self._encoded, models):
            own = _at_hand(own)
            statistics = own if statistics is None else _merge(statistics, own)
            if self._keeps:
                here = _in_cells(window.taken_here, cell)
                feature[_in_cells(window.taken, cell)] = np.asarray(encoded)[here]
            tell()

        def repaint(window: Window, model: Model) -> Array:
            source, size = map(jnp.asarray, window.read(feature, cell) if self._keeps else window.read(image))
            return _repaint(model, source, statistics, self._style, layer, jnp.asarray(alpha), jnp.asarray(eps), size)

        result = sheet((*self._sides, 3), self._folder)
        for window, painted in _in_turn(repaint, self._decoded, models):
            result[window.taken] = np.asarray(painted)[window.taken_here]
            tell()
        return result


def _in_cells(window: tuple[slice, slice], cell: int) -> tuple[slice, slice]:
    return tuple(slice(part.start // cell, -(-part.stop // cell)) for part in window)  # type: ignore[return-value]


@by_parts(static=("layer",))
def _measure(model: Model, image: Array, weights: Array, size: Array, layer: str) -> tuple[Moments, Array]:
    feature = model.encode(image, (layer,), size)[layer]
    return feature_moments(feature, weights, size, layer), feature


@by_parts(static=("layer",))
def _repaint(
    model: Model, source: Array, statistics: Moments, style: Moments, layer: str, alpha: Array, eps: Array, size: Array
) -> Array:
    cells = size_at(layer, size)
    feature = source if layer >= _KEPT_FROM else model.encode(source, (layer,), size)[layer]
    return model.decode(layer, recolor(feature, statistics, style, alpha, eps, cells), cells)


@jax.jit
def _merge(a: Any, b: Any) -> Any:
    return jax.tree.map(merge, a, b, is_leaf=lambda x: isinstance(x, Moments))


def _at_hand(tree: Any) -> Any:
    # What lies on no device can be used on any.
    return jax.tree.map(np.asarray, tree)


def _on_each_device(model: Model) -> list[Model]:
    devices = jax.local_devices()
    return [jax.device_put(model, device) for device in devices] if len(devices) > 1 else [model]


def _in_turn(
    job: Callable[[Window, Model], Any], windows: Iterable[Window], models: Sequence[Model]
) -> Iterator[tuple[Window, Any]]:
    """Run a job for each window, on the devices in turn, each of which has one while we wait for another."""
    running: deque[tuple[Window, Any]] = deque()
    for window, model in zip(windows, cycle(models), strict=False):
        running.append((window, job(window, model)))
        if len(running) == len(models):
            yield running.popleft()
    yield from running

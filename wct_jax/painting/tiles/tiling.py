"""Images of any size in the memory of one tile, with the result that they would have whole.

Whitening and coloring need the mean and the covariance of a whole feature, and these add up over tiles. Each level is
two passes over the image: one encodes tiles and merges their moments, one transforms and decodes. A tile is read with
as much around it as reaches into it through the layers. At the border of the image it ends there, and is reflected as
the whole would be.
"""

import functools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import cycle
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from wct_jax.checks.arguments import as_integer, as_number, as_path, check_progress
from wct_jax.checks.arrays import as_image, as_weights, on_host
from wct_jax.kernels.canvas import as_array
from wct_jax.kernels.compilation import by_parts
from wct_jax.networks.model import Model
from wct_jax.networks.pooling import size_at
from wct_jax.networks.vgg import cell_of, deepest, seen_by_decoder, seen_by_encoder
from wct_jax.painting.cascade import cascade, guide, levels_of
from wct_jax.painting.guides import Guides
from wct_jax.painting.level import Level, paint_feature
from wct_jax.painting.margin import narrow, surround, widen_in_rows
from wct_jax.painting.options import Options
from wct_jax.painting.regions import leave
from wct_jax.painting.strength import between
from wct_jax.painting.style import Style, extract_from_canvas, extract_style, feature_moments, layers_of
from wct_jax.painting.tiles.tile import is_one, keeps, least_tile, reach_of
from wct_jax.painting.tiles.windows import Window, windows
from wct_jax.system.sheet import Sheet, sheet
from wct_jax.transform.statistics import Moments, merge

Progress = Callable[[str, int, int], None]


def stylize_tiled(
    model: Model,
    content: ArrayLike,
    style: Style | Sequence[Style | None],
    alpha: ArrayLike | Sequence[ArrayLike] = 1.0,
    *,
    tile: int,
    strength: ArrayLike = 1.0,
    layers: Sequence[str] | None = None,
    eps: float = 1e-6,
    content_weights: ArrayLike | None = None,
    mask: Sequence[ArrayLike] = (),
    alpha_map: ArrayLike | None = None,
    transform: str = "zca",
    passes: int = 1,
    margin: int = 0,
    folder: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """`stylize` tile by tile, on all devices of this process.

    Args:
        model: Encoder and decoders.
        content: `[H, W, 3]`, RGB in 0..1, floating point of 16 to 64 bits. One in a file, as `numpy.memmap` has it,
            is read window by window.
        style: As for `stylize`, of `extract_style` or `extract_style_tiled`.
        alpha: As for `stylize`.
        tile: The longest side of a tile in pixels, with what is read around it: at least `least_tile(layers)`.
        strength: As for `stylize`, a scalar or `[H, W]`.
        layers: As for `stylize`.
        eps: As for `stylize`.
        content_weights: How much each pixel counts in the content's statistics, 0..1 or bool, broadcasting to `[H, W]`.
        mask: As for `stylize`, each broadcasting to `[H, W]`.
        alpha_map: As for `stylize`, broadcasting to `[H, W]`.
        transform: As for `stylize`. There is no style swap in tiles: it compares each patch with all others, which
            takes longer than one would wait for an image that needs them.
        passes: As for `stylize`.
        margin: As for `stylize`.
        folder: Where large intermediate images and features are, in files without a name, which last no longer than
            the process; None for the system's folder for such.
        progress: Told layer, tiles done and tiles in all, after each tile; an image that is one tile is one at each
            level.

    Returns:
        `[H, W, 3]`, float32, not clipped to 0..1. A large one is mapped from a file.

    Raises:
        ValueError: As `stylize`; too small a tile; or no space for the intermediate images.
    """
    check_progress(progress)
    photo = on_host("content", as_image("content", content, single=True))
    options = Options(layers=layers, transform=transform, passes=passes, margin=margin)  # type: ignore[arg-type]
    eps, margin, folder = (
        as_number("eps", eps, 0, 1),
        options.margin,
        None if folder is None else as_path("folder", folder),
    )
    styles, guides = guide(style, photo.shape, np.float32, content_weights, mask, alpha_map, strength)
    levels = levels_of(model, styles, options, alpha, eps)
    guides = guides.each(lambda values: on_host("what there is for each pixel", values))
    if margin:
        photo, guides = widen_in_rows(photo, margin, folder), surround(guides, photo.shape[:2], margin)
    paper = _Paper(photo.shape[:2], _check_tile(tile, [level.layer for level in levels]), folder)
    result = _painted(model, photo, styles, levels, guides, paper, progress)
    return narrow(result, margin) if margin else result


def _painted(
    model: Model,
    photo: np.ndarray,
    styles: Sequence[Style],
    levels: Sequence[Level],
    guides: Guides,
    paper: "_Paper",
    progress: Progress | None,
) -> np.ndarray:
    if is_one(paper.sides, paper.tile):
        with _counting(len(levels), progress) as begun:
            whole = as_array(photo.astype(np.float32, copy=False))
            return np.asarray(cascade(model, whole, styles, levels, guides, begun))
    strength = guides.strength
    if strength is not None:  # Of one number this takes no memory.
        guides = replace(guides, strength=np.broadcast_to(strength, paper.sides))
    steps = [_Step(model, styles, level, paper) for level in levels]
    total, done = sum(step.tiles for step in steps), 0

    def tell(layer: str) -> None:
        nonlocal done
        done += 1
        if progress:
            progress(layer, done, total)

    image: Any = photo
    # The last level is blended with the photo, below.
    for step, level, last in zip(steps, levels, [*[False] * (len(levels) - 1), True], strict=True):
        here = replace(guides, strength=None) if last else guides
        image = step.run(image, here, functools.partial(tell, level.layer))
    result = image.mapped() if isinstance(image, Sheet) else image
    if guides.rest is not None or guides.strength is not None:
        leave(result, photo, guides.rest, guides.strength)
    return result


def extract_style_tiled(
    model: Model,
    image: ArrayLike,
    layers: Sequence[str] | None = None,
    *,
    tile: int,
    weights: ArrayLike | None = None,
    progress: Progress | None = None,
) -> Style:
    """`extract_style` tile by tile, on all devices of this process.

    Args:
        model: The model that will stylize.
        image: `[H, W, 3]`, RGB in 0..1, floating point of 16 to 64 bits.
        layers: Layers wanted; None for all those the model can decode.
        tile: As for `stylize_tiled`.
        weights: How much each pixel counts, 0..1 or bool, broadcasting to `[H, W]`.
        progress: As for `stylize_tiled`, with the deepest layer.

    Returns:
        A style for those layers.

    Raises:
        ValueError: As `extract_style`; an image that is not `[H, W, 3]`, or too small a tile.
    """
    check_progress(progress)
    layers = layers_of(model, layers)
    picture = on_host("image", as_image("image", image, single=True))
    sides = picture.shape[:2]
    counted = None if weights is None else on_host("weights", as_weights("weights", weights, sides, np.float32))
    last = deepest(layers)
    tile = _check_tile(tile, layers)
    if is_one(picture.shape[:2], tile):
        whole = extract_style(model, picture.astype(np.float32, copy=False), layers, weights=counted)
        if progress:
            jax.block_until_ready(whole)
            progress(last, 1, 1)
        return whole
    tiles = windows(picture.shape[:2], tile, seen_by_encoder(last), cell_of(last))
    models, style = _on_each_device(model.bare), None

    def extract(window: Window, model: Model) -> Style:
        pixels, size = map(as_array, window.read(picture))
        return extract_from_canvas(model, pixels, layers, as_array(window.counted(counted)), size)

    for done, (_, own) in enumerate(_in_turn(extract, tiles, models), 1):
        own = _at_hand(own)
        style = own if style is None else _merge(style, own)
        if progress:
            progress(last, done, len(tiles))
    assert style is not None
    return replace(style, digest=model.digest)


@contextmanager
def _counting(total: int, progress: Progress | None) -> Iterator[Callable[[str], None] | None]:
    """What tells of a level when it is done, given what is told of it when its turn has come."""
    if progress is None:
        yield None
        return
    begun: list[str] = []

    def begin(layer: str) -> None:
        if begun:
            progress(begun[-1], len(begun), total)
        begun.append(layer)

    yield begin
    progress(begun[-1], total, total)


def _check_tile(tile: int, layers: Sequence[str]) -> int:
    tile, least = as_integer("tile", tile, 1), least_tile(layers)
    if tile < least:
        raise ValueError(f"a tile must have sides of {least} pixels at least with {deepest(layers)}, got {tile}")
    return tile


class _Paper(NamedTuple):
    """Where an image is painted.

    Attributes:
        sides: Height and width of the image.
        tile: The longest side of a tile, in pixels.
        folder: Where large intermediate images are.
    """

    sides: tuple[int, ...]
    tile: int
    folder: str | None


def _counted(guides: Guides, window: Window) -> tuple[Array, ...]:
    """The weights in the statistics of each region, in what is taken."""
    each: Sequence[np.ndarray | None] = [guides.weights]
    if guides.shares:
        each = [share if guides.weights is None else share * guides.weights for share in guides.shares]
    return tuple(as_array(window.counted(weights)) for weights in each)


def _around(guides: Guides, window: Window, size: Array) -> Guides:
    """Shares and alpha map in all that is read."""
    shared = Guides(shares=guides.shares, alpha_map=guides.alpha_map, size=size)
    return shared.each(lambda values: as_array(window.read(values[..., None])[0][..., 0]))


class _Step:
    """One level of the cascade over an image of some size."""

    def __init__(self, model: Model, styles: Sequence[Style], level: Level, paper: _Paper) -> None:
        bare = tuple(style.bare for style in styles)
        self._model, self._styles, self._level, self._paper = model.bare, bare, level, paper
        layer = level.layer
        self._cell, self._keeps = cell_of(layer), keeps(layer)
        self._encoded = windows(paper.sides, paper.tile, seen_by_encoder(layer), self._cell)
        reach = seen_by_decoder(layer) if self._keeps else reach_of(layer)
        self._decoded = windows(paper.sides, paper.tile, reach, self._cell)

    @property
    def tiles(self) -> int:
        """How many tiles there are in both passes."""
        return len(self._encoded) + len(self._decoded)

    def run(self, image: Any, guides: Guides, tell: Callable[[], None]) -> Any:
        """The image after this level, blended with the one before if there is a strength `[H, W]`."""
        models, cell, level, (sides, _, folder) = _on_each_device(self._model), self._cell, self._level, self._paper
        statistics: Any = None
        feature: Any = None
        if self._keeps:
            feature = sheet((*(-(-side // cell) for side in sides), self._model.channels_at(level.layer)), folder)

        def measure(window: Window, model: Model) -> tuple[tuple[Moments, ...], Array]:
            pixels, size = map(as_array, window.read(image))
            return _measure(model, pixels, _counted(guides, window), size, level.layer)

        for window, (own, encoded) in _in_turn(measure, self._encoded, models):
            own = _at_hand(own)
            statistics = own if statistics is None else _merge(statistics, own)
            if self._keeps:
                here = _in_cells(window.taken_here, cell)
                feature[_in_cells(window.taken, cell)] = np.asarray(encoded)[here]
            tell()

        def repaint(window: Window, model: Model) -> Array:
            source, size = map(as_array, window.read(feature, cell) if self._keeps else window.read(image))
            return _repaint(model, source, statistics, self._styles, level, _around(guides, window, size))

        result = sheet((*sides, 3), folder)
        for window, painted in _in_turn(repaint, self._decoded, models):
            after = np.asarray(painted)[window.taken_here]
            if guides.strength is not None:
                share = between(guides.strength[window.taken])[..., None]
                after = (1 - share) * image[window.taken] + share * after
            result[window.taken] = after
            tell()
        return result


def _in_cells(window: tuple[slice, slice], cell: int) -> tuple[slice, slice]:
    return tuple(slice(part.start // cell, -(-part.stop // cell)) for part in window)  # type: ignore[return-value]


@by_parts(static=("layer",))
def _measure(
    model: Model, image: Array, weights: Sequence[Array], size: Array, layer: str
) -> tuple[tuple[Moments, ...], Array]:
    feature = model.encode(image, (layer,), size)[layer]
    return tuple(feature_moments(feature, one, size, layer) for one in weights), feature


@by_parts()
def _repaint(
    model: Model, source: Array, statistics: Sequence[Moments], styles: Sequence[Style], level: Level, guides: Guides
) -> Array:
    layer, size = level.layer, guides.size
    feature = source if keeps(layer) else model.encode(source, (layer,), size)[layer]
    painted = paint_feature(feature, statistics, styles, level, guides)
    return model.decode(layer, painted, size_at(layer, size))


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

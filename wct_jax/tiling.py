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
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from wct_jax.arguments import as_integer, as_number, as_path, check_progress
from wct_jax.arrays import as_image, as_masks, as_weights, on_host
from wct_jax.canvas import as_array
from wct_jax.compilation import by_parts
from wct_jax.margin import narrow, surround, widen_in_rows
from wct_jax.method import Method, method_of, paint_feature
from wct_jax.model import Model, size_at
from wct_jax.pipeline import levels_of, regions_of, stylize
from wct_jax.regions import leave
from wct_jax.sheet import Sheet, sheet
from wct_jax.strength import as_strength, between
from wct_jax.style import Style, extract_from_canvas, extract_style, feature_moments, layers_of
from wct_jax.tile import is_one, keeps, least_tile, reach_of
from wct_jax.transform import Moments, merge
from wct_jax.vgg import cell_of, deepest, seen_by_decoder, seen_by_encoder
from wct_jax.windows import Window, windows

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
    photo, eps = on_host("content", as_image("content", content, single=True)), as_number("eps", eps, 0, 1)
    sides, margin = photo.shape[:2], as_integer("margin", margin, 0)
    weights = None if content_weights is None else _on_sides("content_weights", content_weights, sides)
    alphas = None if alpha_map is None else _on_sides("alpha_map", alpha_map, sides)
    masks = [_on_sides("mask", one, sides) for one in as_masks("mask", mask)]
    share = as_strength(strength, sides, np.float32)
    share = None if share is None else on_host("strength", share)
    folder = None if folder is None else as_path("folder", folder)
    if margin:
        maps = {"mask": masks, "alpha_map": alphas, "strength": 1.0 if share is None else share}
        more: dict[str, Any] = surround(photo, margin, weights, maps)
        more |= {"layers": layers, "eps": eps, "transform": transform, "passes": passes, "progress": progress}
        wide = widen_in_rows(photo, margin, folder)
        return narrow(stylize_tiled(model, wide, style, alpha, tile=tile, folder=folder, **more), margin)
    method = method_of(transform)
    regions = regions_of(style, masks)
    levels = levels_of(model, regions.styles, layers, alpha, method, passes)
    tile = _check_tile(tile, [layer for layer, _ in levels])
    if is_one(sides, tile):
        options: dict[str, Any] = {"layers": layers, "eps": eps, "content_weights": weights}
        options |= {"mask": masks, "alpha_map": alphas, "transform": transform, "passes": passes}
        options["strength"] = 1.0 if share is None else share
        with _counting(len(levels), progress) as begun:
            whole = stylize(model, photo.astype(np.float32, copy=False), style, alpha, progress=begun, **options)
            return np.asarray(whole)
    pixels = _Values(weights, regions.shares, alphas)
    steps = [_Level(model, regions.styles, layer, sides, tile, folder, method) for layer, _ in levels]
    total, done = sum(step.tiles for step in steps), 0

    def tell(layer: str) -> None:
        nonlocal done
        done += 1
        if progress:
            progress(layer, done, total)

    image: Any = photo
    # Of one number this takes no memory.
    share = None if share is None else np.broadcast_to(share, sides)
    for number, (step, (layer, level_alpha)) in enumerate(zip(steps, levels, strict=True), 1):
        blended = share if number < len(levels) else None
        image = step.run(image, pixels, level_alpha, eps, blended, functools.partial(tell, layer))
    result = image.mapped() if isinstance(image, Sheet) else image
    if regions.rest is not None or share is not None:
        leave(result, photo, regions.rest, share)
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
    counted = None if weights is None else _on_sides("weights", weights, picture.shape[:2])
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


def _on_sides(name: str, values: Any, sides: tuple[int, ...]) -> np.ndarray:
    return on_host(name, as_weights(name, values, sides, np.float32))


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


class _Values(NamedTuple):
    """What there is for each pixel of the image, `[H, W]`."""

    weights: np.ndarray | None
    shares: Sequence[np.ndarray]
    alpha_map: np.ndarray | None

    def counted(self, window: Window) -> tuple[Array, ...]:
        """The weights in the statistics of each region, in what is taken."""
        if not self.shares:
            return (as_array(window.counted(self.weights)),)
        return tuple(
            as_array(window.counted(share if self.weights is None else share * self.weights)) for share in self.shares
        )

    def around(self, window: Window) -> tuple[tuple[Array, ...], Array | None]:
        """Shares and alpha map in all that is read."""
        shares = tuple(_read_map(window, share) for share in self.shares)
        return shares, None if self.alpha_map is None else _read_map(window, self.alpha_map)


def _read_map(window: Window, values: np.ndarray) -> Array:
    return as_array(window.read(values[..., None])[0][..., 0])


class _Level:
    """One level of the cascade over an image of some size."""

    def __init__(
        self,
        model: Model,
        styles: Sequence[Style],
        layer: str,
        sides: Sequence[int],
        tile: int,
        folder: str | os.PathLike[str] | None,
        method: Method,
    ) -> None:
        self._model, self._styles, self._layer, self._method = (
            model.bare,
            tuple(style.bare for style in styles),
            layer,
            method,
        )
        self._folder = folder
        self._sides, self._cell, self._keeps = tuple(sides), cell_of(layer), keeps(layer)
        self._encoded = windows(sides, tile, seen_by_encoder(layer), self._cell)
        reach = seen_by_decoder(layer) if self._keeps else reach_of(layer)
        self._decoded = windows(sides, tile, reach, self._cell)

    @property
    def tiles(self) -> int:
        """How many tiles there are in both passes."""
        return len(self._encoded) + len(self._decoded)

    def run(
        self,
        image: Any,
        values: _Values,
        alpha: ArrayLike,
        eps: float,
        strength: np.ndarray | None,
        tell: Callable[[], None],
    ) -> Any:
        """The image after this level, blended with the one before if there is a strength `[H, W]`."""
        models, cell, layer = _on_each_device(self._model), self._cell, self._layer
        statistics: Any = None
        feature: Any = None
        if self._keeps:
            channels = self._model.channels_at(layer)
            feature = sheet((*(-(-side // cell) for side in self._sides), channels), self._folder)

        def measure(window: Window, model: Model) -> tuple[tuple[Moments, ...], Array]:
            pixels, size = map(as_array, window.read(image))
            return _measure(model, pixels, values.counted(window), size, layer)

        for window, (own, encoded) in _in_turn(measure, self._encoded, models):
            own = _at_hand(own)
            statistics = own if statistics is None else _merge(statistics, own)
            if self._keeps:
                here = _in_cells(window.taken_here, cell)
                feature[_in_cells(window.taken, cell)] = np.asarray(encoded)[here]
            tell()

        def repaint(window: Window, model: Model) -> Array:
            source, size = map(as_array, window.read(feature, cell) if self._keeps else window.read(image))
            level_alpha, cut = jnp.asarray(alpha), jnp.asarray(eps)
            return _repaint(
                model,
                source,
                statistics,
                self._styles,
                layer,
                level_alpha,
                cut,
                *values.around(window),
                size,
                self._method,
            )

        result = sheet((*self._sides, 3), self._folder)
        for window, painted in _in_turn(repaint, self._decoded, models):
            after = np.asarray(painted)[window.taken_here]
            if strength is not None:
                share = between(strength[window.taken])[..., None]
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


@by_parts(static=("layer", "method"))
def _repaint(
    model: Model,
    source: Array,
    statistics: Sequence[Moments],
    styles: Sequence[Style],
    layer: str,
    alpha: Array,
    eps: Array,
    shares: Sequence[Array],
    alpha_map: Array | None,
    size: Array,
    method: Method,
) -> Array:
    feature = source if keeps(layer) else model.encode(source, (layer,), size)[layer]
    painted = paint_feature(feature, statistics, styles, layer, alpha, eps, shares, alpha_map, size, method)
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

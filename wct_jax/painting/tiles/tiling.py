"""Images of any size in the memory of one tile, with the result that they would have whole.

Whitening and coloring need the mean and the covariance of a whole feature, and these add up over tiles. A tile is read
with as many pixels around it as affect it through the layers. At the border of the image the tile ends and is
reflected, as the whole image would be.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace

import jax
import numpy as np
from jax.typing import ArrayLike

from wct_jax.checks.arguments import as_integer, as_number, as_path, check_progress
from wct_jax.checks.arrays import as_image, as_weights, on_host
from wct_jax.kernels.canvas import as_array
from wct_jax.networks.model import Model
from wct_jax.networks.vgg import cell_of, deepest, seen_by_encoder
from wct_jax.painting.guides import Guides
from wct_jax.painting.margin import narrow, surround, widen_in_rows
from wct_jax.painting.options import Options
from wct_jax.painting.plan import Plan, Settings, make_plan
from wct_jax.painting.regions import guide, leave
from wct_jax.painting.style import Style, extract_from_canvas, extract_style, layers_of
from wct_jax.painting.stylization import paint
from wct_jax.painting.tiles.cascade import Cascade
from wct_jax.painting.tiles.devices import in_turn, merged, on_each_device
from wct_jax.painting.tiles.one_pass import OnePass
from wct_jax.painting.tiles.paper import Paper
from wct_jax.painting.tiles.tile import is_one, least_tile
from wct_jax.painting.tiles.windows import Window, windows
from wct_jax.system.sheet import Sheet

Progress = Callable[[str, int, int], None]


def stylize_tiled(
    model: Model,
    content: ArrayLike,
    style: Style | Sequence[Style | None],
    alpha: ArrayLike | Sequence[ArrayLike] = 1.0,
    *,
    tile: int,
    method: str | None = None,
    structure: ArrayLike | Sequence[ArrayLike] = 0.0,
    structure_map: ArrayLike | None = None,
    strength: ArrayLike = 1.0,
    layers: Sequence[str] | None = None,
    eps: float = 1e-6,
    shrinkage: float = 0.0,
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

    >>> model = load_model("compact")
    >>> photo = np.linspace(0, 1, 96 * 80 * 3, dtype=np.float32).reshape(96, 80, 3)
    >>> style = extract_style_tiled(model, photo[::-1] ** 2, "relu1_1", tile=48)
    >>> tiled = stylize_tiled(model, photo, style, tile=48)
    >>> np.allclose(tiled, stylize(model, photo, style), atol=1e-3)
    True

    Args:
        model: Encoder, decoders and painter.
        content: Image `[H, W, 3]`, RGB in 0..1, floating point of 16 to 64 bits. A file that `numpy.memmap` maps is
            read window by window.
        style: A style of the same encoder; with masks a sequence with a style or None for each, as for `stylize`.
        alpha: Blend of features in 0..1: a scalar, or one for each of `layers` in their order.
        tile: Longest side in pixels of a tile with the pixels around it, at least `least_tile(layers)`.
        method: "cascade" or "one-pass", or None, as for `stylize`.
        structure: Share of the photo's own features in one pass, 0..1: a scalar, or one for each of `layers`.
        structure_map: Factor of `structure` at each pixel, 0..1 or bool, broadcasting to `[H, W]`.
        strength: Share of the change that is made in 0..1, a scalar or broadcasting to `[H, W]`.
        layers: Layers to use, in any order; None for all that model and style have.
        eps: Relative cut of the spectra in 0..1.
        shrinkage: Shrinkage of the covariances in 0..1.
        content_weights: Weight of each pixel in the content's statistics, 0..1 or bool, broadcasting to `[H, W]`.
        mask: Share of each pixel in each region, 0..1 or bool, each broadcasting to `[H, W]`.
        alpha_map: Factor of `alpha` at each pixel, 0..1 or bool, broadcasting to `[H, W]`.
        transform: "zca", "ot", "cholesky" or "adain". Tiles have no style swap: it compares each patch with all others,
            which takes too long for images of this size.
        passes: Rounds, each on the result of the last.
        margin: Mirrored pixels painted on each side and cut off.
        folder: Folder of large intermediate images and features, in files without a name that last no longer than the
            process; None for the system's folder for temporary files.
        progress: Function called after each tile with layer, tiles done and tiles in all; an image that is one tile
            counts as one at each level.

    Returns:
        `[H, W, 3]`, float32, not clipped to 0..1; a large one is mapped from a file.

    Raises:
        ValueError: `stylize` would refuse the arguments, the tile is too small, or there is no space for the
            intermediate images.
    """
    check_progress(progress)
    photo = on_host("content", as_image("content", content, single=True))
    options = Options(method=method, layers=layers, transform=transform, passes=passes, margin=margin)  # type: ignore[arg-type]
    eps, shrinkage, margin = as_number("eps", eps, 0, 1), as_number("shrinkage", shrinkage, 0, 1), options.margin
    folder = None if folder is None else as_path("folder", folder)
    given = Guides(content_weights, alpha_map=alpha_map, structure=structure_map, strength=strength)
    styles, guides = guide(style, mask, given, photo.shape, np.float32)
    plan = make_plan(model, styles, options, Settings(alpha, eps, structure, shrinkage))
    guides = guides.each(lambda values: on_host("what there is for each pixel", values))
    if margin:
        photo, guides = widen_in_rows(photo, margin, folder), surround(guides, photo.shape[:2], margin)
    paper = Paper(photo.shape[:2], _check_tile(tile, [level.layer for level in plan.levels]), folder)
    result = _painted(photo, plan, guides, paper, progress)
    return narrow(result, margin) if margin else result


def _whole(photo: np.ndarray, plan: Plan, guides: Guides, progress: Progress | None) -> np.ndarray:
    begun: list[str] = []

    def begin(layer: str) -> None:
        if progress and begun:  # A level is done when the next one begins.
            progress(begun[-1], len(begun), plan.passes * len(plan.levels))
        begun.append(layer)

    image = as_array(photo.astype(np.float32, copy=False))
    result = np.asarray(paint(image, plan, guides, begin if progress else None))
    if progress:
        progress(begun[-1], len(begun), plan.passes * len(plan.levels))
    return result


def _painted(photo: np.ndarray, plan: Plan, guides: Guides, paper: Paper, progress: Progress | None) -> np.ndarray:
    if is_one(paper.sides, paper.tile):
        return _whole(photo, plan, guides, progress)
    strength = guides.strength
    if strength is not None:  # Of one number this takes no memory.
        guides = replace(guides, strength=np.broadcast_to(strength, paper.sides))
    painter = (OnePass if plan.method == "one-pass" else Cascade)(plan, paper)
    done = 0

    def tell(layer: str) -> None:
        nonlocal done
        done += 1
        if progress:
            progress(layer, done, painter.tiles)

    image = painter.run(photo, guides, tell)
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
        image: Picture `[H, W, 3]`, RGB in 0..1, floating point of 16 to 64 bits.
        layers: Layers to extract; None for all that the model can decode or paint.
        tile: Longest side in pixels of a tile with the pixels around it, at least `least_tile(layers)`.
        weights: Weight of each pixel, 0..1 or bool, broadcasting to `[H, W]`.
        progress: Function called after each tile with the deepest layer, tiles done and tiles in all.

    Returns:
        A style for those layers.

    Raises:
        ValueError: `extract_style` would refuse the arguments, the image is not `[H, W, 3]`, or the tile is too small.
    """
    check_progress(progress)
    layers = layers_of(model, layers)
    picture = on_host("image", as_image("image", image, single=True))
    sides = picture.shape[:2]
    counted = None if weights is None else on_host("weights", as_weights("weights", weights, sides, np.float32))
    last = deepest(layers)
    tile = _check_tile(tile, layers)
    if is_one(sides, tile):
        whole = extract_style(model, picture.astype(np.float32, copy=False), layers, weights=counted)
        if progress:
            jax.block_until_ready(whole)
            progress(last, 1, 1)
        return whole
    tiles = windows(sides, tile, seen_by_encoder(last), cell_of(last))
    style = None

    def extract(window: Window, model: Model) -> Style:
        pixels, weights, size = map(as_array, (window.read(picture), window.counted(counted), window.size))
        return extract_from_canvas(model, pixels, layers, weights, size)

    for done, (_, own) in enumerate(in_turn(extract, tiles, on_each_device(model.bare)), 1):
        style = merged(style, own)
        if progress:
            progress(last, done, len(tiles))
    assert style is not None
    return replace(style, digest=model.digest)


def _check_tile(tile: int, layers: Sequence[str]) -> int:
    tile, least = as_integer("tile", tile, 1), least_tile(layers)
    if tile < least:
        raise ValueError(f"a tile must have sides of {least} pixels at least with {deepest(layers)}, got {tile}")
    return tile

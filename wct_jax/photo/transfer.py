"""Photographs in the colours and the light of another picture: nothing is bent."""

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from wct_jax.checks.arguments import as_number
from wct_jax.checks.arrays import as_image, as_weights, on_host
from wct_jax.networks.model import Model
from wct_jax.painting.guides import Guides
from wct_jax.painting.options import PHOTO_STRUCTURE, check_protect
from wct_jax.painting.regions import guide
from wct_jax.painting.style import COLORS, Style, extract_style
from wct_jax.painting.stylization import stylize
from wct_jax.photo.affine import Cells, color_moments, fit_maps, sum_cells
from wct_jax.photo.change import Change
from wct_jax.photo.tone import match
from wct_jax.transform.statistics import Moments, moments

# The photo is painted with no more pixels than this.
_MOST_PIXELS = 2**19
# Cells of the grid along the short side. A window of nine cells is then 18 pixels of 512.
_CELLS = 256
# Variance of colours below which a window counts as flat.
_FLAT = 1e-4
# Share of the style's mean and covariance of colours that the result takes in the end: the fit loses contrast.
_REGAINED = 0.7


def transfer_photo(
    model: Model,
    photo: ArrayLike,
    style: Style | Sequence[Style | None],
    alpha: ArrayLike | Sequence[ArrayLike] = 1.0,
    *,
    local: float = 0.7,
    structure: ArrayLike | Sequence[ArrayLike] = PHOTO_STRUCTURE,
    structure_map: ArrayLike | None = None,
    layers: Sequence[str] | None = None,
    strength: ArrayLike = 1.0,
    content_weights: ArrayLike | None = None,
    mask: Sequence[ArrayLike] = (),
    protect: Sequence[str] = (),
    eps: float = 1e-6,
    shrinkage: float = 0.0,
    transform: str = "zca",
) -> np.ndarray:
    """Give a photo the colours and the light of a style, and leave its drawing as it is.

    The photo is painted in one pass, with half a million pixels at most. Maps that are affine in its colours and change
    slowly from place to place are fitted to the painting (`wct_jax.photo.affine`), averaged with the one map that
    gives the whole photo the style's colours, and applied to the photo at its own size. So every edge is the photo's.

    Args:
        model: A model with a painter.
        photo: `[H, W, 3]`, RGB in 0..1, floating point.
        style: As for `stylize`. Styles from `extract_photo_style` have the picture's colours, too; with others the
            painting's colours are reached for, which are somewhat duller.
        alpha: The paper's blend of features, as for `stylize`.
        local: Share of the maps that change from place to place in 0..1; the others are the same everywhere.
        structure: Share of the photo's own features in the painting, as for `stylize`; without it, strong edges have
            halos.
        structure_map: Factor of `structure` at each pixel, 0..1 or bool, broadcasting to `[H, W]`.
        layers: Layers to use, in any order; None for all that painter and style have.
        strength: Share of the change that is made in 0..1: a scalar or broadcasting to `[H, W]`.
        content_weights: Weight of each pixel in the statistics, 0..1 or bool, broadcasting to `[H, W]`.
        mask: Share of each pixel in each region, as for `stylize`.
        protect: Of "skin" and "neutrals": the photo's colours that keep their hue and change in lightness only.
        eps: Relative cut of the spectra in 0..1, see `wct`.
        shrinkage: Shrinkage of the covariances in 0..1.
        transform: A name in `wct_jax.transform.maps.TRANSFORMS`.

    Returns:
        `[H, W, 3]`, float32, in 0..1.

    Raises:
        ValueError: The model has no painter, styles and masks do not fit, or an argument has a wrong name, shape, dtype
            or range.
    """
    image = on_host("photo", as_image("photo", photo, single=True))
    local = as_number("local", local, 0, 1)
    protect = check_protect(protect)
    given = Guides(content_weights, structure=structure_map, strength=strength)
    styles, guides = guide(style, mask, given, image.shape, np.float32)
    shares = [np.asarray(share) for share in guides.shares]
    step = max(1, math.ceil(math.sqrt(math.prod(image.shape[:2]) / _MOST_PIXELS)))
    small, *regions = (shrunk(each, step) for each in (image, *shares))
    weights, structures = (
        None if each is None else shrunk(np.asarray(each), step) for each in (guides.weights, guides.structure)
    )
    painting = np.asarray(
        stylize(
            model,
            small,
            list(styles) if shares else styles[0],
            alpha,
            method="one-pass",
            structure=structure,
            structure_map=structures,
            layers=layers,
            eps=eps,
            shrinkage=shrinkage,
            transform=transform,
            content_weights=weights,
            mask=regions,
        )
    )
    side = max(1, round(min(small.shape[:2]) / _CELLS))
    maps = []
    each_region: list[np.ndarray | None] = [*regions] or [None]
    for one, region in zip(styles, each_region, strict=True):
        counts = [each for each in (region, weights) if each is not None]
        cells = sum_cells(small, painting, side, np.prod(counts, 0) if counts else None)
        maps.append(_maps_of(cells, one, painting, region, local))
    share = 1.0 if guides.strength is None else np.asarray(guides.strength)
    return Change(maps, side * step, shares, share, protect).apply(image)


def extract_photo_style(model: Model, image: ArrayLike, *, weights: ArrayLike | None = None) -> Style:
    """`extract_style` at the painter's layers, with the moments of the picture's colours, for `transfer_photo`.

    Args:
        model: A model with a painter.
        image: Picture `[H, W, 3]`, RGB in 0..1, floating point.
        weights: Weight of each pixel in 0..1, broadcasting to `[H, W]`.
    """
    style = extract_style(model, image, model.painter_layers or None, weights=weights)
    return with_colors(style, image, weights)


def with_colors(style: Style, image: ArrayLike, weights: ArrayLike | None = None) -> Style:
    """A style with the moments of its picture's colours, too."""
    picture = jnp.asarray(as_image("style", image, single=True), jnp.float32)
    counted = None if weights is None else jnp.asarray(as_weights("weights", weights, picture.shape[:2], np.float32))
    return Style({**style.moments, COLORS: moments(picture, counted)}, style.digest, style.features)


def shrunk(values: np.ndarray, step: int) -> np.ndarray:
    """Average squares of `step` pixels a side, float32; the last of a row or column may be narrower."""
    if step == 1:
        return np.asarray(values, np.float32)
    starts = [np.arange(0, side, step) for side in values.shape[:2]]
    counts = [np.diff([*each, side]) for each, side in zip(starts, values.shape[:2], strict=True)]
    rows = np.empty((len(starts[0]), *values.shape[1:]), np.float32)
    for number, (start, count) in enumerate(zip(starts[0], counts[0], strict=True)):
        rows[number] = values[start : start + count].mean(0, dtype=np.float32)
    broad = counts[1].reshape(-1, *[1] * (values.ndim - 2)).astype(np.float32)
    small: np.ndarray = np.add.reduceat(rows, starts[1], 1) / broad
    return small


def _maps_of(cells: Cells, style: Style, painting: np.ndarray, region: np.ndarray | None, local: float) -> np.ndarray:
    """The maps of one region."""
    target = _colors_of(style.moments.get(COLORS))
    if target is None:
        counted = None if region is None else jnp.asarray(region)
        target = _colors_of(moments(jnp.asarray(painting, jnp.float32), counted))
    assert target
    everywhere = match(*color_moments(cells), target)
    maps = local * fit_maps(cells, _FLAT) + (1 - local) * everywhere
    last = match(*color_moments(cells, maps), target, _REGAINED)
    maps = last[:, :3] @ maps
    maps[..., 3] += last[:, 3]
    return maps


def _colors_of(found: Moments | None) -> tuple[np.ndarray, np.ndarray] | None:
    return None if found is None else (np.asarray(found.mean, np.float64), np.asarray(found.covariance, np.float64))

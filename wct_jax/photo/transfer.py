"""Photographs in the colours and the light of another picture: nothing is bent."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jax import Array
from jax.typing import ArrayLike

from wct_jax.checks.arguments import check_kind
from wct_jax.checks.arrays import as_image, as_weights, on_host
from wct_jax.kernels.canvas import as_array, lay_out
from wct_jax.kernels.compilation import compiled
from wct_jax.kernels.moments import moments_of
from wct_jax.networks.model import Model
from wct_jax.painting.guides import Guides
from wct_jax.painting.options import check_protect
from wct_jax.painting.regions import guide
from wct_jax.painting.style import COLORS, Style, extract_style
from wct_jax.photo.cells import CELL, Photo
from wct_jax.photo.change import Change, Grading
from wct_jax.photo.fit import fit_cells, fitted_layers
from wct_jax.photo.tone import Toning, share_of
from wct_jax.transform.statistics import Moments

# Pixels of a style's picture that are summed at a time.
_AT_ONCE = 2**18
# The change is fitted to a photo and to a style of no more pixels than this.
_MOST_PIXELS = 120_000


def transfer_photo(
    model: Model,
    photo: ArrayLike,
    style: Style | Sequence[Style | None],
    *,
    strength: ArrayLike | None = None,
    content_weights: ArrayLike | None = None,
    mask: Sequence[ArrayLike] = (),
    protect: Sequence[str] = (),
) -> np.ndarray:
    """Give a photo the colours and the light of a style, and leave its drawing as it is.

    A change of colours, cell by cell of a coarse grid, is fitted to a small copy of the photo by descent on how far the
    encoder's features are from the style's (`wct_jax.photo.fit`). It is interpolated and applied to the photo at its
    own size. So every edge is the photo's, and a large photo costs little more than a small one. Unless a strength is
    given, little but the cast is changed if the colours are as near as those of two halves of one photo
    (`wct_jax.photo.tone.share_of`).

    >>> model = load_model("compact")
    >>> photo, evening = np.full((48, 64, 3), 0.5, np.float32), np.full((32, 32, 3), (0.6, 0.4, 0.3), np.float32)
    >>> result = transfer_photo(model, photo, extract_photo_style(model, evening), strength=0.8)
    >>> result.shape, bool(result[0, 0, 0] > result[0, 0, 2])
    ((48, 64, 3), True)

    Args:
        model: A model.
        photo: `[H, W, 3]`, RGB in 0..1, floating point.
        style: A style from `extract_photo_style`, or one for each mask, None where the photo stays as it is.
        strength: Share of the change that is made in 0..1: a scalar or broadcasting to `[H, W]`; None for as much as
            the distance of the colours calls for.
        content_weights: Weight of each pixel in the statistics, 0..1 or bool, broadcasting to `[H, W]`.
        mask: Share of each pixel in each region, as for `stylize`.
        protect: Of "skin" and "neutrals": the photo's colours that keep their hue and change in lightness only.

    Returns:
        `[H, W, 3]`, float32, in 0..1.

    Raises:
        ValueError: Styles and masks do not fit, a style lacks the moments of its picture's colours, or an argument has
            a wrong name, shape, dtype or range.
    """
    check_kind("model", model, Model, "load_model")
    image = on_host("photo", as_image("photo", photo, single=True))
    protect = check_protect(protect)
    styles, guides = guide(style, mask, Guides(content_weights, strength=strength), image.shape, np.float32)
    shares = [np.asarray(share) for share in guides.shares]
    step = _step_of(image.shape)
    small, *regions = (shrunk(each, step) for each in (image, *shares))
    weights = None if guides.weights is None else shrunk(np.asarray(guides.weights), step)
    gradings = []
    each_region: list[np.ndarray | None] = [*regions] or [None]
    for one, region in zip(styles, each_region, strict=True):
        counts = [each for each in (region, weights) if each is not None]
        gradings.append(
            _graded(model, small, np.prod(counts, 0) if counts else None, _moments_of(model, one), strength is None)
        )
    share = 1.0 if guides.strength is None else np.asarray(guides.strength)
    return Change(gradings, CELL * step, shares, share, protect).apply(image)


def extract_photo_style(model: Model, image: ArrayLike, *, weights: ArrayLike | None = None) -> Style:
    """The moments that `transfer_photo` needs: of the first layers' features of a small copy, and of all colours.

    A style of `extract_style` with its colours serves, too, but its features have the picture's own scale.

    Args:
        model: A model.
        image: Picture `[H, W, 3]`, RGB in 0..1, floating point.
        weights: Weight of each pixel in 0..1, broadcasting to `[H, W]`.
    """
    picture = on_host("style", as_image("style", image, single=True))
    counted = None if weights is None else as_weights("weights", weights, picture.shape[:2], np.float32)
    step = _step_of(picture.shape)
    small, counted = shrunk(picture, step), None if counted is None else shrunk(np.asarray(counted), step)
    style = extract_style(model, small, fitted_layers(len(model.widths)), weights=counted)
    return with_colors(style, image, weights)


def with_colors(style: Style, image: ArrayLike, weights: ArrayLike | None = None) -> Style:
    """A style with the moments of its picture's colours, too."""
    picture = on_host("style", as_image("style", image, single=True))
    counted = as_weights("weights", 1.0 if weights is None else weights, picture.shape[:2], np.float32)
    # By NumPy: JAX would compile it for each size. And by blocks of rows: a picture may be as large as memory.
    count, first, second = 0.0, np.zeros(3), np.zeros((3, 3))
    rows = max(1, _AT_ONCE // picture.shape[1])
    for start in range(0, len(picture), rows):
        colors = picture[start : start + rows].reshape(-1, 3).astype(np.float64) - 0.5
        counts = np.asarray(counted[start : start + rows], np.float64).ravel()
        weighted = colors * counts[:, None]
        count, first, second = count + counts.sum(), first + weighted.sum(0), second + weighted.T @ colors
    offset = first / max(count, 1e-12)
    mean, scatter = offset + 0.5, second - np.outer(first, offset)
    found = Moments(*(as_array(np.asarray(each, np.float32)) for each in (count, mean, scatter)))
    return Style({**style.moments, COLORS: found}, style.digest, style.features)


def _step_of(shape: Sequence[int]) -> int:
    """The pixels that one pixel of the small copy of an image averages, a side."""
    return max(1, math.ceil(math.sqrt(math.prod(shape[:2]) / _MOST_PIXELS)))


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


def _moments_of(model: Model, style: Style) -> dict[str, Moments]:
    """The moments of a style that a change is fitted to."""
    if style.digest != model.digest:
        raise ValueError(
            f"the style was made with another encoder: its digest is {style.digest[:12]}, that of the model "
            f"{model.digest[:12]}"
        )
    wanted = (*fitted_layers(len(model.widths)), COLORS)
    if missing := [name for name in wanted if name not in style.moments]:
        raise ValueError(f"the style has no moments of {', '.join(missing)}: expected one of a photograph's styles")
    return {name: style.moments[name] for name in wanted}


def _graded(
    model: Model, image: np.ndarray, weights: np.ndarray | None, style: dict[str, Moments], shy: bool
) -> Grading:
    """The grading of an image; if `shy`, of as much of the change as the distance of the colours calls for."""
    picture, counted, size = lay_out(as_array(image), None if weights is None else as_array(weights))
    cells, toning, share = _fit(model.bare, picture, counted, size, style)
    rows, columns = (-(-side // CELL) for side in image.shape[:2])
    return Grading.of(np.asarray(cells)[:rows, :columns], toning, share if shy else 1.0)


@compiled()
def _fit(
    model: Model, image: Array, weights: Array | None, size: Array | None, style: Mapping[str, Moments]
) -> tuple[Array, Toning, Array]:
    """The coefficients of an image's cells, on its canvas, and the share of the change that is made."""
    features = {layer: found for layer, found in style.items() if layer != COLORS}
    own = moments_of(image, weights)
    photo = Photo(image, Toning.of(own, style[COLORS]), weights, size)
    return fit_cells(model, photo, features), photo.toning, share_of(own, style[COLORS])

"""The photo's colours on a result with the style's strokes."""

import math
from collections.abc import Callable, Iterator

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from wct_jax.checks.arguments import check_choice, described
from wct_jax.checks.arrays import as_image, as_weights, is_floating, on_host
from wct_jax.painting.strength import as_strength
from wct_jax.transform.statistics import Moments
from wct_jax.transform.whitening import whiten_color

# A large image may be mapped from a file.
_PIXELS_AT_ONCE = 2**20
# Recommendation ITU-R BT.601.
_LUMA = np.asarray([0.299, 0.587, 0.114], np.float32)
_BINS = 4096


def preserve_color(
    image: ArrayLike,
    photo: ArrayLike,
    how: str,
    *,
    weights: ArrayLike | None = None,
    strength: ArrayLike = 1.0,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Bring back a photo's colours, on the result of `stylize`.

    Gatys et al., "Preserving Color in Neural Artistic Style Transfer", 2016: "luminance" is their section 4, the others
    are section 3 turned round. They match the result's colours to the photo's, not the style's colours beforehand, so
    that one style serves any photo.

    - "luminance": the result's light and dark with each pixel's hue from the photo, paler where both together would
      leave 0..1.
    - "histogram": red, green and blue each take the photo's distribution of values.
    - "coral": the affine map that gives the colours the photo's mean and covariance: `whiten_color` of colours.

    >>> photo = np.full((4, 5, 3), (0.9, 0.2, 0.1), np.float32)
    >>> red = preserve_color(np.full((4, 5, 3), 0.4, np.float32), photo, "luminance")
    >>> bool((red[..., 0] > red[..., 1]).all())
    True

    Args:
        image: The result, `[H, W, 3]`, floating point, clipped to 0..1.
        photo: The photo, `[H, W, 3]`, RGB in 0..1, floating point.
        how: "luminance", "histogram" or "coral".
        weights: Weight of each pixel in the statistics, such as the photo's alpha, 0..1 or bool, broadcasting to
            `[H, W]`; None for 1.
        strength: The strength with which `stylize` made the image, a scalar or broadcasting to `[H, W]`: its painted
            part takes the colours, and where it is 0 the photo stays to the bit.
        out: Float array `[H, W, 3]` for the result, which may be `image`; None for a new one.

    Returns:
        `[H, W, 3]`, float32, in 0..1.

    Raises:
        ValueError: The way is unknown, an image is none, the images differ in size, or the strength is outside 0..1.
    """
    check_choice("how", how, _WAYS)
    result, photo = (
        on_host(name, as_image(name, value, single=True)) for name, value in (("image", image), ("photo", photo))
    )
    if photo.shape != result.shape:
        raise ValueError(f"image and photo must be [H, W, 3] of one size, got {result.shape} and {photo.shape}")
    counted = None
    if weights is not None:
        counted = on_host("weights", as_weights("weights", weights, result.shape[:2], np.float32))
    share = as_strength(strength, result.shape[:2], np.float32)
    out = np.empty(result.shape, np.float32) if out is None else out
    if not isinstance(out, np.ndarray) or out.shape != result.shape or not (out.flags.writeable and is_floating(out)):
        raise ValueError(f"out must be a float array {result.shape} that can be written to, got {described(out)}")
    if share is None:
        change = _WAYS[how](result, photo, counted)
        for rows in _strips(result):
            out[rows] = change(_rows(result, rows).clip(0, 1), _rows(photo, rows)).clip(0, 1)
        return out
    share = np.broadcast_to(on_host("strength", share), result.shape[:2])
    for rows in _strips(result):
        before = _rows(photo, rows)
        out[rows] = before + (_rows(result, rows) - before) / np.where(share[rows] > 0, share[rows], 1)[..., None]
    painted = (share > 0) * np.float32(1) if counted is None else (share > 0) * counted
    change = _WAYS[how](out, photo, painted)
    for rows in _strips(result):
        part, before = share[rows, :, None], _rows(photo, rows)
        out[rows] = (1 - part) * before + part * change(_rows(out, rows).clip(0, 1), before).clip(0, 1)
    return out


def _rows(image: np.ndarray, rows: slice) -> np.ndarray:
    return image[rows].astype(np.float32, copy=False)


_Change = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _luminance(image: np.ndarray, photo: np.ndarray, weights: np.ndarray | None) -> _Change:
    def change(image: np.ndarray, photo: np.ndarray) -> np.ndarray:
        light, chroma = (image @ _LUMA)[..., None], photo - (photo @ _LUMA)[..., None]
        # The room of light + t chroma: up to 1 where the chroma is positive, down to 0 where it is negative.
        room = np.where(chroma > 0, 1 - light, light)
        reach = np.min(room / np.maximum(np.abs(chroma), 1e-6), -1, keepdims=True)
        return light + np.minimum(reach, 1) * chroma

    return change


def _histogram(image: np.ndarray, photo: np.ndarray, weights: np.ndarray | None) -> _Change:
    edges = np.linspace(0, 1, _BINS + 1)
    centers = (edges[:-1] + edges[1:]) / 2
    image_below, photo_below = (_distributions(each, weights, edges) for each in (image, photo))

    def change(image: np.ndarray, photo: np.ndarray) -> np.ndarray:
        result = np.empty_like(image)
        for channel in range(3):
            share = np.interp(image[..., channel], centers, image_below[channel])
            result[..., channel] = np.interp(share, photo_below[channel], centers)
        return result

    return change


def _distributions(image: np.ndarray, weights: np.ndarray | None, edges: np.ndarray) -> np.ndarray:
    """For each channel the share of pixels below the middle of each bin, `[3, bins]`, increasing."""
    counts = np.zeros((3, len(edges) - 1))
    for rows in _strips(image):
        counted = None if weights is None else weights[rows]
        for channel in range(3):
            values = _rows(image, rows)[..., channel].clip(0, 1)
            counts[channel] += np.histogram(values, edges, weights=counted)[0]
    # A little everywhere: otherwise the inverse would not be defined between the values that occur.
    counts += 1e-9 * np.maximum(counts.sum(1, keepdims=True), 1)
    # With half of the bin's own: many pixels of one value, such as clipped ones, take the median of their share.
    return (np.cumsum(counts, 1) - counts / 2) / counts.sum(1, keepdims=True)


def _coral(image: np.ndarray, photo: np.ndarray, weights: np.ndarray | None) -> _Change:
    matrix, bias = map(np.asarray, whiten_color(_color_moments(image, weights), _color_moments(photo, weights)))
    return lambda image, photo: image @ matrix.T + bias


def _color_moments(image: np.ndarray, weights: np.ndarray | None) -> Moments:
    count, first, second = 0.0, np.zeros(3), np.zeros((3, 3))
    for rows in _strips(image):
        values = _rows(image, rows).clip(0, 1).astype(np.float64).reshape(-1, 3)
        counted = np.ones(len(values)) if weights is None else weights[rows].reshape(-1)
        count += counted.sum()
        first += counted @ values
        second += (counted[:, None] * values).T @ values
    mean = first / max(count, 1e-12)
    scatter = second - count * np.outer(mean, mean)
    return Moments(*(jnp.asarray(part, jnp.float32) for part in (count, mean, scatter)))


def _strips(image: np.ndarray) -> Iterator[slice]:
    rows = max(1, _PIXELS_AT_ONCE // math.prod(image.shape[1:-1]))
    for start in range(0, len(image), rows):
        yield slice(start, start + rows)


_WAYS = {"luminance": _luminance, "histogram": _histogram, "coral": _coral}

"""The steps of Elad and Milanfar around the patches: colours, a mask of what matters, smoothing, pyramids."""

import numpy as np
from scipy import ndimage

# How far around an edge counts, and how soft the mask's border is, as shares of the photo's shorter side.
_NEAR, _SOFT = 0.02, 0.015


def with_colors_of(image: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """An image with the distribution of a picture in each channel, `[H, W, 3]`, float32."""
    result = np.empty(image.shape, np.float32)
    for channel in range(3):
        values, wanted = image[..., channel].ravel(), np.sort(picture[..., channel], axis=None)
        # Equal values stay equal: by their mean rank.
        levels, which, counts = np.unique(values, return_inverse=True, return_counts=True)
        ranks = (np.cumsum(counts) - (counts + 1) / 2) / max(len(values) - 1, 1)
        matched = np.interp(ranks, np.linspace(0, 1, len(wanted)), wanted) if len(wanted) > 1 else 0 * levels + wanted
        result[..., channel] = matched[which].reshape(image.shape[:2])
    return result


def mask_of_edges(photo: np.ndarray) -> np.ndarray:
    """Where a photo has something to keep, `[H, W]` in 0..1: near its edges, and inside those that are closed.

    Elad and Milanfar segment by hand, by faces or by edges. Edges here are Sobel magnitudes of the
    smoothed luma beyond Otsu's threshold ("A Threshold Selection Method from Gray-Level Histograms", 1979).
    """
    luma = ndimage.gaussian_filter(photo @ np.asarray([0.299, 0.587, 0.114], np.float32), 1.5, mode="nearest")
    edges = np.hypot(*(ndimage.sobel(luma, axis, mode="nearest") for axis in (0, 1)))
    if edges.max() < 1e-3:
        return np.zeros_like(luma)
    side = min(luma.shape)
    near = ndimage.distance_transform_edt(edges < _otsu(edges)) <= max(1, _NEAR * side)
    kept = ndimage.binary_fill_holes(near)
    soft = ndimage.gaussian_filter(kept.astype(np.float32), _SOFT * side, mode="nearest")
    return np.clip(soft, 0, 1)


def _otsu(values: np.ndarray) -> float:
    """The threshold that parts values into two classes farthest apart."""
    counts, ends = np.histogram(values, 256)
    middles = (ends[1:] + ends[:-1]) / 2
    below, total = np.cumsum(counts), counts.sum()
    first = np.cumsum(counts * middles)
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.square(first[-1] * below / total - first) / (below * (total - below))
    return float(ends[1 + np.nanargmax(apart[:-1])])


def smooth(image: np.ndarray, reach: float = 5, contrast: float = 0.2, rounds: int = 3) -> np.ndarray:
    """Smooth an image `[H, W, 3]` between its edges: the domain transform's recursive filter.

    Gastal and Oliveira, "Domain Transform for Edge-Aware Image and Video Processing", SIGGRAPH 2011, equations 11, 14
    and 21.

    Args:
        image: `[H, W, 3]`, float32 in 0..1.
        reach: Standard deviation in pixels where there are no edges.
        contrast: Difference in colour that counts as an edge.
        rounds: Rounds, each along both axes.
    """
    domains = []
    for axis in (1, 0):
        steps = np.abs(np.diff(image, axis=axis)).sum(-1)
        domains.append(1 + reach / contrast * (steps if axis == 0 else steps.T))
    result = image
    for number in range(rounds):
        sigma = reach * np.sqrt(3) * 2 ** (rounds - number - 1) / np.sqrt(4**rounds - 1)
        for steps in domains:  # Along the rows, and turned back along the columns.
            result = _recursed(result.swapaxes(0, 1), np.exp(-np.sqrt(2) / sigma) ** steps)
    return np.ascontiguousarray(result, np.float32)


def _recursed(image: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The filter along the first axis and back: y[n] = x[n] + kept[n - 1] (y[n - 1] - x[n])."""
    image, kept = np.array(image, np.float32), kept.astype(np.float32)[..., None]
    for n in range(1, len(image)):
        image[n] += kept[n - 1] * (image[n - 1] - image[n])
    for n in range(len(image) - 2, -1, -1):
        image[n] += kept[n] * (image[n + 1] - image[n])
    return image


def halved(image: np.ndarray) -> np.ndarray:
    """An image of half the sides, rounded up, smoothed before: a level of a Gaussian pyramid."""
    sigma = (1, 1) + (0,) * (image.ndim - 2)
    return np.ascontiguousarray(ndimage.gaussian_filter(image, sigma, mode="nearest")[::2, ::2])


def enlarged(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """An image of twice the sides, about, by cubic interpolation at the places from which `halved` took its pixels."""
    at = np.meshgrid(np.arange(height) / 2, np.arange(width) / 2, indexing="ij")
    planes = [ndimage.map_coordinates(image[..., i], at, order=3, mode="nearest") for i in range(image.shape[-1])]
    return np.stack(planes, -1).astype(np.float32)

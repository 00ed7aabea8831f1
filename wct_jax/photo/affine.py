"""Maps that are affine in the photo's colours and differ from place to place: the guided filter in colour.

He, Sun and Tang, "Guided Image Filtering", TPAMI 2013, section 3.6, fit such maps in every window: q = A I + b with
A = cov(p, I) (Σ + ε U)⁻¹. An edge of the result is an edge of the photo, whatever was painted there. As in He and Sun,
"Fast Guided Filter", arXiv:1505.00996, the maps are fitted on a coarse grid and interpolated, so that a large photo
costs little more than a small one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# From the middle of a window to its border, in cells.
_REACH = 4


@dataclass(frozen=True, eq=False)
class Cells:
    """Weighted sums over the pixels of photo and painting in each cell of a grid, float64.

    Attributes:
        weight: `[h, w]`, Σ w.
        photo: `[h, w, 3]`, Σ w x of the photo's colours x.
        painting: `[h, w, 3]`, Σ w y of the painting's.
        own: `[h, w, 3, 3]`, Σ w x xᵀ.
        cross: `[h, w, 3, 3]`, Σ w y xᵀ.
    """

    weight: np.ndarray
    photo: np.ndarray
    painting: np.ndarray
    own: np.ndarray
    cross: np.ndarray

    @property
    def sums(self) -> "tuple[np.ndarray, ...]":
        """All of them, in their order."""
        return self.weight, self.photo, self.painting, self.own, self.cross


def sum_cells(photo: np.ndarray, painting: np.ndarray, side: int, weights: np.ndarray | None = None) -> Cells:
    """Sum the colours of a photo and of its painting, and their products, in square cells.

    Args:
        photo: `[H, W, 3]`.
        painting: `[H, W, 3]`.
        side: Side of a cell in pixels; the last cell of a row or column may be narrower.
        weights: Weight of each pixel, `[H, W]`; None for 1.
    """
    height, width = photo.shape[:2]
    starts = np.arange(0, height, side), np.arange(0, width, side)

    def sums(plane: np.ndarray) -> np.ndarray:
        # A cell has some tens of pixels: single precision does.
        return np.add.reduceat(np.add.reduceat(plane, starts[0], 0), starts[1], 1).astype(np.float64)

    counted = np.ones((height, width), np.float32) if weights is None else weights.astype(np.float32, copy=False)
    colors, painted = ([np.ascontiguousarray(image[..., c]) for c in range(3)] for image in (photo, painting))
    weight = sums(counted)
    own = np.empty((*weight.shape, 3, 3))
    cross = np.empty_like(own)
    first = np.empty((2, *weight.shape, 3))
    for i, plane in enumerate(colors):
        weighted = plane if weights is None else plane * counted
        first[0, ..., i] = sums(weighted)
        first[1, ..., i] = sums(painted[i] * counted)
        for j in range(3):
            cross[..., j, i] = sums(weighted * painted[j])
            if j <= i:
                own[..., i, j] = own[..., j, i] = sums(weighted * colors[j])
    return Cells(weight, first[0], first[1], own, cross)


def fit_maps(cells: Cells, eps: float) -> np.ndarray:
    """Fit in the window around every cell the affine map from photo to painting, and average the maps of a window.

    The least squares are regularised towards the map of the whole photo, so that a flat window takes that one, and a
    change that is affine everywhere is reproduced exactly.

    Args:
        cells: The sums of a grid.
        eps: Variance of the photo's colours in a window below which the map of the whole photo counts more.

    Returns:
        `[h, w, 3, 4]`: matrix and bias that take the photo's colours to the result's.
    """
    whole = _regress([each.sum((0, 1)) for each in cells.sums], 1e-8, np.zeros((3, 3)))
    maps = _regress([_windows(each) for each in cells.sums], eps, whole[:, :3])
    weight = cells.weight[..., None, None] + 1e-9  # Where no pixel counts, the maps around or that of the whole.
    averaged: np.ndarray = _windows(maps * weight) / _windows(weight)
    return averaged


def color_moments(cells: Cells, maps: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Mean `[3]` and covariance `[3, 3]` of the photo's colours, or of what `maps` `[h, w, 3, 4]` make of them."""
    first, second = cells.photo, cells.own
    if maps is not None:
        matrix, bias = maps[..., :3], maps[..., 3]
        moved = np.einsum("hwij,hwj->hwi", matrix, first)
        shifted = moved[..., :, None] * bias[..., None, :]
        second = matrix @ second @ matrix.swapaxes(-1, -2) + shifted + shifted.swapaxes(-1, -2)
        second = second + cells.weight[..., None, None] * bias[..., :, None] * bias[..., None, :]
        first = moved + cells.weight[..., None] * bias
    count = max(cells.weight.sum(), 1e-12)
    mean = first.sum((0, 1)) / count
    return mean, second.sum((0, 1)) / count - np.outer(mean, mean)


def _regress(sums: Sequence[np.ndarray], eps: float, towards: np.ndarray) -> np.ndarray:
    """The maps of least squares, regularised towards a matrix."""
    weight, photo, painting, own, cross = sums
    count = np.maximum(weight, 1e-12)[..., None]
    x, y = photo / count, painting / count
    own = own / count[..., None] - x[..., :, None] * x[..., None, :] + eps * np.eye(3)
    cross = cross / count[..., None] - y[..., :, None] * x[..., None, :] + eps * towards
    matrix = np.linalg.solve(own, cross.swapaxes(-1, -2)).swapaxes(-1, -2)
    return np.concatenate([matrix, (y - (matrix @ x[..., None])[..., 0])[..., None]], -1)


def _windows(values: np.ndarray) -> np.ndarray:
    """Sum over the cells of each window, which ends where the grid does."""
    for axis in (0, 1):
        count = values.shape[axis]
        padding = [(1, 0) if i == axis else (0, 0) for i in range(values.ndim)]
        below = np.cumsum(np.pad(values, padding), axis)
        upper, lower = (np.clip(np.arange(count) + step, 0, count) for step in (_REACH + 1, -_REACH))
        values = np.take(below, upper, axis) - np.take(below, lower, axis)
    return values
